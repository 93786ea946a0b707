"""The same ETL plan on Spark 3.5 and on the embedded engine: both outputs, row by row, and what each
does where the other wrote before.

Runs the Glue script as it is deployed, in a plain PySpark session.
"""

import csv
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import parity_shapes
from support import ROOT, SWEDEN, TARGET, Checkout

# Everything that the two engines could read differently, with all rules set to reject.
NASTY = """region,year,marriages,remark
"Comma, Region",2000,5,plain
 Padded ,2001, 7 ,
"Quote ""Q"" Region",2002,8,x
Ünïcödé Қазақстан,2003,9,y
Twice,2004,1,a
Twice,2004,2,b
NotANumber,2005,12a,
Decimal,2006,12.5,
Exponent,2006,1e3,
Plus,2007,+5,
Empty,2008,,
BadYear,20o9,4,
,2010,4,no region
Negative,2011,-3,
TooLarge,2012,99999999999999999999,
"Two
Lines",2013,6,z
Zero,2014,0,
NotANumber,,1,no year
"""


# As NASTY, with nothing to reject: the file of rejected records goes.
CLEAN = """region,year,marriages,remark
Sound,2000,5,plain
Sound,2001,6,
"""


def arguments(folder, plan, data):
    places = {"plan": plan, "input": data, "output": folder / "processed", "rejects": folder / "rejects", "report": folder / "report.json"}
    return [text for name, place in places.items() for text in (f"--{name}", str(place))]


def run_engine(arguments):
    return subprocess.run([TARGET / "debug" / "steppe-etl", "clean-files", *arguments], capture_output=True, text=True)


def run_spark(arguments):
    return subprocess.run([sys.executable, ROOT / "templates" / "etl.py", *arguments], capture_output=True, text=True)


def job(run, folder, plan, data):
    """Runs a job on an engine; returns its report."""
    done = run(arguments(folder, plan, data))
    if done.returncode != 0:
        raise SystemExit(f"{run.__name__} failed:\n{done.stderr[-4000:]}")
    return json.loads((folder / "report.json").read_text())


def engine(folder, plan, data):
    return job(run_engine, folder, plan, data)


def spark(folder, plan, data):
    return job(run_spark, folder, plan, data)


def rejects(folder):
    rows = []
    for file in sorted((folder / "rejects").glob("*.csv")) if (folder / "rejects").exists() else []:
        with open(file, newline="", encoding="utf-8") as handle:
            # An absent value and an empty one are the same in CSV; Spark writes the latter as "".
            rows += [{k: v or "" for k, v in row.items()} for row in csv.DictReader(handle)]
    return sorted(rows, key=lambda r: int(r["_row"]))


def clean_rows(session, folder):
    frame = session.read.parquet(str(folder / "processed"))
    return frame.dtypes, sorted(map(tuple, frame.collect()))


def compare(session, name, plan, data):
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = pathlib.Path(scratch, "embedded"), pathlib.Path(scratch, "spark")
        ours.mkdir()
        theirs.mkdir()
        report, spark_report = engine(ours, plan, data), spark(theirs, plan, data)
        # Each engine has names of its own for the files that it wrote.
        own = ("engine", "objects")
        counts = {k: v for k, v in report.items() if k not in own}
        problems = []
        if counts != {k: v for k, v in spark_report.items() if k not in own}:
            problems.append(f"counts differ: {report} and {spark_report}")
        (types, rows), (spark_types, spark_rows) = clean_rows(session, ours), clean_rows(session, theirs)
        if types != spark_types:
            problems.append(f"types differ: {types} and {spark_types}")
        problems += [f"clean row differs: {a} and {b}" for a, b in zip(rows, spark_rows) if a != b]
        problems += [f"rejected record differs: {a} and {b}" for a, b in zip(rejects(ours), rejects(theirs)) if a != b]
        if len(rejects(ours)) != len(rejects(theirs)) or len(rejects(ours)) != report["rejected_rows"]:
            problems.append(f"rejects: {len(rejects(ours))} and {len(rejects(theirs))} of {report['rejected_rows']}")
        verdict = "same" if not problems else "DIFFERENT"
        print(f"{name:<10} {verdict:<10} {report['raw_rows']:>5} raw  {report['clean_rows']:>5} clean  {report['rejected_rows']:>4} rejected   {spark_report['engine']}")
        for problem in problems[:20]:
            print(f"  {problem}")
        return not problems


def files(folder):
    """What lies below a folder, with its bytes."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def written(folder):
    """Names of the files that readers of the two tables see, and what the report says of them."""
    seen = {str(folder / name) for name in files(folder) if name.split("/")[0] in ("processed", "rejects") and not name.split("/")[-1].startswith((".", "_"))}
    return seen, set(json.loads((folder / "report.json").read_text())["objects"])


def goes_on(session, first, second, plan, nasty, sound):
    """One engine where the other wrote: the same files again, and no others."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, alone = pathlib.Path(scratch, "both"), pathlib.Path(scratch, "alone")
        folder.mkdir()
        alone.mkdir()
        parts = {str(folder / "processed" / "part-00000.parquet"), str(folder / "rejects" / "part-00000.csv")}
        problems = []
        for run, data in ((first, nasty), (second, nasty), (first, sound), (second, sound)):
            job(run, folder, plan, data)
            seen, reported = written(folder)
            wanted = parts if data == nasty else {name for name in parts if "processed" in name}
            if seen != wanted or reported != wanted:
                problems.append(f"{run.__name__} of {data.name}: {seen} lies there, {reported} is reported")
        job(second, alone, plan, sound)
        if clean_rows(session, folder) != clean_rows(session, alone):
            problems.append(f"rows differ: {clean_rows(session, folder)} and {clean_rows(session, alone)}")
        if any("writing" in name for name in files(folder)):
            problems.append(f"something was left behind: {list(files(folder))}")
        return problems


def deletes_its_own(run, plan, data):
    """The second run deletes what the first one's report names below the job's prefixes, and nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        job(run, folder, plan, data)
        report = json.loads((folder / "report.json").read_text())
        for name in ("processed/former.parquet", "rejects/deep/former.csv", "processed/_note", "elsewhere.txt"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        named = ("processed/former.parquet", "rejects/deep/former.csv", "elsewhere.txt")
        report["objects"] += [str(folder / name) for name in named]
        (folder / "report.json").write_text(json.dumps(report))
        job(run, folder, plan, data)
        left = set(files(folder)) - {"processed/part-00000.parquet", "rejects/part-00000.csv", "report.json"}
        return [] if left == {"processed/_note", "elsewhere.txt"} else [f"{run.__name__} left {left}"]


def refusals(plan, data):
    """What must not be touched: both engines refuse it in the same words and leave everything as it was."""
    foreign_report = json.dumps({"pipeline": "other", "engine": "x", "raw_rows": 1, "clean_rows": 1, "rejected_rows": 0, "rejected_by_rule": {}, "objects": []})
    cases = {
        "an object in the table": ({"processed/deep/theirs.parquet": "x"}, {}, "was not written by this job"),
        "an object in the rejects": ({"rejects/theirs.csv": "x"}, {}, "was not written by this job"),
        "another pipeline's report": ({"report.json": foreign_report}, {}, "is the report of the pipeline `other`"),
        "no report": ({"report.json": "[1]"}, {}, "is there and is no report of a cleaning job"),
        "an output that is the rejects": ({}, {"--rejects": "processed"}, "overlap"),
        "a report in the output": ({}, {"--report": "processed/report.json"}, "overlap"),
        "an input in the output": ({}, {"--output": ""}, "overlap"),
    }
    problems = []
    for name, (there, places, words) in cases.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            (folder / "data.csv").write_bytes(data.read_bytes())
            for file, text in there.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(text)
            before = files(folder)
            given = arguments(folder, plan, folder / "data.csv")
            for place, value in places.items():
                given[given.index(place) + 1] = str(folder / value)
            ours, theirs = run_engine(given), run_spark(given)
            message = ours.stderr.removeprefix("error: ").strip()
            # serde says why besides.
            shared = message.split(": ")[0] if name == "no report" else message
            if ours.returncode == 0 or words not in message:
                problems.append(f"{name}: the embedded engine says {ours.returncode} {message}")
            if theirs.returncode == 0 or shared not in theirs.stderr:
                problems.append(f"{name}: Spark does not say the same: {theirs.returncode} {theirs.stderr[-600:]}")
            if files(folder) != before:
                problems.append(f"{name}: {set(files(folder)) ^ set(before)} was changed")
    return problems


def places(session, plan, nasty, sound):
    """Prints and returns whether each of the checks of places holds."""
    checks = {
        "spark, embedded": lambda: goes_on(session, run_spark, run_engine, plan, nasty, sound),
        "embedded, spark": lambda: goes_on(session, run_engine, run_spark, plan, nasty, sound),
        "own files": lambda: deletes_its_own(run_spark, plan, nasty) + deletes_its_own(run_engine, plan, nasty),
        "refusals": lambda: refusals(plan, nasty),
    }
    results = []
    for name, check in checks.items():
        problems = check()
        print(f"{name:<20} {'as it should be' if not problems else 'WRONG'}")
        for problem in problems[:20]:
            print(f"  {problem}")
        results.append(not problems)
    return results


def main():
    from pyspark.sql import SparkSession

    if shutil.which("java") is None:
        raise SystemExit("Spark needs Java 17; on Debian: apt-get install openjdk-17-jre-headless")
    with Checkout() as checkout, tempfile.TemporaryDirectory() as scratch:
        checkout.run("train")
        plan = next((checkout.folder / "clean").glob("*/*/plan.json"))
        sample = next((checkout.folder / "samples").glob("*.csv"))
        lenient = pathlib.Path(scratch, "lenient.json")
        lenient.write_text(json.dumps(json.loads(plan.read_text()) | {"fatal_rules": []}))
        nasty = pathlib.Path(scratch, "nasty.csv")
        nasty.write_text(NASTY, encoding="utf-8")
        sound = pathlib.Path(scratch, "sound.csv")
        sound.write_text(CLEAN, encoding="utf-8")
        session = SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        cases = [("sample", plan, sample), ("nasty", lenient, nasty)]
        if SWEDEN.exists():
            cases.append(("sweden", plan, SWEDEN))
        else:
            print(f"left out: {SWEDEN} is not there; set STEPPE_SHARED_DATA")
        results = parity_shapes.names(scratch, run_engine)
        cases += parity_shapes.tables(checkout, scratch)
        # `parity.py wide` compares only the tables of that name.
        wanted = sys.argv[1:]
        results += [compare(session, *case) for case in cases if not wanted or case[0] in wanted]
        if wanted:
            sys.exit(0 if all(results) else 1)
        results += parity_shapes.refusals(checkout, scratch, run_engine, run_spark)
        results += places(session, lenient, nasty, sound)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
