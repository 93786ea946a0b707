"""Forecasts of a peer beside ours: AutoARIMA, AutoETS, AutoTheta and AutoCES of statsforecast on M3 and M4 Hourly, with the
competitions' own splits and metrics, and CPU seconds. Where a model is slow it is run on every so-manieth series, and what it
says of those stands beside what ours says of all. Not everything that a peer can do is tried: its defaults are."""

import csv
import multiprocessing
import os
import pathlib
import time
import warnings

import numpy
import pandas
import pyarrow.parquet
from statsforecast import StatsForecast
from statsforecast.models import AutoARIMA, AutoCES, AutoETS, AutoTheta

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED_DATA = pathlib.Path(os.environ.get("STEPPE_SHARED_DATA", ROOT.parent / "shared" / "data"))
MODELS = (AutoARIMA, AutoETS, AutoTheta, AutoCES)
# Season, horizon, and every so-manieth series.
M3 = {"YEARLY": (1, 6, 1), "QUARTERLY": (4, 8, 8), "MONTHLY": (12, 18, 40), "OTHER": (1, 8, 1)}
HOURLY_EVERY = 100
# Seconds after which a model is given up on a part.
LIMIT = 300
# sMAPE and MASE of the competition's reference on all series of M4 Hourly.
NAIVE2 = (18.383, 2.395)


def m3(part):
    """Per series of a part: what is known, and what came next."""
    table = pyarrow.parquet.read_table(SHARED_DATA / "m3" / "M3_long.parquet").to_pandas()
    table.columns = ["series", "part", "half", "at", "value"]
    series = {}
    for (name, half), rows in table[table.part == part].groupby(["series", "half"]):
        series.setdefault(name, {})[half] = rows.sort_values("at").value.to_numpy(float)
    return {name: (halves["train"], halves["test"]) for name, halves in series.items()}


def hourly():
    """The same of M4 Hourly."""

    def read(file):
        with open(SHARED_DATA / "m4" / file) as rows:
            all_rows = list(csv.reader(rows))[1:]
        return {row[0]: numpy.array([float(v) for v in row[1:] if v]) for row in all_rows}

    known, future = read("Hourly-train.csv"), read("Hourly-test.csv")
    return {name: (known[name], future[name]) for name in known}


def errors(series, season, points):
    """Mean over the series of their sMAPE in % and of their MASE."""
    smape, mase = [], []
    for name, (known, future) in series.items():
        off = numpy.abs(future - points[name])
        both = numpy.abs(future) + numpy.abs(points[name])
        smape.append(200 * numpy.mean(numpy.divide(off, both, out=numpy.zeros_like(off), where=both > 0)))
        scale = numpy.mean(numpy.abs(known[season:] - known[:-season]))
        mase.append(numpy.mean(off) / scale if scale > 0 else numpy.nan)
    return numpy.mean(smape), numpy.nanmean(mase)


def forecast(model, series, season, horizon):
    """Points per series, and CPU seconds."""
    long = pandas.concat(
        pandas.DataFrame({"unique_id": name, "ds": numpy.arange(len(known)), "y": known})
        for name, (known, _) in series.items()
    )
    started = time.process_time()
    peer = StatsForecast(models=[model(season_length=season)], freq=1, n_jobs=1)
    out = peer.forecast(df=long, h=horizon)
    seconds = time.process_time() - started
    return {name: rows.iloc[:, -1].to_numpy() for name, rows in out.groupby("unique_id")}, seconds


def within_limit(*asked):
    """What `forecast` gives, or nothing where that takes too long: a process of its own can be ended."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        try:
            return pool.apply_async(forecast, asked).get(LIMIT)
        except multiprocessing.TimeoutError:
            return None


def main():
    warnings.simplefilter("ignore")
    print("\nstatsforecast, on one core: % of the series of a part, sMAPE %, MASE, CPU seconds per 1,000 series\n")
    parts = {f"M3 {part.lower()}": (m3(part), *how) for part, how in M3.items()}
    parts["M4 hourly"] = (hourly(), 24, 48, HOURLY_EVERY)
    for name, (series, season, horizon, every) in parts.items():
        chosen = {key: series[key] for key in sorted(series)[::every]}
        for model in MODELS:
            # A little of one series compiles, so that children have what is compiled.
            known, future = next(iter(chosen.values()))
            forecast(model, {"first": (known[-3 * season - 20 :], future)}, season, horizon)
            share = 100 * len(chosen) / len(series)
            found = within_limit(model, chosen, season, horizon)
            if found is None:
                print(f"{name:<14}{model.__name__:<12}{share:5.0f} % no answer within {LIMIT} s", flush=True)
                continue
            points, seconds = found
            smape, mase = errors(chosen, season, points)
            owa = f"{(smape / NAIVE2[0] + mase / NAIVE2[1]) / 2:9.3f} OWA" if name == "M4 hourly" else ""
            per_thousand = 1_000 * seconds / len(chosen)
            print(f"{name:<14}{model.__name__:<12}{share:5.0f} %{smape:9.3f}{mase:9.3f}{per_thousand:9.1f}{owa}", flush=True)


if __name__ == "__main__":
    main()
