"""Records in Hadoop sequence files, as Spark writes them, on both engines."""

import gzip
import pathlib
import re
import struct
import tempfile

HADOOP = "org.apache.hadoop.io."
COMPRESS = "mapreduce.output.fileoutputformat.compress"
# As the engine must find them in every file.
VALUES = """ padded  ;2020-03-01;-2 147;-9223372036854775808;-0.0;f;2020-03-01T12:00:00.000001;-0.01
"a ""b""; c";2020-02-29;1;9223372036854775807;1e300;true;2020-03-01 12:00:00;1.50
back\\slash;1700-01-01;+7;0;0.1;1;1969-12-31 23:59:59.999999;0
Қазақ 😀;1582-10-10;0;12;1e-7;;1700-10-10 01:02:03.5;…
'single';1900-01-01;…;12;1.0;y;;12.3
5" wide;2020-03-02;0;12;-1.5E+3;y;2020-03-29 01:30:00;7
;2020-03-02;0;12;1;y;2020-03-29 01:30:00;7
"";2020-03-03;0;12;1;y;2020-03-29 01:30:00;7
;;;;;;;
""".splitlines()
CSV = 'container = "sequence"\ndelimiter = ";"\nthousands = " "\nmissing = ["…"]\n'
JSON = 'format = "json"\ncontainer = "sequence"\n'


def spark_file(values, codec=None, kind=None):
    """The one file that Spark makes of values: text as `Text`, bytes as `BytesWritable`."""
    from parity import session

    settings = {}
    if codec:
        settings = {COMPRESS: "true", f"{COMPRESS}.codec": f"{HADOOP}compress.{codec}", f"{COMPRESS}.type": kind}
    with tempfile.TemporaryDirectory() as scratch:
        pairs = session().sparkContext.parallelize([(n, value) for n, value in enumerate(values)], 1)
        pairs.saveAsHadoopFile(f"{scratch}/out", "org.apache.hadoop.mapred.SequenceFileOutputFormat", conf=settings)
        return next(pathlib.Path(scratch, "out").glob("part-*")).read_bytes()


def by_hand(values, codec="GzipCodec", pack=gzip.compress, sync=b"sixteen bytes 16", key="NullWritable", version=6):
    """A file of records that are compressed one by one; Spark writes none with gzip without native libraries."""
    text = lambda data: bytes([len(data)]) + data if len(data) < 128 else b"\x8e" + struct.pack(">H", len(data)) + data
    head = [text((HADOOP + name).encode()) for name in (key, "Text")]
    head += [b"\x01\x00", text(f"{HADOOP}compress.{codec}".encode())] if codec else [b"\x00\x00"]
    file = b"SEQ" + bytes([version]) + b"".join(head) + struct.pack(">i", 0) + b"sixteen bytes 16"
    for value in values:
        value = pack(text(value)) if codec else text(value)
        file += struct.pack(">i", -1) + sync + struct.pack(">ii", len(value), 0) + value
    return file


def files(values_of):
    """Values, others in each, in files of every kind."""
    found = {"plain.seq": spark_file(values_of(0)), "bytes,of.seq": spark_file([bytearray(value.encode()) for value in values_of(1)])}
    kinds = [(codec, kind) for codec in ("DefaultCodec", "SnappyCodec", "Lz4Codec") for kind in ("RECORD", "BLOCK")]
    for number, (codec, kind) in enumerate(kinds, 2):
        found[f"deep/{codec} [{kind}].seq"] = spark_file(values_of(number), codec, kind)
    return found | {"gzip.seq": by_hand([value.encode() for value in values_of(9)]), "none.seq": by_hand([]), "_hidden": b"x"}


def named(number):
    """The values with other names."""
    return [re.sub('^("?)([^;"]+)', rf"\g<1>\g<2>{number}", value) for value in VALUES]


def objects(number):
    """Objects, of which the last has all keys."""
    found = [f'{{"name": "n {number}", "x": {n / 7}, "day": "2020-01-0{n}", "n": "{n}"}}' for n in range(1, 9)]
    return [*found, '{"name": "Қ\\u0061", "big": 1, "yes": true, "at": null, "price": 1.50}', "{}"]


def cases(checkout, scratch):
    """Plans and files whose tables must be the same."""
    from parity import without_fatal
    from parity_shapes import kinds

    csv, lines = (without_fatal(kinds(checkout, scratch, given)) for given in (CSV, JSON))
    of_hive = without_fatal(kinds(checkout, scratch, CSV.replace('";"', '"\\u0001"').replace('["…"]', '["…", "\\\\N"]')))
    rows = [value.replace(";", "\x01").replace("…", "\\N") for value in VALUES if '"' not in value]
    many = {"many.seq": spark_file([f"A{n};2020-01-01;;;{n};;;" for n in range(50_000)], "DefaultCodec", "BLOCK")}
    return {
        "sequence: csv": (csv, {"shapes": files(named)}),
        "sequence: json": (lines, {"shapes": files(objects)}),
        "sequence: hive": (of_hive, {"shapes": {"000000_0": spark_file(rows)}}),
        "sequence: many": (csv, {"shapes": many}),
    }


def refusals(checkout, scratch):
    """What both engines refuse, with words that both must say."""
    from parity_shapes import kinds, refused

    csv, lines = kinds(checkout, scratch, CSV), kinds(checkout, scratch, JSON)
    good = VALUES[0]
    plain = spark_file([good] * 9)
    wrong = {
        "fields": (csv, spark_file([good, "a;b"]), "a.seq: record 2"),
        "more fields": (csv, spark_file([good, good + ";x"]), "a.seq: record 2"),
        "an open quote": (csv, spark_file([good, '"' + good, good]), "a.seq: record 2"),
        "a quote that opens late": (csv, spark_file([good, good.rpartition(";")[0] + ';"x']), "a.seq: record 2"),
        "two lines": (csv, spark_file([good, f"{good}\n{good}"]), "a.seq: record 2: the value has more than one line"),
        "an empty value": (csv, spark_file([good, ""]), "a.seq: record 2: the value is empty"),
        "no UTF-8": (csv, spark_file([bytearray(b"\xff" + good.encode())]), "a.seq: record 1: the text is not UTF-8"),
        "no object": (lines, spark_file(["{}", "[1]"]), "a.seq"),
        "another class": (csv, spark_file([1.5]), "the values are of the class `org.apache.hadoop.io.DoubleWritable`"),
        "another codec": (csv, by_hand([b"x"], "BZip2Codec"), "compressed by `org.apache.hadoop.io.compress.BZip2Codec`"),
        "another key": (csv, by_hand([good.encode()], key="SortedMapWritable"), "the keys are of the class `org.apache.hadoop.io.SortedMapWritable`"),
        "another version": (csv, by_hand([b"x"], version=5), "a.seq: the file is"),
        "another mark": (csv, by_hand([good.encode()], sync=bytes(16)), "a.seq"),
        "a file that ends early": (csv, plain[:-1], "a.seq"),
        "a header that ends early": (csv, plain[:30], "a.seq: the header is damaged"),
        "no file of this kind": (csv, b"a;b\n", "a.seq: the file is text"),
        "an empty file": (csv, b"", "a.seq: the file is empty"),
    }
    cases = {f"sequence, {name}": (plan, {"a.seq": data}, words, "") for name, (plan, data, words) in wrong.items()}
    return {f"refused: {name}": (lambda name=name, case=case: refused(name, *case)) for name, case in cases.items()}
