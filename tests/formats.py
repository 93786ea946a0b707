"""Tables in files, against other people's libraries: what pyarrow, fastavro, pyorc and Spark write is read by the engine, and what the
engine writes is read by them, by DuckDB and by Spark.

`python tests/formats.py [WORD]` runs the checks whose names have the word. They need `cargo build --example convert`.
"""

import contextlib
import csv
import datetime
import decimal
import io
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
import uuid
import zlib

import duckdb
import fastavro
import pyarrow
import pyarrow.orc
import pyarrow.parquet
import pyorc
from support import TARGET

# Spark gives Python times in the zone of the process.
os.environ["TZ"] = "UTC"
CONVERT = TARGET / "debug" / "examples" / "convert"
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1)
MANY = 30_000


def time(micros):
    return EPOCH + datetime.timedelta(microseconds=micros)


# A row of each kind of edge; the columns are those of COLUMNS.
COLUMNS = ["text", "long", "double", "truth", "day", "moment", "price"]
EDGES = [
    ("", 2**63 - 1, 1.7976931348623157e308, True, datetime.date(1, 1, 1), datetime.datetime(1, 1, 1), decimal.Decimal("99999999.99")),
    (None, None, None, None, None, None, None),
    ("Қазақстан €😀 \"q\", 'q'\\ \t", -(2**63), -5e-324, False, datetime.date(1969, 12, 31), time(-1_500_000), decimal.Decimal("-0.01")),
    ("two\nlines", 0, 0.1, True, datetime.date(1899, 12, 31), time(-1_500_001), decimal.Decimal("0.00")),
    (" padded ", 1, -0.0, None, datetime.date(9999, 12, 31), datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999), decimal.Decimal("7.50")),
    ("null", -1, 1e22, False, datetime.date(2024, 2, 29), time(1_709_208_000_000_001), None),
]
# The calendar of Spark's old days ends where ours begins, so its readers stop there.
MODERN = [row for row in EDGES if row[4] is None or row[4].year > 1582]


def many():
    """Enough rows for many parts of a file."""
    start = datetime.datetime(2020, 1, 1)
    for n in range(MANY):
        text = None if n % 11 == 0 else f"series {n % 97}"
        moment = start + datetime.timedelta(minutes=30 * n, microseconds=n)
        yield (text, n * n - MANY, n / 7, n % 3 == 0 if n % 5 else None, (start + datetime.timedelta(days=n % 5000)).date(), moment, decimal.Decimal(n) / 4)


ARROW = pyarrow.schema(
    [
        ("text", pyarrow.string()),
        ("long", pyarrow.int64()),
        ("double", pyarrow.float64()),
        ("truth", pyarrow.bool_()),
        ("day", pyarrow.date32()),
        ("moment", pyarrow.timestamp("us")),
        ("price", pyarrow.decimal128(12, 2)),
    ]
)


def arrow(rows, schema=ARROW):
    columns = zip(*rows) if rows else [[] for _ in schema]
    return pyarrow.table([pyarrow.array(list(values), field.type) for values, field in zip(columns, schema)], schema=schema)


def convert(source, target, columns=COLUMNS):
    """Converts by the engine; the formats are the names' endings."""
    places = [f"{place}:{pathlib.Path(place).suffix[1:]}" for place in (source, target)]
    done = subprocess.run([CONVERT, *places, *columns], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"the engine says {done.stderr.strip()}")


def refused(source, columns=COLUMNS):
    """What the engine says of a file that it must not read."""
    done = subprocess.run([CONVERT, f"{source}:{pathlib.Path(source).suffix[1:]}", "-", *columns], capture_output=True, text=True)
    assert done.returncode == 1, f"the engine reads {source}: {done.stderr}"
    return done.stderr


def read(source, columns=COLUMNS):
    """Rows and types as the engine reads a file."""
    target = pathlib.Path(source).with_name("read.parquet")
    convert(source, target, columns)
    table = pyarrow.parquet.read_table(target)
    rows = [tuple(value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value for value in row.values()) for row in table.to_pylist()]
    return rows, [str(field.type) for field in table.schema]


TYPES = ["string", "int64", "double", "bool", "date32[day]", "timestamp[us, tz=UTC]", "decimal128(12, 2)"]


def same(source, rows, columns=COLUMNS, types=TYPES):
    rows, (found, found_types) = list(rows), read(source, columns)
    assert found_types == types, f"types are {found_types}"
    assert len(found) == len(rows), f"{len(found)} rows of {len(rows)}"
    for number, (ours, theirs) in enumerate(zip(found, rows), 1):
        assert ours == theirs, f"row {number}: {ours} and {theirs}"


def typed(folder, rows, name="typed.parquet"):
    """A file from which the engine writes others."""
    pyarrow.parquet.write_table(arrow(rows), folder / name)
    return folder / name


# What others write.


def parquet_of_pyarrow(folder):
    file = folder / "data.parquet"
    for codec in ("none", "snappy", "gzip", "zstd", "lz4", "brotli"):
        pyarrow.parquet.write_table(arrow(EDGES), file, compression=codec, data_page_version="2.0")
        same(file, EDGES)
    pyarrow.parquet.write_table(arrow(list(many())), file, row_group_size=999, data_page_size=2000)
    same(file, many())
    plain = ARROW.set(0, pyarrow.field("text", pyarrow.dictionary(pyarrow.int8(), pyarrow.large_string())))
    zoned = plain.set(5, pyarrow.field("moment", pyarrow.timestamp("ms", "Europe/London")))
    rows = [row[:5] + (row[5] and row[5].replace(microsecond=1000),) + row[6:] for row in EDGES]
    in_utc = [row[:5] + (row[5] and row[5].replace(tzinfo=UTC),) + row[6:] for row in rows]
    pyarrow.parquet.write_table(arrow(in_utc, zoned), file)
    same(file, rows)
    narrow = [(1, 2, 3, 4, 0.5, b"ascii", None), (-128, 65535, 2**32 - 1, 2**63 - 1, -0.5, b"", None)]
    kinds = [pyarrow.int8(), pyarrow.uint16(), pyarrow.uint32(), pyarrow.uint64(), pyarrow.float16(), pyarrow.binary(), pyarrow.null()]
    names = list("abcdefg")
    pyarrow.parquet.write_table(arrow(narrow, pyarrow.schema(zip(names, kinds))), file)
    expected = [row[:5] + (row[5].decode(), None) for row in narrow]
    same(file, expected, names, ["int64"] * 4 + ["double", "string", "string"])


def parquet_of_96_bits(folder):
    file = folder / "data.parquet"
    pyarrow.parquet.write_table(arrow(list(many())), file, use_deprecated_int96_timestamps=True, row_group_size=5000)
    same(file, many())
    fine = pyarrow.schema([("day", pyarrow.date32()), ("moment", pyarrow.timestamp("ns"))])
    table = pyarrow.table([pyarrow.array([1, 2], pyarrow.date32()), pyarrow.array([1000, 1001], pyarrow.timestamp("ns"))], schema=fine)
    for old in (True, False):
        pyarrow.parquet.write_table(table, file, use_deprecated_int96_timestamps=old, version="2.6")
        same(file, [(datetime.date(1970, 1, 2),), (datetime.date(1970, 1, 3),)], ["day"], ["date32[day]"])
        told = refused(file, ["day", "moment"])
        assert "column `moment`, row 2: " in told and "in whole microseconds" in told, told


def parquet_of_spark(folder):
    frame = spark().createDataFrame(MODERN, "text string, long bigint, double double, truth boolean, day date, moment timestamp, price decimal(12, 2)")
    for kind in ("INT96", "TIMESTAMP_MICROS"):
        for zone in ("UTC", "Europe/London"):
            # A time of Spark is a moment, whatever zone shows it.
            spark().conf.set("spark.sql.session.timeZone", zone)
            spark().conf.set("spark.sql.parquet.outputTimestampType", kind)
            same(spark_file(folder, frame, "parquet"), MODERN)
    spark().conf.set("spark.sql.session.timeZone", "UTC")
    local = frame.selectExpr("text", "long", "double", "truth", "day", "CAST(moment AS timestamp_ntz) AS moment", "price", "array(long) AS list")
    same(spark_file(folder, local, "parquet"), MODERN)
    assert "column `list` is of the type List(" in refused(spark_file(folder, local, "parquet"), ["list"])
    narrow = frame.selectExpr("CAST(1 AS tinyint) AS a", "CAST(2 AS smallint) AS b", "3 AS c", "CAST(0.1 AS float) AS d")
    file = spark_file(folder, narrow.limit(1), "parquet")
    assert read(file, list("abcd")) == ([(1, 2, 3, 0.10000000149011612)], ["int64", "int64", "int64", "double"])


def orc_schema(moment="timestamp"):
    return f"struct<text:string,long:bigint,double:double,truth:boolean,day:date,moment:{moment},price:decimal(12,2),nested:struct<a:array<int>>>"


def orc_of_pyorc(folder):
    file = folder / "data.orc"
    # pyorc counts in floating point, in which the last moment of 9999 is the year after.
    rows = [row for row in EDGES if row[5] is None or row[5].year < 9999]
    for kind in (pyorc.CompressionKind.NONE, pyorc.CompressionKind.ZLIB, pyorc.CompressionKind.SNAPPY, pyorc.CompressionKind.LZ4, pyorc.CompressionKind.ZSTD):
        with open(file, "wb") as handle, pyorc.Writer(handle, orc_schema(), compression=kind) as writer:
            for row in rows:
                moment = row[5] and row[5].replace(tzinfo=UTC)
                writer.write((*row[:5], moment, row[6], ([1, 2],)))
        same(file, rows)
    with open(file, "wb") as handle, pyorc.Writer(handle, orc_schema(), stripe_size=1_000, batch_size=100) as writer:
        for row in many():
            writer.write((*row[:5], row[5].replace(tzinfo=UTC), row[6], None))
    with open(file, "rb") as handle:
        assert pyorc.Reader(handle).num_of_stripes > 3
    same(file, many())
    assert "column `nested` is of the type Struct(" in refused(file, ["nested"])


def orc_of_pyarrow(folder):
    file = folder / "data.orc"
    zoned = ARROW.set(5, pyarrow.field("moment", pyarrow.timestamp("us", "Asia/Almaty")))
    for schema in (ARROW, zoned):
        moment = (lambda value: value and value.replace(tzinfo=UTC)) if schema is zoned else (lambda value: value)
        # Arrow's ORC counts nanoseconds in 64 bits.
        rows = [row for row in EDGES if row[5] is None or 1970 <= row[5].year < 2200]
        pyarrow.orc.write_table(arrow([(*row[:5], moment(row[5]), row[6]) for row in rows], schema), file, compression="zstd")
        same(file, rows)
    # Before 1970 it writes a fraction as a negative number, for which ORC has no place.
    pyarrow.orc.write_table(arrow([row for row in EDGES if row[5] and row[5].year == 1969]), file)
    assert "times with a fraction before 1970 are damaged" in refused(file), refused(file)
    narrow = pyarrow.schema([("a", pyarrow.int8()), ("b", pyarrow.float32()), ("c", pyarrow.string()), ("d", pyarrow.binary())])
    pyarrow.orc.write_table(arrow([(-1, 0.5, "x", b"y"), (None, None, None, None)] * 50, narrow), file, dictionary_key_size_threshold=1.0)
    same(file, [(-1, 0.5, "x", "y"), (None,) * 4] * 50, list("abcd"), ["int64", "double", "string", "string"])
    pyarrow.orc.write_table(arrow([(1, 1.0, "x", b"y"), (1, 1.0, "x", b"\xff")], narrow), file)
    assert "column `d`, row 2: the bytes are no text in UTF-8" in refused(file, ["d"])


def orc_of_spark(folder):
    schema = "text string, long bigint, double double, truth boolean, day date, moment timestamp, price decimal(12, 2)"
    frame = spark().createDataFrame(MODERN, schema)
    same(spark_file(folder, frame, "orc"), MODERN)
    big = spark().createDataFrame(list(many()), schema)
    same(spark_file(folder, big, "orc", **{"orc.stripe.size": "65536", "orc.dictionary.key.threshold": "1.0"}), many())


def avro_of_fastavro(folder):
    file = folder / "data.avro"
    for codec in ("null", "deflate", "snappy", "zstandard"):
        avro_by_hand(file, AVRO, [avro_row(row) for row in EDGES], codec)
        same(file, EDGES)
    with open(file, "wb") as handle:
        fastavro.writer(handle, AVRO, map(avro_row, many()), codec="deflate", sync_interval=2000)
    same(file, many())
    for codec in ("bzip2", "xz"):
        with open(file, "wb") as handle:
            fastavro.writer(handle, AVRO, [], codec=codec)
        assert f"the blocks are compressed by `{codec}`, which is not read" in refused(file)


def avro_types(folder):
    file = folder / "data.avro"
    suit = {"type": "enum", "name": "suit", "symbols": ["clubs", "hearts"]}
    tree = {"type": "record", "name": "space.tree", "fields": [{"name": "value", "type": "long"}, {"name": "left", "type": ["null", "tree"]}]}
    types = {
        "i": "int",
        "f": "float",
        "suit": suit,
        "again": ["suit", "null"],
        "tree": tree,
        "other": {"type": "map", "values": {"type": "array", "items": "space.tree"}},
        "fixed": {"type": "fixed", "name": "four", "size": 4},
        "price": {"type": "fixed", "name": "price", "size": 20, "logicalType": "decimal", "precision": 38, "scale": 3},
        "id": {"type": "string", "logicalType": "uuid"},
        "millis": {"type": "long", "logicalType": "timestamp-millis"},
        "local": {"type": "long", "logicalType": "local-timestamp-micros"},
        "clock": {"type": "int", "logicalType": "time-millis"},
        "either": ["int", "string"],
        "nothing": "null",
        "one": ["bytes"],
    }
    schema = fastavro.parse_schema({"type": "record", "name": "row", "fields": [{"name": name, "type": kind} for name, kind in types.items()]})
    leaf, price, number = {"value": 1, "left": None}, decimal.Decimal("-1234567890123456789012345678901234.567"), uuid.UUID(int=7)
    row = {
        "i": -1,
        "f": 0.5,
        "suit": "hearts",
        "again": None,
        "tree": {"value": 2, "left": leaf},
        "other": {"a": [leaf, leaf], "b": []},
        "fixed": b"four",
        "price": price,
        "id": number,
        "millis": time(-1000).replace(tzinfo=UTC),
        "local": time(-1),
        "clock": datetime.time(1, 2),
        "either": 1,
        "nothing": None,
        "one": b"x",
    }
    with open(file, "wb") as handle:
        fastavro.writer(handle, schema, [row] * 3)
    expected = (-1, 0.5, "hearts", None, "four", price, str(number), time(-1000), time(-1), None, "x")
    columns = ["i", "f", "suit", "again", "fixed", "price", "id", "millis", "local", "nothing", "one"]
    found, kinds = read(file, columns)
    assert found == [expected] * 3, found
    assert kinds == ["int64", "double", "string", "string", "string", "decimal128(38, 3)", "string", TYPES[5], TYPES[5], "string", "string"], kinds
    for column, kind in {"tree": "record", "other": "map", "clock": "time-millis", "either": "union of int, string"}.items():
        assert f"column `{column}` is of the type {kind}, which is not read" in refused(file, [column])


def avro_damaged(folder):
    file = folder / "data.avro"
    with open(file, "wb") as handle:
        fastavro.writer(handle, AVRO, map(avro_row, many()), codec="null", sync_interval=100_000)
    data = file.read_bytes()
    sync = data[-16:]
    ends = [at for at in range(len(data)) if data.startswith(sync, at)]
    cases = {
        data[: len(data) // 2]: "is damaged: the file ends too early",
        data[:-1]: "is damaged: the file ends too early",
        data[: ends[1]] + bytes(16) + data[ends[1] + 16 :]: "block 1 is damaged: the mark after it is not that of the file",
        data[: ends[0] + 16] + b"\x02" + data[ends[0] + 18 :]: "has more bytes than its records",
        data[:20]: "the header is damaged",
        b"Obj\x02" + data[4:]: "this is no Avro file",
        data.replace(b'"price"', b'"other"', 1): "column `price` is missing; the file has text, long",
    }
    for damaged, words in cases.items():
        file.write_bytes(damaged)
        told = refused(file)
        assert words in told, f"{told} is not: {words}"


AVRO = fastavro.parse_schema(
    {
        "type": "record",
        "name": "row",
        "fields": [
            {"name": "text", "type": ["null", "string"]},
            {"name": "long", "type": ["long", "null"]},
            {"name": "double", "type": ["null", "double"]},
            {"name": "truth", "type": ["null", "boolean"]},
            {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
            {"name": "moment", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
            {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}]},
        ],
    }
)


def avro_row(row):
    return dict(zip(COLUMNS, (*row[:5], row[5] and row[5].replace(tzinfo=UTC), row[6])))


def avro_by_hand(file, schema, records, codec):
    """A container with the compressions for which fastavro would need libraries."""

    def number(value):
        value, out = (value << 1) ^ (value >> 63), b""
        while value > 127:
            value, out = value >> 7, out + bytes([value & 127 | 128])
        return out + bytes([value])

    def text(value):
        return number(len(value)) + value

    block = io.BytesIO()
    for record in records:
        fastavro.schemaless_writer(block, schema, record)
    data = block.getvalue()
    if codec == "deflate":
        deflate = zlib.compressobj(wbits=-15)
        packed = deflate.compress(data) + deflate.flush()
    elif codec == "snappy":
        packed = pyarrow.Codec("snappy").compress(data, asbytes=True) + zlib.crc32(data).to_bytes(4, "big")
    elif codec == "zstandard":
        packed = pyarrow.Codec("zstd").compress(data, asbytes=True)
    else:
        packed = data
    public = json.dumps({key: value for key, value in schema.items() if not key.startswith("__")})
    meta = number(2) + text(b"avro.schema") + text(public.encode()) + text(b"avro.codec") + text(codec.encode()) + number(0)
    file.write_bytes(b"Obj\x01" + meta + b"m" * 16 + number(len(records)) + text(packed) + b"m" * 16)


def json_of_spark(folder):
    frame = spark().createDataFrame(MODERN, "text string, long bigint, double double, truth boolean, day date, moment timestamp, price decimal(12, 2)")
    found, types = read(spark_file(folder, frame, "json", ignoreNullFields="false"))
    assert types == ["string"] * 7
    expected = [(row[0], None if row[1] is None else str(row[1]), row[3] if row[3] is None else str(row[3]).lower()) for row in MODERN]
    assert [(row[0], row[1], row[3]) for row in found] == expected, found
    for ours, theirs in zip(found, MODERN):
        assert ours[2] is None and theirs[2] is None or float(ours[2]) == theirs[2]
        assert ours[4] == (theirs[4] and theirs[4].isoformat())
        assert ours[6] == (theirs[6] if theirs[6] is None else str(theirs[6]))


def json_of_python(folder):
    file = folder / "data.json"
    odd = [" ", "\u2028", "\ud83d\ude00", "\x00", '"', "\\", "/", "a" * 100_000]
    file.write_text("\n".join(json.dumps({"text": text, "n": n}, ensure_ascii=n % 2 == 0) for n, text in enumerate(o.encode("utf-16", "surrogatepass").decode("utf-16") for o in odd)))
    found, _ = read(file, ["text", "n"])
    assert found == [(text.encode("utf-16", "surrogatepass").decode("utf-16"), str(n)) for n, text in enumerate(odd)]
    file.write_text(json.dumps([{"text": "a"}]))
    assert "line 1: byte 0: invalid type: sequence, expected an object\nhint: " in refused(file, ["text"])


# What the engine writes.


def written_parquet(folder):
    convert(typed(folder, EDGES), folder / "out.parquet")
    schema = pyarrow.parquet.read_schema(folder / "out.parquet")
    assert [str(field.type) for field in schema] == TYPES, schema
    assert pyarrow.parquet.ParquetFile(folder / "out.parquet").metadata.row_group(0).column(0).compression == "SNAPPY"
    found = duckdb.sql(f"SET timezone = 'UTC'; SELECT * FROM '{folder}/out.parquet'").fetchall()
    plain = [tuple(value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value for value in row) for row in found]
    assert plain == EDGES, plain
    convert(typed(folder, MODERN), folder / "out.parquet")
    spark_reads(folder / "out.parquet", MODERN)
    convert(typed(folder, list(many())), folder / "out.parquet")
    spark_reads(folder / "out.parquet", list(many()))


WITHOUT_PRICE = COLUMNS[:6]


def written_orc(folder):
    file = folder / "out.orc"
    rows = [row[:6] for row in EDGES]
    convert(typed(folder, EDGES), file, WITHOUT_PRICE)
    with open(file, "rb") as handle:
        reader = pyorc.Reader(handle)
        assert str(reader.schema) == "struct<text:string,long:bigint,double:double,truth:boolean,day:date,moment:timestamp>", str(reader.schema)
        found = [tuple(value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value for value in row) for row in reader]
    assert found == rows, found
    narrow = [row for row in rows if row[5] is None or 1700 < row[5].year < 2200]
    convert(typed(folder, [(*row, None) for row in narrow]), file, WITHOUT_PRICE)
    assert [tuple(row.values()) for row in pyarrow.orc.read_table(file).to_pylist()] == narrow
    modern = [row[:6] for row in MODERN]
    convert(typed(folder, MODERN), file, WITHOUT_PRICE)
    spark_reads(file, modern)
    everything = [row[:6] for row in many()]
    convert(typed(folder, list(many())), file, WITHOUT_PRICE)
    spark_reads(file, everything)
    assert spark().read.orc(str(file)).where("long > 1000000 AND text = 'series 3'").count() == sum(row[1] > 1_000_000 and row[0] == "series 3" for row in everything)
    done = subprocess.run([CONVERT, f"{folder}/typed.parquet:parquet", f"{file}:orc", "price"], capture_output=True, text=True)
    assert "column `price` is a decimal, and ORC is not written with decimals here" in done.stderr


def written_avro(folder):
    file = folder / "out.avro"
    millis = lambda moment: moment and moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    for rows in (EDGES, list(many())):
        done = subprocess.run([CONVERT, f"{typed(folder, rows)}:parquet", f"{file}:avro", "moment"], capture_output=True, text=True)
        assert "Athena and Hive read whole milliseconds in Avro" in done.stderr, done.stderr
        rows = [(*row[:5], millis(row[5]), row[6]) for row in rows]
        convert(typed(folder, rows), file)
        with open(file, "rb") as handle:
            found = [tuple(value.replace(tzinfo=None) if isinstance(value, datetime.datetime) else value for value in row.values()) for row in fastavro.reader(handle)]
        assert found == rows, [pair for pair in zip(found, rows) if pair[0] != pair[1]][:3]
        same(file, rows)


def written_json(folder):
    file = folder / "out.json"
    convert(typed(folder, EDGES), file)
    lines = [json.loads(line, parse_float=decimal.Decimal) for line in file.read_text().splitlines() if line]
    for line, row in zip(lines, EDGES, strict=True):
        assert list(line) == COLUMNS
        moment = row[5] and row[5].isoformat(" ") if row[5] is None or row[5].microsecond == 0 else f"{row[5]:%H:%M:%S.%f}".rstrip("0")
        assert (line["text"], line["long"], line["truth"], line["day"]) == (row[0], row[1], row[3], row[4] and row[4].isoformat())
        assert line["price"] == row[6] and (line["double"] is None or float(line["double"]) == row[2])
        assert line["moment"] == moment or line["moment"].endswith(moment), line
    convert(typed(folder, MODERN), file)
    spark_reads(file, MODERN, form="json")
    types = "{text: 'VARCHAR', long: 'BIGINT', double: 'DOUBLE', truth: 'BOOLEAN', day: 'DATE', moment: 'TIMESTAMP', price: 'DECIMAL(12,2)'}"
    assert duckdb.sql(f"SELECT * FROM read_json('{file}', columns = {types})").fetchall() == MODERN


def written_csv(folder):
    file = folder / "out.csv"
    convert(typed(folder, MODERN), file)
    with open(file, newline="", encoding="utf-8") as handle:
        header, *lines = csv.reader(handle)
    assert header == COLUMNS and [line[0] for line in lines] == [row[0] or "" for row in MODERN]
    types = "{'text': 'VARCHAR', 'long': 'BIGINT', 'double': 'DOUBLE', 'truth': 'BOOLEAN', 'day': 'DATE', 'moment': 'TIMESTAMP', 'price': 'DECIMAL(12,2)'}"
    # DuckDB takes quotes away before it decides what is null, unless it is told.
    found = duckdb.sql(f"SELECT * FROM read_csv('{file}', columns = {types}, header = true, quote = '\"', escape = '\"', delim = ',')").fetchall()
    assert [row[1:] for row in found] == [row[1:] for row in MODERN], found
    spark_reads(file, MODERN, form="csv", header="true", multiLine="true", escape='"', ignoreLeadingWhiteSpace="false", ignoreTrailingWhiteSpace="false")


def not_finite(folder):
    values = [float("inf"), float("-inf"), float("nan"), 0.1, None]
    table = pyarrow.table({"d": pyarrow.array(values), "f": pyarrow.array(values, pyarrow.float32())})
    pyarrow.parquet.write_table(table, folder / "typed.parquet")
    for form in ("parquet", "orc", "avro", "json", "csv"):
        convert(folder / "typed.parquet", folder / f"out.{form}", ["d", "f"])
    narrow = [(value if value is None else float(str(value)), value and struct.unpack("f", struct.pack("f", value))[0]) for value in values]
    for form in ("parquet", "orc", "json", "csv"):
        found = spark().read.schema("d double, f double").options(header="true").format(form).load(str(folder / f"out.{form}")).collect()
        assert repr(list(map(tuple, found))) == repr(narrow), f"{form}: {found}"
    with open(folder / "out.avro", "rb") as handle:
        assert repr([tuple(row.values()) for row in fastavro.reader(handle)]) == repr(narrow)


def empty_tables(folder):
    none = typed(folder, [])
    for form in ("parquet", "avro", "json"):
        convert(none, folder / f"out.{form}")
        same(folder / f"out.{form}", [], types=["string"] * 7 if form == "json" else TYPES)
    convert(none, folder / "out.orc", WITHOUT_PRICE)
    same(folder / "out.orc", [], WITHOUT_PRICE, TYPES[:6])
    with open(folder / "out.avro", "rb") as handle:
        assert list(fastavro.reader(handle)) == []
    with open(folder / "out.orc", "rb") as handle:
        assert list(pyorc.Reader(handle)) == []
    spark_reads(folder / "out.parquet", [])
    spark_reads(folder / "out.orc", [])


# Spark.

_sessions = []


def spark():
    from pyspark.sql import SparkSession

    if not _sessions:
        if shutil.which("java") is None:
            raise SystemExit("Spark needs Java 17; on Debian: apt-get install openjdk-17-jre-headless")
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC")
        session = builder.config("spark.driver.extraJavaOptions", "-Duser.timezone=UTC").getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        _sessions.append(session)
    return _sessions[0]


def spark_file(folder, frame, form, **options):
    """The one file of a frame."""
    with tempfile.TemporaryDirectory() as scratch:
        frame.coalesce(1).write.options(**options).format(form).mode("overwrite").save(f"{scratch}/out")
        file = next(pathlib.Path(scratch, "out").glob("part-*"))
        return pathlib.Path(shutil.copy(file, folder / f"data.{form}"))


SPARK_TYPES = ["string", "bigint", "double", "boolean", "date", "timestamp", "decimal(12,2)"]


def spark_reads(file, rows, form=None, **options):
    form = form or file.suffix[1:]
    columns = WITHOUT_PRICE if form == "orc" else COLUMNS
    reader = spark().read.options(**options).format(form)
    if form in ("json", "csv"):
        reader = reader.schema(", ".join(f"{name} {kind}" for name, kind in zip(COLUMNS, SPARK_TYPES)))
    frame = reader.load(str(file))
    assert frame.dtypes == list(zip(columns, SPARK_TYPES)), frame.dtypes
    found = list(map(tuple, frame.collect()))
    assert len(found) == len(rows), f"{len(found)} rows of {len(rows)}"
    for ours, theirs in zip(rows, found):
        assert ours == theirs, f"{ours} and {theirs}"


CHECKS = [
    parquet_of_pyarrow,
    parquet_of_96_bits,
    parquet_of_spark,
    orc_of_pyorc,
    orc_of_pyarrow,
    orc_of_spark,
    avro_of_fastavro,
    avro_types,
    avro_damaged,
    json_of_spark,
    json_of_python,
    written_parquet,
    written_orc,
    written_avro,
    written_json,
    written_csv,
    not_finite,
    empty_tables,
]


def main():
    if not CONVERT.exists():
        raise SystemExit(f"{CONVERT} is not there: cargo build --example convert")
    failed, wanted = [], [check for check in CHECKS if all(word in check.__name__ for word in sys.argv[1:])]
    for check in wanted:
        with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
            stack.callback(sys.stdout.flush)
            try:
                check(pathlib.Path(scratch))
                print(f"{check.__name__:<20} same")
            except Exception:
                failed.append(check)
                print(f"{check.__name__:<20} DIFFERENT\n{traceback.format_exc(limit=-4)}")
    print(f"{len(wanted) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
