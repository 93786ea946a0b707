"""Tables in the shapes that people have, for `parity.py`: what both engines make of their headers, titles,
footnotes, columns of years and ways to write numbers, and what both refuse."""

import importlib.util
import json
import pathlib
import re

from support import ROOT

COLUMNS = """
[[data.columns]]
name = "region"
source = "Регион"
type = "string"
[[data.columns]]
name = "area"
source = "площадь, тыс. км2"
type = "double"
[[data.columns]]
name = "year"
type = "int"
[[data.columns]]
name = "marriages"
type = "bigint"
[task]
series = "region"
time = "year"
target = "marriages"
[quality]
unique = { action = "reject" }
"""

OFFICE = """delimiter = ";"
skip_lines = 2
footnotes = "leave-out"
thousands = " "
decimal = ","
missing = ["…", "-", "d'x"]
leave_out = ["Республика Казахстан"]
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

PLAIN_COLUMNS = COLUMNS.replace('[[data.columns]]\nname = "area"\nsource = "площадь, тыс. км2"\ntype = "double"\n', "")

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


def manifest(data, columns, reject):
    text = f'schema_version = 1\nname = "shapes"\n[data]\n{data}{columns}'
    if not reject:
        return text
    rules = [("region", "region IS NULL"), ("year", "year IS NULL"), ("marriages", "marriages IS NULL")]
    rule = '[[quality.rules]]\nname = "{0}_valid"\ncolumn = "{0}"\nwhen = "{1}"\nreason = "the {0} must be there"\naction = "reject"\n'
    return text + "".join(rule.format(*each) for each in rules)


def plan(checkout, scratch, text, sql=SQL):
    """The ETL plan that `xtask` makes of a manifest, in a workspace of its own."""
    workspace = pathlib.Path(scratch, "workspace")
    folder = workspace / "model" / "pipelines" / "shapes"
    folder.mkdir(parents=True, exist_ok=True)
    (workspace / "steppe.toml").write_text((ROOT / "steppe.toml").read_text().replace('"marriages"', '"shapes"'))
    (folder / "pipeline.toml").write_text(text, encoding="utf-8")
    (folder / "etl.sql").write_text(sql)
    data = pathlib.Path(scratch, "nothing.csv")
    data.write_text("no such table\n")
    made = checkout.folder / "clean" / "shapes"
    before = set(made.glob("*/plan.json"))
    said = checkout.run("train", "--data", data, check=False, cwd=workspace)
    new = set(made.glob("*/plan.json")) - before
    if len(new) != 1:
        raise SystemExit(f"{len(new)} plans were made:\n{said.stdout}{said.stderr}")
    return new.pop()


def written(scratch, name, text):
    file = pathlib.Path(scratch, f"{name}.csv")
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def tables(checkout, scratch):
    """Cases to compare: name, plan, file."""
    office = plan(checkout, scratch, manifest(OFFICE, COLUMNS, reject=True))
    lenient = plan(checkout, scratch, manifest("", PLAIN_COLUMNS, reject=True))
    plain = "Регион;year;marriages;note\n" + "".join(f"A;{year};{value};\n" for year, value in [(2000, "1 023"), (2001, "…"), (2002, "2.5"), (2003, "")])
    long_office = OFFICE.split("wide =")[0].replace("skip_lines = 2\n", "").replace('sql = "etl.sql"\n', "")
    long_plan = plan(checkout, scratch, manifest(long_office, PLAIN_COLUMNS, reject=True))
    return [
        ("wide", office, written(scratch, "wide", KAZAKHSTAN)),
        ("wide, CR", office, written(scratch, "wide_cr", KAZAKHSTAN.replace("\n", "\r"))),
        ("header", lenient, written(scratch, "header", LONG)),
        ("header, CR", lenient, written(scratch, "header_cr", LONG.replace("\r\n", "\r"))),
        ("long", long_plan, written(scratch, "long", plain)),
    ]


def script():
    """The Glue script as a module."""
    spec = importlib.util.spec_from_file_location("etl", ROOT / "templates" / "etl.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(scratch, run_engine):
    """The naming rule in both languages, without starting Spark for each header."""
    etl, problems = script(), []
    columns = [{"source": "Регион", "name": "region"}, {"source": "year", "name": "year"}, {"source": "marriages", "name": "marriages"}]
    made = {
        "schema_version": etl.PLAN_SCHEMA_VERSION, "pipeline": "shapes", "delimiter": ",", "columns": columns, "wide": None,
        "cleaning_sql": "SELECT * FROM raw",
        "judged_sql": "SELECT *, CASE WHEN _row = 2 THEN 'r' END AS _rule FROM typed",
        "clean_sql": "SELECT region, year FROM judged WHERE _rule IS NULL", "fatal_rules": [], "rule_columns": [],
        "rejects_sql": "SELECT file.*, 'r' AS _rule, 'r' AS _reason FROM file WHERE _row = 2",
    }  # fmt: skip
    file = pathlib.Path(scratch, "names.json")
    file.write_text(json.dumps(made))
    for number, (header, refused) in enumerate(NAMES.items()):
        folder = pathlib.Path(scratch, f"names-{number}")
        folder.mkdir()
        record = ",".join("1" for _ in header.split(","))
        data = written(scratch, "names", f"{header}\n{record}\n{record}\n")
        places = {"plan": file, "input": data, "output": folder / "o", "rejects": folder / "r", "report": folder / "report.json"}
        ours = run_engine([text for name, place in places.items() for text in (f"--{name}", str(place))])
        fields = [field.strip(etl.AROUND) for field in header.split(",")]
        try:
            theirs, said = etl.named(made, fields)[0], ""
        except etl.Defect as defect:
            theirs, said = None, str(defect)
        if refused is None:
            found = (folder / "r" / "part-00000.csv").read_text().split("\n")[0].split(",")[:-3] if ours.returncode == 0 else ours.stderr
            if found != theirs:
                problems.append(f"{header}: {found} and {theirs}")
        elif refused not in ours.stderr or refused not in said:
            problems.append(f"{header}: `{refused}` is not in {ours.stderr} and {said}")
    print(f"{'names':<20} {'as it should be' if not problems else 'WRONG'}")
    for problem in problems:
        print(f"  {problem}")
    return [not problems]


def refusals(checkout, scratch, run_engine, run_spark):
    """What both engines refuse, with the words that both must say; Spark numbers records, not lines."""
    office = manifest(OFFICE, COLUMNS, reject=False)
    strict = plan(checkout, scratch, office)
    broken = plan(checkout, scratch, office, SQL.replace("marriages\nFROM", "marriages, nothing\nFROM"))
    no_notes = plan(checkout, scratch, office.replace('footnotes = "leave-out"\n', ""))
    unnamed = KAZAKHSTAN.replace("3 902;", "3 902;7")
    torn = KAZAKHSTAN.replace("Источник: Бюро", "Абай;185,5;1;2;3;")
    cases = {
        "cell": (strict, KAZAKHSTAN, "column `2002 г.`: the marriages must be a whole number that is not negative; found `1 02`", "1.234"),
        "torn": (strict, torn, "line 15: a record follows, but line 13 ends the table", ""),
        "unnamed": (strict, unnamed, "column 6 has no name in the header and holds `7`", ""),
        "note": (no_notes, KAZAKHSTAN.split("\n\nИсточник")[0] + "\n", "one field is not empty, so this is no record of the table", ""),
        "empty line": (strict, KAZAKHSTAN.replace(";;;;;\n;;;;;\n", ";;;;;\n;;;;;\n\n"), "line 3 is empty", ""),
        "sql": (broken, KAZAKHSTAN, "the cleaning SQL is not valid: ", "nothing"),
        "fields": (strict, KAZAKHSTAN.replace("3 902;", "3 902"), "fields", "the header"),
        "encoding": (strict, KAZAKHSTAN.encode("cp1251", "ignore"), "the text is not UTF-8", "cargo xtask deploy --data FILE"),
    }
    results = []
    for name, (made, text, words, also) in cases.items():
        folder = pathlib.Path(scratch, f"refused-{name}")
        folder.mkdir()
        places = {"plan": made, "input": written(scratch, "refused", text), "output": folder / "o", "rejects": folder / "r", "report": folder / "report.json"}
        given = [part for place, value in places.items() for part in (f"--{place}", str(value))]
        problems = []
        for run in (run_engine, run_spark):
            said = run(given)
            told = re.sub(r"\s+", " ", said.stderr)
            if said.returncode == 0 or words not in told or also not in told or any(folder.iterdir()):
                problems.append(f"{run.__name__} said {said.returncode}: {said.stderr[-1500:]}")
            if name == "sql" and said.stderr.count("SELECT") > 0:
                problems.append(f"{run.__name__} prints the statement: {said.stderr}")
        print(f"refused: {name:<11} {'as it should be' if not problems else 'WRONG'}")
        for problem in problems:
            print(f"  {problem}")
        results.append(not problems)
    return results
