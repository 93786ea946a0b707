"""Cleaning beside DuckDB, in one run on one machine: a table in Markdown.

Invented readings of households, of which every 97th or so is incomplete: both read the text, give it types, judge it by the
same rules, look for households with two readings of a day, and write what is clean in order as Parquet. Steppe also
writes the rejected records with their reasons, and says where each stands.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import duckdb
from support import TARGET, Checkout

RUNS = 5
DAYS = 1020
HOUSEHOLDS = (500, 5000)

READINGS = """COPY (
  SELECT printf('MAC%06d', h) AS LCLid, DATE '2011-11-23' + CAST(d AS INT) AS day,
    round(0.2 + (hash(h * 100000 + d) % 100000) / 100000.0, 7) AS energy_median,
    round(5 + (hash(h * 7 + d * 13) % 1000000) / 50000.0, 7) AS energy_sum,
    CASE WHEN hash(h + d * 31) % 97 = 0 THEN 46 ELSE 48 END AS energy_count,
    round((hash(h * 3 + d) % 100000) / 50000.0, 3) AS energy_max
  FROM range({households}) households(h), range({days}) days(d) ORDER BY d % 7, h, d
) TO '{file}' (HEADER)"""

CLEAN = """COPY (
  SELECT household, day, kwh, readings FROM (
    SELECT *, count(*) OVER (PARTITION BY household, day) AS alike FROM (
      SELECT NULLIF(TRIM(LCLid), '') AS household, TRY_CAST(TRIM(day) AS DATE) AS day,
        TRY_CAST(TRIM(energy_sum) AS DOUBLE) AS kwh, TRY_CAST(TRIM(energy_count) AS INT) AS readings
      FROM read_csv('{file}', all_varchar = true, header = true)
    )
  ) WHERE readings = 48 AND kwh >= 0 AND alike = 1 ORDER BY household, day
) TO '{out}' (FORMAT parquet)"""


# Starts a command from a small process: what its starter holds counts as the command's own peak.
MEASURE = """import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
sys.exit(status != 0)"""


def measured(command):
    """Seconds, CPU seconds and peak MB of a process."""
    done = subprocess.run([sys.executable, "-c", MEASURE, *map(str, command)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def plan_of_readings(checkout):
    """The plan of `energy`, for its readings alone."""
    checkout.run("train", "--pipeline", "energy")
    plan = json.loads(next((checkout.folder / "clean" / "energy").glob("*/plan.json")).read_text())
    return plan | {"inputs": [given for given in plan["inputs"] if given["name"] == "readings"], "tables": []}


def lay(folder, plan, households):
    file = folder / plan["inputs"][0]["prefix"] / "readings.csv"
    file.parent.mkdir(parents=True)
    duckdb.sql(READINGS.format(households=households, days=DAYS, file=file))
    (folder / "plan.json").write_text(json.dumps(plan | {"root": str(folder)}))
    return file


def same(folder, plan, out):
    """Whether both have the same clean table."""
    total = "SELECT count(*), sum(hash(household, day, kwh, readings)) FROM '{}'"
    ours = folder / plan["inputs"][0]["output"]["prefix"] / "*.parquet"
    return duckdb.sql(total.format(ours)).fetchall() == duckdb.sql(total.format(out)).fetchall()


def compared(plan, households):
    """Medians of both engines on so many households: seconds, CPU seconds, MB."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        file, out = lay(folder, plan, households), folder / "peer.parquet"
        peer = f'import duckdb; duckdb.sql("SET threads = 2"); duckdb.sql("""{CLEAN.format(file=file, out=out)}""")'
        commands = {"Steppe": [TARGET / "debug" / "steppe-etl", "clean-files", "--plan", folder / "plan.json"], "DuckDB": [sys.executable, "-c", peer]}
        runs = {name: [] for name in commands}
        for _ in range(RUNS):
            for name, command in commands.items():
                runs[name].append(measured(command))
        if not same(folder, plan, out):
            raise SystemExit("the two clean tables differ")
    return {name: [statistics.median(column) for column in zip(*measures)] for name, measures in runs.items()}


def main():
    with Checkout() as checkout:
        plan = plan_of_readings(checkout)
        results = {households: compared(plan, households) for households in HOUSEHOLDS}
    print(f"\nCleaning, medians of {RUNS} runs, Steppe as built by default, DuckDB {duckdb.__version__} with two threads:\n")
    print("| records | engine | s | CPU-s | peak MB | of DuckDB's time |\n|---:|---|---:|---:|---:|---:|")
    for households, result in results.items():
        for name, (seconds, cpu, peak) in result.items():
            ratio = f"{seconds / result['DuckDB'][0]:.2f}"
            print(f"| {households * DAYS:,} | {name} | {seconds:.2f} | {cpu:.2f} | {peak:.0f} | {ratio} |")
    small, large = (results[households]["Steppe"][0] for households in HOUSEHOLDS)
    print(f"\n{HOUSEHOLDS[1] / HOUSEHOLDS[0]:.0f} times the records take {large / small:.1f} times the time.")


if __name__ == "__main__":
    main()
