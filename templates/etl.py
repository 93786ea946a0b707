"""Cleaning job for AWS Glue and any Spark 3.5: runs an ETL plan with the plan's own SQL.

It decides nothing about the data: the plan says what is read, judged, made and written, and the
embedded engine runs the same plan with the same statements. Of places it thinks as that engine
does, so that each can go on where the other wrote: files of tables have the same names; what the
report of the run before names and this run does not write again is deleted at the end; anything
else that lies there, or places that overlap, is an error before anything is written.

Plain PySpark and Hadoop's file systems, so that it also runs outside of Glue.
"""

import argparse
import csv
import functools
import json
import math
import os.path
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType, StructField, StructType

PLAN_SCHEMA_VERSION = 4
# What cannot be computed is an error, and a time is the same on every machine.
SETTINGS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.avro.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.avro.datetimeRebaseModeInWrite": "CORRECTED",
    # Otherwise a record with too few or many fields is none when not all columns are asked for.
    "spark.sql.csv.parser.columnPruning.enabled": "false",
    "spark.sql.csv.filterPushdown.enabled": "false",
}
# What one task has to do, and what one file of a table has, in bytes of the input.
PART_BYTES = 128 * 1024 * 1024
# Titles and footnotes are cut off here, in the driver, whose memory holds the file for that.
CUT_BYTES_MAX = 256 * 1024 * 1024
OBJECTS_MAX = 100_000
# A header is in the first bytes of a file; most headers are in the first few.
HEADER_BYTES = (64 * 1024, 4 * 1024 * 1024)
CALLS_AT_ONCE = 16
KEYS_MAX = 4096
SHOWN_MAX = 10
RECORD_CHARS_SHOWN = 200
# `_row` is the number of the file and of the row in it.
ROW_BITS = 40
NAME_CHARS_MAX = 200
FOOTNOTE_FIELDS_MAX = 2
# What Rust calls white space, and the mark of byte order.
AROUND = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
KEY_BYTES_MAX = 1024
CHARACTERS_REFUSED = "\\{}^%`[]\"<>~#|*?"
NO_TEXT = "[\\x00\\x{fffd}]"
CONVERTS = "`cargo xtask deploy --data FILE` converts it and uploads CSV in UTF-8"
BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
SCHEME = "^[a-z0-9]+:/+"
PART = re.compile(r"part-[0-9]{5}\.([a-z]+)")
GZIP, ZSTD, SEQUENCE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"SEQ\x06"
# What files are, by their first bytes.
MARKS = {
    GZIP: "compressed by gzip",
    ZSTD: "compressed by Zstandard",
    b"PK\x03\x04": "a workbook or another archive",
    b"\xd0\xcf\x11\xe0": "a workbook of an old kind",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    SEQUENCE: "a Hadoop sequence file",
}
# Bytes in which the names of classes of a sequence file are.
SEQUENCE_BEGIN_BYTES = 64 * 1024
HADOOP = "org.apache.hadoop.io."
# Spark makes keys of these, though nobody looks at them.
SEQUENCE_KEYS = (
    *("BooleanWritable", "ByteWritable", "BytesWritable", "DoubleWritable", "FloatWritable"),
    *("IntWritable", "LongWritable", "NullWritable", "ShortWritable", "Text", "VIntWritable"),
    "VLongWritable",
)
SEQUENCE_VALUES = {HADOOP + "Text": "text", HADOOP + "BytesWritable": "bytes"}
SEQUENCE_CODECS = ("DefaultCodec", "DeflateCodec", "GzipCodec", "SnappyCodec", "Lz4Codec")
TYPED = {"parquet": "a Parquet file", "avro": "an Avro file", "orc": "an ORC file"}
# Types of files as this job has them.
PLAIN = {
    "tinyint": "bigint",
    "smallint": "bigint",
    "int": "bigint",
    "float": "double",
    "binary": "string",
    "void": "string",
    "timestamp_ntz": "timestamp",
}
AVRO = {
    "string": "string",
    "int": "int",
    "bigint": "long",
    "double": "double",
    "boolean": "boolean",
    "date": {"type": "int", "logicalType": "date"},
    "timestamp": {"type": "long", "logicalType": "timestamp-millis"},
}


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


class Places:
    """The job's places, all below the plan's root. What is written must not lie in anything else
    that is read or written."""

    def __init__(self, plan):
        root = plan["root"].rstrip("/")
        prefix = functools.partial(self.prefix, root)
        inputs = plan["inputs"]
        self.files = {i["name"]: prefix(i["prefix"]) for i in inputs}
        self.rejects = {i["name"]: prefix(i["rejects"]) for i in inputs}
        made = [*inputs, *plan["tables"]]
        self.outputs = {t["name"]: prefix(t["output"]["prefix"]) for t in made}
        self.report = Place(f"{root}/{plan['report']}")
        formats = [(f"table {t['name']}", t["name"], t["output"]["format"]) for t in made]
        self.written = [(what, self.outputs[name], form) for what, name, form in formats]
        rejects = self.rejects.items()
        self.written += [(f"rejects of {name}", place, "csv") for name, place in rejects]
        self.refuse_overlaps()

    @staticmethod
    def prefix(root, below):
        return Place(f"{root}/{below}", is_prefix=True)

    def refuse_overlaps(self):
        written = [(what, place) for what, place, _ in self.written] + [("report", self.report)]
        places = written + [("input", place) for place in self.files.values()]
        for index, (one, place) in enumerate(written):
            for other, second in places[index + 1 :]:
                if place.overlaps(second):
                    raise SystemExit(
                        f"the {one} {place.name} and the {other} {second.name} overlap\n"
                        "hint: give each a prefix of its own"
                    )


class Files:
    """Hadoop's file systems: EMRFS or S3A on Glue, the local one elsewhere."""

    def __init__(self, spark):
        self.hadoop = spark._jvm.org.apache.hadoop
        self.io = spark._jvm.org.apache.commons.io
        self.configuration = spark._jsc.hadoopConfiguration()
        self.codecs = self.hadoop.io.compress.CompressionCodecFactory(self.configuration)

    def at(self, place):
        path = self.hadoop.fs.Path(place.address)
        filesystem = path.getFileSystem(self.configuration)
        # On a disk Hadoop writes a checksum beside each file, and the other engine renews none.
        filesystem.setWriteChecksum(False)
        filesystem.setVerifyChecksum(False)
        return filesystem, path

    def open(self, place, unpacks=False):
        """A file from its beginning, or what a codec makes of one with the name of compressed."""
        filesystem, path = self.at(place)
        codec = self.codecs.getCodec(path) if unpacks else None
        stream = filesystem.open(path)
        return stream if codec is None else codec.createInputStream(stream)

    def begin(self, place, size, unpacks=False):
        stream = self.open(place, unpacks)
        try:
            return bytes(stream.readNBytes(size))
        finally:
            stream.close()

    def read(self, place):
        """The text of a file; `None` when it is not there."""
        filesystem, path = self.at(place)
        if not filesystem.exists(path):
            return None
        stream = filesystem.open(path)
        try:
            return self.io.IOUtils.toString(stream, "UTF-8")
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
        """Names below a prefix and states of all files there; no mark of a folder."""
        filesystem, path = self.at(place)
        if not filesystem.exists(path):
            return
        root = filesystem.makeQualified(path).toUri().getPath().rstrip("/") + "/"
        found = filesystem.listFiles(path, True)
        while found.hasNext():
            status = found.next()
            name = status.getPath().toUri().getPath().removeprefix(root)
            if name and not name.endswith("/"):
                yield name, status

    def put(self, folder, place, form):
        """Gives the parts that Spark wrote into `folder` their names in a table.

        A copy through a stream: S3 shows the old object until the new one is whole, where a
        renaming would need the old one deleted before.
        """
        filesystem, path = self.at(folder)
        parts = sorted(name for name, _ in self.below(folder) if name.startswith("part-"))
        pairs = [(part, place.join(f"part-{n:05}.{form}")) for n, part in enumerate(parts)]

        def copy(pair):
            part, goal = pair
            source, (target, target_path) = self.hadoop.fs.Path(path, part), self.at(goal)
            copy = self.hadoop.fs.FileUtil.copy
            if not copy(filesystem, source, target, target_path, False, True, self.configuration):
                raise SystemExit(f"writing {goal.name} failed")
            return goal.name

        return at_once(copy, pairs)

    def delete(self, place, recursive=False):
        filesystem, path = self.at(place)
        filesystem.delete(path, recursive)


def at_once(work, things):
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return list(pool.map(work, things))


def is_hidden(name):
    """Readers leave out names like `_SUCCESS` and `.part.crc`."""
    return any(part.startswith(("_", ".")) for part in name.split("/"))


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
        known = isinstance(report["inputs"], list) and isinstance(report["engine"], str)
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


def refuse_foreign(files, former, written):
    """Readers take every file below a prefix, so one that no run wrote would be read with them."""
    for what, place, form in written:
        for below, _ in files.below(place):
            name, part = place.name + below, PART.fullmatch(below)
            own = (part and part[1] == form) or name in former
            if not own and not is_hidden(below):
                raise SystemExit(
                    f"{name} was not written by this job, and would be read as part of the {what}\n"
                    "hint: choose an empty prefix, or move that object away"
                )


def bare(status):
    """The URI of a file without its scheme, which is written in several ways."""
    return re.sub(SCHEME, "", status.getPath().toUri().toString())


class Object:
    """A file of an input: its number among them by name, and the URI that Spark calls it."""

    def __init__(self, index, place, below, status):
        self.index, self.place, self.below = index, place, below
        self.uri = bare(status)
        self.source, self.wide = place, None
        # As Hadoop itself calls it; and what the values of a sequence file are.
        self.path, self.values = re.sub(SCHEME, "", status.getPath().toString()), None


def objects_of(files, prefix):
    """The files below a prefix, in the order of their names, and what they were when listed."""
    found = sorted((e for e in files.below(prefix) if not is_hidden(e[0])), key=lambda e: e[0])
    if not found:
        raise SystemExit(
            f"there are no files at {prefix.name}\n"
            "hint: `cargo xtask deploy --data FILE` uploads them"
        )
    if len(found) > OBJECTS_MAX:
        raise SystemExit(f"{prefix.name} has more than {OBJECTS_MAX} files")
    objects, size, modified = [], 0, 0
    for index, (name, status) in enumerate(found):
        place = Place(prefix.address + "/" + name)
        place.name = prefix.name + name
        objects.append(Object(index, place, name, status))
        size += status.getLen()
        modified = max(modified, status.getModificationTime() // 1000)
    return objects, {"objects": len(found), "bytes": size, "modified": modified}


def check_kind(files, plan, file):
    """Refuses a file that is not what the manifest says, or not by its name what Spark needs."""
    name, form = file.place.name, plan["format"]
    begin = files.begin(file.place, 8)
    told = next((told for mark, told in MARKS.items() if begin.startswith(mark)), "text")
    in_sequence = plan.get("container") == "sequence"
    if not begin and (form != "csv" or in_sequence):
        raise SystemExit(f"{name}: the file is empty")
    if in_sequence:
        if told != MARKS[SEQUENCE]:
            raise SystemExit(
                f"{name}: the file is {told}\nhint: leave `container` out of the input in the "
                "manifest, or give files that Hadoop wrote as sequence files"
            )
        file.values = sequence_values(name, files.begin(file.place, SEQUENCE_BEGIN_BYTES))
        return
    if form in TYPED:
        if told != TYPED[form]:
            raise SystemExit(
                f"{name}: the file is {told}; the manifest says `format = \"{form}\"`\n"
                "hint: set `format` of the input to what its files are"
            )
        return
    packs = files.codecs.getCodec(files.hadoop.fs.Path(file.place.address)) is not None
    if begin.startswith(GZIP) != (packs and name.lower().endswith(".gz")):
        raise SystemExit(
            f"{name}: Spark goes by the name, and the file is {told}\n"
            "hint: the names of files that are compressed by gzip end in `.gz`, and of no others"
        )
    if packs and not begin.startswith(GZIP) or begin.startswith(ZSTD):
        raise SystemExit(
            f"{name}: the file is {told}, which Spark does not read as text\n"
            "hint: compress it by gzip, with a name that ends in `.gz`"
        )
    # A header may begin with the letters of the other two.
    if told not in ("text", MARKS[GZIP], TYPED["parquet"], TYPED["orc"]):
        raise SystemExit(f"{name}: the file is {told}\nhint: {CONVERTS}")


def sequence_values(name, begin):
    """What the values of a sequence file are, by its header."""

    def text(at):
        """A text behind its length, which has one byte, or says how many bytes it has."""
        size, after = begin[at], at + 1
        if size > 0x7F:
            after += max(0, 0x90 - size)
            size = int.from_bytes(begin[at + 1 : after], "big")
        if after + size > len(begin) or not size:
            raise IndexError
        return begin[after : after + size].decode(), after + size

    try:
        key, at = text(len(SEQUENCE))
        value, at = text(at)
        codec = text(at + 2)[0] if begin[at] else None
    except (IndexError, UnicodeDecodeError):
        raise SystemExit(f"{name}: the header is damaged") from None
    if not key.startswith(HADOOP) or key.removeprefix(HADOOP) not in SEQUENCE_KEYS:
        raise SystemExit(
            f"{name}: the keys are of the class `{key}`, which is not read\n"
            f"hint: keys are left out; write `{HADOOP}NullWritable` for each"
        )
    if value not in SEQUENCE_VALUES:
        raise SystemExit(
            f"{name}: the values are of the class `{value}`, which is not read\n"
            f"hint: write a record of CSV or JSON into each value, as `{HADOOP}Text`"
        )
    if codec and codec.removeprefix(HADOOP + "compress.") not in SEQUENCE_CODECS:
        raise SystemExit(
            f"{name}: the records are compressed by `{codec}`, which is not read\nhint: write the "
            "file with `DefaultCodec`, `GzipCodec`, `SnappyCodec` or `Lz4Codec`"
        )
    return SEQUENCE_VALUES[value]


class Defect(Exception):
    """What is wrong with a header or a record; whoever knows the file names it."""


def text_of(name, read, is_whole):
    """Bytes of text with one kind of ends of lines."""
    try:
        text = read.decode("utf-8")
    except UnicodeDecodeError as error:
        if is_whole or error.end < len(read) or error.reason != "unexpected end of data":
            line = 1 + read[: error.start].count(b"\n")
            said = f"the text is not UTF-8 (line {line})\nhint: {CONVERTS}"
            raise SystemExit(f"{name}: {said}") from None
        text = read[: error.start].decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")


def header_of(files, csv_plan, file):
    """The fields of the header of a file that needs no cutting."""
    for size in HEADER_BYTES:
        read = files.begin(file.place, size, unpacks=True)
        text = text_of(file.place.name, read, len(read) < size)
        lines = text.split("\n")
        fields, used = first_record(csv_plan, file, lines)
        if used < len(lines) - 1 or len(read) < size:
            return fields
    raise SystemExit(f"{file.place.name}: the header has more than {HEADER_BYTES[-1]} bytes")


def first_record(csv_plan, file, lines):
    """Fields of the first record, and how many lines it has. Empty lines before it would be left
    out without a word, and not by Athena."""
    if len(lines) > 1 and not lines[0]:
        raise SystemExit(
            f"{file.place.name}: line {csv_plan['skip_lines'] + 1} is empty\nhint: `skip_lines` in "
            "the manifest says how many lines are before the header"
        )
    csv.field_size_limit(CUT_BYTES_MAX)
    records = csv.reader((line + "\n" for line in lines), delimiter=csv_plan["delimiter"])
    fields = next(records, []) if any(lines) else []
    return [field.strip(AROUND) for field in fields], records.line_num


def cut(files, csv_plan, file, folder):
    """Puts the table alone, without the lines before its header and after its end, into a file of
    its own; the fields of its header."""
    stream = files.open(file.place, unpacks=True)
    try:
        bounded = files.io.input.BoundedInputStream(stream, CUT_BYTES_MAX + 1)
        read = bytes(bounded.readAllBytes())
    finally:
        stream.close()
    if len(read) > CUT_BYTES_MAX:
        raise SystemExit(
            f"{file.place.name} has more than {CUT_BYTES_MAX} bytes; titles and footnotes are left "
            "out of files of at most that\nhint: delete them from the file, and `skip_lines` and "
            "`footnotes` from the manifest"
        )
    text = text_of(file.place.name, read, True)
    lines = text.removesuffix("\n").split("\n")[csv_plan["skip_lines"] :]
    fields, _ = first_record(csv_plan, file, [*lines, ""])
    whole = not csv_plan["leave_out_footnotes"]
    end = len(lines) if whole else table_end(csv_plan, file.place, lines)
    table = folder.join(f"table-{file.index}.csv")
    files.write(table, "\n".join(lines[:end]) + "\n")
    filesystem, path = files.at(table)
    file.uri, file.source = bare(filesystem.getFileStatus(path)), table
    return fields


def table_end(csv_plan, place, lines):
    """How many lines the table has: up to one that is empty or has one field. What follows must
    not look like a record, so that a torn file does not pass for a shorter one."""
    records = csv.reader((line + "\n" for line in lines), delimiter=csv_plan["delimiter"])
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
            number = csv_plan["skip_lines"] + 1
            raise SystemExit(
                f"{place.name}: line {line + number}: a record follows, but line {end + number} "
                "ends the table: it is empty or has one field"
            )
    return len(lines) if end is None else end


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


def trimmed(column):
    return F.btrim(F.coalesce(column, F.lit("")), F.lit(AROUND))


def refused(file, number, *told):
    """An expression that stops the job, as the embedded engine's reader stops."""
    texts = [part if not isinstance(part, str) else F.lit(part) for part in told]
    where = [F.lit("Defect "), file.cast("string"), F.lit(": record "), number.cast("string")]
    return F.raise_error(F.concat(*where, F.lit(": "), *texts))


class Wide:
    """A table with periods as columns: each cell with a value becomes a record."""

    def __init__(self, header, names, wide):
        made = [wide["names"], wide["values"]]
        for index, name in enumerate(names):
            if name in made:
                raise Defect(
                    f"column {index + 1} of the header is called `{header[index]}`, as "
                    "`wide` calls what it makes\nhint: give `names` and `values` other "
                    "names, or rename the column in the file"
                )
        wanted = [{"source": name, "name": name} for name in wide["keep"]]
        keep = sorted({position(header, column) for column in wanted})
        others = [index for index in range(len(header)) if index not in keep]
        self.keep, self.missing, self.made = keep, wide["missing"], made
        self.periods = [(index, header[index]) for index in others if header[index]]
        self.unnamed = [index for index in others if not header[index]]
        if not self.periods:
            raise Defect(
                "every column of the header is kept, so there is none to make records of\n"
                "hint: leave `wide` out of the manifest"
            )
        self.names = names

    def rows(self, records, fields):
        """A row for each cell with a value, whose number says the record's and the column's."""
        file, number = F.col("_index"), F.col("_number")
        cells = [
            F.struct(F.lit(at).alias("at"), F.lit(name).alias("name"), fields[index].alias("value"))
            for at, (index, name) in enumerate(self.periods)
        ]
        has_value = lambda cell: (trimmed(cell["value"]) != "") & ~trimmed(cell["value"]).isin(
            self.missing
        )
        kind = "array<struct<at:int,name:string,value:string>>"
        found = F.filter(F.array(*cells), has_value).cast(kind)
        filled = functools.reduce(
            lambda a, b: a + b, [F.when(trimmed(f) != "", 1).otherwise(0) for f in fields]
        )
        told = "one field is not empty, so this is no record of the table"
        checked = odd_record(fields, kind).when(filled <= 1, refused(file, number, told).cast(kind))
        for index in self.unnamed:
            told = f"column {index + 1} has no name in the header and holds `"
            odd = refused(file, number, told, trimmed(fields[index]), "`").cast(kind)
            checked = checked.when(trimmed(fields[index]) != "", odd)
        kept = [fields[index].alias(self.names[index]) for index in self.keep]
        exploded = records.select(
            *kept, file, number, F.explode(checked.otherwise(found)).alias("_cell")
        )
        made = [F.col("_cell.name").alias(self.made[0]), F.col("_cell.value").alias(self.made[1])]
        row = (number - 1) * len(self.periods) + F.col("_cell.at") + 1
        names = [F.col(f"`{self.names[index]}`") for index in self.keep]
        return exploded.select(*names, *made, row_number(file, row).alias("_row"))

    def origin(self, row):
        record, cell = divmod(row - 1, len(self.periods))
        return record + 1, self.periods[cell][1]


def odd_record(fields, kind, record="_corrupt", than="the header"):
    """Stops at a record that is none of the table, or not text: Spark puts U+FFFD where bytes are
    no UTF-8, which would change names."""
    file, number = F.col("_index"), F.col("_number")
    told = f"the record has more or fewer fields than {than}: "
    other = refused(file, number, told, F.substring(record, 1, RECORD_CHARS_SHOWN))
    bad = refused(file, number, f"the text is not UTF-8\nhint: {CONVERTS}")
    found = F.when(F.col("_corrupt").isNotNull(), other.cast(kind))
    return found.when(F.concat_ws("", *fields).rlike(NO_TEXT), bad.cast(kind))


def row_number(file, number):
    return F.shiftleft(file.cast("bigint"), ROW_BITS) + number.cast("bigint")


def named(plan, header):
    """Names of the columns, and how a wide table is read; what the plan asks for is there."""
    wide = plan["csv"]["wide"]
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


def refuse_other_columns(first, file, wanted, found):
    """Files of an input have the same columns, in whatever order."""
    called, hint = first.place.name, "hint: the files of an input have the same columns"
    for name in found:
        if name not in wanted:
            said = f"the file has a column `{name}`, and {called} has none of that name"
            raise SystemExit(f"{file.place.name}: {said}\n{hint}")
    for name, kind in wanted.items():
        if name not in found:
            said = f"the file has no column `{name}`, and {called} has one"
            raise SystemExit(f"{file.place.name}: {said}\n{hint}")
        if found[name] != kind:
            said = f"column `{name}` is {found[name]} in the file and {kind} in {called}"
            raise SystemExit(f"{file.place.name}: {said}")


def numbered(spark, frame, columns, objects, by_index=False):
    """Records of a format that Spark reads, with the number of their file and their own in it."""
    metadata = ("file_path", "file_block_start")
    own = [F.col(f"_metadata.{name}").alias(f"_{name}") for name in metadata]
    own.append(F.col("_metadata.row_index").alias("_at") if by_index else F.lit(0).alias("_at"))
    names = [(file.uri, file.index) for file in objects]
    return counted(spark, frame.select(*columns, *own), names, by_index)


def counted(spark, frame, names, by_index=False):
    """Rows that know their file and its split, with the number of the file and their own in it.

    A file's splits are in order of their places in it, and in a split rows are in order of their
    numbers.
    """
    lookup = F.broadcast(spark.createDataFrame(names, "_path string, _file int"))
    frame = frame.withColumn("_id", F.monotonically_increasing_id())
    bare_path = F.regexp_replace("_file_path", SCHEME, "")
    frame = frame.join(lookup, bare_path == lookup["_path"], "left")
    lost = F.raise_error(F.concat(F.lit("no file is called "), F.col("_file_path"))).cast("int")
    frame = frame.withColumn("_index", F.coalesce("_file", lost))
    order = Window.partitionBy("_index").orderBy("_file_block_start", "_id")
    counted = F.count(F.lit(1)).over(order.rowsBetween(Window.unboundedPreceding, 0))
    number = F.col("_at") + 1 if by_index else counted
    return frame.withColumn("_number", number.cast("bigint"))


def escaped(file):
    """An address that Spark does not take for a pattern."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", file.source.address)


def grouped(objects, kinds):
    """Files that are read alike, together."""
    groups = {}
    for file, kind in zip(objects, kinds):
        groups.setdefault(json.dumps(kind), []).append(file)
    return [(json.loads(kind), files) for kind, files in groups.items()]


def csv_records(spark, files, plan, objects, folder):
    """The view `file` of CSV. Spark's own reading of headers renames columns, so headers are read
    here, and left out there."""
    csv_plan = plan["csv"] = {"wide": None, **plan["csv"]}
    if csv_plan["skip_lines"] or csv_plan["leave_out_footnotes"]:
        headers = [cut(files, csv_plan, file, folder) for file in objects]
    else:
        headers = at_once(lambda file: header_of(files, csv_plan, file), objects)
    tables, wanted = [], None
    for header, group in grouped(objects, headers):
        try:
            names, wide = named(plan, header)
        except Defect as defect:
            line = csv_plan["skip_lines"] + 1
            raise SystemExit(f"{group[0].place.name}: line {line}: {defect}") from None
        columns = [*(names[i] for i in wide.keep), *wide.made] if wide else names
        wanted = wanted or columns
        kinds = [dict.fromkeys(each, "string") for each in (wanted, columns)]
        refuse_other_columns(objects[0], group[0], *kinds)
        for file in group:
            file.wide = wide
        tables.append(csv_group(spark, csv_plan, names, wide, group).select(*wanted, "_row"))
    return functools.reduce(lambda a, b: a.unionByName(b), tables)


def csv_options(csv_plan):
    """How Spark splits records, with the whole of one that is none in `_corrupt`."""
    return {
        "sep": csv_plan["delimiter"],
        "quote": '"',
        "escape": '"',
        "unescapedQuoteHandling": "RAISE_ERROR",
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "_corrupt",
    }


def csv_group(spark, csv_plan, names, wide, group):
    """Records of files with one header."""
    own = [f"c{index}" for index in range(len(names))]
    schema = StructType([StructField(name, StringType()) for name in [*own, "_corrupt"]])
    reader = spark.read.schema(schema).options(**csv_options(csv_plan), header=False)
    frame = reader.option("multiLine", True).csv([escaped(file) for file in group])
    records = numbered(spark, frame, [*own, "_corrupt"], group).where("_number > 1")
    records = records.withColumn("_number", F.col("_number") - 1)
    # In quotes, ends of lines are those of the file.
    end = F.lit("\n")
    fields = [F.replace(F.replace(F.col(c), F.lit("\r\n"), end), F.lit("\r"), end) for c in own]
    if wide:
        return wide.rows(records, fields)
    file, number = F.col("_index"), F.col("_number")
    row = odd_record(fields, "bigint").otherwise(row_number(file, number)).alias("_row")
    return records.select(*(f.alias(name) for f, name in zip(fields, names)), row)


def parsed(index, number, line):
    """The keys and values of a line of JSON, numbers as they are written."""

    def pairs(found):
        names = [name for name, _ in found]
        if len(set(names)) < len(names):
            raise ValueError("a key is there twice")
        return dict(found)

    def constant(name):
        raise ValueError(f"`{name}` is no value of JSON")

    hooks = {"parse_int": str, "parse_float": str, "parse_constant": constant}
    try:
        if "\ufffd" in line:
            raise ValueError("the text is not UTF-8")
        found = json.loads(line.strip("\ufeff \t\r\n"), object_pairs_hook=pairs, **hooks)
        if not isinstance(found, dict):
            raise ValueError("expected an object")
    except ValueError as error:
        raise Defect(
            f"{index}: record {number}: {error}\nhint: each line must be one whole object; "
            "`jq -c .` writes objects so, and `jq -c '.[]'` those of an array"
        ) from None
    return found


def json_keys(rows):
    """The keys of each file, with the record and the place in it where each is first."""
    keys = {}
    for index, number, line in rows:
        for at, key in enumerate(parsed(index, number, line)):
            keys.setdefault((index, key), (number, at))
        if len(keys) > KEYS_MAX:
            raise Defect(
                f"{index}: the objects have more than {KEYS_MAX} different keys\n"
                "hint: keys are columns; make values of keys that name things"
            )
    return keys.items()


def json_rows(keys, rows):
    """The values of the wanted keys of each file, as text."""
    for index, number, line in rows:
        found, values = parsed(index, number, line), []
        for key in keys[index]:
            value = found.get(key)
            if isinstance(value, (dict, list)):
                raise Defect(
                    f"{index}: record {number}: column `{key}`: the value is nested, which is "
                    "not read\nhint: leave the column out of the manifest, or make columns of its "
                    "values"
                )
            values.append(str(value).lower() if isinstance(value, bool) else value)
        yield (*values, (index << ROW_BITS) + number)


def wanted_of(columns, file, header, what="the file"):
    """Names in a file of the columns of the plan."""
    fields = [field.strip(AROUND) for field in header]
    try:
        found = [position(fields, column) for column in columns]
    except Defect as defect:
        raise SystemExit(f"{file.place.name}: {defect}") from None
    missing = [c["source"].strip(AROUND) for c, at in zip(columns, found) if at is None]
    if missing:
        raise SystemExit(
            f"{file.place.name}: column {', '.join(f'`{name}`' for name in missing)} is missing; "
            f"{what} has {', '.join(fields)}"
        )
    return [header[at] for at in found]


def json_records(spark, files, plan, objects, folder):
    """The view `file` of JSON lines. Spark 3.5 writes numbers anew when it reads them as text, and
    leaves out what it has no column for, so lines are read here."""
    frame = spark.read.option("lineSep", "\n").text([escaped(file) for file in objects])
    frame = frame.where(F.btrim(F.col("value"), F.lit(" \t\r\n\f\ufeff")) != "")
    return json_table(spark, plan, objects, numbered(spark, frame, ["value"], objects))


def json_table(spark, plan, objects, lines):
    """The view `file` of lines of JSON with their numbers."""
    lines = lines.select("_index", "_number", "value").cache().rdd
    keys = {file.index: {} for file in objects}
    first = lines.mapPartitions(json_keys).reduceByKey(min).collect()
    for (index, key), place in sorted(first, key=lambda each: each[1]):
        keys[index][key] = place
    columns, wanted = plan["columns"], {}
    for file in objects:
        own = keys[file.index]
        # A file without objects has no column to lack.
        wanted[file.index] = wanted_of(columns, file, list(own)) if own else []
        refuse_two_keys(columns, file, own, wanted[file.index])
    fields = [StructField(column["name"], StringType()) for column in columns]
    schema = StructType([*fields, StructField("_row", LongType(), False)])
    rows = lines.mapPartitions(functools.partial(json_rows, wanted))
    return spark.createDataFrame(rows, schema, verifySchema=False)


def refuse_two_keys(columns, file, keys, wanted):
    """A column of which some objects have one key and some another would lose values."""
    for column, own in zip(columns, wanted):
        for key in keys:
            same = key != own and key.strip(AROUND).lower() == own.strip(AROUND).lower()
            if same and keys[key][0] < keys[own][0]:
                raise SystemExit(
                    f"{file.place.name}: the key `{own}` is the manifest's column "
                    f"`{column['name']}`, as the key `{key}` was before\n"
                    "hint: rename one of them in the file"
                )


def typed_records(spark, files, plan, objects, folder):
    """The view `file` of a format with types."""
    form, columns, tables = plan["format"], plan["columns"], []
    schemas = at_once(
        lambda f: json.loads(spark.read.format(form).load(escaped(f)).schema.json()), objects
    )
    first = None
    for schema, group in grouped(objects, schemas):
        schema = StructType.fromJson(schema)
        names = wanted_of(columns, group[0], schema.names)
        kinds = [schema[name].dataType.simpleString() for name in names]
        found = {c["name"]: PLAIN.get(k, k) for c, k in zip(columns, kinds)}
        check_types(columns, group[0], found)
        first = first or found
        refuse_other_columns(objects[0], group[0], first, found)
        paths = [escaped(file) for file in group]
        frame = spark.read.format(form).schema(schema).load(paths)
        own = [F.col(f"`{name}`").alias(f"c{index}") for index, name in enumerate(names)]
        records = numbered(spark, frame, own, group, by_index=form == "parquet")
        file, number = F.col("_index"), F.col("_number")
        row = row_number(file, number)
        for index, kind in enumerate(kinds):
            if kind == "binary":
                back = F.encode(F.decode(F.col(f"c{index}"), "UTF-8"), "UTF-8")
                told = f"column `{columns[index]['name']}`: the bytes are no text in UTF-8"
                odd = refused(file, number, told).cast("bigint")
                row = F.when(back != F.col(f"c{index}"), odd).otherwise(row)
        values = [
            F.col(f"c{index}").cast(found[column["name"]]).alias(column["name"])
            for index, column in enumerate(columns)
        ]
        tables.append(records.select(*values, row.alias("_row")))
    return functools.reduce(lambda a, b: a.unionByName(b), tables)


def check_types(columns, file, found):
    """What would have to be converted is for a pipeline's own SQL to say how."""
    others = {
        "bigint": ("int", "bigint", "double"),
        "timestamp": ("date", "timestamp"),
        "date": ("date", "timestamp"),
    }
    for column in columns:
        kind, wanted = found[column["name"]], column["type"]
        if kind not in ("string", "boolean", "double", *others) and not kind.startswith("decimal("):
            raise SystemExit(
                f"{file.place.name}: column `{column['source']}` is of the type {kind}, which is "
                "not read\nhint: leave the column out of the manifest, or make columns of text, "
                "numbers, dates or times of it"
            )
        fits = wanted == kind or wanted in others.get(kind, ())
        if kind.startswith("decimal("):
            fits = wanted.startswith("decimal(") or wanted == "double"
        if not fits:
            raise SystemExit(
                f"{file.place.name}: column `{column['source']}` is {kind} in the file; the "
                f"manifest says `{wanted}`\nhint: say the file's type in `columns`, and convert it "
                "by SQL of your own (`sql`)"
            )


def values_of(spark, objects, kind):
    """The values of sequence files as text, without a loop in Python, with the place of each."""
    jvm, context = spark._jvm, spark.sparkContext._jsc.sc()
    converters, encoders = jvm.org.apache.spark.WritableConverter, jvm.org.apache.spark.sql.Encoders
    if kind == "text":
        made, convert, encoder = "java.lang.String", "stringWritable", encoders.STRING()
    else:
        made, convert, encoder = "[B", "bytesWritable", encoders.BINARY()
    convert = getattr(converters, f"{convert}ConverterFn")()
    tag = lambda name: jvm.scala.reflect.ClassTag.apply(jvm.java.lang.Class.forName(name))
    # Keys are of any class, and are not looked at.
    key, value = tag(HADOOP + "Writable"), tag(made)
    # In braces, a comma does not part addresses.
    paths = ",".join(escaped(file).replace(",", "{\\,}") for file in objects)
    any_key = converters.writableWritableConverterFn(key)
    pairs = context.sequenceFile(paths, 1, key, value, any_key, convert)
    values = jvm.org.apache.spark.api.java.JavaPairRDD.fromRDD(pairs, key, value).values().rdd()
    frame = DataFrame(spark._jsparkSession.createDataset(values, encoder).toDF(), spark)
    text = F.col("value") if kind == "text" else F.decode("value", "UTF-8")
    start = F.expr("input_file_block_start()").alias("_file_block_start")
    place = F.input_file_name().alias("_file_path")
    return frame.select(text.alias("value"), place, start, F.lit(0).alias("_at"))


def sequence_records(spark, files, plan, objects, folder):
    """The view `file` of sequence files, whose values are a record each."""
    kinds = grouped(objects, [file.values for file in objects])
    frames = [values_of(spark, group, kind) for kind, group in kinds]
    frame = functools.reduce(lambda a, b: a.unionByName(b), frames)
    lines = counted(spark, frame, [(file.path, file.index) for file in objects])
    file, number, value = F.col("_index"), F.col("_number"), F.col("value")
    hint = "\nhint: each value must be one record on one line; `jq -c .` writes JSON so"
    lined = refused(file, number, "the value has more than one line", hint)
    empty = refused(file, number, "the value is empty")
    checked = F.when(value == "", empty).when(value.rlike("[\r\n]"), lined).otherwise(value)
    lines = lines.withColumn("value", checked)
    if plan["format"] == "json":
        return json_table(spark, plan, objects, lines)
    names, csv_plan = [column["name"] for column in plan["columns"]], plan["csv"]
    own = [f"c{index}" for index in range(len(names))]
    # Behind a quote that is not closed, the last field is not found.
    kind = StructType([StructField(c, StringType()) for c in [*own, "_end", "_corrupt"]])
    ended = F.concat("value", F.lit(csv_plan["delimiter"] + "."))
    split = F.from_csv(ended, kind.simpleString(), csv_options(csv_plan)).alias("_fields")
    place = ["_index", "_number", "value"]
    rows = lines.select(*place, split).select(*place, "_fields.*")
    fields = [F.col(name) for name in own]
    odd = odd_record(fields, "bigint", "value", "the manifest has columns")
    row = odd.otherwise(row_number(file, number)).alias("_row")
    return rows.select(*(f.alias(name) for f, name in zip(fields, names)), row)


READERS = {
    "csv": csv_records,
    "json": json_records,
    "parquet": typed_records,
    "avro": typed_records,
    "orc": typed_records,
}


def ask(spark, what, statement):
    """The result of a statement; one that Spark cannot read is told without its plan."""
    try:
        return spark.sql(statement)
    except (AnalysisException, ParseException) as error:
        raise SystemExit(f"{what} is not valid: {str(error).split(chr(10))[0]}") from None


def conformed(frame, what, declared):
    """A table with the declared columns; another type is an error."""
    found = [[name, kind] for name, kind in frame.dtypes]
    if found != [list(column) for column in declared]:
        told = lambda columns: ", ".join(f'{name} = "{kind}"' for name, kind in columns)
        raise SystemExit(
            f"{what} gives other columns than the manifest declares: it gives {{ {told(found)} }}, "
            f"declared are {{ {told(declared)} }}\nhint: correct `columns`, or cast in the SQL"
        )
    return frame


def readable(objects, error):
    """What Spark says of a record that it cannot read, without its own calls."""
    text = str(error)
    if found := re.search(r"\bDefect:? (\d+): (.*(?:\nhint: .*)?)", text):
        return f"{objects[int(found[1])].place.name}: {found[2]}"
    if "Unescaped quote character" in text:
        uri = re.search(r"while reading file (\S+?)\.?\s", text)
        bare_uri = re.sub(SCHEME, "", uri[1]) if uri else None
        name = next((f.place.name for f in objects if f.uri == bare_uri), called(objects))
        return f"{name}: a field in quotes has a quote in it; it must be written twice"
    damaged = re.search(r"java\.(?:io|util\.zip)\.\w+Exception.*|File is corrupt.*", text)
    if objects[0].values and damaged:
        return (
            f"{called(objects)}: a record cannot be read: {damaged[0]}\nhint: copy the file again "
            "from where it was written; `hadoop fs -text FILE` tells whether it is whole there"
        )
    return None


def called(objects):
    """What messages call an input: its file, or of several the first one."""
    first, more = objects[0].place.name, len(objects) - 1
    return f"{first} and {more} more" if more else first


def told(plan, objects, row):
    """What is told of a record that breaks a rule."""
    file, number = objects[row["_row"] >> ROW_BITS], row["_row"] & ((1 << ROW_BITS) - 1)
    record, cell = file.wide.origin(number) if file.wide else (number, None)
    where = f"{file.place.name}: record {record}"
    column = dict(plan["rule_columns"]).get(row["_rule"])
    if not column:
        return f"{where}: {row['_reason']}"
    value = row[column] if column in row else None
    found = "no value" if value is None else f"`{value}`"
    if cell is not None and column in file.wide.made:
        column = cell
    return f"{where}: column `{column}`: {row['_reason']}; found {found}"


def newest(spark, plan):
    """The series whose newest records are rejected: their number, and the first of them."""
    if plan.get("newest_sql") is None:
        return 0, []
    found = ask(spark, "the question for rejected newest records", plan["newest_sql"]).collect()
    names = ("series", "period", "records", "rule")
    shown = [{name: row[f"_{name}"] for name in names} for row in found]
    shown = [each | {"series": str(each["series"])} for each in shown]
    return found[0]["_all"] if found else 0, shown


class Judged:
    """An input whose every record is clean or rejected."""

    def __init__(self, spark, files, plan, prefix, folder):
        self.plan = plan
        self.objects, self.read = objects_of(files, prefix)
        parts = max(1, math.ceil(self.read["bytes"] / PART_BYTES))
        spark.conf.set("spark.sql.shuffle.partitions", str(parts))
        try:
            self.judge(spark, files, folder)
        except (Py4JJavaError, PySparkException) as error:
            said = readable(self.objects, error)
            if said is None:
                raise
            raise SystemExit(said) from None

    def views(self, spark, files, folder):
        """The views `file` and `raw`; how many records there are."""
        at_once(lambda file: check_kind(files, self.plan, file), self.objects)
        in_sequence = self.plan.get("container") == "sequence"
        read = sequence_records if in_sequence else READERS[self.plan["format"]]
        file = read(spark, files, self.plan, self.objects, folder).cache()
        file.createOrReplaceTempView("file")
        raw = spark.table("file")
        for form in self.plan.get("forms", []):
            raw = raw.withColumn(form["column"], F.expr(form["sql"]))
        raw.createOrReplaceTempView("raw")
        return file.count()

    def judge(self, spark, files, folder):
        plan, name = self.plan, self.plan["name"]
        raw_rows = self.views(spark, files, folder)
        if raw_rows == 0:
            raise SystemExit(f"{called(self.objects)}: the file has a header but no records")
        what = f"the cleaning SQL of the input `{name}`"
        ask(spark, what, plan["cleaning_sql"]).cache().createOrReplaceTempView("typed")
        rules = f"`when` of one of the rules of the input `{name}`"
        judged = ask(spark, rules, plan["judged_sql"]).cache()
        judged.createOrReplaceTempView("judged")
        counts = {row["_rule"]: row["count"] for row in judged.groupBy("_rule").count().collect()}
        clean_rows, rejected = counts.pop(None, 0), sum(counts.values())
        if raw_rows != clean_rows + rejected:
            raise SystemExit(
                f"the SQL of the input `{name}` must give one row per record and keep `_row`: "
                f"{raw_rows} records became {clean_rows} clean and {rejected} rejected rows"
            )
        rejects = ask(spark, "the manifest's rules", plan["rejects_sql"])
        self.refuse_fatal(rejects, counts)
        count, shown = newest(spark, plan) if counts else (0, [])
        if clean_rows == 0:
            raise SystemExit(
                f"{called(self.objects)}: no record is left after cleaning "
                f"({raw_rows} in the input)"
            )
        clean = ask(spark, "the manifest's SQL", plan["clean_sql"])
        self.clean = conformed(clean, what, [(c["name"], c["type"]) for c in plan["columns"]])
        self.rejects = self.placed(spark, rejects) if rejected else None
        for view in ("file", "raw", "typed", "judged"):
            spark.catalog.dropTempView(view)
        self.clean.createOrReplaceTempView(name)
        self.report = {
            "name": name,
            "raw_rows": raw_rows,
            "clean_rows": clean_rows,
            "rejected_rows": rejected,
            "rejected_by_rule": dict(sorted(counts.items())),
            "read": self.read,
            "rejected_newest_count": count,
            "rejected_newest": shown,
        }

    def refuse_fatal(self, rejects, counts):
        """Stops the job when a record breaks a rule that must not be broken."""
        fatal = sorted(rule for rule in counts if rule in self.plan["fatal_rules"])
        if not fatal:
            return
        rows = rejects.where(rejects["_rule"].isin(fatal)).orderBy("_row").limit(SHOWN_MAX)
        lines = [told(self.plan, self.objects, row) for row in rows.collect()]
        more = sum(counts[rule] for rule in fatal) - len(lines)
        raise SystemExit("\n".join([*lines, *([f"and {more} more"] if more else [])]))

    def placed(self, spark, rejects):
        """Rejected records in one file, with the file of each, and its number there."""
        names = [(file.index, file.below) for file in self.objects]
        lookup = F.broadcast(spark.createDataFrame(names, "_at int, _file string"))
        at = F.shiftright("_row", ROW_BITS).cast("int")
        found = rejects.join(lookup, at == lookup["_at"], "left").drop("_at")
        found = found.repartition(1).sortWithinPartitions("_row")
        found = found.drop(*self.plan.get("drop", []))
        return found.withColumn("_row", F.col("_row").bitwiseAND((1 << ROW_BITS) - 1))


def make(spark, plan):
    """A table made of others, kept under its name; what is reported of it."""
    name, keys = plan["name"], plan["keys"]
    what = f"the SQL of the table `{name}`"
    try:
        frame = conformed(ask(spark, what, plan["sql"]), what, plan["columns"])
        # Spark 3.5 loses columns of a cached plan that is joined with itself: a copy has no plan.
        frame = frame.orderBy(*keys).localCheckpoint()
        frame.createOrReplaceTempView(name)
        rows = frame.count()
        found = frame.groupBy(*keys).count().where("count > 1").orderBy(*keys).limit(1).collect()
    except (Py4JJavaError, PySparkException) as error:
        reason = str(error).split("\n")
        said = next((line for line in reason if re.search(r"\[[A-Z_.]+\]", line)), reason[0])
        raise SystemExit(f"{what}: {said}") from None
    for row in found:
        of = ", ".join(f"{key} = {row[key]}" for key in keys)
        raise SystemExit(
            f"the table `{name}` has {row['count']} rows of {of}; its `keys` say that there is "
            "one\nhint: a join with several matching rows multiplies rows: join on what is unique, "
            "or aggregate before"
        )
    if rows == 0:
        raise SystemExit(f"{what} gives no row")
    return {"name": name, "rows": rows}


def as_text(frame):
    """Times as readers of text take them."""
    text = [name for name, kind in frame.dtypes if kind == "timestamp"]
    for name in text:
        frame = frame.withColumn(name, F.col(f"`{name}`").cast("string"))
    return frame


def avro_schema(frame):
    """Hive and Trino take nothing but milliseconds in Avro for a time."""

    def kind_of(kind):
        if kind.startswith("decimal("):
            precision, scale = map(int, kind[8:-1].split(","))
            own = {"type": "bytes", "logicalType": "decimal"}
            return own | {"precision": precision, "scale": scale}
        return AVRO[kind]

    fields = [
        {"name": name, "type": ["null", kind_of(kind)], "default": None}
        for name, kind in frame.dtypes
    ]
    return json.dumps({"type": "record", "name": "row", "fields": fields})


def whole_milliseconds(frame):
    """A time with microseconds is refused, not cut."""
    for name, kind in frame.dtypes:
        if kind == "timestamp":
            value, said = F.col(f"`{name}`"), f"column `{name}`: a time is no whole milliseconds"
            odd = F.unix_micros(value) % 1000 != 0
            stop = F.raise_error(F.lit(said)).cast("timestamp")
            frame = frame.withColumn(name, F.when(odd, stop).otherwise(value))
    return frame


def write(files, frame, form, folder, place):
    """Writes rows into files of a table; returns their addresses. Spark names its parts itself and
    needs a folder for them."""
    own = folder.join(uuid.uuid4().hex)
    if form == "csv":
        # A quote in a value is written twice, as all readers expect; Spark writes a backslash.
        writer = as_text(frame).write.option("header", True).option("escape", '"')
        writer = writer.option("ignoreLeadingWhiteSpace", False).option("compression", "none")
        writer.option("ignoreTrailingWhiteSpace", False).csv(own.address)
    elif form == "json":
        writer = as_text(frame).write.option("ignoreNullFields", False)
        writer.option("compression", "none").json(own.address)
    elif form == "avro":
        frame = whole_milliseconds(frame)
        writer = frame.write.format("avro").option("avroSchema", avro_schema(frame))
        writer.option("compression", "deflate").save(own.address)
    else:
        # Snappy, because every reader of the table has it, Athena and the embedded engine included.
        frame.write.format(form).option("compression", "snappy").save(own.address)
    written = files.put(own, place, form)
    files.delete(own, recursive=True)
    return written


def delete_former(files, former, written, places):
    """Removes what the run before wrote and this one did not, and only below the own prefixes."""
    for address in former:
        file = Place(address)
        own = any(place.contains(file) for _, place, _ in places.written)
        if own and address not in written:
            files.delete(file)


def run(spark, files, plan, places, folder):
    """The report of the job, whose tables are written."""
    inputs, objects = [], []
    for each in plan["inputs"]:
        inputs.append(Judged(spark, files, each, places.files[each["name"]], folder))
    size = sum(judged.read["bytes"] for judged in inputs)
    spark.conf.set("spark.sql.shuffle.partitions", str(max(1, math.ceil(size / PART_BYTES))))
    tables = [make(spark, table) for table in plan["tables"]]
    for judged in inputs:
        name = judged.plan["name"]
        if judged.rejects is not None:
            objects += write(files, judged.rejects, "csv", folder, places.rejects[name])
        form = judged.plan["output"]["format"]
        objects += write(files, judged.clean, form, folder, places.outputs[name])
    for table in plan["tables"]:
        name, form = table["name"], table["output"]["format"]
        objects += write(files, spark.table(name), form, folder, places.outputs[name])
    return {
        "pipeline": plan["pipeline"],
        "engine": f"spark {spark.version}",
        "inputs": [judged.report for judged in inputs],
        "tables": tables,
        "objects": objects,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", required=True)
    # Glue adds arguments of its own, such as --JOB_ID.
    place = Place(parser.parse_known_args()[0].plan)
    spark = SparkSession.builder.appName("steppe-clean").getOrCreate()
    for name, value in SETTINGS.items():
        spark.conf.set(name, value)
    # ORC has times of the machine's zone.
    zones = spark._jvm.java.util.TimeZone
    zones.setDefault(zones.getTimeZone("UTC"))
    files = Files(spark)
    plan = read_plan(files, place)
    places = Places(plan)
    former = former_objects(files, plan, places.report)
    refuse_foreign(files, former, places.written)
    # Beside the report and this run's own: nobody reads half a table, and nothing else is deleted
    # with it.
    folder = Place(f"{places.report.name}.writing-{uuid.uuid4()}", is_prefix=True)
    try:
        report = run(spark, files, plan, places, folder)
    finally:
        files.delete(folder, recursive=True)
    delete_former(files, former, report["objects"], places)
    files.write(places.report, json.dumps(report, indent=2))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
