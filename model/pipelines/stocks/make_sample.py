"""Writes the sample anew: invented companies whose prices move as those of shares do.

`python3 make_sample.py`; nothing here is measured. Returns are a random walk whose volatility comes
and goes, so nothing but the width of intervals can be foreseen. Weekends and some holidays are no
days with trade.
"""

import csv
import datetime
import math
import pathlib
import random

FILE = pathlib.Path(__file__).parent / "sample.csv"
FIRST, DAYS = datetime.date(2022, 1, 3), 1000
SYMBOLS = {"NOMAD": 42.0, "SAIGA": 118.0, "TULIP": 9.5, "YURTA": 64.0}
CLOSED = {(1, 1), (1, 2), (7, 4), (12, 25)}


def days():
    day = FIRST
    while True:
        if day.weekday() < 5 and (day.month, day.day) not in CLOSED:
            yield day
        day += datetime.timedelta(1)


def quotes(symbol, price, rng):
    volatility = 0.012
    for _, day in zip(range(DAYS), days()):
        calm = 0.012 * (1 + 0.4 * math.sin(day.toordinal() / 60))
        volatility += 0.06 * (calm - volatility) + 0.0012 * rng.gauss(0, 1)
        volatility = min(max(volatility, 0.004), 0.04)
        opened = price * math.exp(rng.gauss(0, 0.4 * volatility))
        closed = opened * math.exp(rng.gauss(0.0002, 0.9 * volatility))
        reach = price * volatility * (0.3 + rng.random())
        high, low = max(opened, closed) + reach, min(opened, closed) - reach
        volume = int(2e6 * math.exp(rng.gauss(0, 0.3)) * volatility / 0.012)
        cells = [f"{value:.2f}" for value in (opened, high, low, closed)]
        yield [day, *cells, volume, symbol]
        price = closed


def main():
    rng = random.Random(5)
    with open(FILE, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["Date", "Open", "High", "Low", "Close", "Volume", "Name"])
        for symbol, price in SYMBOLS.items():
            writer.writerows(quotes(symbol, price, rng))


main()
