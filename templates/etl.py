"""Cleaning job for AWS Glue and any Spark 3.5: runs an ETL plan with the plan's own SQL.

It decides nothing about the data: plan, input and places are arguments, and the embedded engine
runs the same plan with the same statements. Of places it thinks as that engine does, so that each
can go on where the other wrote: a table and its rejects are one file each, whose name is always the
same; what the report of the run before names and this run does not write again is deleted at the
end; anything else that lies there, or places that overlap, is an error before anything is written.

Plain PySpark and Hadoop's file systems, so that it also runs outside of Glue.
"""

import argparse
import json
import os.path
import re
import uuid

from pyspark.sql import SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

PLAN_SCHEMA_VERSION = 1
PART_FILE = "part-00000.parquet"
REJECTS_FILE = "part-00000.csv"
KEY_BYTES_MAX = 1024
CHARACTERS_REFUSED = "\\{}^%`[]\"<>~#|*?"
BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("plan", "input", "output", "rejects", "report"):
        parser.add_argument(f"--{name}", required=True)
    # Glue adds arguments of its own, such as --JOB_ID.
    return parser.parse_known_args()[0]


def check_key(text, key):
    if len(key.encode()) > KEY_BYTES_MAX:
        raise SystemExit(f"`{text}` is not a usable key in S3: it has more than 1,024 bytes")
    controls = any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in key)
    if controls or any(c in CHARACTERS_REFUSED for c in key):
        raise SystemExit(
            f"`{text}` is not a usable key in S3: "
            "it has a control character or one of \\ { } ^ % ` [ ] \" < > ~ # | * ?"
        )
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise SystemExit(
            f"`{text}` is not a usable key in S3: a part between its slashes is empty, `.` or `..`"
        )


class Place:
    """A file or a prefix, in S3 (`s3://bucket/key`) or on this machine (a path)."""

    def __init__(self, text, is_prefix=False):
        scheme, separator, rest = text.partition("://")
        if not separator:
            self.address = os.path.realpath(text)
        elif scheme != "s3":
            raise SystemExit(f"`{text}` is not an address in S3; it must begin with `s3://`")
        else:
            bucket, _, key = rest.partition("/")
            if BUCKET.fullmatch(bucket) is None:
                raise SystemExit(f"`{text}` names no bucket that can exist")
            key = key.removesuffix("/") if is_prefix else key
            if not key:
                raise SystemExit(
                    f"`{text}` is a whole bucket; a place needs a prefix: `s3://bucket/prefix/`"
                )
            if key.endswith("/"):
                raise SystemExit(f"`{text}` is a prefix; an object is wanted: `s3://bucket/key`")
            check_key(text, key)
            self.address = f"s3://{bucket}/{key}"
        # As people write it, a prefix with a slash at its end.
        self.name = text.rstrip("/") + "/" if is_prefix else text

    def join(self, file):
        return Place(f"{self.name.rstrip('/')}/{file}")

    def contains(self, other):
        return (other.address + "/").startswith(self.address + "/")

    def overlaps(self, other):
        return self.contains(other) or other.contains(self)


def places_of(args):
    """The job's places. What is written must not lie in anything else that is read or written."""
    places = {
        "output": Place(args.output, is_prefix=True),
        "rejects": Place(args.rejects, is_prefix=True),
        "report": Place(args.report),
        "input": Place(args.input),
        "plan": Place(args.plan),
    }
    names = list(places)
    for index, one in enumerate(names[:3]):
        for other in names[index + 1 :]:
            if places[one].overlaps(places[other]):
                raise SystemExit(
                    f"the {one} {places[one].name} and the {other} {places[other].name} overlap\n"
                    "hint: give each a prefix of its own"
                )
    return places


class Files:
    """Hadoop's file systems: EMRFS or S3A on Glue, the local one elsewhere."""

    def __init__(self, spark):
        self.hadoop = spark._jvm.org.apache.hadoop
        self.configuration = spark._jsc.hadoopConfiguration()
        self.read_stream = spark._jvm.org.apache.commons.io.IOUtils.toString

    def at(self, place):
        path = self.hadoop.fs.Path(place.address)
        filesystem = path.getFileSystem(self.configuration)
        # On a disk Hadoop writes a checksum beside each file, and the other engine renews none.
        filesystem.setWriteChecksum(False)
        filesystem.setVerifyChecksum(False)
        return filesystem, path

    def read(self, place):
        """The text of a file; `None` when it is not there."""
        filesystem, path = self.at(place)
        if not filesystem.exists(path):
            return None
        stream = filesystem.open(path)
        try:
            return self.read_stream(stream, "UTF-8")
        finally:
            stream.close()

    def write(self, place, text):
        filesystem, path = self.at(place)
        stream = filesystem.create(path, True)
        try:
            stream.write(bytearray(text, "utf-8"))
        finally:
            stream.close()

    def below(self, place):
        """The parts of the names of all files below a prefix."""
        filesystem, path = self.at(place)
        if not filesystem.exists(path):
            return
        root = filesystem.makeQualified(path).toUri().getPath().rstrip("/") + "/"
        found = filesystem.listFiles(path, True)
        while found.hasNext():
            yield found.next().getPath().toUri().getPath().removeprefix(root).split("/")

    def object_of(self, place):
        """Size and time of a file, in bytes and in seconds since 1970."""
        filesystem, path = self.at(place)
        if not filesystem.exists(path):
            raise SystemExit(f"cannot read {place.name}: it does not exist")
        status = filesystem.getFileStatus(path)
        return {"bytes": status.getLen(), "modified": status.getModificationTime() // 1000}

    def put(self, folder, place):
        """Gives the one part that Spark wrote into `folder` its place, over what was there.

        A copy through one stream: S3 shows the old object until the new one is whole, where a
        renaming would need the old one deleted before.
        """
        filesystem, path = self.at(folder)
        parts = [name for name in self.below(folder) if name[0].startswith("part-")]
        if len(parts) != 1:
            raise SystemExit(f"Spark wrote {len(parts)} parts to {folder.name}; one was expected")
        source = self.hadoop.fs.Path(path, "/".join(parts[0]))
        target, target_path = self.at(place)
        copy = self.hadoop.fs.FileUtil.copy
        if not copy(filesystem, source, target, target_path, False, True, self.configuration):
            raise SystemExit(f"writing {place.name} failed")

    def delete(self, place, recursive=False):
        filesystem, path = self.at(place)
        filesystem.delete(path, recursive)


def read_plan(files, place):
    text = files.read(place)
    if text is None:
        raise SystemExit(f"cannot read the plan at {place.name}: it does not exist")
    plan = json.loads(text)
    if plan["schema_version"] != PLAN_SCHEMA_VERSION:
        raise SystemExit(
            f"the ETL plan has schema version {plan['schema_version']}, "
            f"this program runs {PLAN_SCHEMA_VERSION}"
        )
    return plan


def former_objects(files, plan, place):
    """What the report of the run before names: all that this run may delete."""
    text = files.read(place)
    if text is None:
        return []
    try:
        report = json.loads(text)
        pipeline, objects = report["pipeline"], report.get("objects", [])
        known = all(isinstance(report[count], int) for count in ("raw_rows", "clean_rows"))
        known = known and all(isinstance(name, str) for name in [pipeline, *objects])
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise SystemExit(f"{place.name} is there and is no report of a cleaning job")
    if pipeline != plan["pipeline"]:
        raise SystemExit(
            f"{place.name} is the report of the pipeline `{pipeline}`, "
            f"not of `{plan['pipeline']}`\n"
            "hint: two pipelines need two places"
        )
    return objects


def refuse_foreign(files, former, what, place, own_file):
    """Readers take every file below a prefix, so one that no run wrote would be read with them."""
    for parts in files.below(place):
        # Readers leave out names like `_SUCCESS` and `.part.crc`.
        hidden = any(part.startswith(("_", ".")) for part in parts)
        name = place.name + "/".join(parts)
        if not hidden and parts != [own_file] and name not in former:
            raise SystemExit(
                f"{name} was not written by this job, and would be read as part of its {what}\n"
                f"hint: choose an empty prefix as the {what}, or move that object away"
            )


def raw_view(spark, plan, place):
    """The CSV with every column a string, and `_row`, the number of the record from 1."""
    frame = (
        spark.read.option("header", True)
        .option("sep", plan["delimiter"])
        .option("quote", '"')
        .option("escape", '"')
        .option("multiLine", True)
        .option("mode", "FAILFAST")
        .option("inferSchema", False)
        .csv(place.address)
    )
    frame = frame.toDF(*[name.strip() for name in frame.columns])
    missing = [c["source"] for c in plan["columns"] if c["source"] not in frame.columns]
    if missing:
        raise SystemExit(
            f"{place.name}:1: column {', '.join(missing)} is missing; "
            f"the header has {', '.join(frame.columns)}"
        )
    for column in plan["columns"]:
        frame = frame.withColumnRenamed(column["source"], column["name"])
    fields = [StructField(c, StringType()) for c in frame.columns]
    schema = StructType([*fields, StructField("_row", LongType(), False)])
    numbered = frame.rdd.zipWithIndex().map(lambda pair: (*pair[0], pair[1] + 1))
    spark.createDataFrame(numbered, schema).cache().createOrReplaceTempView("raw")
    return spark.table("raw").count()


def judge(spark, plan, place):
    """Clean rows, rejected records, and the report about both, which must add up."""
    raw_rows = raw_view(spark, plan, place)
    if raw_rows == 0:
        raise SystemExit(f"{place.name}: the file has a header but no records")
    rejects = spark.sql(plan["rejects_sql"]).cache()
    by_rule = {row["_rule"]: row["count"] for row in rejects.groupBy("_rule").count().collect()}
    fatal = sorted(rule for rule in by_rule if rule in plan["fatal_rules"])
    if fatal:
        shown = rejects.where(rejects["_rule"].isin(fatal)).orderBy("_row").limit(10).collect()
        lines = [f"{place.name}: record {row['_row']}: {row['_reason']}" for row in shown]
        raise SystemExit("\n".join(lines))
    clean = spark.sql(plan["clean_sql"]).cache()
    report = {
        "pipeline": plan["pipeline"],
        "engine": f"spark {spark.version}",
        "raw_rows": raw_rows,
        "clean_rows": clean.count(),
        "rejected_rows": sum(by_rule.values()),
        "rejected_by_rule": by_rule,
        "objects": [],
    }
    if report["raw_rows"] != report["clean_rows"] + report["rejected_rows"]:
        raise SystemExit(
            f"the manifest's SQL must give one row per record and keep `_row`: {report}"
        )
    if report["clean_rows"] == 0:
        raise SystemExit(f"{place.name}: no record is left after cleaning ({raw_rows} in the file)")
    return clean, rejects, report


def write(files, places, clean, rejects, report):
    """Writes rejects and table; returns the addresses of what it wrote.

    Spark names its parts itself and needs a folder for each. That folder is beside the report and
    this run's own, so nobody reads half a table, and nothing else is deleted with it.
    """
    folder = Place(f"{places['report'].name}.writing-{uuid.uuid4()}", is_prefix=True)
    written = []
    try:
        if report["rejected_rows"] > 0:
            own = folder.join("rejects")
            rejects.coalesce(1).write.option("header", True).csv(own.address)
            written.append(places["rejects"].join(REJECTS_FILE))
            files.put(own, written[-1])
        # Snappy, because every reader of the table has it, Athena and the embedded engine included.
        own = folder.join("clean")
        clean.coalesce(1).write.option("compression", "snappy").parquet(own.address)
        written.append(places["output"].join(PART_FILE))
        files.put(own, written[-1])
    finally:
        files.delete(folder, recursive=True)
    return [place.name for place in written]


def delete_former(files, former, written, places):
    """Removes what the run before wrote and this one did not, and only below the own prefixes."""
    for address in former:
        file = Place(address)
        own = places["output"].contains(file) or places["rejects"].contains(file)
        if own and address not in written:
            files.delete(file)


def main():
    args = arguments()
    places = places_of(args)
    spark = SparkSession.builder.appName("steppe-clean").getOrCreate()
    files = Files(spark)
    plan = read_plan(files, places["plan"])
    former = former_objects(files, plan, places["report"])
    refuse_foreign(files, former, "output", places["output"], PART_FILE)
    refuse_foreign(files, former, "rejects", places["rejects"], REJECTS_FILE)

    read = files.object_of(places["input"])
    clean, rejects, report = judge(spark, plan, places["input"])
    report["input"] = read
    report["objects"] = write(files, places, clean, rejects, report)
    delete_former(files, former, report["objects"], places)
    files.write(places["report"], json.dumps(report, indent=2))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
