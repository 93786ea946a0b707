"""The same ETL plan on Spark 3.5 and on the embedded engine: both outputs, row by row.

Runs the Glue script as it is deployed, in a plain PySpark session.
"""

import csv
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

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


def engine(folder, plan, data):
    """Runs the embedded engine; returns its report."""
    arguments = ["clean-files", "--plan", plan, "--input", data, "--output", folder / "processed", "--rejects", folder / "rejects", "--report", folder / "report.json"]
    subprocess.run([TARGET / "debug" / "steppe-etl", *map(str, arguments)], check=True, capture_output=True)
    return json.loads((folder / "report.json").read_text())


def spark(folder, plan, data):
    """Runs the Glue script; returns its report."""
    arguments = ["--plan", plan, "--input", data, "--output", folder / "processed", "--rejects", folder / "rejects", "--report", folder / "report.json"]
    done = subprocess.run([sys.executable, ROOT / "templates" / "etl.py", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"Spark failed:\n{done.stderr[-4000:]}")
    return json.loads((folder / "report.json").read_text())


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
        session = SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        cases = [("sample", plan, sample), ("nasty", lenient, nasty)]
        if SWEDEN.exists():
            cases.append(("sweden", plan, SWEDEN))
        else:
            print(f"left out: {SWEDEN} is not there; set STEPPE_SHARED_DATA")
        results = [compare(session, *case) for case in cases]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
