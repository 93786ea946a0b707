"""dbt with its adapter for Athena: a project of seeds, tables by partitions, incremental models, views, tests and documents."""

import datetime
import json
import os
import pathlib
import subprocess
import tempfile

import boto3
import pyathena

BUCKET = "dbt-data"
SCHEMA = "dbt_own"

FILES = {
    "profiles.yml": f"""
own:
  target: dev
  outputs:
    dev:
      type: athena
      s3_staging_dir: s3://{BUCKET}/staging/
      s3_data_dir: s3://{BUCKET}/data/
      s3_tmp_table_dir: s3://{BUCKET}/temporary/
      region_name: us-east-1
      schema: {SCHEMA}
      database: awsdatacatalog
      threads: 2
      num_retries: 0
""",
    "dbt_project.yml": """
name: own
version: 1.0.0
profile: own
model-paths: [models]
seed-paths: [seeds]
snapshot-paths: [snapshots]
test-paths: [tests]
flags:
  send_anonymous_usage_stats: false
""",
    "seeds/sales.csv": "id,shop,amount,day\n1,north,10.5,2024-01-01\n2,south,20,2024-01-01\n3,north,30.25,2024-01-02\n",
    "models/shops.sql": "{{ config(materialized='table', format='parquet', write_compression='snappy') }}\nselect shop, count(*) as sales, sum(amount) as amount from {{ ref('sales') }} group by shop\n",
    "models/by_day.sql": """
{{ config(materialized='incremental', incremental_strategy='insert_overwrite', partitioned_by=['day'], format='parquet', on_schema_change='append_new_columns') }}
select id, amount * {{ var('factor', 1) }} as amount, cast(day as date) as day from {{ ref('sales') }}
{% if is_incremental() %} where cast(day as date) >= date '2024-01-02' {% endif %}
""",
    "models/log.sql": """
{{ config(materialized='incremental', incremental_strategy='append', format='orc', write_compression='snappy') }}
select id, shop from {{ ref('sales') }} {% if is_incremental() %} where id > 2 {% endif %}
""",
    "models/large.sql": "{{ config(materialized='view') }}\nselect s.shop, s.amount from {{ ref('shops') }} s where s.amount > 20\n",
    "models/schema.yml": """
models:
  - name: shops
    description: sums by shop
    columns:
      - name: shop
        description: its name
        data_tests: [unique, not_null, {accepted_values: {arguments: {values: [north, south]}}}]
  - name: by_day
    columns:
      - name: id
        data_tests: [not_null, {relationships: {arguments: {to: ref('sales'), field: id}}}]
""",
    "tests/positive.sql": "select * from {{ ref('shops') }} where amount < 0\n",
    "snapshots/kept.sql": """
{% snapshot kept %}
{{ config(unique_key='id', strategy='check', check_cols=['amount'], target_schema='dbt_own') }}
select * from {{ ref('sales') }}
{% endsnapshot %}
""",
}


def run(checked, environment, dbt):
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    connection = pyathena.connect(s3_staging_dir=f"s3://{BUCKET}/checks/", region_name="us-east-1", schema_name=SCHEMA)

    def rows(sql):
        return connection.cursor().execute(sql).fetchall()

    with tempfile.TemporaryDirectory() as folder:
        project = pathlib.Path(folder)
        for name, text in FILES.items():
            (project / name).parent.mkdir(exist_ok=True)
            (project / name).write_text(text)
        own = {k: v for k, v in os.environ.items() if not k.startswith("DBT_")} | environment | {"DO_NOT_TRACK": "1"}

        def call(*arguments):
            command = [dbt, "--no-use-colors", *arguments, "--project-dir", project, "--profiles-dir", project]
            done = subprocess.run(list(map(str, command)), env=own, cwd=project, text=True, capture_output=True, timeout=300)
            return done.returncode, done.stdout + done.stderr

        def debug():
            code, said = call("debug")
            return code == 0 and "All checks passed!" in said, said[-600:]

        def seed():
            code, said = call("seed")
            day = datetime.date(2024, 1, 2)
            found = rows("SELECT id, shop, amount, day FROM sales ORDER BY id") if code == 0 else said[-900:]
            return found[-1:] == [(3, "north", 30.25, day)] and len(found) == 3, found

        def models():
            code, said = call("run")
            if code != 0:
                return False, said[-1500:]
            shops = rows("SELECT shop, sales, amount FROM shops ORDER BY shop")
            large = rows("SELECT shop FROM large")
            days = rows("SELECT count(*) FROM by_day WHERE day = date '2024-01-01'")
            return (shops, large, days) == ([("north", 2, 40.75), ("south", 1, 20.0)], [("north",)], [(2,)]), (shops, large, days)

        def again():
            code, said = call("run", "--vars", json.dumps({"factor": 2}))
            if code != 0:
                return False, said[-1500:]
            days = rows("SELECT id, amount FROM by_day ORDER BY id")
            log = rows("SELECT count(*), count(DISTINCT id) FROM log")
            shops = rows("SELECT sum(sales) FROM shops")
            return (days, log, shops) == ([(1, 10.5), (2, 20.0), (3, 60.5)], [(4, 3)], [(3,)]), (days, log, shops)

        def refresh():
            code, said = call("run", "--full-refresh", "--select", "by_day")
            days = rows("SELECT sum(amount) FROM by_day") if code == 0 else said[-1500:]
            return days == [(60.75,)], days

        def tests():
            code, said = call("test")
            return code == 0 and "PASS=6" in said, said[-900:]

        def failing():
            (project / "tests/never.sql").write_text("select * from {{ ref('shops') }}\n")
            code, said = call("test", "--select", "never")
            (project / "tests/never.sql").unlink()
            return code == 1 and "Got 2 results" in said, said[-600:]

        def snapshot():
            first, said = call("snapshot")
            seeds = project / "seeds/sales.csv"
            seeds.write_text(seeds.read_text().replace("2,south,20,", "2,south,25,"))
            again = [call("seed")[0], call("snapshot")[0]]
            if (first, *again) != (0, 0, 0):
                return False, (first, again, said[-600:])
            kept = rows("SELECT id, amount, dbt_valid_to IS NULL FROM kept WHERE id = 2 ORDER BY amount")
            return kept == [(2, 20.0, False), (2, 25.0, True)] and rows("SELECT count(*) FROM kept") == [(4,)], kept

        def documents():
            code, said = call("docs", "generate")
            if code != 0:
                return False, said[-900:]
            catalog = json.loads((project / "target/catalog.json").read_text())["nodes"]
            columns = {name: column["type"] for name, column in catalog["model.own.shops"]["columns"].items()}
            return columns == {"shop": "string", "sales": "bigint", "amount": "double"} and catalog["model.own.large"]["metadata"]["type"] == "view", columns

        def build():
            code, said = call("build", "--exclude", "resource_type:snapshot")
            return code == 0 and "ERROR=0" in said, said[-1200:]

        def shown():
            code, said = call("show", "--select", "shops", "--output", "json", "--limit", "5")
            return code == 0 and "north" in said, said[-600:]

        checked("dbt debug", debug)
        checked("dbt seed", seed)
        checked("dbt run: table, view, incremental models", models)
        checked("dbt run again: insert_overwrite and append", again)
        checked("dbt run --full-refresh", refresh)
        checked("dbt test", tests)
        checked("dbt test of what fails", failing)
        checked("dbt docs generate", documents)
        checked("dbt show", shown)
        checked("dbt build", build)
        checked("dbt snapshot, and again when a row has changed", snapshot)
