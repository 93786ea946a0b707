"""SQL of tables: every function that a plan may call, with nulls and edge values, on both engines."""

import pathlib
import re
import tempfile

from support import ROOT

# Columns of the table `t`: several rows per `g`, nulls and edge values.
ROWS = """id,g,i,j,x,y,s,u,d,e,at,b,m
1,a,1,10,0.5,2.0,Straße,ß,2020-02-29,2020-03-31,2020-03-29 00:59:59,true,1.50
2,a,-7,2,-0.0,0.0,,x,2019-12-31,2020-01-01,2020-10-25 00:30:00,false,-2.25
3,a,2147483646,,2.5,-2.5, pad ,d,,2021-05-05,1969-12-31 23:59:59.999999,,
4,b,,9007199254740993,3.5,,ÅÄÖ İı,Å,2000-01-31,,,true,0.01
5,b,0,-3,-1.5,1e3,a%b_c,b,1900-03-01,1899-12-31,2013-03-31 01:30:00,false,99999999.99
6,c,-2147483647,1,1e-7,1e15,😀 Қазақ,қ,2024-01-01,2023-01-01,2013-10-27 01:30:00,true,-0.50
7,d,,,,,,,,,,,
8,e,5,5,12345.678,0.1,abc,abc,2021-03-31,2021-04-30,2021-07-01 12:34:56.789,true,2.50
"""
KINDS = {
    "id": "bigint", "g": "string", "i": "int", "j": "bigint", "x": "double", "y": "double", "s": "string", "u": "string",
    "d": "date", "e": "date", "at": "timestamp", "b": "boolean", "m": "decimal(10,2)",
}  # fmt: skip
BY_TIME = "OVER (PARTITION BY g ORDER BY id)"
WHOLE = "OVER (PARTITION BY g)"

# Expressions of a row, and of a group; each is the column of a table of its own.
OF_ROWS = [
    "abs(i)", "abs(j)", "abs(x)", "abs(m)",
    "add_months(d, 1)", "add_months(e, -13)", "add_months(d, i % 100)",
    "ceil(x)", "ceil(i)", "ceil(y)", "floor(x)", "floor(i)", "floor(y)",
    "coalesce(s, u, 'none')", "coalesce(i, j)", "coalesce(x, 0)", "coalesce(d, e)",
    "concat(s, '-', u)", "concat(s, i)", "concat(d, '')",
    "date_add(d, 1)", "date_add(d, -400)", "date_add(d, i % 100)", "date_sub(d, 1)", "date_sub(e, i % 100)",
    "date_diff(d, e)", "datediff(e, d)", "datediff(at, d)",
    "date_trunc('MONTH', at)", "date_trunc('week', at)", "date_trunc('hour', at)", "date_trunc('day', at)", "date_trunc('quarter', at)", "date_trunc('year', d)",
    "exp(x / 1000)", "ln(abs(x) + 1)", "ln(x)", "sqrt(abs(x))", "sqrt(x)", "pow(x, 2)", "power(abs(y), 0.5)", "pow(i, 2)",
    "from_utc_timestamp(at, 'Europe/London')", "to_utc_timestamp(at, 'Europe/London')", "from_utc_timestamp(at, 'Asia/Almaty')",
    "greatest(i, j)", "greatest(x, y)", "greatest(s, u)", "greatest(d, e)", "greatest(0.0, x)", "greatest(i, x)", "least(i, j)", "least(x, y)", "least(s, u)", "least(d, e, DATE '2020-01-01')",
    "if(b, i, 0)", "if(i > 0, s, u)", "if(x > y, x, y)", "nvl(i, 0)", "nvl(s, u)", "nvl(x, 1.5)", "nullif(i, 0)", "nullif(x, 1.5)", "nullif(s, u)",
    "last_day(d)", "last_day(e)", "next_day(d, 'Monday')", "next_day(e, 'SU')", "trunc(d, 'MM')", "trunc(d, 'year')", "trunc(e, 'week')", "trunc(e, 'quarter')", "weekday(d)", "weekday(e)",
    "length(s)", "lower(s)", "upper(s)", "replace(s, 'a', 'bb')", "replace(s, '', 'x')", "replace(s, u, '')",
    "round(x)", "round(x, 1)", "round(y, -2)", "round(i)", "round(CAST(id AS INT), -1)", "round(x * 1000, 2)", "round(m, 1)", "round(0.285e0 + x * 0, 2)", "round(1.005e0 + x * 0, 2)",
    "width_bucket(x, 0, 10, 5)", "width_bucket(x, -10.0, 10.0, 4)",
    # Operators.
    "i + 1", "i - 1", "j * 2", "-i", "i / j", "j / nullif(i, 0)", "i % 3", "x % 2", "j % 7", "m + 1", "m * 2", "m - x", "i + x", "i + j",
    "x = -x", "x < y", "s = u", "s < u", "s LIKE 'a%'", "s LIKE 'a\\\\%b%'", "s IN ('abc', 'x')", "i BETWEEN 0 AND 10", "NOT b", "b AND i > 0", "b OR i > 0", "i IS NULL", "s || u",
    "CAST(x AS INT)", "CAST(x AS BIGINT)", "CAST(i AS DOUBLE)", "CAST(i AS STRING)", "CAST(x AS STRING)", "CAST(y AS STRING)", "CAST(m AS STRING)", "CAST(d AS STRING)", "CAST(at AS STRING)", "CAST(b AS STRING)", "CAST(b AS INT)",
    "CAST(d AS TIMESTAMP)", "CAST(at AS DATE)", "CAST(m AS DOUBLE)", "CAST(x AS DECIMAL(20,3))", "CAST(m AS INT)", "CAST(i AS DECIMAL(12,1))", "CAST('12' AS INT) - id", "CAST(' 12 ' AS INT) - id", "CAST('1e3' AS DOUBLE) + x", "CAST('2020-01-01' AS DATE)",
    "d + INTERVAL '1' DAY", "at + INTERVAL '1' HOUR", "at - INTERVAL '1' HOUR", "d - INTERVAL '1' MONTH", "d > e", "at > d", "d = '2020-02-29'",
    "CASE WHEN i > 0 THEN 'p' WHEN i < 0 THEN 'n' END", "CASE i WHEN 1 THEN x ELSE y END", "CASE WHEN b THEN 1 ELSE 2.5 END",
    "EXTRACT(YEAR FROM d)", "EXTRACT(DOW FROM d)", "EXTRACT(WEEK FROM d)", "SUBSTRING(s, 2, 2)", "TRIM(s)", "POSITION('a' IN s)",
    # Windows.
    f"row_number() {BY_TIME}", f"rank() OVER (ORDER BY x)", f"dense_rank() OVER (ORDER BY g)", f"rank() OVER (ORDER BY s DESC)", f"lag(x) {BY_TIME}", f"lag(i, 2, 0) {BY_TIME}", f"lead(d) {BY_TIME}", f"lead(s, 1, 'end') {BY_TIME}",
    f"first_value(x) {BY_TIME}", f"last_value(x) {BY_TIME}", f"first_value(s) {BY_TIME}", f"sum(x) {BY_TIME}", f"avg(x) OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    f"count(*) {WHOLE}", f"max(i) {WHOLE}", f"min(d) {WHOLE}", f"sum(i) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)", f"stddev(x) {WHOLE}", "row_number() OVER (ORDER BY x, id)", "row_number() OVER (ORDER BY x DESC, id)", "row_number() OVER (ORDER BY s, id)",
]  # fmt: skip
OF_GROUPS = [
    "avg(x)", "avg(i)", "avg(j)", "avg(m)", "corr(x, y)", "corr(i, x)", "count(*)", "count(i)", "count(DISTINCT b)", "max(x)", "max(s)", "max(d)", "max(at)", "max(b)", "min(x)", "min(s)", "min(i)", "min(m)",
    "sum(x)", "sum(i)", "sum(j)", "sum(m)", "stddev(x)", "stddev_pop(x)", "stddev_samp(x)", "stddev(i)", "var_pop(x)", "var_samp(x)", "variance(x)", "sum(x) / count(*)", "sum(CASE WHEN b THEN 1 ELSE 0 END)", "avg(CASE WHEN b THEN x END)",
    "first_value(s)", "last_value(s)", "sum(i * 1.5)", "max(id) - min(id)",
]  # fmt: skip
# What cannot be computed, of these rows: an error on both.
ERRORS = [
    "x / y", "i / 0", "i % 0", "1 / (i - i)", "CAST(2147483647 AS INT) + i", "CAST(9223372036854775807 AS BIGINT) + j", "i * i", "j * j", "-CAST(-2147483648 AS INT) + i - i", "abs(CAST(-2147483648 AS INT) + i - i)", "CAST(s AS INT)", "CAST(s AS DATE)", "CAST(s AS DOUBLE)", "CAST(s AS BOOLEAN)",
    "CAST(y AS INT)", "CAST(1e300 AS BIGINT) + j", "CAST(m AS DECIMAL(4,2))", "CAST(j AS INT)", "CAST(1e10 AS DECIMAL(5,2))", "date_trunc('nonsense', at)", "next_day(d, 'nonsense')", "from_utc_timestamp(at, 'No/Zone')", "CAST('1.5' AS INT) + i", "date_add(d, 2147483647)", "add_months(d, 2147483647)",
]  # fmt: skip
ERRORS_OF_GROUPS = ["sum(9223372036854775807 + j - j)", "sum(CAST(9223372036854775807 AS BIGINT))"]


def table(name, expression, kind, keys):
    group = " GROUP BY g" if keys == "g" else ""
    return {
        "name": name, "sql": f"SELECT {keys}, {expression} AS v FROM t{group}", "columns": [[keys, KINDS[keys]], ["v", kind]], "keys": [keys],
        "output": {"prefix": f"processed/{name}/", "format": "parquet"},
    }  # fmt: skip


def plan(tables):
    columns = [{"source": name, "name": name, "type": kind} for name, kind in KINDS.items()]
    casts = ", ".join(f"CAST({name} AS {kind}) AS {name}" if kind != "string" else name for name, kind in KINDS.items())
    given = {
        "name": "t", "prefix": "raw/t/", "format": "csv", "columns": columns, "forms": [],
        "csv": {"delimiter": ",", "skip_lines": 0, "leave_out_footnotes": False, "wide": None},
        "cleaning_sql": f"SELECT _row, {casts} FROM raw", "judged_sql": "SELECT *, CAST(NULL AS STRING) AS _rule FROM typed",
        "clean_sql": f"SELECT {', '.join(KINDS)} FROM judged", "fatal_rules": [], "rule_columns": [],
        "rejects_sql": "SELECT file.*, '' AS _rule, '' AS _reason FROM file WHERE 1 = 0",
        "output": {"prefix": "processed/t/", "format": "parquet"}, "rejects": "rejects/t/",
    }  # fmt: skip
    return {"schema_version": 4, "pipeline": "functions", "root": "", "report": "reports/etl.json", "inputs": [given], "tables": tables}


def on_spark(session, keys, expression):
    """Type and rows of an expression, or what Spark says against it."""
    try:
        frame = session.sql(table("x", expression, "", keys)["sql"]).orderBy(keys)
        return frame.dtypes[1][1], [tuple(row) for row in frame.collect()]
    except Exception as error:
        said = str(error).split("\n")
        return None, next((line for line in said if "[" in line), said[0])[:300]


def on_engine(folder, keys, expression, kind):
    """Rows of a table with that expression, or what the embedded engine says against it."""
    from parity import lay, run_engine, table_rows

    made = table("made", expression, kind or "double", keys)
    lay(folder, plan([made]), {"t": {"t.csv": ROWS}})
    done = run_engine(folder)
    if done.returncode != 0:
        return done.stderr.strip()[:600]
    return table_rows(folder, made["output"])[1]


def differ(expression, spark, embedded, must_fail):
    """What is wrong, if anything."""
    from parity import same

    if isinstance(spark, str) and isinstance(embedded, str):
        return None if must_fail else f"`{expression}` is refused: {spark}; {embedded}"
    # What runs here runs on Spark; the other way round, the embedded engine may refuse.
    if isinstance(embedded, str):
        return None
    if isinstance(spark, str):
        return f"`{expression}` is refused by one: Spark {spark}; embedded engine {embedded}"
    pairs = [(a, b) for a, b in zip(embedded, spark) if not same(a, b, exact=False)]
    return f"`{expression}` of the embedded engine and of Spark: {pairs[:4]}" if pairs else None


def compared():
    """Each expression alone, so that each is told by its name; only one engine is slow to start."""
    from parity import job, run_spark, session, told

    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch, "spark")
        job(run_spark, folder, plan([]), {"t": {"t.csv": ROWS}})
        session().read.parquet(str(folder / "processed" / "t")).cache().createOrReplaceTempView("t")
        for keys, expressions, failing in (("id", OF_ROWS, ERRORS), ("g", OF_GROUPS, ERRORS_OF_GROUPS)):
            for expression in expressions + failing:
                kind, spark = on_spark(session(), keys, expression)
                embedded = on_engine(pathlib.Path(scratch, "embedded"), keys, expression, kind)
                problems.append(differ(expression, spark, embedded, expression in failing))
        session().catalog.dropTempView("t")
    return told("functions", [problem for problem in problems if problem], f"{len(problems)} expressions", most=1000)


def functions():
    source = (ROOT / "runtime" / "etl" / "src" / "spark_sql.rs").read_text()
    return re.findall(r'"([a-z_0-9]+)"', source.split("FUNCTIONS", 1)[1].split("];", 1)[0])


def uncovered():
    from parity import told

    text = " ".join(OF_ROWS + OF_GROUPS)
    return told("functions: all", [f"`{name}` is not compared" for name in functions() if not re.search(rf"\b{name}\(", text)])


def checks():
    return {"functions: all": uncovered, "functions": compared}
