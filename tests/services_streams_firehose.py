"""Firehose: buffers by size and age, prefixes, GZIP, Parquet under a Glue table, errors, crashes."""

import base64
import gzip
import io
import json
import re
import time

import pyarrow.parquet
from services_streams_support import check, refused, same, until

ARN = "arn:aws:firehose:us-east-1:000000000000:deliverystream"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream"


class Bucket:
    def __init__(self, account, name="delivered"):
        self._s3, self._name = account.client("s3"), name

    def keys(self, prefix=""):
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
        return [o["Key"] for p in pages for o in p.get("Contents", [])]

    def body(self, key):
        return self._s3.get_object(Bucket=self._name, Key=key)["Body"].read()

    def all(self, prefix=""):
        return b"".join(self.body(key) for key in self.keys(prefix))


def checks(account):
    account.client("s3").create_bucket(Bucket="delivered")
    role = account.role("delivery", [
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::delivered/*"},
        {"Effect": "Allow", "Action": ["kinesis:DescribeStream", "kinesis:GetShardIterator", "kinesis:GetRecords", "kinesis:ListShards"], "Resource": f"{STREAM}/*"},
        {"Effect": "Allow", "Action": ["glue:GetTableVersions", "glue:GetTableVersion"], "Resource": "*"},
        {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"},
    ], "firehose.amazonaws.com")
    operations(account, role)
    by_age(account, role)
    by_size(account, role)
    compressed(account, role)
    of_kinesis(account, role)
    converted(account, role)
    denied(account, role)
    refusals(account, role)
    crashes(account, role)


def destination(role, **more):
    return {"RoleARN": role, "BucketARN": "arn:aws:s3:::delivered"} | more


def operations(account, role):
    firehose = account.client("firehose")
    made = firehose.create_delivery_stream(DeliveryStreamName="plain", ExtendedS3DestinationConfiguration=destination(role, Prefix="plain/"), Tags=[{"Key": "a", "Value": "b"}])
    same("firehose: the ARN", made["DeliveryStreamARN"], f"{ARN}/plain")
    about = firehose.describe_delivery_stream(DeliveryStreamName="plain")["DeliveryStreamDescription"]
    shown = about["Destinations"][0]["ExtendedS3DestinationDescription"]
    same("firehose: a description has AWS's defaults", (about["DeliveryStreamStatus"], about["DeliveryStreamType"], about["VersionId"], shown["BufferingHints"], shown["CompressionFormat"]), ("ACTIVE", "DirectPut", "1", {"SizeInMBs": 5, "IntervalInSeconds": 300}, "UNCOMPRESSED"))
    firehose.update_destination(DeliveryStreamName="plain", CurrentDeliveryStreamVersionId="1", DestinationId="destinationId-000000000001", ExtendedS3DestinationUpdate={"BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60}})
    about = firehose.describe_delivery_stream(DeliveryStreamName="plain")["DeliveryStreamDescription"]
    same("firehose: an update", (about["VersionId"], about["Destinations"][0]["ExtendedS3DestinationDescription"]["BufferingHints"], about["Destinations"][0]["ExtendedS3DestinationDescription"]["Prefix"]), ("2", {"SizeInMBs": 1, "IntervalInSeconds": 60}, "plain/"))
    refused("firehose: an update of another version", lambda: firehose.update_destination(DeliveryStreamName="plain", CurrentDeliveryStreamVersionId="1", DestinationId="destinationId-000000000001", ExtendedS3DestinationUpdate={}), "ConcurrentModificationException")
    refused("firehose: a second of the name", lambda: firehose.create_delivery_stream(DeliveryStreamName="plain", ExtendedS3DestinationConfiguration=destination(role)), "ResourceInUseException")
    refused("firehose: none of the name", lambda: firehose.put_record(DeliveryStreamName="none", Record={"Data": b"x"}), "ResourceNotFoundException", "Firehose none under account 000000000000 not found")
    same("firehose: the list", firehose.list_delivery_streams()["DeliveryStreamNames"], ["plain"])
    firehose.tag_delivery_stream(DeliveryStreamName="plain", Tags=[{"Key": "c", "Value": "d"}])
    firehose.untag_delivery_stream(DeliveryStreamName="plain", TagKeys=["a"])
    same("firehose: tags", firehose.list_tags_for_delivery_stream(DeliveryStreamName="plain")["Tags"], [{"Key": "c", "Value": "d"}])


def by_age(account, role):
    firehose, bucket = account.client("firehose"), Bucket(account)
    put = firehose.put_record(DeliveryStreamName="plain", Record={"Data": b"one\n"})
    check("firehose: a record has an ID", len(put["RecordId"]) > 20)
    batch = firehose.put_record_batch(DeliveryStreamName="plain", Records=[{"Data": b"two\n"}, {"Data": b"three\n"}])
    same("firehose: a batch", (batch["FailedPutCount"], len(batch["RequestResponses"])), (0, 2))
    time.sleep(0.3)
    same("firehose: nothing is delivered before its time", bucket.keys("plain/"), [])
    account.advance(61)
    keys = until("firehose: delivered by age", lambda: bucket.keys("plain/"))
    check("firehose: the key has the hour, the name, the version and the time", bool(re.fullmatch(r"plain/\d{4}/\d\d/\d\d/\d\d/plain-2-\d{4}(-\d\d){5}-[0-9a-f-]{36}", keys[0])), keys)
    same("firehose: records in order, without anything between them", bucket.all("plain/"), b"one\ntwo\nthree\n")


def by_size(account, role):
    firehose, bucket = account.client("firehose"), Bucket(account)
    firehose.create_delivery_stream(DeliveryStreamName="sized", ExtendedS3DestinationConfiguration=destination(
        role, Prefix="dt=!{timestamp:yyyy-MM-dd}/sized-", ErrorOutputPrefix="e/!{firehose:error-output-type}/", BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 900},
        ProcessingConfiguration={"Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}]}]},
    ))
    for i in range(3):
        firehose.put_record_batch(DeliveryStreamName="sized", Records=[{"Data": bytes([65 + i]) * 200_000} for _ in range(4)])
    keys = until("firehose: delivered by size", lambda: len(bucket.keys("dt=")) >= 2 and bucket.keys("dt="))
    bodies = [bucket.body(key) for key in sorted(keys)]
    check("firehose: buffers have the size of the hints", all(1024 * 1024 <= len(b) < 1_300_000 for b in bodies), [len(b) for b in bodies])
    check("firehose: a delimiter is appended", all(b.endswith(b"\n") and b.count(b"\n") == 6 for b in bodies), [b.count(b"\n") for b in bodies])


def compressed(account, role):
    firehose, bucket = account.client("firehose"), Bucket(account)
    firehose.create_delivery_stream(DeliveryStreamName="gzip", ExtendedS3DestinationConfiguration=destination(role, Prefix="gzip/", CompressionFormat="GZIP", BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 0}))
    firehose.put_record(DeliveryStreamName="gzip", Record={"Data": b"hello " * 1000})
    keys = until("firehose: delivered at once", lambda: bucket.keys("gzip/"))
    check("firehose: GZIP", keys[0].endswith(".gz") and gzip.decompress(bucket.body(keys[0])) == b"hello " * 1000, keys)


def of_kinesis(account, role):
    firehose, bucket, kinesis = account.client("firehose"), Bucket(account), account.client("kinesis")
    kinesis.create_stream(StreamName="source", ShardCount=2)
    kinesis.put_record(StreamName="source", Data=b"before\n", PartitionKey="a")
    firehose.create_delivery_stream(DeliveryStreamName="reader", DeliveryStreamType="KinesisStreamAsSource", KinesisStreamSourceConfiguration={"KinesisStreamARN": f"{STREAM}/source", "RoleARN": role}, ExtendedS3DestinationConfiguration=destination(role, Prefix="reader/", BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 60}))
    refused("firehose: nobody puts into a reader of a stream", lambda: firehose.put_record(DeliveryStreamName="reader", Record={"Data": b"x"}), "InvalidArgumentException", "not permitted on KinesisStreamAsSource")
    source = firehose.describe_delivery_stream(DeliveryStreamName="reader")["DeliveryStreamDescription"]["Source"]
    same("firehose: the source is shown", source["KinesisStreamSourceDescription"]["KinesisStreamARN"], f"{STREAM}/source")
    kinesis.put_records(StreamName="source", Records=[{"Data": f"{i}\n".encode(), "PartitionKey": str(i)} for i in range(100)])
    kinesis.split_shard(StreamName="source", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**126))
    kinesis.put_records(StreamName="source", Records=[{"Data": f"{i}\n".encode(), "PartitionKey": str(i)} for i in range(100, 200)])
    account.advance(61)
    until("firehose: a stream is delivered", lambda: bucket.keys("reader/"))
    lines = bucket.all("reader/").decode().split()
    same("firehose: what came after the creation is delivered, also through a split, once", sorted(map(int, lines)), list(range(200)))


def table(account):
    glue = account.client("glue")
    glue.create_database(DatabaseInput={"Name": "lake"})
    columns = [{"Name": "id", "Type": "bigint"}, {"Name": "name", "Type": "string"}, {"Name": "at", "Type": "timestamp"}, {"Name": "tags", "Type": "array<string>"}]
    glue.create_table(DatabaseName="lake", TableInput={"Name": "events", "StorageDescriptor": {
        "Columns": columns, "Location": "s3://delivered/parquet/", "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat", "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"}}, "TableType": "EXTERNAL_TABLE"})


def conversion(role):
    return {
        "SchemaConfiguration": {"RoleARN": role, "DatabaseName": "lake", "TableName": "events", "Region": "us-east-1"},
        "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}}, "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {"Compression": "SNAPPY"}}},
    }


def converted(account, role):
    firehose, bucket = account.client("firehose"), Bucket(account)
    table(account)
    firehose.create_delivery_stream(DeliveryStreamName="columns", ExtendedS3DestinationConfiguration=destination(role, Prefix="parquet/", ErrorOutputPrefix="errors/!{firehose:error-output-type}/", BufferingHints={"SizeInMBs": 64, "IntervalInSeconds": 60}, DataFormatConversionConfiguration=conversion(role)))
    good = [json.dumps({"ID": i, "Name": f"n{i}", "at": "2026-01-02T03:04:05.678Z", "tags": ["a", "b"], "more": 1}).encode() for i in range(1000)]
    bad = [b"{", b"[]", json.dumps({"id": "not a number"}).encode()]
    for begin in range(0, 1000, 500):
        firehose.put_record_batch(DeliveryStreamName="columns", Records=[{"Data": d} for d in good[begin:begin + 500]])
    firehose.put_record_batch(DeliveryStreamName="columns", Records=[{"Data": d} for d in bad])
    account.advance(61)
    keys = until("firehose: Parquet is delivered", lambda: bucket.keys("parquet/"), 60) or []
    check("firehose: keys of Parquet", bool(keys) and keys[0].endswith(".parquet"), keys)
    rows = pyarrow.parquet.read_table(io.BytesIO(bucket.body(keys[0]))).to_pylist()
    check("firehose: rows under the table's schema", len(rows) == 1000 and rows[7]["id"] == 7 and rows[7]["name"] == "n7" and rows[7]["tags"] == ["a", "b"] and rows[7]["at"].isoformat() == "2026-01-02T03:04:05.678000", rows[7:8])
    errors = bucket.keys("errors/format-conversion-failed/")
    lines = [json.loads(line) for key in errors for line in bucket.body(key).splitlines()]
    same("firehose: records that do not fit", sorted(base64.b64decode(line["rawData"]) for line in lines), sorted(bad))
    check("firehose: errors in AWS's form", all(line["lastErrorCode"].startswith("DataFormatConversion.") and line["dataCatalogTable"]["tableName"] == "events" and line["attemptsMade"] == 1 for line in lines), lines[:1])


def denied(account, role):
    """A role that may not write; the records wait and are delivered when it may."""
    firehose, bucket = account.client("firehose"), Bucket(account)
    poor = account.role("poor", [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}], "firehose.amazonaws.com")
    firehose.create_delivery_stream(DeliveryStreamName="waits", ExtendedS3DestinationConfiguration=destination(poor, Prefix="waits/", BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 0}))
    firehose.put_record(DeliveryStreamName="waits", Record={"Data": b"patient"})
    until("firehose: a delivery fails", lambda: "is not authorized to perform: s3:PutObject" in account.log())
    same("firehose: nothing is written without the right", bucket.keys("waits/"), [])
    account.client("iam").put_role_policy(RoleName="poor", PolicyName="policy", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::delivered/*"}]}))
    account.advance(600)
    until("firehose: it is tried again", lambda: bucket.keys("waits/"))
    same("firehose: what waited is delivered", bucket.all("waits/"), b"patient")
    sender = account.role("sender", [{"Effect": "Allow", "Action": "firehose:PutRecord", "Resource": f"{ARN}/plain"}])
    limited = account.client("firehose", account.as_role(sender))
    limited.put_record(DeliveryStreamName="plain", Record={"Data": b"x"})
    refused("firehose: what a role may not", lambda: limited.put_record_batch(DeliveryStreamName="plain", Records=[{"Data": b"x"}]), "AccessDeniedException", "firehose:PutRecordBatch")
    maker = account.role("maker", [{"Effect": "Allow", "Action": "firehose:*", "Resource": "*"}])
    refused("firehose: a role must be passed", lambda: account.client("firehose", account.as_role(maker)).create_delivery_stream(DeliveryStreamName="p", ExtendedS3DestinationConfiguration=destination(role)), "AccessDeniedException", "iam:PassRole")


def refusals(account, role):
    firehose = account.client("firehose")

    def make(**more):
        return lambda: firehose.create_delivery_stream(DeliveryStreamName="refused", ExtendedS3DestinationConfiguration=destination(role, **more))

    refused("firehose: Lambda is refused by name", make(ProcessingConfiguration={"Enabled": True, "Processors": [{"Type": "Lambda", "Parameters": [{"ParameterName": "LambdaArn", "ParameterValue": "arn:aws:lambda:us-east-1:000000000000:function:f"}]}]}), "NotImplemented", "Lambda")
    refused("firehose: dynamic partitioning is refused by name", make(DynamicPartitioningConfiguration={"Enabled": True}), "NotImplemented", "DynamicPartitioningConfiguration")
    refused("firehose: ORC is refused by name", make(DataFormatConversionConfiguration=conversion(role) | {"OutputFormatConfiguration": {"Serializer": {"OrcSerDe": {}}}}), "NotImplemented", "OrcSerDe")
    refused("firehose: a prefix with expressions needs an error prefix", make(Prefix="!{timestamp:yyyy}/"), "InvalidArgumentException", "ErrorOutputPrefix")
    refused("firehose: conversion needs 64 MB", make(BufferingHints={"SizeInMBs": 5, "IntervalInSeconds": 60}, DataFormatConversionConfiguration=conversion(role)), "InvalidArgumentException", "64")
    refused("firehose: a record above 1,000 KiB", lambda: firehose.put_record(DeliveryStreamName="plain", Record={"Data": b"x" * 1_024_001}), "ValidationException", "1024000")
    refused("firehose: a batch above 4 MiB", lambda: firehose.put_record_batch(DeliveryStreamName="plain", Records=[{"Data": b"x" * 900_000}] * 5), "InvalidArgumentException", "4 MB")
    same("firehose: nothing of what was refused is there", "refused" in firehose.list_delivery_streams(Limit=100)["DeliveryStreamNames"], False)


def crashes(account, role):
    """Killed in between again and again: everything that was acknowledged is delivered, once."""
    # A clock that was put forward is the machine's again in another process.
    account.kill_and_begin_again()
    firehose = account.client("firehose")
    firehose.create_delivery_stream(DeliveryStreamName="crashes", ExtendedS3DestinationConfiguration=destination(role, Prefix="crashes/", BufferingHints={"SizeInMBs": 1, "IntervalInSeconds": 1}))
    sent = 0
    for _ in range(6):
        firehose = account.client("firehose")
        for _ in range(20):
            firehose.put_record_batch(DeliveryStreamName="crashes", Records=[{"Data": f"{sent + i}\n".encode().rjust(20_000, b" ")} for i in range(10)])
            sent += 10
        account.kill_and_begin_again()
    account.advance(5)
    bucket = Bucket(account)
    until("firehose: all is delivered after crashes", lambda: len(bucket.all("crashes/").split()) >= sent, 60)
    time.sleep(0.5)
    numbers = sorted(map(int, bucket.all("crashes/").split()))
    check("firehose: nothing is lost and nothing is there twice after kill -9", numbers == list(range(sent)), (len(numbers), len(set(numbers)), sent))
    same("firehose: delivery streams survive", sorted(account.client("firehose").list_delivery_streams(Limit=100)["DeliveryStreamNames"])[:2], ["columns", "crashes"])
