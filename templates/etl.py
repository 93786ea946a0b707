"""Cleaning job for AWS Glue and any Spark 3.5: runs an ETL plan with the plan's own SQL.

It decides nothing about the data: plan, input and places are arguments, and the embedded engine
runs the same plan with the same statements. Plain PySpark, so that it also runs outside of Glue.
"""

import argparse
import json

from pyspark.sql import SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

PLAN_SCHEMA_VERSION = 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("plan", "input", "output", "rejects", "report"):
        parser.add_argument(f"--{name}", required=True)
    # Glue adds arguments of its own, such as --JOB_ID.
    return parser.parse_known_args()[0]


def check_places(args):
    """What is written replaces what lies there, so places are apart from each other and below a folder."""
    places = {name: getattr(args, name) for name in ("plan", "input", "output", "rejects", "report")}
    for name, place in places.items():
        scheme, _, rest = place.partition("://")
        if scheme == "s3" and not rest.partition("/")[2].strip("/"):
            raise SystemExit(f"--{name} is {place}, a whole bucket; expected s3://BUCKET/PREFIX")
    for written in ("output", "rejects", "report"):
        folder = places[written].rstrip("/") + "/"
        for name, place in places.items():
            if name != written and (place.rstrip("/") + "/").startswith(folder):
                raise SystemExit(f"--{name} {place} is in --{written} {places[written]}, which is replaced")


def filesystem_path(spark, address):
    path = spark._jvm.org.apache.hadoop.fs.Path(address)
    return path.getFileSystem(spark._jsc.hadoopConfiguration()), path


def read_text(spark, address):
    return spark.sparkContext.wholeTextFiles(address).values().first()


def write_text(spark, address, text):
    filesystem, path = filesystem_path(spark, address)
    stream = filesystem.create(path, True)
    try:
        stream.write(bytearray(text, "utf-8"))
    finally:
        stream.close()


def raw_view(spark, plan, address):
    """The CSV with every column a string, and `_row`, the number of the record from 1."""
    frame = (
        spark.read.option("header", True)
        .option("sep", plan["delimiter"])
        .option("quote", '"')
        .option("escape", '"')
        .option("multiLine", True)
        .option("mode", "FAILFAST")
        .option("inferSchema", False)
        .csv(address)
    )
    frame = frame.toDF(*[name.strip() for name in frame.columns])
    missing = [c["source"] for c in plan["columns"] if c["source"] not in frame.columns]
    if missing:
        raise SystemExit(f"{address}:1: column {', '.join(missing)} is missing; the header has {', '.join(frame.columns)}")
    for column in plan["columns"]:
        frame = frame.withColumnRenamed(column["source"], column["name"])
    schema = StructType([StructField(c, StringType()) for c in frame.columns] + [StructField("_row", LongType(), False)])
    numbered = frame.rdd.zipWithIndex().map(lambda pair: (*pair[0], pair[1] + 1))
    spark.createDataFrame(numbered, schema).cache().createOrReplaceTempView("raw")
    return spark.table("raw").count()


def main():
    args = arguments()
    check_places(args)
    spark = SparkSession.builder.appName("steppe-clean").getOrCreate()
    plan = json.loads(read_text(spark, args.plan))
    if plan["schema_version"] != PLAN_SCHEMA_VERSION:
        raise SystemExit(f"the ETL plan has schema version {plan['schema_version']}, this script runs {PLAN_SCHEMA_VERSION}")

    raw_rows = raw_view(spark, plan, args.input)
    if raw_rows == 0:
        raise SystemExit(f"{args.input}: the file has a header but no records")
    rejects = spark.sql(plan["rejects_sql"]).cache()
    by_rule = {row["_rule"]: row["count"] for row in rejects.groupBy("_rule").count().collect()}
    fatal = sorted(rule for rule in by_rule if rule in plan["fatal_rules"])
    if fatal:
        shown = rejects.where(rejects["_rule"].isin(fatal)).orderBy("_row").limit(10).collect()
        raise SystemExit("\n".join(f"{args.input}: record {row['_row']}: {row['_reason']}" for row in shown))
    clean = spark.sql(plan["clean_sql"]).cache()
    report = {
        "pipeline": plan["pipeline"],
        "engine": f"spark {spark.version}",
        "raw_rows": raw_rows,
        "clean_rows": clean.count(),
        "rejected_rows": sum(by_rule.values()),
        "rejected_by_rule": by_rule,
    }
    if report["clean_rows"] == 0:
        raise SystemExit(f"{args.input}: no record is left after cleaning ({raw_rows} in the file)")
    if report["raw_rows"] != report["clean_rows"] + report["rejected_rows"]:
        raise SystemExit(f"the manifest's SQL must give one row per record and keep `_row`: {report}")

    clean.coalesce(1).write.mode("overwrite").option("compression", "snappy").parquet(args.output)
    rejects.coalesce(1).write.mode("overwrite").option("header", True).csv(args.rejects)
    write_text(spark, args.report, json.dumps(report, indent=2))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
