"""PyAthena: its cursors, and SQLAlchemy and pandas over it."""

import asyncio
import datetime
import decimal
import functools
import logging
import os

import boto3
import pandas as pd
import pyathena
import sqlalchemy
from pyathena.arrow.async_cursor import AsyncArrowCursor
from pyathena.arrow.cursor import ArrowCursor
from pyathena.async_cursor import AsyncCursor, AsyncDictCursor
from pyathena.cursor import DictCursor
from pyathena.pandas.async_cursor import AsyncPandasCursor
from pyathena.pandas.cursor import PandasCursor
from sqlalchemy import Column, Integer, MetaData, String, Table, inspect, select

logging.getLogger("pyathena").setLevel(logging.CRITICAL)
BUCKET = "pyathena-data"
DB = "pyathena"
OUT = f"s3://{BUCKET}/results/"
TYPES = """
    SELECT true AS b, CAST(127 AS tinyint) AS t, CAST(12 AS smallint) AS s, CAST(13 AS integer) AS i, CAST(14 AS bigint) AS l,
           CAST(0.5 AS double) AS d, CAST(1.25 AS decimal(5,2)) AS n, 'x' AS v, date '2024-01-02' AS day,
           timestamp '2024-01-02 03:04:05.678' AS at, CAST(NULL AS varchar) AS z
"""


def connect(**arguments):
    return pyathena.connect(s3_staging_dir=OUT, region_name="us-east-1", schema_name=DB, **arguments)


def arrow_finds_the_cloud():
    """PyAthena gives Arrow's file system no endpoint, and that one reads none from the environment."""
    from pyarrow import fs

    fs.S3FileSystem = functools.partial(fs.S3FileSystem, endpoint_override=os.environ["AWS_ENDPOINT_URL"])


def run(checked, refused):
    arrow_finds_the_cloud()
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    statements(checked, refused)
    cursors(checked, refused)
    frames(checked)
    alchemy(checked)
    connect().cursor().execute(f"DROP DATABASE {DB} CASCADE")


def statements(checked, refused):
    cursor = connect().cursor()

    def made():
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {DB} COMMENT 'words' LOCATION 's3://{BUCKET}/db/'")
        cursor.execute(f"""
            CREATE EXTERNAL TABLE IF NOT EXISTS {DB}.sales (id int COMMENT 'number', name string, value double)
            PARTITIONED BY (day date)
            ROW FORMAT DELIMITED FIELDS TERMINATED BY '\\t' LINES TERMINATED BY '\\n'
            LOCATION 's3://{BUCKET}/sales/' TBLPROPERTIES ('skip.header.line.count'='1')
        """)
        s3 = boto3.client("s3")
        s3.put_object(Bucket=BUCKET, Key="sales/day=2024-01-01/a.tsv", Body=b"id\tname\tvalue\n1\ta\t1.5\n2\t\\N\t2.5\n")
        s3.put_object(Bucket=BUCKET, Key="sales/day=2024-01-02/a.tsv", Body=b"id\tname\tvalue\n3\tc\t\\N\n")
        cursor.execute("MSCK REPAIR TABLE sales")
        cursor.execute("SHOW PARTITIONS sales")
        seen = cursor.fetchall()
        return seen == [("day=2024-01-01",), ("day=2024-01-02",)], seen

    def plain():
        cursor.execute("SELECT id, name, value, day FROM sales ORDER BY id")
        seen = cursor.fetchall()
        wanted = [(1, "a", 1.5, datetime.date(2024, 1, 1)), (2, None, 2.5, datetime.date(2024, 1, 1)), (3, "c", None, datetime.date(2024, 1, 2))]
        names = [(column[0], column[1]) for column in cursor.description]
        return seen == wanted and names == [("id", "integer"), ("name", "varchar"), ("value", "double"), ("day", "date")], (seen, names)

    def properties():
        cursor.execute("SELECT count(*) FROM sales WHERE day = date '2024-01-01'")
        seen = (cursor.state, cursor.statement_type, cursor.substatement_type, cursor.work_group, cursor.output_location.startswith(OUT))
        pruned = cursor.data_scanned_in_bytes
        holds = pruned == len(b"id\tname\tvalue\n1\ta\t1.5\n2\t\\N\t2.5\n") and cursor.total_execution_time_in_millis >= cursor.engine_execution_time_in_millis
        return holds and seen == ("SUCCEEDED", "DML", "SELECT", "primary", True), (seen, pruned)

    def types():
        row = cursor.execute(TYPES).fetchone()
        wanted = (True, 127, 12, 13, 14, 0.5, decimal.Decimal("1.25"), "x", datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3, 4, 5, 678000), None)
        return row == wanted, row

    def parameters():
        named = cursor.execute("SELECT id FROM sales WHERE name = %(name)s AND day = %(day)s", {"name": "a", "day": datetime.date(2024, 1, 1)}).fetchall()
        placed = cursor.execute("SELECT id FROM sales WHERE id > ? AND name = ?", ["1", "'c'"], paramstyle="qmark").fetchall()
        quoted = cursor.execute("SELECT %(text)s", {"text": "it's"}).fetchall()
        return (named, placed, quoted) == ([(1,)], [(3,)], [("it's",)]), (named, placed, quoted)

    def many():
        cursor.execute(f"CREATE TABLE copied WITH (format='PARQUET', external_location='s3://{BUCKET}/copied/', partitioned_by=ARRAY['day']) AS SELECT * FROM sales")
        created = (cursor.rowcount, cursor.substatement_type)
        cursor.executemany("INSERT INTO copied (id, name, value, day) VALUES (%(id)s, %(name)s, %(value)s, %(day)s)", [
            {"id": 4, "name": "d", "value": 4.5, "day": datetime.date(2024, 1, 3)},
            {"id": 5, "name": "e", "value": 5.5, "day": datetime.date(2024, 1, 3)},
        ])
        seen = cursor.execute("SELECT id, day FROM copied WHERE day > date '2024-01-01' ORDER BY id").fetchall()
        days = [datetime.date(2024, 1, d) for d in (2, 3, 3)]
        return created == (3, "CREATE_TABLE_AS_SELECT") and seen == list(zip([3, 4, 5], days)), (created, seen)

    def listed():
        seen = {
            "databases": (DB,) in cursor.execute("SHOW DATABASES").fetchall(),
            "tables": cursor.execute("SHOW TABLES IN pyathena 's*'").fetchall(),
            "columns": [row[0].strip() for row in cursor.execute("SHOW COLUMNS IN sales").fetchall()],
            "described": [tuple(part.strip() for part in row[0].split("\t")) for row in cursor.execute("DESCRIBE sales").fetchall()][0],
            "properties": ("skip.header.line.count\t1",) in cursor.execute("SHOW TBLPROPERTIES sales").fetchall(),
            "created": cursor.execute("SHOW CREATE TABLE sales").fetchall()[0],
        }
        wanted = {
            "databases": True, "tables": [("sales",)], "columns": ["id", "name", "value", "day"], "described": ("id", "int", "number"),
            "properties": True, "created": ("CREATE EXTERNAL TABLE `pyathena.sales`(",),
        }
        return seen == wanted, seen

    def views():
        cursor.execute("CREATE OR REPLACE VIEW big AS SELECT id, upper(name) AS name FROM sales WHERE id > 1")
        cursor.execute("CREATE VIEW bigger AS SELECT id FROM big WHERE id > 2")
        seen = (
            cursor.execute("SELECT * FROM bigger").fetchall(), cursor.execute("SHOW VIEWS").fetchall(), cursor.execute("DESCRIBE big").fetchall(),
            cursor.execute("SHOW CREATE VIEW bigger").fetchall()[-1],
        )
        cursor.execute("DROP VIEW bigger")
        wanted = ([(3,)], [("big",), ("bigger",)], [("id\tinteger",), ("name\tvarchar",)], ("SELECT id FROM big WHERE id > 2",))
        return seen == wanted, seen

    def altered():
        cursor.execute("ALTER TABLE copied ADD COLUMNS (extra string COMMENT 'more')")
        cursor.execute(f"ALTER TABLE copied ADD IF NOT EXISTS PARTITION (day='2024-02-01') LOCATION 's3://{BUCKET}/elsewhere/' PARTITION (day='2024-02-02')")
        cursor.execute("ALTER TABLE copied DROP PARTITION (day='2024-01-02')")
        cursor.execute("ALTER TABLE copied PARTITION (day='2024-02-02') RENAME TO PARTITION (day='2024-02-03')")
        cursor.execute("ALTER TABLE copied SET TBLPROPERTIES ('a'='b')")
        days = [row[0][4:] for row in cursor.execute("SHOW PARTITIONS copied").fetchall()]
        rows = cursor.execute("SELECT id, extra FROM copied ORDER BY id").fetchall()
        value = cursor.execute("SHOW TBLPROPERTIES copied('a')").fetchall()
        wanted = (["2024-01-01", "2024-01-03", "2024-02-01", "2024-02-03"], [(1, None), (2, None), (4, None), (5, None)], [("b",)])
        return (days, rows, value) == wanted, (days, rows, value)

    def errors():
        said = [
            refused(lambda: cursor.execute("SELECT * FROM missing"), "TABLE_NOT_FOUND: line 1:15: Table 'awsdatacatalog.pyathena.missing' does not exist"),
            refused(lambda: cursor.execute("DROP TABLE missing"), "SemanticException [Error 10001]: Table not found pyathena.missing"),
            refused(lambda: cursor.execute(f"CREATE DATABASE {DB}"), "already exists"),
            refused(lambda: cursor.execute(f"DROP DATABASE {DB}"), "is not empty"),
            refused(lambda: cursor.execute("CREATE TABLE copied AS SELECT 1 AS a"), "TABLE_ALREADY_EXISTS"),
            refused(lambda: cursor.execute(f"CREATE TABLE other WITH (external_location='s3://{BUCKET}/copied/') AS SELECT 1 AS a"), "HIVE_PATH_ALREADY_EXISTS"),
            refused(lambda: cursor.execute("CREATE TABLE other AS SELECT 1"), "Column name not specified at position 1"),
            refused(lambda: cursor.execute("INSERT INTO sales SELECT 'x', 'y', 1e0, date '2024-01-01'"), "TYPE_MISMATCH", "Insert query has mismatched column types"),
            refused(lambda: cursor.execute("DELETE FROM sales WHERE id = 1"), "Modifying Hive table rows is only supported for transactional tables"),
            refused(lambda: cursor.execute("CREATE TABLE ice (a int) LOCATION 's3://x/y/' TBLPROPERTIES ('table_type'='ICEBERG')"), "Iceberg"),
            refused(lambda: cursor.execute("EXPLAIN ANALYZE SELECT 1"), "EXPLAIN ANALYZE"),
            refused(lambda: cursor.execute("ALTER TABLE sales DROP PARTITION (day='1999-01-01')"), "Partition not found"),
        ]
        return all(holds for holds, _ in said), [seen for holds, seen in said if not holds]

    def explained():
        rows = cursor.execute("EXPLAIN SELECT id FROM sales WHERE id > 1").fetchall()
        valid = cursor.execute("EXPLAIN (TYPE VALIDATE) SELECT 1").fetchall()
        return len(rows) > 1 and ("true",) in valid or (True,) in valid, (rows, valid)

    def prepared():
        cursor.execute("PREPARE above FROM SELECT id FROM sales WHERE id > ? ORDER BY id")
        rows = cursor.execute("EXECUTE above USING 1").fetchall()
        cursor.execute("DEALLOCATE PREPARE above")
        gone = refused(lambda: cursor.execute("EXECUTE above USING 1"), "PreparedStatement above was not found in workGroup primary")
        return rows == [(2,), (3,)] and gone[0], (rows, gone)

    def schemas():
        tables = cursor.execute("SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'pyathena' ORDER BY 1").fetchall()
        columns = cursor.execute("SELECT column_name, data_type, extra_info FROM information_schema.columns WHERE table_schema = 'pyathena' AND table_name = 'sales' ORDER BY ordinal_position").fetchall()
        wanted = [("id", "integer", None), ("name", "varchar", None), ("value", "double", None), ("day", "date", "partition key")]
        return tables == [("big", "VIEW"), ("copied", "BASE TABLE"), ("sales", "BASE TABLE")] and columns == wanted, (tables, columns)

    checked("pyathena CREATE DATABASE, CREATE EXTERNAL TABLE, MSCK REPAIR, SHOW PARTITIONS", made)
    checked("pyathena Cursor rows and description", plain)
    checked("pyathena Cursor properties, bytes of one partition", properties)
    checked("pyathena Cursor types", types)
    checked("pyathena parameters, pyformat and qmark", parameters)
    checked("pyathena CREATE TABLE AS by partitions, executemany INSERT", many)
    checked("pyathena SHOW and DESCRIBE", listed)
    checked("pyathena views over views", views)
    checked("pyathena ALTER TABLE", altered)
    checked("pyathena errors in Athena's words", errors)
    checked("pyathena EXPLAIN", explained)
    checked("pyathena PREPARE, EXECUTE, DEALLOCATE", prepared)
    checked("pyathena information_schema", schemas)


def cursors(checked, refused):
    def dictionaries():
        rows = connect(cursor_class=DictCursor).cursor().execute("SELECT id, name FROM sales ORDER BY id LIMIT 1").fetchall()
        return rows == [{"id": 1, "name": "a"}], rows

    def iterated():
        cursor = connect().cursor()
        rows = cursor.execute("SELECT * FROM (VALUES (1), (2), (3)) t (n) ORDER BY 1").fetchmany(2)
        rest = cursor.fetchall()
        return rows == [(1,), (2,)] and rest == [(3,)] and cursor.rownumber == 3, (rows, rest)

    def paged():
        numbers = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
        sql = f"WITH d AS ({numbers}) SELECT a.n + 10 * b.n + 100 * c.n + 1000 * e.n AS n FROM d a, d b, d c, (VALUES (0), (1), (2)) e (n) ORDER BY 1"
        rows = connect().cursor().execute(sql).fetchall()
        return [row[0] for row in rows] == list(range(3000)), len(rows)

    def asynchronous():
        cursor = connect(cursor_class=AsyncCursor).cursor(max_workers=4)
        futures = [cursor.execute(f"SELECT {n} AS n")[1] for n in range(6)]
        rows = [future.result().fetchall() for future in futures]
        return rows == [[(n,)] for n in range(6)], rows

    def asynchronous_dictionaries():
        _, future = connect(cursor_class=AsyncDictCursor).cursor().execute("SELECT 1 AS n")
        return future.result().fetchall() == [{"n": 1}], future

    def cancelled():
        cursor = connect(cursor_class=AsyncCursor).cursor()
        query, future = cursor.execute("SELECT count(*) FROM sales a, sales b")
        cursor.cancel(query).result()
        return future.result().state in ("CANCELLED", "SUCCEEDED"), future.result().state

    def described():
        cursor = connect(cursor_class=AsyncCursor).cursor()
        query, future = cursor.execute("SELECT 1 AS n, 'x' AS t")
        future.result()
        description = cursor.description(query).result()
        return [column[0] for column in description] == ["n", "t"] and cursor.query_execution(query).result().state == "SUCCEEDED", description

    def native():
        from pyathena.aio.cursor import AioCursor

        async def work():
            async with await pyathena.aio_connect(s3_staging_dir=OUT, region_name="us-east-1", schema_name=DB, cursor_class=AioCursor) as connection:
                async with connection.cursor() as cursor:
                    await cursor.execute("SELECT id FROM sales ORDER BY id")
                    return await cursor.fetchall()

        rows = asyncio.run(work())
        return rows == [(1,), (2,), (3,)], rows

    def metadata():
        cursor = connect().cursor()
        table = cursor.get_table_metadata("sales")
        names = [t.name for t in cursor.list_table_metadata()]
        some = [t.name for t in cursor.list_table_metadata(expression="s.*")]
        databases = [d.name for d in cursor.list_databases("awsdatacatalog")]
        keys = [(key.name, key.type) for key in table.partition_keys]
        holds = names == ["big", "copied", "sales"] and some == ["sales"] and DB in databases and keys == [("day", "date")]
        return holds and table.columns[0].comment == "number" and table.location == f"s3://{BUCKET}/sales/", (names, some, databases, keys, table.row_format)

    checked("pyathena DictCursor", dictionaries)
    checked("pyathena fetchmany and rownumber", iterated)
    checked("pyathena pages of 3,000 rows", paged)
    checked("pyathena AsyncCursor", asynchronous)
    checked("pyathena AsyncDictCursor", asynchronous_dictionaries)
    checked("pyathena AsyncCursor cancel", cancelled)
    checked("pyathena AsyncCursor description", described)
    if hasattr(pyathena, "aio_connect"):
        checked("pyathena aio_connect", native)
    checked("pyathena metadata of tables and databases", metadata)


def frames(checked):
    sql = "SELECT id, name, value, day FROM sales ORDER BY id"

    def whole(df):
        seen = [tuple(None if pd.isna(v) else v for v in row) for row in df.itertuples(index=False)]
        return [row[:3] for row in seen] == [(1, "a", 1.5), (2, None, 2.5), (3, "c", None)], (seen, df.dtypes)

    def pandas(**arguments):
        return whole(connect(cursor_class=PandasCursor).cursor(**arguments).execute(sql).as_pandas())

    def chunks():
        cursor = connect(cursor_class=PandasCursor).cursor()
        parts = list(cursor.execute(sql, chunksize=2).as_pandas())
        return [len(part) for part in parts] == [2, 1], parts

    def fetched():
        rows = connect(cursor_class=PandasCursor).cursor().execute("SELECT id, name FROM sales ORDER BY id").fetchall()
        return [row[0] for row in rows] == [1, 2, 3], rows

    def asynchronous():
        _, future = connect(cursor_class=AsyncPandasCursor).cursor().execute(sql)
        return whole(future.result().as_pandas())

    def shown():
        df = connect(cursor_class=PandasCursor).cursor().execute("SHOW TABLES").as_pandas()
        return df.iloc[:, 0].tolist() == ["big", "copied", "sales"], df

    def arrow(**arguments):
        table = connect(cursor_class=ArrowCursor).cursor(**arguments).execute(sql).as_arrow()
        return table.column("id").to_pylist() == [1, 2, 3] and table.column("name").to_pylist() in (["a", None, "c"], ["a", "", "c"]), table

    def arrow_asynchronous():
        _, future = connect(cursor_class=AsyncArrowCursor).cursor().execute(sql)
        return future.result().as_arrow().num_rows == 3, future

    def read_sql():
        df = pd.read_sql_query(sql, connect())
        return df["id"].tolist() == [1, 2, 3], df

    def to_sql():
        from pyathena.pandas.util import to_sql

        df = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "p": ["1", "2"]})
        connection = connect()
        to_sql(df, "from_pandas", connection, f"s3://{BUCKET}/from_pandas/", schema=DB, index=False, if_exists="replace", partitions=["p"])
        to_sql(df[:1], "from_pandas", connection, f"s3://{BUCKET}/from_pandas/", schema=DB, index=False, if_exists="append", partitions=["p"])
        rows = connection.cursor().execute("SELECT a, b, p FROM from_pandas ORDER BY a").fetchall()
        return rows == [(1, "x", "1"), (1, "x", "1"), (2, "y", "2")], rows

    checked("pyathena PandasCursor", pandas)
    checked("pyathena PandasCursor with unload", lambda: pandas(unload=True))
    checked("pyathena PandasCursor in chunks", chunks)
    checked("pyathena PandasCursor fetchall", fetched)
    checked("pyathena PandasCursor of SHOW TABLES", shown)
    checked("pyathena AsyncPandasCursor", asynchronous)
    checked("pyathena ArrowCursor", arrow)
    checked("pyathena ArrowCursor with unload", lambda: arrow(unload=True))
    checked("pyathena AsyncArrowCursor", arrow_asynchronous)
    checked("pandas read_sql_query", read_sql)
    checked("pyathena to_sql", to_sql)


def alchemy(checked):
    from urllib.parse import quote_plus

    url = f"awsathena+rest://@athena.us-east-1.amazonaws.com:443/{DB}?s3_staging_dir={quote_plus(OUT)}"
    engine = sqlalchemy.create_engine(url)

    def reflected():
        seen = inspect(engine)
        columns = {column["name"]: type(column["type"]).__name__ for column in seen.get_columns("sales", schema=DB)}
        names = (DB in seen.get_schema_names(), sorted(seen.get_table_names(DB)), seen.get_view_names(DB), seen.has_table("sales", DB), seen.has_table("none", DB))
        wanted = (True, ["copied", "from_pandas", "sales"], ["big"], True, False)
        return names == wanted and list(columns) == ["id", "name", "value", "day"], (names, columns)

    def selected():
        table = Table("sales", MetaData(schema=DB), autoload_with=engine)
        with engine.connect() as connection:
            rows = connection.execute(select(table.c.id, table.c.name).where(table.c.id > 1).order_by(table.c.id)).fetchall()
        return [tuple(row) for row in rows] == [(2, None), (3, "c")], rows

    def created():
        metadata = MetaData(schema=DB)
        table = Table("alchemy", metadata, Column("a", Integer, comment="number"), Column("b", String), awsathena_location=f"s3://{BUCKET}/alchemy/", awsathena_file_format="PARQUET", awsathena_compression="SNAPPY")
        metadata.create_all(engine)
        with engine.connect() as connection:
            connection.execute(table.insert().values(a=1, b="x"))
            rows = connection.execute(select(table)).fetchall()
        metadata.drop_all(engine)
        return [tuple(row) for row in rows] == [(1, "x")] and not inspect(engine).has_table("alchemy", DB), rows

    def view_definition():
        seen = inspect(engine).get_view_definition("big", DB)
        return "upper(name)" in seen, seen

    def pandas():
        location = f"s3://{BUCKET}/to_sql/"
        writer = sqlalchemy.create_engine(f"{url}&location={quote_plus(location)}")
        df = pd.DataFrame({"a": [1, 2], "b": ["x", "it's"]})
        with writer.connect() as connection:
            df.to_sql("to_sql", connection, schema=DB, index=False, if_exists="append", method="multi")
            back = pd.read_sql("SELECT a, b FROM to_sql ORDER BY a", connection)
        return back.to_dict("list") == {"a": [1, 2], "b": ["x", "it's"]}, back

    checked("sqlalchemy reflection", reflected)
    checked("sqlalchemy select of a reflected table", selected)
    checked("sqlalchemy create_all, insert, drop_all", created)
    checked("sqlalchemy get_view_definition", view_definition)
    checked("pandas to_sql and read_sql over sqlalchemy", pandas)
