"""Writes the sample anew: invented people, in the shape of the public table of strokes.

`python3 make_sample.py`; nobody in it exists, and nothing is measured. Strokes become likelier with
age, high blood pressure, heart disease and glucose; the body mass index of people who had one is
missing more often, as in the real table.
"""

import csv
import math
import pathlib
import random

FILE = pathlib.Path(__file__).parent / "sample.csv"
PEOPLE = 3_000
HEADER = [
    "id", "gender", "age", "hypertension", "heart_disease", "ever_married", "work_type",
    "Residence_type", "avg_glucose_level", "bmi", "smoking_status", "stroke",
]


def chance(log_odds):
    return 1 / (1 + math.exp(-log_odds))


def person(rng, number):
    age = min(82, max(1, round(rng.triangular(0, 90, 48))))
    hypertension = rng.random() < chance(-5.2 + 0.055 * age)
    heart_disease = rng.random() < chance(-7.5 + 0.075 * age)
    married = age >= 18 and rng.random() < chance(-2.2 + 0.09 * age)
    if age < 16:
        work = "children"
    else:
        work = rng.choices(["Private", "Self-employed", "Govt_job"], [60, 8 + age / 4, 14])[0]
    high_glucose = rng.random() < 0.08 + 0.003 * age
    glucose = rng.gauss(205, 25) if high_glucose else rng.gauss(91, 18)
    bmi = rng.gauss(20 + min(age, 40) * 0.24, 6)
    smoking = "Unknown" if age < 14 else rng.choices(
        ["never smoked", "Unknown", "formerly smoked", "smokes"], [38, 27, 19, 16])[0]
    log_odds = (-8.1 + 0.078 * age + 0.45 * hypertension + 0.35 * heart_disease
                + 0.006 * (glucose - 90) + 0.25 * (smoking == "smokes"))
    stroke = rng.random() < chance(log_odds)
    bmi_missing = rng.random() < (0.17 if stroke else 0.033)
    return [
        number, rng.choices(["Female", "Male"], [59, 41])[0], age, int(hypertension),
        int(heart_disease), "Yes" if married else "No", work, rng.choice(["Urban", "Rural"]),
        f"{max(55, glucose):.2f}", "N/A" if bmi_missing else f"{max(11, bmi):.1f}", smoking,
        int(stroke),
    ]


def main():
    rng = random.Random(20_260)
    numbers = rng.sample(range(10_000, 99_999), PEOPLE)
    with FILE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(person(rng, number) for number in numbers)


main()
