"""AWS SDK for pandas: objects, catalogue, Athena in all three of its ways."""

import datetime
import decimal

import awswrangler as wr
import boto3
import pandas as pd

BUCKET = "wrangler-data"
DB = "wrangler"


def frame():
    return pd.DataFrame({
        "id": [1, 2, 3, 4],
        "name": ["a", "b", None, "d, \"e\""],
        "value": [1.5, 2.5, None, -4.0],
        "flag": [True, False, True, None],
        "day": [datetime.date(2024, 1, d) for d in (1, 2, 3, 4)],
        "at": pd.to_datetime(["2024-01-01 10:00:00", "2024-01-02 11:30:00", None, "2024-01-04 00:00:00.5"], format="ISO8601"),
        "part": ["x", "x", "y", "y"],
    })


def rows(df, *columns):
    return [tuple(None if pd.isna(v) else v for v in row) for row in df[list(columns)].itertuples(index=False)]


def run(checked, refused):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    objects(checked, s3)
    catalogue(checked, refused)
    athena(checked, refused)
    athena_calls(checked, refused)


def objects(checked, s3):
    base = f"s3://{BUCKET}/objects"

    def parquet():
        wr.s3.to_parquet(frame(), f"{base}/one.parquet")
        back = wr.s3.read_parquet(f"{base}/one.parquet")
        return rows(back, "id", "name", "value", "at") == rows(frame(), "id", "name", "value", "at"), back

    def dataset():
        wr.s3.to_parquet(frame(), f"{base}/dataset/", dataset=True, partition_cols=["part"])
        back = wr.s3.read_parquet(f"{base}/dataset/", dataset=True, partition_filter=lambda p: p["part"] == "y")
        return sorted(rows(back, "id", "part")) == [(3, "y"), (4, "y")], back

    def csv():
        wr.s3.to_csv(frame()[["id", "name"]], f"{base}/one.csv", index=False)
        back = wr.s3.read_csv(f"{base}/one.csv")
        return rows(back, "id", "name") == rows(frame(), "id", "name"), back

    def jsons():
        wr.s3.to_json(frame()[["id", "name"]], f"{base}/one.json", orient="records", lines=True)
        back = wr.s3.read_json(f"{base}/one.json", orient="records", lines=True)
        return rows(back, "id", "name") == rows(frame(), "id", "name"), back

    def lists():
        names = wr.s3.list_objects(f"{base}/")
        directories = wr.s3.list_directories(f"{base}/")
        return len(names) == 5 and directories == [f"{base}/dataset/"], (names, directories)

    def sizes():
        wr.s3.copy_objects([f"{base}/one.csv"], source_path=f"{base}/", target_path=f"{base}/copied/")
        size = wr.s3.size_objects([f"{base}/one.csv", f"{base}/copied/one.csv"])
        there = wr.s3.does_object_exist(f"{base}/copied/one.csv")
        wr.s3.delete_objects(f"{base}/")
        return there and len(set(size.values())) == 1 and wr.s3.list_objects(f"{base}/") == [], size

    checked("wr.s3 to_parquet and read_parquet", parquet)
    checked("wr.s3 read_parquet of a dataset with partition_filter", dataset)
    checked("wr.s3 to_csv and read_csv", csv)
    checked("wr.s3 to_json and read_json", jsons)
    checked("wr.s3 list_objects and list_directories", lists)
    checked("wr.s3 copy, size, exists, delete", sizes)


def catalogue(checked, refused):
    base = f"s3://{BUCKET}/tables"
    table = f"{base}/sales/"

    def databases():
        wr.catalog.create_database(DB, description="Words")
        wr.catalog.create_database(DB, exist_ok=True)
        found = wr.catalog.databases()
        described = [d for d in wr.catalog.get_databases() if d["Name"] == DB]
        return DB in found["Database"].tolist() and described[0]["Description"] == "Words", (found, described)

    def written():
        wr.s3.to_parquet(
            frame(), table, dataset=True, database=DB, table="Sales", partition_cols=["part"], mode="overwrite",
            glue_table_settings={"description": "what is sold", "parameters": {"owner_team": "north"}, "columns_comments": {"id": "number"}},
        )
        types = wr.catalog.get_table_types(DB, "sales")
        wanted = {"id": "bigint", "name": "string", "value": "double", "flag": "boolean", "day": "date", "at": "timestamp", "part": "string"}
        return types == wanted, types

    def partitions():
        found = wr.catalog.get_partitions(DB, "sales")
        chosen = wr.catalog.get_parquet_partitions(DB, "sales", expression="part = 'y'")
        return found == {f"{table}part=x/": ["x"], f"{table}part=y/": ["y"]} and list(chosen.values()) == [["y"]], (found, chosen)

    def modes():
        more = frame()[:1].assign(part="z")
        wr.s3.to_parquet(more, table, dataset=True, database=DB, table="sales", partition_cols=["part"], mode="append")
        wr.s3.to_parquet(more.assign(id=9), table, dataset=True, database=DB, table="sales", partition_cols=["part"], mode="overwrite_partitions")
        back = wr.s3.read_parquet_table(table="sales", database=DB)
        return sorted(back["id"]) == [1, 2, 3, 4, 9] and len(wr.catalog.get_partitions(DB, "sales")) == 3, back

    def evolution():
        wider = frame()[:1].assign(part="w", extra=7)
        wr.s3.to_parquet(wider, table, dataset=True, database=DB, table="sales", partition_cols=["part"], mode="append", schema_evolution=True, catalog_versioning=True)
        versions = wr.catalog.get_table_number_of_versions(table="sales", database=DB)
        return wr.catalog.get_table_types(DB, "sales")["extra"] == "bigint" and versions > 1, versions

    def refuses_evolution():
        other = frame()[:1].assign(more=1)
        return refused(
            lambda: wr.s3.to_parquet(other, table, dataset=True, database=DB, table="sales", partition_cols=["part"], mode="append", schema_evolution=False),
            "Schema change detected",
        )

    def lookups():
        found = wr.catalog.tables(database=DB)
        by_name = [t["Name"] for t in wr.catalog.get_tables(database=DB, name_prefix="sal")]
        inside = [t["Name"] for t in wr.catalog.get_tables(database=DB, name_contains="ale")]
        searched = [t["Name"] for t in wr.catalog.search_tables(text="sold")]
        location = wr.catalog.get_table_location(database=DB, table="SALES")
        exists = [wr.catalog.does_table_exist(DB, name) for name in ("sales", "nothing")]
        seen = (found["Table"].tolist(), by_name, inside, searched, location, exists)
        return seen == (["sales"], ["sales"], ["sales"], ["sales"], table, [True, False]), seen

    def described():
        shown = wr.catalog.table(database=DB, table="sales")
        comments = wr.catalog.get_columns_comments(DB, "sales")
        description = wr.catalog.get_table_description(DB, "sales")
        columns = shown["Column Name"].tolist()
        holds = comments["id"] == "number" and description == "what is sold" and columns[-2:] == ["extra", "part"]
        return holds and shown["Partition"].tolist()[-1] is True, (columns, comments, description)

    def parameters():
        wr.catalog.upsert_table_parameters({"a": "1"}, DB, "sales")
        upserted = wr.catalog.get_table_parameters(DB, "sales")
        wr.catalog.overwrite_table_parameters({"b": "2"}, DB, "sales")
        replaced = wr.catalog.get_table_parameters(DB, "sales")
        return upserted["a"] == "1" and upserted["owner_team"] == "north" and replaced == {"b": "2"}, (upserted, replaced)

    def made_tables():
        wr.catalog.create_parquet_table(DB, "made", f"{base}/made/", {"a": "int", "b": "string"}, partitions_types={"p": "int"})
        wr.catalog.add_parquet_partitions(DB, "made", {f"{base}/made/p=1/": ["1"], f"{base}/made/p=2/": ["2"]})
        wr.catalog.create_csv_table(DB, "made_csv", f"{base}/made_csv/", {"a": "int", "b": "string"}, partitions_types={"p": "string"})
        wr.catalog.add_csv_partitions(DB, "made_csv", {f"{base}/made_csv/p=1/": ["1"]})
        wr.catalog.create_json_table(DB, "made_json", f"{base}/made_json/", {"a": "int"})
        wr.catalog.create_orc_table(DB, "made_orc", f"{base}/made_orc/", {"a": "int"})
        wr.catalog.add_column(DB, "made_json", "c", column_type="double", column_comment="more")
        wr.catalog.delete_column(DB, "made_json", "a")
        dropped = wr.catalog.delete_partitions("made", DB, [["1"]])
        left = wr.catalog.get_partitions(DB, "made")
        csv = wr.catalog.get_csv_partitions(DB, "made_csv")
        numbers = wr.catalog.get_partitions(DB, "made", expression="p > 1")
        wr.catalog.delete_all_partitions("made", DB)
        gone = wr.catalog.get_partitions(DB, "made")
        seen = (dropped, left, csv, numbers, gone, wr.catalog.get_table_types(DB, "made_json"))
        wanted = (None, {f"{base}/made/p=2/": ["2"]}, {f"{base}/made_csv/p=1/": ["1"]}, {f"{base}/made/p=2/": ["2"]}, {}, {"c": "double"})
        return seen == wanted, seen

    def deleted():
        names = ["made", "made_csv", "made_json", "made_orc"]
        first = [wr.catalog.delete_table_if_exists(DB, name) for name in names]
        return first == [True] * 4 and wr.catalog.delete_table_if_exists(DB, "made") is False, first

    def frames():
        double = pd.DataFrame([[1, 2]], columns=["A b", "a_b"])
        clean = wr.catalog.sanitize_dataframe_columns_names(double)
        types = wr.catalog.extract_athena_types(frame(), partition_cols=["part"])
        return clean.columns.tolist() == ["a_b", "a_b"] and types[1] == {"part": "string"}, (clean, types)

    checked("wr.catalog create_database, databases, get_databases", databases)
    checked("wr.s3 to_parquet into a table", written)
    checked("wr.catalog get_partitions with an expression", partitions)
    checked("wr.s3 to_parquet append and overwrite_partitions", modes)
    checked("wr.s3 to_parquet schema evolution", evolution)
    checked("wr.s3 to_parquet without schema evolution", refuses_evolution)
    checked("wr.catalog tables, get_tables, search_tables, location", lookups)
    checked("wr.catalog table, comments, description", described)
    checked("wr.catalog table parameters", parameters)
    checked("wr.catalog create tables, add and delete partitions and columns", made_tables)
    checked("wr.catalog delete_table_if_exists", deleted)
    checked("wr.catalog names and types of frames", frames)


def athena(checked, refused):
    out = f"s3://{BUCKET}/results/"
    sql = "SELECT id, name, value, flag, day, at, part FROM sales WHERE id < 9 AND part <> 'w' ORDER BY id"
    wanted = [
        (1, "a", 1.5, True, datetime.date(2024, 1, 1), "2024-01-01 10:00:00", "x"),
        (2, "b", 2.5, False, datetime.date(2024, 1, 2), "2024-01-02 11:30:00", "x"),
        (3, None, None, True, datetime.date(2024, 1, 3), None, "y"),
        (4, "d, \"e\"", -4.0, None, datetime.date(2024, 1, 4), "2024-01-04 00:00:00.500000", "y"),
    ]

    def told(df):
        df = df.sort_values("id")
        return [tuple(str(v) if isinstance(v, pd.Timestamp) else v for v in row) for row in rows(df, "id", "name", "value", "flag", "day", "at", "part")]

    def read(place=out, **arguments):
        df = wr.athena.read_sql_query(sql, database=DB, s3_output=place, **arguments)
        return told(df) == wanted, told(df)

    def chunks(**arguments):
        parts = list(wr.athena.read_sql_query("SELECT id FROM sales WHERE part <> 'w'", database=DB, s3_output=out, chunksize=2, **arguments))
        return sorted(pd.concat(parts)["id"]) == [1, 2, 3, 4, 9] and len(parts) > 1, parts

    def parameters():
        named = wr.athena.read_sql_query("SELECT id FROM sales WHERE part = :part AND id > :id", database=DB, s3_output=out, params={"part": "x", "id": 1})
        placed = wr.athena.read_sql_query("SELECT id FROM sales WHERE part = ? AND id > ?", database=DB, s3_output=out, ctas_approach=False, params=["y", "3"], paramstyle="qmark")
        return (named["id"].tolist(), placed["id"].tolist()) == ([2], [4]), (named, placed)

    def categories():
        df = wr.athena.read_sql_query("SELECT part, id FROM sales", database=DB, s3_output=out, categories=["part"], ctas_approach=False)
        return str(df["part"].dtype) == "category" and len(df) == 6, df.dtypes

    def cached():
        arguments = dict(database=DB, s3_output=out, ctas_approach=False, athena_cache_settings={"max_cache_seconds": 900})
        first = wr.athena.read_sql_query("SELECT count(*) AS n FROM sales", **arguments)
        second = wr.athena.read_sql_query("SELECT count(*) AS n FROM sales", **arguments)
        same = first.query_metadata["QueryExecutionId"] == second.query_metadata["QueryExecutionId"]
        return same and second["n"].tolist() == [6], (first.query_metadata, second.query_metadata)

    def tables():
        df = wr.athena.read_sql_table("sales", database=DB, s3_output=out)
        return len(df) == 6 and sorted(df["part"].unique()) == ["w", "x", "y", "z"], df

    def types():
        one = "SELECT CAST(1 AS tinyint) t, CAST(2 AS smallint) s, CAST(3 AS integer) i, CAST(1.25 AS decimal(5,2)) d, CAST(0.5 AS real) r"
        df = wr.athena.read_sql_query(one, database=DB, s3_output=out, ctas_approach=True)
        row = df.iloc[0]
        seen = (int(row["t"]), int(row["s"]), int(row["i"]), row["d"], float(row["r"]))
        return seen == (1, 2, 3, decimal.Decimal("1.25"), 0.5), seen

    def nested():
        df = pd.DataFrame({"id": [1, 2], "tags": [["a", "b"], []], "place": [{"x": 1, "y": "n"}, None]})
        wr.s3.to_parquet(df, f"s3://{BUCKET}/nested/", dataset=True, database=DB, table="nested")
        back = wr.athena.read_sql_query("SELECT * FROM nested ORDER BY id", database=DB, s3_output=out, ctas_approach=True)
        seen = [(list(row.tags), row.place) for row in back.sort_values("id").itertuples()]
        return seen == [(["a", "b"], {"x": 1, "y": "n"}), ([], None)], back

    def nothing():
        df = wr.athena.read_sql_query("SELECT id, name FROM sales WHERE id > 100", database=DB, s3_output=out)
        return df.empty and df.columns.tolist() == ["id", "name"], df

    def left():
        temporary = [t["Name"] for t in wr.catalog.get_tables(database=DB, name_prefix="temp_table")]
        return temporary == [], temporary

    def ctas():
        made = wr.athena.create_ctas_table(
            "SELECT id, name, part FROM sales WHERE part <> 'w'", database=DB, ctas_table="made_ctas", s3_output=f"s3://{BUCKET}/ctas/", storage_format="orc",
            write_compression="snappy", partitioning_info=["part"], wait=True,
        )
        df = wr.athena.read_sql_query("SELECT count(*) AS n FROM made_ctas WHERE part = 'x'", database=DB, s3_output=out, ctas_approach=False)
        return made["ctas_table"] == "made_ctas" and df["n"].tolist() == [2] and len(wr.catalog.get_partitions(DB, "made_ctas")) == 3, (made, df)

    def empty_ctas():
        wr.athena.create_ctas_table("SELECT id, name FROM sales", database=DB, ctas_table="made_empty", s3_output=f"s3://{BUCKET}/ctas_empty/", schema_only=True, wait=True)
        df = wr.athena.read_sql_query("SELECT count(*) AS n FROM made_empty", database=DB, s3_output=out, ctas_approach=False)
        return df["n"].tolist() == [0] and wr.catalog.get_table_types(DB, "made_empty") == {"id": "bigint", "name": "string"}, df

    def unload(file_format, **arguments):
        path = f"s3://{BUCKET}/unload_{file_format.lower()}/"
        done = wr.athena.unload("SELECT id, name FROM sales WHERE part = 'x' ORDER BY id", path=path, database=DB, file_format=file_format, **arguments)
        # The files themselves: the manifest and what is beside it lie at the same place.
        manifest = boto3.client("s3").get_object(**dict(zip(("Bucket", "Key"), done.manifest_location[5:].split("/", 1))))
        files = manifest["Body"].read().decode().split()
        if file_format == "PARQUET":
            seen = wr.s3.read_parquet(files)["id"].tolist()
        elif file_format == "ORC":
            seen = wr.s3.read_orc(files)["id"].tolist()
        elif file_format == "JSON":
            seen = wr.s3.read_json(files, orient="records", lines=True, compression="gzip")["id"].tolist()
        else:
            seen = wr.s3.read_csv(files, header=None, sep=",", compression="gzip")[0].tolist()
        return seen == [1, 2] and done.manifest_location.endswith("-manifest.csv"), (seen, done)

    def unload_again():
        path = f"s3://{BUCKET}/unload_parquet/"
        return refused(lambda: wr.athena.unload("SELECT 1 AS a", path=path, database=DB), "HIVE_PATH_ALREADY_EXISTS")

    def projection():
        df = pd.DataFrame({"v": [1, 2, 3], "day": ["2024-01-01", "2024-01-02", "2024-01-03"], "kind": ["a", "b", "a"]})
        settings = {
            "projection_types": {"day": "date", "kind": "enum"},
            "projection_ranges": {"day": "2024-01-01,2024-01-31"},
            "projection_formats": {"day": "yyyy-MM-dd"},
            "projection_values": {"kind": "a,b"},
        }
        wr.s3.to_parquet(
            df, f"s3://{BUCKET}/projected/", dataset=True, database=DB, table="projected", partition_cols=["day", "kind"],
            athena_partition_projection_settings=settings, glue_table_settings={"regular_partitions": False},
        )
        back = wr.athena.read_sql_query("SELECT v FROM projected WHERE day >= '2024-01-02' AND kind = 'a'", database=DB, s3_output=out, ctas_approach=False)
        whole = wr.athena.read_sql_query("SELECT sum(v) AS s FROM projected", database=DB, s3_output=out, ctas_approach=False)
        return back["v"].tolist() == [3] and whole["s"].tolist() == [6] and wr.catalog.get_partitions(DB, "projected") == {}, (back, whole)

    def csv_tables():
        df = pd.DataFrame({"id": [1, 2], "name": ["a", "b"]})
        wr.s3.to_csv(df, f"s3://{BUCKET}/csv_table/", dataset=True, database=DB, table="csv_table", index=False)
        back = wr.athena.read_sql_query("SELECT * FROM csv_table ORDER BY id", database=DB, s3_output=out, ctas_approach=False)
        return rows(back, "id", "name") == [(1, "a"), (2, "b")], back

    def json_tables():
        df = pd.DataFrame({"id": [1, 2], "name": ["a", None]})
        wr.s3.to_json(df, f"s3://{BUCKET}/json_table/", dataset=True, database=DB, table="json_table", index=False, orient="records", lines=True)
        back = wr.athena.read_sql_query("SELECT * FROM json_table ORDER BY id", database=DB, s3_output=out, ctas_approach=False)
        return rows(back, "id", "name") == [(1, "a"), (2, None)], back

    checked("wr.athena read_sql_query, ctas_approach", lambda: read(ctas_approach=True))
    checked("wr.athena read_sql_query, unload_approach", lambda: read(f"s3://{BUCKET}/read_by_unload/", ctas_approach=False, unload_approach=True))
    checked("wr.athena read_sql_query, plain", lambda: read(ctas_approach=False))
    checked("wr.athena read_sql_query in chunks, ctas_approach", lambda: chunks(ctas_approach=True))
    checked("wr.athena read_sql_query in chunks, plain", lambda: chunks(ctas_approach=False))
    checked("wr.athena read_sql_query with parameters", parameters)
    checked("wr.athena read_sql_query with categories", categories)
    checked("wr.athena read_sql_query from the cache", cached)
    checked("wr.athena read_sql_table", tables)
    checked("wr.athena read_sql_query of many types", types)
    checked("wr.athena read_sql_query of nested columns", nested)
    checked("wr.athena read_sql_query of no rows", nothing)
    checked("wr.athena leaves no temporary tables", left)
    checked("wr.athena create_ctas_table, ORC by partitions", ctas)
    checked("wr.athena create_ctas_table, schema only", empty_ctas)
    checked("wr.athena unload PARQUET", lambda: unload("PARQUET", compression="snappy"))
    checked("wr.athena unload ORC", lambda: unload("ORC", compression="snappy"))
    checked("wr.athena unload JSON", lambda: unload("JSON", compression="gzip"))
    checked("wr.athena unload TEXTFILE", lambda: unload("TEXTFILE", compression="gzip", field_delimiter=","))
    checked("wr.athena unload into a place that is taken", unload_again)
    checked("wr.s3 to_parquet with partition projection", projection)
    checked("wr.s3 to_csv into a table", csv_tables)
    checked("wr.s3 to_json into a table", json_tables)


def athena_calls(checked, refused):
    out = f"s3://{BUCKET}/results/"
    client = boto3.client("athena")

    def started():
        query = wr.athena.start_query_execution("SELECT 1 AS a, 'x' AS b", database=DB, s3_output=out)
        ended = wr.athena.wait_query(query)
        frame = wr.athena.get_query_results(query)
        columns = wr.athena.get_query_columns_types(query)
        execution = wr.athena.get_query_execution(query)
        many = wr.athena.get_query_executions([query])
        listed = wr.athena.list_query_executions()
        holds = ended["Status"]["State"] == "SUCCEEDED" and rows(frame, "a", "b") == [(1, "x")] and query in listed
        return holds and columns["b"] == "varchar" and many["QueryExecutionId"].tolist() == [query], (ended, frame, columns, execution)

    def stopped():
        query = wr.athena.start_query_execution("SELECT count(*) FROM sales a, sales b, sales c", database=DB, s3_output=out)
        wr.athena.stop_query_execution(query)
        state = wr.athena.get_query_execution(query)["Status"]["State"]
        return state in ("CANCELLED", "SUCCEEDED"), state

    def failed():
        return refused(lambda: wr.athena.read_sql_query("SELECT * FROM nothing", database=DB, s3_output=out, ctas_approach=False), "TABLE_NOT_FOUND", "awsdatacatalog.wrangler.nothing")

    def waited():
        query = wr.athena.start_query_execution("SELECT * FROM nothing", database=DB, s3_output=out, wait=False)
        return refused(lambda: wr.athena.wait_query(query), "QueryFailed", "does not exist")

    def described():
        df = wr.athena.describe_table("sales", database=DB, s3_output=out)
        pairs = dict(zip(df["Column Name"], df["Type"]))
        return pairs["id"] == "bigint" and df["Partition"].tolist().count(True) == 1, df

    def shown():
        sql = wr.athena.show_create_table("sales", database=DB, s3_output=out)
        return sql.startswith("CREATE EXTERNAL TABLE `wrangler.sales`(") and "PARTITIONED BY" in sql, sql

    def generated():
        sql = wr.athena.generate_create_query("sales", database=DB)
        return sql.startswith("CREATE EXTERNAL TABLE `sales`("), sql

    def view():
        wr.athena.wait_query(wr.athena.start_query_execution("CREATE OR REPLACE VIEW sales_view AS SELECT id, part FROM sales WHERE id < 3 AND part = 'x'", database=DB, s3_output=out))
        df = wr.athena.read_sql_query("SELECT * FROM sales_view ORDER BY id", database=DB, s3_output=out, ctas_approach=False)
        sql = wr.athena.generate_create_query("sales_view", database=DB)
        return rows(df, "id", "part") == [(1, "x"), (2, "x")] and sql.startswith("CREATE OR REPLACE VIEW \"sales_view\" AS"), (df, sql)

    def repaired():
        wr.catalog.delete_all_partitions("sales", DB)
        state = wr.athena.repair_table("sales", database=DB, s3_output=out)
        return state == "SUCCEEDED" and len(wr.catalog.get_partitions(DB, "sales")) == 4, state

    def group():
        shown = wr.athena.get_work_group("primary")["WorkGroup"]
        configuration = shown["Configuration"]
        names = {"EnforceWorkGroupConfiguration", "PublishCloudWatchMetricsEnabled", "RequesterPaysEnabled", "EngineVersion", "ResultConfiguration"}
        return names <= set(configuration) and configuration["EngineVersion"]["EffectiveEngineVersion"] == "Athena engine version 3", shown

    def prepared():
        wr.athena.create_prepared_statement("SELECT id FROM sales WHERE id > ? AND part = ? ORDER BY id", "above")
        names = [s["StatementName"] for s in wr.athena.list_prepared_statements()]
        df = wr.athena.read_sql_query("EXECUTE above USING 0, 'x'", database=DB, s3_output=out, ctas_approach=False)
        wr.athena.delete_prepared_statement("above")
        return names == ["above"] and df["id"].tolist() == [1, 2] and wr.athena.list_prepared_statements() == [], (names, df)

    def named():
        made = client.create_named_query(Name="n", Database=DB, QueryString="SELECT 1 AS a")["NamedQueryId"]
        sql = wr.athena.get_named_query_statement(made)
        client.update_named_query(NamedQueryId=made, Name="m", QueryString="SELECT 2 AS a")
        changed = client.get_named_query(NamedQueryId=made)["NamedQuery"]
        client.delete_named_query(NamedQueryId=made)
        return sql == "SELECT 1 AS a" and (changed["Name"], changed["QueryString"]) == ("m", "SELECT 2 AS a"), (sql, changed)

    def bucket():
        name = wr.athena.create_athena_bucket()
        df = wr.athena.read_sql_query("SELECT 1 AS a", database=DB, ctas_approach=False)
        return name == "s3://aws-athena-query-results-000000000000-us-east-1/" and df["a"].tolist() == [1], name

    def iceberg():
        frame = pd.DataFrame({"a": [1]})
        return refused(lambda: wr.athena.to_iceberg(frame, DB, "ice", temp_path=f"s3://{BUCKET}/temp/", table_location=f"s3://{BUCKET}/ice/", s3_output=out), "Iceberg")

    def groups():
        client.create_work_group(Name="own", Configuration={"ResultConfiguration": {"OutputLocation": f"s3://{BUCKET}/own/"}, "BytesScannedCutoffPerQuery": 10_000_000})
        query = wr.athena.start_query_execution("SELECT 1 AS a", database=DB, workgroup="own")
        ended = wr.athena.wait_query(query)
        client.update_work_group(WorkGroup="own", State="DISABLED")
        disabled = refused(lambda: wr.athena.start_query_execution("SELECT 1 AS a", database=DB, workgroup="own"), "disabled")
        client.delete_work_group(WorkGroup="own", RecursiveDeleteOption=True)
        names = [g["Name"] for g in client.list_work_groups()["WorkGroups"]]
        return ended["ResultConfiguration"]["OutputLocation"].startswith(f"s3://{BUCKET}/own/") and disabled[0] and names == ["primary"], (ended, disabled, names)

    checked("wr.athena start, wait, results, executions", started)
    checked("wr.athena stop_query_execution", stopped)
    checked("wr.athena a table that is not there", failed)
    checked("wr.athena wait_query of what failed", waited)
    checked("wr.athena describe_table", described)
    checked("wr.athena show_create_table", shown)
    checked("wr.athena generate_create_query", generated)
    checked("wr.athena a view", view)
    checked("wr.athena repair_table", repaired)
    checked("wr.athena get_work_group", group)
    checked("wr.athena prepared statements", prepared)
    checked("wr.athena named queries", named)
    checked("wr.athena create_athena_bucket", bucket)
    checked("wr.athena to_iceberg is refused in words", iceberg)
    checked("boto3 work groups are made, changed, deleted", groups)
    wr.catalog.delete_database(DB)
