"""Cleaning job for AWS Glue and any Spark 3.5: runs an ETL plan with the plan's own SQL.

It decides nothing about the data: plan, input and places are arguments, and the embedded engine
runs the same plan with the same statements. Of places it thinks as that engine does, so that each
can go on where the other wrote: a table and its rejects are one file each, whose name is always the
same; what the report of the run before names and this run does not write again is deleted at the
end; anything else that lies there, or places that overlap, is an error before anything is written.

Plain PySpark and Hadoop's file systems, so that it also runs outside of Glue.
"""

import argparse
import csv
import json
import os.path
import re
import uuid

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.functions import expr
from pyspark.sql.types import LongType, StringType, StructField, StructType

PLAN_SCHEMA_VERSION = 3
# Titles and footnotes are cut off here, in the driver, whose memory holds the file for that.
CUT_BYTES_MAX = 256 * 1024 * 1024
NAME_CHARS_MAX = 200
FOOTNOTE_FIELDS_MAX = 2
# What Rust calls white space, and the mark of byte order.
AROUND = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
PART_FILE = "part-00000.parquet"
REJECTS_FILE = "part-00000.csv"
KEY_BYTES_MAX = 1024
CHARACTERS_REFUSED = "\\{}^%`[]\"<>~#|*?"
NO_TEXT = re.compile("[\0\ufffd]")
CONVERTS = "`cargo xtask deploy --data FILE` converts it and uploads CSV in UTF-8"
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

    def size(self, place):
        filesystem, path = self.at(place)
        return filesystem.getFileStatus(path).getLen()

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

    def beginning(self, place):
        """The first characters of a file, at most four of them."""
        filesystem, path = self.at(place)
        stream = filesystem.open(path)
        try:
            read = [stream.read() for _ in range(4)]
        finally:
            stream.close()
        return bytes(byte for byte in read if byte >= 0).decode("utf-8", "ignore")

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


def cut(files, plan, place, folder):
    """The place of the table alone: without the lines before its header and after its end."""
    if not plan["skip_lines"] and not plan["leave_out_footnotes"]:
        refuse_empty(plan, place, files.beginning(place).removeprefix("\ufeff"))
        return place
    size = files.size(place)
    if size > CUT_BYTES_MAX:
        raise SystemExit(
            f"{place.name} has {size} bytes; titles and footnotes are left out of files of at most "
            f"{CUT_BYTES_MAX}\nhint: delete them from the file, and `skip_lines` and `footnotes` "
            "from the manifest"
        )
    text = files.read(place).replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    lines = text.removesuffix("\n").split("\n")[plan["skip_lines"] :]
    refuse_empty(plan, place, "\n".join(lines[:1]) + "\n" if lines else "")
    end = table_end(plan, place, lines) if plan["leave_out_footnotes"] else len(lines)
    table = folder.join("table.csv")
    files.write(table, "\n".join(lines[:end]) + "\n")
    return table


def refuse_empty(plan, place, beginning):
    """Empty lines before the header would be left out without a word, and not by Athena."""
    if beginning[:1] in ("\r", "\n"):
        raise SystemExit(
            f"{place.name}: line {plan['skip_lines'] + 1} is empty\nhint: `[data] skip_lines` in "
            "the manifest says how many lines are before the header"
        )


def table_end(plan, place, lines):
    """How many lines the table has: up to one that is empty or has one field. What follows must
    not look like a record, so that a torn file does not pass for a shorter one."""
    records = csv.reader((line + "\n" for line in lines), delimiter=plan["delimiter"])
    csv.field_size_limit(CUT_BYTES_MAX)
    columns, end, next_line = 0, None, 0
    for fields in records:
        line, next_line = next_line, records.line_num
        filled = sum(bool(field.strip(AROUND)) for field in fields)
        if not columns:
            columns = len(fields)
            continue
        if end is None and filled <= 1:
            end = line
        note = len(fields) <= FOOTNOTE_FIELDS_MAX and len(fields) < columns
        if end is not None and filled > 1 and not note:
            number = plan["skip_lines"] + 1
            raise SystemExit(
                f"{place.name}: line {line + number}: a record follows, but line {end + number} "
                "ends the table: it is empty or has one field"
            )
    return len(lines) if end is None else end


class Defect(Exception):
    """What is wrong with a header or a record; whoever knows the file names it."""


def as_text(pair):
    """A numbered record. Spark puts U+FFFD where bytes are no UTF-8, which would change names."""
    fields, number = pair
    if any(NO_TEXT.search(field or "") for field in fields):
        where = f"record {number}: " if number else ""
        raise Defect(f"{where}the text is not UTF-8\nhint: {CONVERTS}")
    return pair


def column_names(header, columns):
    """Names of the columns of a header: the same rule as the embedded engine's."""
    names = [None] * len(header)
    for column in columns:
        index = position(header, column)
        if index is not None:
            names[index] = column["name"]
    taken = {column["name"] for column in columns}
    for index, field in enumerate(header):
        if names[index] is None:
            refuse_misleading(index + 1, field, columns)
            names[index] = free(plain(field, index + 1), taken)
            taken.add(names[index])
    return names


def position(header, column):
    """Where a column stands in a header: by its exact name, or else without regard to case."""
    wanted = column["source"].strip(AROUND)
    found = [i for i, field in enumerate(header) if field == wanted]
    if not found:
        found = [i for i, field in enumerate(header) if field.lower() == wanted.lower()]
    if len(found) > 1:
        first, second = found[:2]
        raise Defect(
            f"columns {first + 1} (`{header[first]}`) and {second + 1} (`{header[second]}`) of the "
            f"header are both the manifest's column `{column['name']}`\n"
            "hint: rename one of them in the file, or give the other's exact name as `source`"
        )
    return found[0] if found else None


def refuse_misleading(number, field, columns):
    if field.lower() == "_row":
        raise Defect(
            f"column {number} of the header is called `{field}`, as the number of the record is\n"
            "hint: rename the column in the file"
        )
    for column in columns:
        source = column["source"]
        if field.lower() == column["name"] != source.strip(AROUND).lower():
            raise Defect(
                f"column {number} of the header is called `{field}`, as the manifest calls the "
                f"column `{source}`\nhint: give `{source}` another `name` in the manifest, or "
                f"rename `{field}` in the file"
            )


def plain(field, number):
    words = re.sub("[^a-z0-9]", " ", re.sub("[A-Z]", lambda c: c[0].lower(), field)).split()
    return "_".join(words)[:NAME_CHARS_MAX] or f"column_{number}"


def free(name, taken):
    number, found = 2, name
    while found in taken:
        number, found = number + 1, f"{name}_{number}"
    return found


class Wide:
    """A table with periods as columns: each cell with a value becomes a record."""

    def __init__(self, header, names, wide):
        made = [wide["names"], wide["values"]]
        for index, name in enumerate(names):
            if name in made:
                raise Defect(
                    f"column {index + 1} of the header is called `{header[index]}`, as "
                    "`[data.wide]` calls what it makes\nhint: give `names` and `values` other "
                    "names, or rename the column in the file"
                )
        wanted = [{"source": name, "name": name} for name in wide["keep"]]
        keep = sorted({position(header, column) for column in wanted})
        others = [index for index in range(len(header)) if index not in keep]
        self.keep, self.missing = keep, set(wide["missing"])
        self.periods = [(index, header[index]) for index in others if header[index]]
        self.unnamed = [index for index in others if not header[index]]
        if not self.periods:
            raise Defect(
                "every column of the header is kept, so there is none to make records of\n"
                "hint: leave `[data.wide]` out of the manifest"
            )
        self.columns = [*(names[index] for index in keep), *made]

    def rows(self, fields, number):
        """The rows of a record, whose numbers say its number and the column."""
        if sum(bool((field or "").strip(AROUND)) for field in fields) <= 1:
            raise Defect(
                f"record {number}: one field is not empty, so this is no record of the table"
            )
        for index in self.unnamed:
            if (fields[index] or "").strip(AROUND):
                raise Defect(
                    f"record {number}: column {index + 1} has no name in the header and holds "
                    f"`{fields[index].strip(AROUND)}`"
                )
        kept, first = [fields[index] for index in self.keep], (number - 1) * len(self.periods) + 1
        for row, (index, period) in enumerate(self.periods, first):
            value = (fields[index] or "").strip(AROUND)
            if value and value not in self.missing:
                yield (*kept, period, fields[index], row)

    def origin(self, row):
        record, cell = divmod(row - 1, len(self.periods))
        return record + 1, self.periods[cell][1]


def views(spark, files, plan, place, folder):
    """The views `file` and `raw`; what tells the record and the column of a row.

    Spark's own reading of headers renames columns, so the header is read as a record.
    """
    table = cut(files, plan, place, folder)
    frame = (
        spark.read.option("header", False)
        .option("sep", plan["delimiter"])
        .option("quote", '"')
        .option("escape", '"')
        .option("multiLine", True)
        .option("mode", "FAILFAST")
        .option("inferSchema", False)
        .csv(table.address)
    )
    first = frame.first()
    header = [(field or "").strip(AROUND) for field in first] if first else []
    try:
        as_text((header, 0))
        names, wide = named(plan, header)
    except Defect as defect:
        raise SystemExit(f"{place.name}:{plan['skip_lines'] + 1}: {defect}") from None
    numbered = frame.rdd.zipWithIndex().filter(lambda pair: pair[1] > 0).map(as_text)
    if wide is None:
        rows = numbered.map(lambda pair: (*pair[0], pair[1]))
    else:
        rows = numbered.flatMap(lambda pair: wide.rows(pair[0], pair[1]))
        names = wide.columns
    fields = [StructField(name, StringType()) for name in names]
    schema = StructType([*fields, StructField("_row", LongType(), False)])
    spark.createDataFrame(rows, schema).cache().createOrReplaceTempView("file")
    raw = spark.table("file")
    for form in plan["forms"]:
        raw = raw.withColumn(form["column"], expr(form["sql"]))
    raw.createOrReplaceTempView("raw")
    return wide.origin if wide else lambda row: (row, None)


def named(plan, header):
    """Names of the columns, and how a wide table is read; what the plan asks for is there."""
    wide = plan["wide"]
    made = [wide["names"], wide["values"]] if wide else []
    sources = [c["source"] for c in plan["columns"] if c["name"] not in made]
    if not any(header):
        raise Defect(
            f"the file is empty; expected a header with the columns {', '.join(sources)}"
        )
    names = column_names(header, plan["columns"])
    missing = [c["source"] for c in plan["columns"] if c["name"] not in [*names, *made]]
    folded = [field.lower() for field in header]
    for name in wide["keep"] if wide else []:
        if name.strip(AROUND).lower() not in folded and name not in missing:
            missing.append(name)
    if missing:
        raise Defect(
            f"column {', '.join(f'`{name}`' for name in missing)} is missing; "
            f"the header has {', '.join(header)}"
        )
    return names, Wide(header, names, wide) if wide else None


def ask(spark, what, statement):
    """The result of a statement; one that Spark cannot read is told without its plan."""
    try:
        return spark.sql(statement)
    except (AnalysisException, ParseException) as error:
        raise SystemExit(f"{what} is not valid: {str(error).split(chr(10))[0]}") from None


def readable(place, error):
    """What Spark says of a record that it cannot read, without its own calls."""
    text = str(error)
    if found := re.search(r"\bDefect: (.*(?:\nhint: .*)?)", text):
        return f"{place.name}: {found[1]}"
    if found := re.search(r"Malformed records are detected in record parsing: (.*)", text):
        return f"{place.name}: a record has more or fewer fields than the header: {found[1]}"
    return None


def told(plan, origin, row):
    """What is told of a record that breaks a rule."""
    record, cell = origin(row["_row"])
    column = dict(plan["rule_columns"])[row["_rule"]]
    found = "no value" if row[column] is None else f"`{row[column]}`"
    if plan["wide"] and column in (plan["wide"]["names"], plan["wide"]["values"]):
        column = cell
    return f"record {record}: column `{column}`: {row['_reason']}; found {found}"


def newest(spark, plan):
    """The series whose newest records are rejected: their number, and the first of them."""
    if plan["newest_sql"] is None:
        return 0, []
    found = ask(spark, "the question for rejected newest records", plan["newest_sql"]).collect()
    names = ("series", "period", "records", "rule")
    return found[0]["_all"] if found else 0, [
        {name: row[f"_{name}"] for name in names} for row in found
    ]


def judge(spark, files, plan, place, folder):
    """Clean rows, rejected records, and the report about both, which must add up."""
    origin = views(spark, files, plan, place, folder)
    raw_rows = spark.table("file").count()
    if raw_rows == 0:
        raise SystemExit(f"{place.name}: the file has a header but no records")
    typed = ask(spark, "the cleaning SQL", plan["cleaning_sql"]).cache()
    typed.createOrReplaceTempView("typed")
    judged = ask(spark, "`when` of one of the manifest's rules", plan["judged_sql"]).cache()
    judged.createOrReplaceTempView("judged")
    counts = {row["_rule"]: row["count"] for row in judged.groupBy("_rule").count().collect()}
    clean_rows = counts.pop(None, 0)
    fatal = sorted(rule for rule in counts if rule in plan["fatal_rules"])
    rejects = ask(spark, "the rejected records", plan["rejects_sql"])
    if fatal:
        shown = rejects.where(rejects["_rule"].isin(fatal)).orderBy("_row").limit(10).collect()
        raise SystemExit("\n".join(f"{place.name}: {told(plan, origin, row)}" for row in shown))
    newest_count, newest_shown = newest(spark, plan) if counts else (0, [])
    report = {
        "pipeline": plan["pipeline"],
        "engine": f"spark {spark.version}",
        "raw_rows": raw_rows,
        "clean_rows": clean_rows,
        "rejected_rows": sum(counts.values()),
        "rejected_by_rule": counts,
        "rejected_newest_count": newest_count,
        "rejected_newest": newest_shown,
        "objects": [],
    }
    if report["raw_rows"] != report["clean_rows"] + report["rejected_rows"]:
        raise SystemExit(
            f"the manifest's SQL must give one row per record and keep `_row`: {report}"
        )
    if report["clean_rows"] == 0:
        raise SystemExit(f"{place.name}: no record is left after cleaning ({raw_rows} in the file)")
    return ask(spark, "the clean table", plan["clean_sql"]), rejects, report


def write(files, places, folder, clean, rejects, report):
    """Writes rejects and table; returns the addresses of what it wrote.

    Spark names its parts itself and needs a folder for each.
    """
    written = []
    if report["rejected_rows"] > 0:
        own = folder.join("rejects")
        # A quote in a value is written twice, as all readers expect; Spark writes a backslash.
        writer = rejects.coalesce(1).write.option("header", True).option("escape", '"')
        writer.csv(own.address)
        written.append(places["rejects"].join(REJECTS_FILE))
        files.put(own, written[-1])
    # Snappy, because every reader of the table has it, Athena and the embedded engine included.
    own = folder.join("clean")
    clean.coalesce(1).write.option("compression", "snappy").parquet(own.address)
    written.append(places["output"].join(PART_FILE))
    files.put(own, written[-1])
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
    # Beside the report and this run's own: nobody reads half a table, and nothing else is deleted
    # with it.
    folder = Place(f"{places['report'].name}.writing-{uuid.uuid4()}", is_prefix=True)
    try:
        clean, rejects, report = judge(spark, files, plan, places["input"], folder)
        report["input"] = read
        report["objects"] = write(files, places, folder, clean, rejects, report)
    except (Py4JJavaError, PySparkException) as error:
        said = readable(places["input"], error)
        if said is None:
            raise
        raise SystemExit(said) from None
    finally:
        files.delete(folder, recursive=True)
    delete_former(files, former, report["objects"], places)
    files.write(places["report"], json.dumps(report, indent=2))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
