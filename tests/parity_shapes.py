"""Tables in the shapes that people have, for `parity.py`: what both engines make of their headers, titles,
footnotes, columns of years and ways to write numbers, and what both refuse."""

import gzip
import importlib.util
import json
import pathlib
import re
import tempfile

from support import ROOT

COLUMNS = """columns = { region = { from = "Регион", type = "string" }, area = { from = "площадь, тыс. км2", type = "double" }, year = "int", marriages = "bigint" }
"""
TASK = """duplicates = "reject"
[[tasks]]
name = "next"
series = "region"
time = "year"
target = "marriages"
"""

LEAVE_OUT = 'leave_out = ["Республика Казахстан"]\n'

OFFICE = """delimiter = ";"
skip_lines = 2
footnotes = "leave-out"
thousands = " "
decimal = ","
missing = ["…", "-", "d'x"]
sql = "etl.sql"
wide = { keep = ["Регион", "Площадь, тыс. км2"], names = "year", values = "marriages" }
"""

SQL = """SELECT
  _row,
  NULLIF(TRIM(region), '') AS region,
  TRY_CAST(area AS DOUBLE) AS area,
  TRY_CAST(SUBSTR(year, 1, 4) AS INT) AS year,
  TRY_CAST(marriages AS BIGINT) AS marriages
FROM raw
"""

# Spaces of all kinds between thousands, wrong groups, a point where commas are decimal, a column without a
# name, a region that is new, the total, padded and plain footnotes.
KAZAKHSTAN = '''Число "браков по регионам;;;;;
;;;;;
\u00a0Регион ;"площадь, тыс. КМ2";2000 г.;2001 г.;2002 г.;
Абай;185,5;…;-;3 902;
Акмолинская;146,2;1 023;1\u00a0104;1\u202f200;
Алматы;0,7;12 345;12\u2009400;1 02;
Атырау;118,6;999;d'x;1.234;
Жетісу;118.5;+900;0 123;12 34 567;
"Область ""Ұлытау""";188,9; 950 ;951,5;1,5e3;
Двойная;1;5;6;7;
Двойная;1;5;;;
Республика Казахстан;2 724,9;1 000 000;1 000 001;1 000 002;
* Предварительные данные;;;;;

Источник: Бюро
1;Примечание
'''

# A header with all that Spark's own reading renames or loses, and marks and ends of lines of Windows.
HEADER = '\ufeff"Заметки, все",Регион,РЕГИОН 2," Year\u00a0",Marriages,"value\nper 1000",a,A,null,1e3,Район,Город,,'
LONG = "".join(
    [HEADER.replace("\n", "\r\n"), "\r\n"]
    + [f'"x, {n}",A,b,{year},{n},"1\r\n2",,,,,р,г,,\r\n' for n, year in enumerate(["2000", "2001", "20o2", "2001"])]
)

PLAIN_COLUMNS = COLUMNS.replace(' area = { from = "площадь, тыс. км2", type = "double" },', "")

# Names of headers that both give, and those that both refuse, with the words.
NAMES = {
    "Регион,year,marriages": None,
    " регион ,YEAR,\u00a0Marriages\u2009": None,
    "Регион,Year,year,marriages": None,
    "Регион,year,marriages,_rule,Σ,ΣΑΣ,ß,İ,a_2,a,A,a!": None,
    "Регион,year,marriages,column_5,~,,": None,
    "Регион,year,marriages," + "x" * 300: None,
    "Регион,year,marriages,_Row": "column 4 of the header is called `_Row`",
    "Регион,YEAR,Year,marriages": "columns 2 (`YEAR`) and 3 (`Year`) of the header are both the manifest's column `year`",
    "Регион,year,marriages,Region": "column 4 of the header is called `Region`, as the manifest calls the column `Регион`",
    "Регион,year": "column `marriages` is missing",
    ",,": "the file is empty; expected a header with the columns Регион, year, marriages",
}


def manifest(data, columns, reject, task=""):
    rule = '{{ name = "{0}_valid", column = "{0}", when = "{0} IS NULL", reason = "the {0} must be there", action = "reject" }},'
    rules = "rules = [" + "".join(rule.format(name) for name in ("region", "year", "marriages")) + "]\n" if reject else ""
    return f'schema_version = 2\nname = "shapes"\n[[inputs]]\nname = "shapes"\n{data}{columns}{rules}{TASK}{task}'


def nothing(scratch, form):
    """A file in which no pipeline finds its columns."""
    import pyarrow.orc
    import pyarrow.parquet

    file = pathlib.Path(scratch, f"nothing.{form}")
    if form == "seq":
        file.write_bytes(b"SEQ\x06")
    elif form in ("csv", "json"):
        file.write_text({"csv": "no such table\n", "json": '{"no": "such table"}\n'}[form])
    else:
        write = {"parquet": pyarrow.parquet.write_table, "orc": pyarrow.orc.write_table}[form]
        write(pyarrow.table({"no": ["such table"]}), str(file))
    return file


def plan(checkout, scratch, text, sql=SQL):
    """The ETL plan that `xtask` makes of a manifest, in a workspace of its own."""
    workspace = pathlib.Path(scratch, "workspace")
    folder = workspace / "model" / "pipelines" / "shapes"
    folder.mkdir(parents=True, exist_ok=True)
    (workspace / "steppe.toml").write_text((ROOT / "steppe.toml").read_text().replace('"marriages"', '"shapes"'))
    (folder / "pipeline.toml").write_text(text, encoding="utf-8")
    (folder / "etl.sql").write_text(sql)
    form = re.search(r'^format = "(.*)"', text, re.MULTILINE)
    in_sequence = 'container = "sequence"' in text
    data = nothing(scratch, "seq" if in_sequence else form[1] if form else "csv")
    made = checkout.folder / "clean" / "shapes"
    before = set(made.glob("*/plan.json"))
    inputs = re.findall(r'^\[\[inputs\]\]\nname = "(.*)"', text, re.MULTILINE)
    given = [f"{name}={data}" for name in inputs]
    said = checkout.run("train", "--data", *given, check=False, cwd=workspace)
    new = set(made.glob("*/plan.json")) - before
    if len(new) != 1:
        raise SystemExit(f"{len(new)} plans were made:\n{said.stdout}{said.stderr}")
    # The same plan is made where it is.
    file = new.pop()
    text = file.read_text()
    file.unlink()
    return json.loads(text)


# A column of each type, and what is hard to write and to read.
KINDS = """columns = { name = "string", day = "date", n = "int", big = "bigint", x = "double", yes = "boolean", at = "timestamp", price = "decimal(12,2)" }
"""
KINDS_TASK = """[[tasks]]
name = "next"
series = "name"
time = "day"
target = "x"
frequency = "daily"
"""
NAMED = 'rules = [{ name = "named", column = "name", when = "name IS NULL", reason = "a name must be there", action = "reject" }]\n'
VALUES = """name,day,n,big,x,yes,at,price
"a ""b"", c",2020-02-29,1,9223372036854775807,1e300,true,2020-03-01 12:00:00,1.50
 padded  ,2020-03-01,-2147483648,-9223372036854775808,-0.0,f,2020-03-01T12:00:00.000001,-0.01
back\\slash,1700-01-01,+7,0,0.1,1,1969-12-31 23:59:59.999999,0
"two
lines",9999-12-31,,,12345678901234567,no,2100-12-31 23:59:00,9999999999.99
Қазақ 😀,1582-10-10,0,12,1e-7,,1700-10-10 01:02:03.5,
'single',1900-01-01,0,12,1.0,y,,12.3
b,2020-03-02,0,12,-1.5E+3,y,2020-03-29 01:30:00,7
"""
LINES = """{"name": "a", "day": "2020-01-01", "n": 1, "big": 12345678901234567, "x": 1e3, "yes": true, "at": "2020-01-01 00:00:00", "price": 1.50}

{"name": "tab\\t \\u049a \\"q\\"", "x": 1.50, "day": "2020-01-02", "n": "2", "yes": "no", "other": {"a": [1, 2]}}
  {"price": 9999999999.99, "name": 12345678901234567890, "day": "2020-01-03", "x": -0.0, "NAME": 1}
{"name": null, "x": 0.1, "day": "2020-01-04"}
{"name": 1e3, "x": 3, "day": "2020-01-05"}
{"name": 1.50, "x": 4, "day": "2020-01-06"}
{"name": "z", "day": "2020-01-07", "x": "5"}
"""


def kinds(checkout, scratch, given="", output="parquet", columns=KINDS):
    """The plan of an input with a column of each type."""
    made = plan(checkout, scratch, f'schema_version = 2\nname = "shapes"\n[[inputs]]\nname = "shapes"\n{given}{NAMED}{columns}{KINDS_TASK}')
    own = made["inputs"][0]
    # A task reads Parquet; a table that no task reads may have any format.
    return made | {"inputs": [own | {"output": own["output"] | {"format": output}}]}


def typed(write, far=False):
    """Two files with types, of which the second has its columns in another order and one more."""
    import datetime
    import decimal

    import pyarrow

    when = datetime.datetime
    columns = {
        "name": pyarrow.array(["a", " b ", None, ""]),
        "day": pyarrow.array([datetime.date(2020, 2, 29 - n) for n in range(4)]),
        "n": pyarrow.array([1, -2, None, 4], pyarrow.int16()),
        "big": pyarrow.array([2**62, None, -1, 0], pyarrow.int64()),
        "x": pyarrow.array([0.5, 1.25, -3.0, 2.0], pyarrow.float32()),
        "yes": pyarrow.array([True, False, None, True]),
        "at": pyarrow.array([when(2020, 3, 29, 1, 30), when(1969, 12, 31, 23, 59, 59), None, when(2500 if far else 2200, 1, 1, 0, 0, 0, 123456)], pyarrow.timestamp("us")),
        "price": pyarrow.array([decimal.Decimal("1.50"), None, decimal.Decimal("-0.01"), decimal.Decimal("9999999999.99")], pyarrow.decimal128(12, 2)),
    }
    first = pyarrow.table(columns)
    second = pyarrow.table({name.upper(): columns[name] for name in reversed(columns)} | {"more": pyarrow.array([[1]] * 4)})
    second = second.set_column(second.schema.names.index("NAME"), "NAME", pyarrow.array(["A", "B", "C", "D"]))
    files = {}
    for name, table in (("1", first), ("2", second)):
        out = pyarrow.BufferOutputStream()
        write(table, out)
        files[name] = out.getvalue().to_pybytes()
    return files


def formats(checkout, scratch):
    """Each format in, and each format out."""
    import pyarrow.orc
    import pyarrow.parquet

    found = {f"out: {form}": (kinds(checkout, scratch, output=form), {"shapes": {"a.csv": VALUES}}) for form in ("parquet", "csv", "json")}
    # Decimals are not written as ORC.
    found["out: orc"] = (kinds(checkout, scratch, output="orc", columns=KINDS.replace("decimal(12,2)", "double")), {"shapes": {"a.csv": VALUES.replace("1969-12-31", "1971-12-31").replace("1700-10-10 01:02:03.5", "1700-10-10 01:02:03").replace("1582-10-10", "1582-10-20")}})
    json_plan = kinds(checkout, scratch, 'format = "json"\n')
    found["in: json"] = (json_plan, {"shapes": {"a.json": LINES, "c.json.gz": gzip.compress(LINES.replace("2020", "2021").encode())}})
    writers = {"parquet": pyarrow.parquet.write_table, "orc": pyarrow.orc.write_table}
    for form, write in writers.items():
        found[f"in: {form}"] = (kinds(checkout, scratch, f'format = "{form}"\n'), {"shapes": typed(write)})
    found["far times: parquet"] = (found["in: parquet"][0], {"shapes": typed(writers["parquet"], far=True)})
    return found


SUMMER = """columns = {{ name = "string", at = {{ type = "timestamp", zone = "{0}", as = "{1}" }}, day = {{ from = "at2", type = "date", zone = "{0}", as = "{1}" }}, x = "double" }}
unique = ["name", "day"]
"""


def zoned(checkout, scratch, zone, local):
    text = f'schema_version = 2\nname = "shapes"\n[[inputs]]\nname = "shapes"\n{SUMMER.format(zone, local)}{KINDS_TASK}'
    return plan(checkout, scratch, text)


def times(*texts):
    return {"shapes": {"a.csv": "name,at,at2,x\n" + "".join(f"{n},{text},{text},1\n" for n, text in enumerate(texts))}}


CHANGES = [f"20{year}-{day} {hour:02}:{minute}:00" for year, day in (("13", "03-31"), ("13", "10-27"), ("12", "10-28"), ("11", "03-27")) for hour in (0, 1, 2, 22, 23) for minute in ("00", "30", "59")]
# What exists in London's time, and once.
SINGLE = [text for text in CHANGES if not (" 01:" in text)]


def several(files):
    """Files with columns in another order, in a folder, compressed."""
    return {"marriages": files}


# Quotes that trades get as of their time: none yet, the same moment, one without a bid, no symbol.
AS_OF = """schema_version = 2
name = "shapes"
[[inputs]]
name = "trades"
unique = ["symbol", "at", "n"]
columns = {{ symbol = "string", at = "{kind}", n = "int", price = "double" }}
[[inputs]]
name = "quotes"
unique = ["symbol", "at"]
columns = {{ symbol = "string", at = "{kind}", bid = "decimal(8,2)", venue = "string", until = "timestamp" }}
[[tables]]
name = "priced"
as_of = {{ left = "trades", right = "quotes", on = "at", by = [{by}], exact = {exact} }}
columns = {{ symbol = "string", n = "int", at = "{kind}", bid = "decimal(8,2)", venue = "string", until = "timestamp", price = "double" }}
keys = ["symbol", "at", "n"]
[[tasks]]
name = "t"
table = "priced"
series = "symbol"
time = "at"
target = "price"
frequency = "{frequency}"
"""


def as_of(checkout, scratch):
    """As-of joins on times, days and numbers, within symbols and without."""
    whole = [(symbol, step, step % 3) for symbol in ("A", "B", "", "Ü") for step in range(40)]
    forms = {"timestamp": lambda n: f"2024-03-31 {n // 2:02}:{n % 2 * 30:02}:00.{n:06}", "date": lambda n: f"2024-{n // 28 + 2:02}-{n % 28 + 1:02}", "int": str}
    cases = {}
    for kind, said in forms.items():
        for by, exact in (('"symbol"', "true"), ('"symbol"', "false"), ("", "true")):
            frequency = {"timestamp": "hourly", "date": "daily", "int": "yearly"}[kind]
            text = AS_OF.format(kind=kind, by=by, exact=exact, frequency=frequency)
            if not by:
                text = text.replace('name = "quotes"\nunique = ["symbol", "at"]', 'name = "quotes"\nunique = ["at"]')
            trades = "".join(f"{symbol},{said(step)},{n},{step / 7}\n" for symbol, step, n in whole) + "A,,1,5\n"
            rows = [(symbol, step) for at, symbol in enumerate(("A", "", "Ü", "other")) for step in range(3 + at, 40, 4)]
            quotes = "".join(f"{symbol},{said(step)},{'' if step % 3 else step},v{step},2024-03-31 00:00:{step:02}\n" for symbol, step in rows) + "A,,9,never,\n"
            name = f"as of, {kind}, {'by symbol' if by else 'alone'}, {'exact' if exact == 'true' else 'older'}"
            files = {"trades": {"t.csv": "symbol,at,n,price\n" + trades}, "quotes": {"q.csv": "symbol,at,bid,venue,until\n" + quotes}}
            cases[name] = (plan(checkout, scratch, text), files)
    return cases


def tables(checkout, scratch, lenient, london, samples):
    """Cases to compare: plan and files by name."""
    from parity import without_fatal

    office = without_fatal(plan(checkout, scratch, manifest(OFFICE, COLUMNS, reject=True, task=LEAVE_OUT)))
    shapes = without_fatal(plan(checkout, scratch, manifest("", PLAIN_COLUMNS, reject=True)))
    text = "Регион;year;marriages;note\n" + "".join(f"A;{year};{value};\n" for year, value in [(2000, "1 023"), (2001, "…"), (2002, "2.5"), (2003, "")])
    long_office = OFFICE.split("wide =")[0].replace("skip_lines = 2\n", "").replace('sql = "etl.sql"\n', "")
    long_plan = without_fatal(plan(checkout, scratch, manifest(long_office, PLAIN_COLUMNS, reject=True)))
    one = "region,year,marriages,remark\n" + "".join(f'R{n},{2000 + n},{n},"x\n{n}"\n' for n in range(50))
    two = "Remark,MARRIAGES,region, Year\n" + "".join(f"y,{n}{'a' * (n % 7 == 0)},S{n},{2000 + n}\n" for n in range(50))
    other_years = "".join(KAZAKHSTAN.partition("\n;;;;;\n")[1:]).replace("2000 г.;2001 г.;2002 г.", "2003 г.;2004 г.;2005 г.").replace("Двойная", "Иная")
    own = {"a b.csv": one, "b.csv.gz": gzip.compress(two.encode()), "c.csv": "region,year,marriages,remark\n", "_hidden.csv": "x", "z.csv": two.replace(",S", ",T")}
    return {
        "wide": (office, {"shapes": {"a.csv": KAZAKHSTAN}}),
        "wide, several": (office, {"shapes": {"a.csv": KAZAKHSTAN, "b.csv.gz": gzip.compress(("x\n" + other_years[1:]).encode())}}),
        "wide, CR": (office, {"shapes": {"a.csv": KAZAKHSTAN.replace("\n", "\r")}}),
        "header": (shapes, {"shapes": {"a.csv": LONG}}),
        "header, CR": (shapes, {"shapes": {"a.csv": LONG.replace("\r\n", "\r")}}),
        "long": (long_plan, {"shapes": {"a.csv": text}}),
        "several": (lenient, several(own)),
        "folders": (lenient, several({"a%20b.csv": one, "deep/[x]/b.csv": two})),
        "zones, from UTC": (zoned(checkout, scratch, "UTC", "Europe/London"), times(*CHANGES)),
        "zones, to UTC": (zoned(checkout, scratch, "Europe/London", "UTC"), times(*SINGLE)),
        "zones, both": (zoned(checkout, scratch, "Europe/London", "Asia/Almaty"), times(*SINGLE)),
    } | formats(checkout, scratch) | as_of(checkout, scratch)


def script():
    """The Glue script as a module."""
    spec = importlib.util.spec_from_file_location("etl", ROOT / "templates" / "etl.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(scratch):
    """The naming rule in both languages, without starting Spark for each header."""
    from parity import lay, rejects, run_engine, told

    etl, problems = script(), []
    columns = [{"source": source, "name": name, "type": "string"} for source, name in (("Регион", "region"), ("year", "year"), ("marriages", "marriages"))]
    given = {
        "name": "shapes", "prefix": "raw/", "format": "csv", "columns": columns, "forms": [],
        "csv": {"delimiter": ",", "skip_lines": 0, "leave_out_footnotes": False, "wide": None},
        "cleaning_sql": "SELECT * FROM raw",
        "judged_sql": "SELECT *, CASE WHEN _row = 2 THEN 'r' END AS _rule FROM typed",
        "clean_sql": "SELECT region, year, marriages FROM judged WHERE _rule IS NULL", "fatal_rules": [], "rule_columns": [],
        "rejects_sql": "SELECT file.*, 'r' AS _rule, 'r' AS _reason FROM file WHERE _row = 2",
        "output": {"prefix": "processed/", "format": "parquet"}, "rejects": "rejects/",
    }  # fmt: skip
    made = {"schema_version": etl.PLAN_SCHEMA_VERSION, "pipeline": "shapes", "root": "", "report": "report.json", "inputs": [given], "tables": []}
    for number, (header, refused) in enumerate(NAMES.items()):
        folder = pathlib.Path(scratch, f"names-{number}")
        record = ",".join("1" for _ in header.split(","))
        lay(folder, made, {"shapes": {"a.csv": f"{header}\n{record}\n{record}\n"}})
        ours = run_engine(folder)
        fields = [field.strip(etl.AROUND) for field in header.split(",")]
        try:
            theirs, said = etl.named(given, fields)[0], ""
        except etl.Defect as defect:
            theirs, said = None, str(defect)
        if refused is None:
            found = rejects(folder, "rejects")[0][:-4] if ours.returncode == 0 else ours.stderr
            if found != theirs:
                problems.append(f"{header}: {found} and {theirs}")
        elif refused not in ours.stderr or refused not in said:
            problems.append(f"{header}: `{refused}` is not in {ours.stderr} and {said}")
    return told("names", problems)


def with_table(plan, sql, columns, keys=("region",)):
    """A plan with a table of this SQL."""
    output = {"prefix": "processed/made/", "format": "parquet"}
    return plan | {"tables": [{"name": "made", "sql": sql, "columns": columns, "keys": list(keys), "output": output}]}


def of_tables(lenient):
    """Tables that cannot be made: plan, words."""
    value = [["region", "string"], ["v", "double"]]
    sql = "SELECT region, {} AS v FROM marriages"
    return {
        "repeated keys": (with_table(lenient, "SELECT a.region, 1.0e0 AS v FROM marriages a CROSS JOIN marriages b", value), "rows of region = A; its `keys` say that there is one"),
        "other columns": (with_table(lenient, sql.format("year"), value), 'gives other columns than the manifest declares: it gives { region = "string", v = "int" }, declared are { region = "string", v = "double" }'),
        "no rows": (with_table(lenient, sql.format("1.0e0") + " WHERE year = 1", value), "the SQL of the table `made` gives no row"),
        "division by zero": (with_table(lenient, sql.format("marriages / (year - year)"), value), "the SQL of the table `made`"),
        "unreadable text": (with_table(lenient, sql.format("CAST(region AS DOUBLE)"), value), "the SQL of the table `made`"),
        "overflow": (with_table(lenient, sql.format("CAST(2147483647 AS INT) + year"), [["region", "string"], ["v", "int"]]), "the SQL of the table `made`"),
        "no column": (with_table(lenient, sql.format("nothing"), value), "the SQL of the table `made` is not valid"),
    }


def refusals(checkout, scratch, london, samples):
    """What both engines refuse, with the words that both must say; Spark numbers records, not lines."""
    office = manifest(OFFICE, COLUMNS, reject=False, task=LEAVE_OUT)
    strict = plan(checkout, scratch, office)
    broken = plan(checkout, scratch, office, SQL.replace("marriages\nFROM", "marriages, nothing\nFROM"))
    no_notes = plan(checkout, scratch, office.replace('footnotes = "leave-out"\n', ""))
    unnamed = KAZAKHSTAN.replace("3 902;", "3 902;7")
    torn = KAZAKHSTAN.replace("Источник: Бюро", "Абай;185,5;1;2;3;")
    simple = plan(checkout, scratch, manifest("", PLAIN_COLUMNS.replace("Регион", "region"), reject=False))
    lines = plan(checkout, scratch, manifest('format = "json"\n', PLAIN_COLUMNS.replace("Регион", "region"), reject=False))
    csv = "region,year,marriages,note\nA,2000,1,x\n"
    line = '{"region": "A", "year": 2000, "marriages": 1}\n'
    summer = zoned(checkout, scratch, "Europe/London", "UTC")
    hours = kinds(checkout, scratch)
    first = "shapes/a.csv"
    cases = {
        "cell": (strict, KAZAKHSTAN, "column `2002 г.`: the marriages must be a whole number that is not negative; found `1 02`", "1.234"),
        "torn": (strict, torn, "line 15: a record follows, but line 13 ends the table", ""),
        "unnamed": (strict, unnamed, "column 6 has no name in the header and holds `7`", ""),
        "note": (no_notes, KAZAKHSTAN.split("\n\nИсточник")[0] + "\n", "one field is not empty, so this is no record of the table", ""),
        "empty line": (strict, KAZAKHSTAN.replace(";;;;;\n;;;;;\n", ";;;;;\n;;;;;\n\n"), "line 3 is empty", ""),
        "sql": (broken, KAZAKHSTAN, "the cleaning SQL of the input `shapes` is not valid: ", "nothing"),
        "fields": (strict, KAZAKHSTAN.replace("3 902;", "3 902"), "fields", "the header"),
        "encoding": (strict, KAZAKHSTAN.encode("cp1251", "ignore"), "the text is not UTF-8", "cargo xtask deploy --data FILE"),
        "encoding, far": (simple, csv.encode() + b"A,2001,2,\xff\n" + b"A,2001,2,x\n" * 70000, "the text is not UTF-8", ""),
        "fewer fields": (simple, csv + "B,2000,1\n", "fields", "the header"),
        "fields, second": (simple, {"a.csv": csv, "b.csv": csv + "B,2000,1,x,y\n", "c.csv": csv}, "b.csv: ", "fields"),
        "another column": (simple, {"a.csv": csv, "b.csv": csv.replace("note", "other")}, "the file has a column `other`, and ", f"{first} has none of that name"),
        "a column less": (simple, {"a.csv": csv, "b.csv": csv.replace(",note", "").replace(",x", "")}, "the file has no column `note`, and ", f"{first} has one"),
        "a file without": (simple, {"a.csv": csv, "b.csv": "region,year\nB,2000\n"}, "b.csv: line 1: column `marriages` is missing; the header has region, year", ""),
        "a quote in quotes": (simple, csv + 'B,2001,2,"x"y\n', "a field in quotes has a quote in it; it must be written twice", ""),
        "unreadable": (simple, csv.replace("2000", "20o0"), "column `year`: ", "found `20o0`"),
        "no records": (simple, csv.split("\n")[0] + "\n", "the file has a header but no records", ""),
        "zstd": (simple, {"a.csv.zst": b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00\x99\xe9\xd8\x51"}, "", ""),
        "a packed name": (simple, {"a.csv": b"PK\x03\x04aaaaaaaaaaaa"}, "the file is a workbook or another archive", ""),
        "json, key": (lines, line.replace("marriages", "m"), "column `marriages` is missing; the file has region, year, m", ""),
        "json, twice": (lines, line.replace("marriages", "year"), "is there twice", ""),
        "json, torn": (lines, line + line[:20], "each line must be one whole object", ""),
        "json, nested": (lines, line.replace("2000", "[1]"), "the value is nested, which is not read", ""),
        "json, number": (lines, line.replace("2000", "2000.0"), "column `year`: ", "found `2000.0`"),
        "parquet, text": (simple | {"inputs": [simple["inputs"][0] | {"format": "parquet", "csv": None}]}, csv, "the file is text; the manifest says `format = \"parquet\"`", "set `format` of the input"),
        "time, none": (summer, times("2013-03-31 01:30:00"), "this time does not exist in Europe/London, or exists twice", "found `2013-03-31 01:30:00`"),
        "time, two": (summer, times("2013-10-27 01:30:00"), "this time does not exist in Europe/London, or exists twice", "found `2013-10-27 01:30:00`"),
        "date": (hours, VALUES.replace("2020-02-29", "2021-02-29"), "column `day`: cannot be read as a date", "found `2021-02-29`"),
        "too large": (hours, VALUES.replace("9223372036854775807", "9223372036854775808"), "column `big`: cannot be read as a whole number", ""),
        "decimals": (hours, VALUES.replace("1.50", "1.505"), "column `price`: cannot be read", ""),
    }  # fmt: skip
    from parity import plan_of

    three = {"marriages": {"a.csv": "region,year,marriages\nA,2000,1\nB,2000,2\nC,2000,3\n"}}
    made = {name: (broken_table, three, words, "") for name, (broken_table, words) in of_tables(plan_of(checkout, "marriages")).items()}
    return {f"refused: {name}": (lambda name=name, case=case: refused(name, *case)) for name, case in (cases | made).items()}


def refused(name, made, content, words, also):
    from parity import contents, lay, run_engine, run_spark, told

    problems = []
    if not isinstance(content, dict):
        content = {"a.csv": content}
    files = content if isinstance(next(iter(content.values())), dict) else {"shapes": content}
    for run in (run_engine, run_spark):
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            lay(folder, made, files)
            before = contents(folder)
            said = run(folder)
            text = re.sub(r"\s+", " ", said.stderr)
            if said.returncode == 0 or words not in text or also not in text or contents(folder) != before:
                problems.append(f"{run.__name__} said {said.returncode}: {said.stderr[-1500:]}")
            if name == "sql" and "SELECT" in said.stderr:
                problems.append(f"{run.__name__} prints the statement: {said.stderr}")
    return told(f"refused: {name}", problems)
