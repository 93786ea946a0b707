"""The same ETL plan on Spark 3.5 and on the embedded engine: all outputs, row by row, and what each
does where the other wrote before.

Runs the Glue script as it is deployed, in a plain PySpark session.
"""

import contextlib
import csv
import io
import json
import math
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
import types

import parity_functions
import parity_sequences
import parity_shapes
from support import ROOT, SHARED_DATA, SWEDEN, TARGET, Checkout

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
BadYear,20o9,4, padded
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
# When files were written, so that reports are the same.
WRITTEN = 1_700_000_000


def lay(folder, plan, files):
    """Puts a plan and the files of its inputs into a folder, which becomes its root."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan | {"root": str(folder)}))
    for given in plan["inputs"]:
        shutil.rmtree(folder / given["prefix"], ignore_errors=True)
        for number, (name, content) in enumerate(files.get(given["name"], {}).items()):
            file = folder / given["prefix"] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pathlib.Path):
                content = content.read_bytes()
            file.write_bytes(content.encode() if isinstance(content, str) else content)
            os.utime(file, (WRITTEN + number, WRITTEN + number))


def run_engine(folder):
    command = [TARGET / "debug" / "steppe-etl", "clean-files", "--plan", folder / "plan.json"]
    return subprocess.run(command, capture_output=True, text=True)


SCRIPT = ROOT / "templates" / "etl.py"


def run_spark(folder, script=SCRIPT):
    """The script in this process, as if it were the only one: Spark takes long to start."""
    arguments, out = sys.argv, io.StringIO()
    sys.argv = ["etl.py", "--plan", str(folder / "plan.json")]
    code, said = 0, ""
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(script), run_name="__main__")
    except SystemExit as stopped:
        code, said = 1, f"{stopped}\n"
    except Exception as error:
        code, said = 2, f"{type(error).__name__}: {error}\n"
    finally:
        sys.argv = arguments
        session().catalog.clearCache()
    return types.SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=said)


def session():
    from pyspark.sql import SparkSession

    made = SparkSession.builder.config("spark.ui.enabled", "false").config("spark.driver.memory", "2g").getOrCreate()
    made.sparkContext.setLogLevel("OFF")
    return made


def job(run, folder, plan=None, files=None):
    """Runs a job on an engine; returns its report."""
    if plan is not None:
        lay(folder, plan, files)
    done = run(folder)
    if done.returncode != 0:
        raise RuntimeError(f"{run.__name__} failed:\n{done.stderr[-4000:]}")
    plan = json.loads((folder / "plan.json").read_text())
    return json.loads((folder / plan["report"]).read_text())


def rejects(folder, prefix):
    """Header and rows of the rejected records, in their order."""
    files = sorted((folder / prefix).glob("*.csv")) if (folder / prefix).exists() else []
    rows = []
    for file in files:
        with open(file, newline="", encoding="utf-8") as handle:
            # An absent value and an empty one are the same in CSV.
            rows += list(csv.reader(handle))
    return rows


def table_rows(folder, output):
    """Types, and rows in their order, of a table."""
    place, form = folder / output["prefix"], output["format"]
    parts = sorted(place.glob(f"part-*.{form}"))
    if form == "csv":
        rows = [row for part in parts for row in csv.reader(io.StringIO(part.read_text(), newline=""))]
        return "csv", [tuple(map(plain, row)) for row in rows]
    if form == "json":
        rows = [json.loads(line) for part in parts for line in part.read_text().splitlines()]
        return [list(row) for row in rows[:1]], [tuple(row.values()) for row in rows]
    # Otherwise a file is read in several pieces, whose order is not the file's.
    settings = {"spark.sql.files.maxPartitionBytes": "1g", "spark.sql.files.minPartitionNum": "1"}
    for name, value in settings.items():
        session().conf.set(name, value)
    frames = [session().read.format(form).load(str(part)) for part in parts]
    rows = [tuple(row) for frame in frames for row in frame.collect()]
    for name in settings:
        session().conf.unset(name)
    return frames[0].dtypes, rows


def plain(text):
    """A value of a text: numbers are written in several ways."""
    if isinstance(text, str) and re.fullmatch(r"-?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?", text):
        return float(text)
    return text


def same(row, other, exact):
    """Whether two rows are the same; sums in another order have other last digits, which are all that is left
    where they nearly cancel."""
    pairs = list(zip(row, other))
    numbers = [(a, b) for a, b in pairs if isinstance(a, float) and isinstance(b, float)]
    rest = [(a, b) for a, b in pairs if not (isinstance(a, float) and isinstance(b, float))]
    near = 0 if exact else 1e-12
    close = all(math.isclose(a, b, rel_tol=near, abs_tol=near) or (a != a and b != b) for a, b in numbers)
    return len(row) == len(other) and close and all(a == b for a, b in rest)


def difference(plan, ours, theirs, report, spark_report):
    """What differs between the two engines' outputs."""
    problems = []
    own = ("engine", "objects")
    counts, spark_counts = ({k: v for k, v in r.items() if k not in own} for r in (report, spark_report))
    if counts != spark_counts:
        problems.append(f"counts differ: {counts} and {spark_counts}")
    names, spark_names = ([o.removeprefix(str(f)) for o in r["objects"]] for f, r in ((ours, report), (theirs, spark_report)))
    if names != spark_names:
        problems.append(f"objects differ: {names} and {spark_names}")
    for table in [*plan["inputs"], *plan["tables"]]:
        if table["output"]["format"] == "avro":
            continue
        (kinds, rows), (spark_kinds, spark_rows) = (table_rows(f, table["output"]) for f in (ours, theirs))
        if kinds != spark_kinds:
            problems.append(f"types of {table['name']} differ: {kinds} and {spark_kinds}")
        exact = table in plan["inputs"]
        problems += [f"row of {table['name']} differs: {a} and {b}" for a, b in zip(rows, spark_rows) if not same(a, b, exact)]
        if len(rows) != len(spark_rows):
            problems.append(f"{table['name']} has {len(rows)} and {len(spark_rows)} rows")
    for given in plan["inputs"]:
        one, other = rejects(ours, given["rejects"]), rejects(theirs, given["rejects"])
        problems += [f"rejected record differs: {a} and {b}" for a, b in zip(one, other) if a != b]
        if len(one) != len(other):
            problems.append(f"rejects: {len(one)} and {len(other)}")
    return problems


def compare(name, plan, files):
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = pathlib.Path(scratch, "embedded"), pathlib.Path(scratch, "spark")
        try:
            report, spark_report = job(run_engine, ours, plan, files), job(run_spark, theirs, plan, files)
        except RuntimeError as error:
            return told(name, [str(error)])
        problems = difference(plan, ours, theirs, report, spark_report)
        counted = [sum(i[k] for i in report["inputs"]) for k in ("raw_rows", "clean_rows", "rejected_rows")]
        return told(name, problems, "{:>6} raw {:>6} clean {:>4} rejected".format(*counted))


def told(name, problems, more="", most=20):
    print(f"{name:<24} {'as it should be' if not problems else 'WRONG'} {more}", flush=True)
    for problem in problems[:most]:
        print(f"  {problem}")
    return not problems


def contents(folder):
    """What lies below a folder, with its bytes."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def written(folder):
    """Names of the files that readers of the tables see, and what the report says of them."""
    seen = {str(folder / name) for name in contents(folder) if name.split("/")[0] in ("processed", "rejects") and not name.split("/")[-1].startswith((".", "_"))}
    report = next((folder / "reports").rglob("*.json"))
    return seen, set(json.loads(report.read_text())["objects"])


def goes_on(first, second, plan, nasty, sound):
    """One engine where the other wrote: the same files again, and no others."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, alone = pathlib.Path(scratch, "both"), pathlib.Path(scratch, "alone")
        given = plan["inputs"][0]
        parts = {str(folder / given["output"]["prefix"] / "part-00000.parquet"), str(folder / given["rejects"] / "part-00000.csv")}
        problems = []
        for run, data in ((first, nasty), (second, nasty), (first, sound), (second, sound)):
            job(run, folder, plan, data)
            seen, reported = written(folder)
            wanted = parts if data == nasty else {name for name in parts if "processed" in name}
            if seen != wanted or reported != wanted:
                problems.append(f"{run.__name__}: {seen} lies there, {reported} is reported")
        job(second, alone, plan, sound)
        if table_rows(folder, given["output"]) != table_rows(alone, given["output"]):
            problems.append("rows differ")
        if any("writing" in name for name in contents(folder)):
            problems.append(f"something was left behind: {list(contents(folder))}")
        return problems


def deletes_its_own(run, plan, data):
    """The second run deletes what the first one's report names below the job's prefixes, and nothing else."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        report = job(run, folder, plan, data)
        given = plan["inputs"][0]
        output, turned_away = given["output"]["prefix"], given["rejects"]
        before = set(contents(folder))
        named = (f"{output}former.parquet", f"{turned_away}deep/former.csv", "elsewhere.txt")
        for name in (*named, f"{output}_note"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        report["objects"] += [str(folder / name) for name in named]
        (folder / plan["report"]).write_text(json.dumps(report))
        job(run, folder)
        left = set(contents(folder)) - before
        return [] if left == {f"{output}_note", "elsewhere.txt"} else [f"{run.__name__} left {left}"]


def in_parts(plan, files):
    """Of a large table, Spark writes several files: all rows in their order, and the next run leaves none."""
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        script, folder, alone = (pathlib.Path(scratch, name) for name in ("etl.py", "both", "alone"))
        text = SCRIPT.read_text().replace("PART_BYTES = 128 * 1024 * 1024", "PART_BYTES = 16 * 1024")
        # Otherwise Spark makes fewer of them when there is little in each.
        together = "spark.sql.adaptive.coalescePartitions.enabled"
        script.write_text(text.replace("SETTINGS = {", f'SETTINGS = {{"{together}": "false",'))
        report = job(lambda folder: run_spark(folder, script), folder, plan, files)
        session().conf.unset(together)
        job(run_spark, alone, plan, files)
        for table in [*plan["inputs"], *plan["tables"]]:
            rows, whole = (table_rows(f, table["output"])[1] for f in (folder, alone))
            parts = sorted(str(p) for p in (folder / table["output"]["prefix"]).iterdir() if not p.name.startswith("."))
            if [o for o in report["objects"] if table["output"]["prefix"] in o] != parts:
                problems.append(f"{table['name']}: {parts} lie there, {report['objects']} are reported")
            # Sums of the rows in other parts have other last digits.
            if len(rows) != len(whole) or not all(same(a, b, exact=False) for a, b in zip(rows, whole)):
                problems.append(f"{table['name']} has other rows, or in another order")
            if table["name"] == "readings" and len(parts) < 3:
                problems.append(f"{table['name']} has {len(parts)} parts")
        for run in (run_engine, run_spark):
            job(run, folder)
            left = [name for name in contents(folder) if "part-00001" in name]
            problems += [f"{run.__name__} left {name}" for name in left]
    return told("in parts", problems)


def changed(plan, **changes):
    """A plan with other places of its one input."""
    return plan | {"inputs": [plan["inputs"][0] | changes]}


def refusals(plan, data):
    """What must not be touched: both engines refuse it in the same words and leave everything as it was."""
    given = plan["inputs"][0]
    output, turned_away, format = given["output"]["prefix"], given["rejects"], given["output"]["format"]
    foreign = json.dumps({"pipeline": "other", "engine": "x", "inputs": [], "tables": [], "objects": []})
    cases = {
        "an object in the table": ({f"{output}deep/theirs.parquet": "x"}, plan, "was not written by this job"),
        "an object in the rejects": ({f"{turned_away}theirs.csv": "x"}, plan, "was not written by this job"),
        "a part of another format": ({f"{output}part-00000.csv": "x"}, plan, "was not written by this job"),
        "another pipeline's report": ({plan["report"]: foreign}, plan, "is the report of the pipeline `other`"),
        "no report": ({plan["report"]: "[1]"}, plan, "is there and is no report of a cleaning job"),
        "an output that is the rejects": ({}, changed(plan, rejects=output), "overlap"),
        "a report in the output": ({}, plan | {"report": f"{output}report.json"}, "overlap"),
        "an input in the output": ({}, changed(plan, output={"prefix": "raw/", "format": format}), "overlap"),
        "no files": ({}, changed(plan, prefix="raw/nothing/"), "there are no files at"),
        "another version": ({}, plan | {"schema_version": 3}, "the ETL plan has schema version 3, this program runs 4"),
    }
    problems = []
    for name, (there, made, words) in cases.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            lay(folder, made, data)
            for file, text in there.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(text)
            before = contents(folder)
            if name == "no files":
                shutil.rmtree(folder / "raw")
                before = contents(folder)
            ours, theirs = run_engine(folder), run_spark(folder)
            message = ours.stderr.removeprefix("error: ").strip()
            # serde says why besides.
            shared = message.split(": ")[0] if name == "no report" else message
            if ours.returncode == 0 or words not in message:
                problems.append(f"{name}: the embedded engine says {ours.returncode} {message}")
            if theirs.returncode == 0 or shared not in theirs.stderr:
                problems.append(f"{name}: not the same words:\n{message}\n{theirs.returncode} {theirs.stderr[-600:]}")
            if contents(folder) != before:
                problems.append(f"{name}: {set(contents(folder)) ^ set(before)} was changed")
    return problems


def places(plan, nasty, sound):
    """Whether each of the checks of places holds."""
    return {
        "spark, embedded": lambda: told("spark, embedded", goes_on(run_spark, run_engine, plan, nasty, sound)),
        "embedded, spark": lambda: told("embedded, spark", goes_on(run_engine, run_spark, plan, nasty, sound)),
        "own files": lambda: told("own files", deletes_its_own(run_spark, plan, nasty) + deletes_its_own(run_engine, plan, nasty)),
        "places": lambda: told("places", refusals(plan, nasty)),
    }


def plan_of(checkout, pipeline):
    checkout.run("train", "--pipeline", pipeline)
    return json.loads(next((checkout.folder / "clean" / pipeline).glob("*/plan.json")).read_text())


def samples(pipeline):
    """The files of a pipeline's samples, by input."""
    folder = ROOT / "model" / "pipelines" / pipeline
    if pipeline == "marriages":
        return {"marriages": {"sample.csv": folder / "sample.csv"}}
    return {f.stem: {f.name: f} for f in (folder / "sample").glob("*.csv")}


def energy():
    """The real files, of which two are readings."""
    folder = SHARED_DATA / "energy"
    named = {"readings": "block_*.csv", "weather": "weather*.csv", "holidays": "uk_bank*.csv", "households": "informations*.csv"}
    return {name: {f.name: f for f in folder.glob(pattern)} for name, pattern in named.items()}


def without_fatal(plan):
    return plan | {"inputs": [given | {"fatal_rules": []} for given in plan["inputs"]]}


def checks(checkout, scratch):
    """All checks by their names."""
    marriages, london = plan_of(checkout, "marriages"), plan_of(checkout, "energy")
    lenient = without_fatal(marriages)
    nasty, sound = {"marriages": {"nasty.csv": NASTY}}, {"marriages": {"sound.csv": CLEAN}}
    cases = {"marriages": (marriages, samples("marriages")), "energy": (london, samples("energy")), "nasty": (lenient, nasty)}
    dropped = lenient | {"inputs": [given | {"drop": ["remark", "absent"]} for given in lenient["inputs"]]}
    cases["nasty, dropped"] = (dropped, nasty)
    if SWEDEN.exists():
        cases["sweden"] = (marriages, {"marriages": {SWEDEN.name: SWEDEN}})
        cases["energy, real"] = (london, energy())
    else:
        print(f"left out: there is nothing in {SHARED_DATA}; set STEPPE_SHARED_DATA")
    cases |= parity_shapes.tables(checkout, scratch, lenient, london, samples("energy"))
    cases |= parity_sequences.cases(checkout, scratch)
    found = {name: (lambda name=name, case=case: compare(name, *case)) for name, case in cases.items()}
    found |= parity_shapes.refusals(checkout, scratch, london, samples("energy"))
    found |= parity_sequences.refusals(checkout, scratch)
    found |= parity_functions.checks()
    found["in parts"] = lambda: in_parts(london, samples("energy"))
    found["names"] = lambda: parity_shapes.names(scratch)
    return found | places(lenient, nasty, sound)


def main():
    if shutil.which("java") is None:
        raise SystemExit("Spark needs Java 17; on Debian: apt-get install openjdk-17-jre-headless")
    os.environ["TZ"] = "UTC"
    time.tzset()
    with Checkout() as checkout, tempfile.TemporaryDirectory() as scratch:
        found = checks(checkout, scratch)
        # `parity.py wide` does only the checks whose names begin so.
        wanted = tuple(sys.argv[1:]) or ("",)
        session()
        results = [check() for name, check in found.items() if name.startswith(wanted)]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
