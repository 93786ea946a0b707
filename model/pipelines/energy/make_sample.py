"""Writes the samples anew: invented households, weather and holidays in the shape of London's.

`python3 make_sample.py`; nothing here is measured. Warm days need less energy, weekends and holidays
more, and the correlation of the daily differences of load and warmth is as in the real data, so that
the pipeline's check holds of both. The meter of one household is dead for some weeks.
"""

import csv
import datetime
import math
import pathlib
import random
import zoneinfo

FOLDER = pathlib.Path(__file__).parent / "sample"
FIRST, DAYS, HOUSEHOLDS = datetime.date(2012, 9, 1), 540, 24
DEAD = 5
LONDON = zoneinfo.ZoneInfo("Europe/London")
WANTED = -0.36
# As in the original, some have day and month swapped: Easter Monday of 2013 is April 1.
HOLIDAYS = [
    ("2012-12-25", "Christmas Day"), ("2012-12-26", "Boxing Day"), ("2013-01-01", "New Year's Day"),
    ("2013-03-29", "Good Friday"), ("2013-01-04", "Easter Monday"),
    ("2013-06-05", "Early May bank holiday"), ("2013-05-27", "Spring bank holiday"),
    ("2013-08-26", "Summer bank holiday"), ("2013-12-25", "Christmas Day"),
    ("2013-12-26", "Boxing Day"), ("2014-01-01", "New Year's Day"), ("2014-04-18", "Good Friday"),
    ("2014-04-21", "Easter Monday"), ("2014-05-05", "Early May bank holiday"),
]
TRUE = {"2013-01-04": "2013-04-01", "2013-06-05": "2013-05-06"}


def days():
    return [FIRST + datetime.timedelta(day) for day in range(DAYS)]


def weather(rng):
    warmth, rows = 0.0, []
    for day in days():
        warmth = 0.75 * warmth + rng.gauss(0, 2.4)
        season = 15 - 8 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 20) / 365.25)
        tmax = round(season + warmth, 2)
        rows.append((day, tmax, round(tmax - rng.uniform(4, 9), 2), round(rng.random(), 2)))
    return rows


def loads(warm, noise):
    rng, off = random.Random(11), {TRUE.get(day, day) for day, _ in HOLIDAYS}
    for (day, tmax, tmin, _), (_, before, _, _) in zip(warm, [warm[0], *warm]):
        cold = max(0.0, 15.5 - (tmax + tmin) / 2)
        free = day.weekday() > 4 or day.isoformat() in off
        yield 8 + 0.22 * cold - 0.06 * (tmax - before) + 0.7 * free + rng.gauss(0, noise)


def correlation(warm, noise):
    load = list(loads(warm, noise))
    pairs = [
        (load[i] - load[i - 1], warm[i][1] - warm[i - 1][1])
        for i in range(1, len(load))
        if 4 <= warm[i][0].month <= 10
    ]
    mean = [sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1)]
    away = [(a - mean[0], b - mean[1]) for a, b in pairs]
    return sum(a * b for a, b in away) / math.sqrt(
        sum(a * a for a, _ in away) * sum(b * b for _, b in away)
    )


def habit(rng):
    slow = 0.0
    for _ in days():
        slow = 0.97 * slow + rng.gauss(0, 0.03)
        yield math.exp(slow + rng.gauss(0, 0.12))


def write(name, header, rows):
    with open(FOLDER / f"{name}.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main():
    FOLDER.mkdir(exist_ok=True)
    rng = random.Random(7)
    warm = weather(rng)
    low, high = 0.0, 3.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if correlation(warm, middle) < WANTED else (low, middle)
    load, readings, households = list(loads(warm, low)), [], []
    # What one of two neighbours needs more than usual, the other one needs less, so that means stay.
    habits = [list(habit(rng)) for _ in range(HOUSEHOLDS // 2)]
    sizes = [rng.uniform(0.4, 1.9) for _ in range(HOUSEHOLDS)]
    scale = HOUSEHOLDS / sum(sizes)
    for number, size in enumerate(sizes, 1):
        name = f"SYN{number:06}"
        households.append((name, rng.choice(["Std", "ToU"]), rng.choice(["Affluent", "Comfortable"])))
        for at, (day, kwh) in enumerate(zip(days(), load)):
            whole = rng.random() > 0.004
            own = kwh * size * scale * habits[(number - 1) // 2][at] ** (-1 if number % 2 else 1)
            own *= 1 if whole else 0.4
            if number == DEAD and 200 <= at < 225:
                own = 0
            readings.append((name, day, 48 if whole else rng.randint(10, 47), f"{max(own, 0):.3f}"))
    write("readings", ("LCLid", "day", "energy_count", "energy_sum"), readings)
    midnight = lambda day: datetime.datetime.combine(day, datetime.time(), LONDON)
    utc = lambda day: midnight(day).astimezone(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    write(
        "weather",
        ("time", "temperatureMax", "temperatureMin", "cloudCover"),
        [(utc(day), *rest) for day, *rest in warm],
    )
    write("holidays", ("Bank holidays", "Type"), HOLIDAYS)
    write("households", ("LCLid", "stdorToU", "Acorn_grouped"), households)


if __name__ == "__main__":
    main()
