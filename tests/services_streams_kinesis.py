"""Kinesis Data Streams, against what AWS documents."""

import concurrent.futures
import hashlib
import os
import time
import urllib.error
import urllib.request

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from services_streams_support import check, refused, same, until

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream"
HALF = 2**127


def read(kinesis, stream, shard, kind="TRIM_HORIZON", limit=None, **more):
    """All records of a shard, and the last answer."""
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]
    records, answer = [], {}
    while iterator:
        answer = kinesis.get_records(ShardIterator=iterator, **({"Limit": limit} if limit else {}))
        records += answer["Records"]
        iterator = answer.get("NextShardIterator")
        if not answer["Records"] and not answer["MillisBehindLatest"]:
            break
    return records, answer


def checks(account):
    kinesis = account.client("kinesis", retries=5)
    streams(kinesis)
    records(account, kinesis)
    limits(account, kinesis)
    resharding(account, kinesis)
    retention(account, kinesis)
    tags(kinesis)
    permissions(account, kinesis)
    refusals(kinesis)
    in_cbor(account)
    durability(account)
    speed(account)


def streams(kinesis):
    kinesis.create_stream(StreamName="s", ShardCount=2, Tags={"team": "a"})
    kinesis.get_waiter("stream_exists").wait(StreamName="s")
    about = kinesis.describe_stream(StreamName="s")["StreamDescription"]
    same("kinesis: a stream", (about["StreamARN"], about["StreamStatus"], about["RetentionPeriodHours"], about["EncryptionType"], about["StreamModeDetails"]), (f"{ARN}/s", "ACTIVE", 24, "NONE", {"StreamMode": "PROVISIONED"}))
    ranges = [tuple(shard["HashKeyRange"].values()) for shard in about["Shards"]]
    same("kinesis: hash key ranges halve 2^128", ranges, [("0", str(HALF - 1)), (str(HALF), str(2**128 - 1))])
    check("kinesis: by ARN", kinesis.describe_stream_summary(StreamARN=f"{ARN}/s")["StreamDescriptionSummary"]["OpenShardCount"] == 2)
    refused("kinesis: a second stream of the name", lambda: kinesis.create_stream(StreamName="s", ShardCount=1), "ResourceInUseException", "Stream s under account 000000000000 already exists")
    refused("kinesis: no stream", lambda: kinesis.describe_stream(StreamName="none"), "ResourceNotFoundException", "Stream none under account 000000000000 not found")
    refused("kinesis: too many shards", lambda: kinesis.create_stream(StreamName="x", ShardCount=501), "LimitExceededException", "shard limit")
    kinesis.create_stream(StreamName="demand", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    same("kinesis: on demand there are four shards", len(kinesis.list_shards(StreamName="demand")["Shards"]), 4)
    names = [page["StreamNames"] for page in kinesis.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 1})]
    same("kinesis: pages of ListStreams", names, [["demand"], ["s"]])
    limits = kinesis.describe_limits()
    same("kinesis: limits", (limits["OpenShardCount"], limits["OnDemandStreamCount"]), (6, 1))
    kinesis.delete_stream(StreamName="demand")
    same("kinesis: a deleted stream is gone", kinesis.list_streams()["StreamNames"], ["s"])


def records(account, kinesis):
    put = kinesis.put_record(StreamName="s", Data=b"one", PartitionKey="a")
    key = int(hashlib.md5(b"a").hexdigest(), 16)
    expected = "shardId-000000000000" if key < HALF else "shardId-000000000001"
    same("kinesis: MD5 of the key chooses the shard", put["ShardId"], expected)
    explicit = kinesis.put_record(StreamName="s", Data=b"two", PartitionKey="a", ExplicitHashKey=str(2**128 - 1))
    same("kinesis: an explicit hash key chooses it", explicit["ShardId"], "shardId-000000000001")
    many = kinesis.put_records(StreamName="s", Records=[{"Data": str(i).encode(), "PartitionKey": "k", "ExplicitHashKey": "0"} for i in range(100)])
    check("kinesis: PutRecords", many["FailedRecordCount"] == 0 and len(many["Records"]) == 100, many)
    numbers = [int(r["SequenceNumber"]) for r in many["Records"]]
    check("kinesis: sequence numbers order", numbers == sorted(numbers) and len(set(numbers)) == 100)
    found, last = read(kinesis, "s", "shardId-000000000000")
    check("kinesis: records come back in order", [r["Data"] for r in found if r["PartitionKey"] == "k"] == [str(i).encode() for i in range(100)], found[:3])
    check("kinesis: sequence numbers are those of the put", [r["SequenceNumber"] for r in found if r["PartitionKey"] == "k"] == [r["SequenceNumber"] for r in many["Records"]])
    check("kinesis: arrival", abs(found[0]["ApproximateArrivalTimestamp"].timestamp() - time.time()) < 60, found[0])
    same("kinesis: caught up", last["MillisBehindLatest"], 0)
    middle = many["Records"][50]["SequenceNumber"]
    account.advance(10)
    at, _ = read(kinesis, "s", "shardId-000000000000", "AT_SEQUENCE_NUMBER", StartingSequenceNumber=middle)
    same("kinesis: AT_SEQUENCE_NUMBER", at[0]["Data"], b"50")
    account.advance(10)
    after, _ = read(kinesis, "s", "shardId-000000000000", "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=middle)
    same("kinesis: AFTER_SEQUENCE_NUMBER", after[0]["Data"], b"51")
    begin = kinesis.list_shards(StreamName="s")["Shards"][0]["SequenceNumberRange"]["StartingSequenceNumber"]
    account.advance(10)
    same("kinesis: at a shard's starting number", len(read(kinesis, "s", "shardId-000000000000", "AT_SEQUENCE_NUMBER", StartingSequenceNumber=begin)[0]), len(found))
    latest = kinesis.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="LATEST")["ShardIterator"]
    kinesis.put_record(StreamName="s", Data=b"new", PartitionKey="k", ExplicitHashKey="0")
    same("kinesis: LATEST", [r["Data"] for r in kinesis.get_records(ShardIterator=latest)["Records"]], [b"new"])
    account.advance(10)
    moment = found[-1]["ApproximateArrivalTimestamp"].timestamp() + 5
    same("kinesis: AT_TIMESTAMP", [r["Data"] for r in read(kinesis, "s", "shardId-000000000000", "AT_TIMESTAMP", Timestamp=moment)[0]], [b"new"])
    first = kinesis.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    account.advance(10)
    page = kinesis.get_records(ShardIterator=first, Limit=7)
    check("kinesis: a limit, and how far behind", len(page["Records"]) == 7 and page["MillisBehindLatest"] > 10_000, page["MillisBehindLatest"])
    account.advance(301)
    refused("kinesis: an iterator expires after five minutes", lambda: kinesis.get_records(ShardIterator=first), "ExpiredIteratorException", "Iterator expired")
    refused("kinesis: no iterator", lambda: kinesis.get_records(ShardIterator="AAAA"), "InvalidArgumentException", "Invalid ShardIterator")
    refused("kinesis: no shard", lambda: kinesis.get_shard_iterator(StreamName="s", ShardId="shardId-000000000009", ShardIteratorType="LATEST"), "ResourceNotFoundException", "does not exist")
    refused("kinesis: a sequence number of nobody", lambda: kinesis.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber="12345"), "InvalidArgumentException")
    refused("kinesis: an iterator without its number", lambda: kinesis.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="AT_SEQUENCE_NUMBER"), "InvalidArgumentException", "Must specify startingSequenceNumber")
    refused("kinesis: a wrong hash key", lambda: kinesis.put_record(StreamName="s", Data=b"x", PartitionKey="a", ExplicitHashKey=str(2**128)), "InvalidArgumentException", "Invalid ExplicitHashKey")


def limits(account, kinesis):
    once = account.client("kinesis")
    once.create_stream(StreamName="narrow", ShardCount=1)
    entries = [{"Data": b"x", "PartitionKey": "a"}] * 500
    account.advance(5)
    megabyte = [{"Data": b"x" * (1024 * 1024 - 1), "PartitionKey": "a"}] * 2
    answer = once.put_records(StreamName="narrow", Records=megabyte)
    same("kinesis: a shard takes 1 MB a second", answer["FailedRecordCount"], 1)
    wrong = next(r for r in answer["Records"] if "ErrorCode" in r)
    check("kinesis: a throttled record says so", wrong["ErrorCode"] == "ProvisionedThroughputExceededException" and wrong["ErrorMessage"].startswith("Rate exceeded for shard shardId-000000000000 in stream narrow under account 000000000000"), wrong)

    def hasty():
        # A machine that is busy may take longer for one than the shard needs.
        for _ in range(20):
            once.put_record(StreamName="narrow", Data=b"x" * 1_000_000, PartitionKey="a")

    refused("kinesis: a single record that is throttled", hasty, "ProvisionedThroughputExceededException", "Rate exceeded")
    refused("kinesis: a record above 1 MiB", lambda: once.put_record(StreamName="narrow", Data=b"x" * (1024 * 1024 + 1), PartitionKey="a"), "ValidationException", "1048576")
    refused("kinesis: more than 500 records", lambda: once.put_records(StreamName="narrow", Records=entries + entries[:1]), "ValidationException")
    account.advance(5)
    iterator = once.get_shard_iterator(StreamName="narrow", ShardId="shardId-000000000000", ShardIteratorType="LATEST")["ShardIterator"]
    calls = []
    for _ in range(12):
        try:
            once.get_records(ShardIterator=iterator)
            calls.append(True)
        except once.exceptions.ProvisionedThroughputExceededException:
            calls.append(False)
    check("kinesis: a shard is read five times a second", calls[:5] == [True] * 5 and not all(calls), calls)
    once.delete_stream(StreamName="narrow")


def resharding(account, kinesis):
    kinesis.create_stream(StreamName="r", ShardCount=1)
    for i in range(10):
        kinesis.put_record(StreamName="r", Data=str(i).encode(), PartitionKey=str(i))
    refused("kinesis: a split outside of the shard", lambda: kinesis.split_shard(StreamName="r", ShardToSplit="shardId-000000000000", NewStartingHashKey="0"), "InvalidArgumentException")
    kinesis.split_shard(StreamName="r", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(HALF))
    shards = kinesis.list_shards(StreamName="r")["Shards"]
    same("kinesis: a split closes a shard and opens two", [("EndingSequenceNumber" in s["SequenceNumberRange"], s.get("ParentShardId")) for s in shards], [(True, None), (False, "shardId-000000000000"), (False, "shardId-000000000000")])
    for i in range(10, 20):
        kinesis.put_record(StreamName="r", Data=str(i).encode(), PartitionKey=str(i))
    account.advance(5)
    old, last = read(kinesis, "r", "shardId-000000000000")
    check("kinesis: a closed shard has its records and ends", [r["Data"] for r in old] == [str(i).encode() for i in range(10)] and "NextShardIterator" not in last, last)
    same("kinesis: and names its children", [c["ShardId"] for c in last["ChildShards"]], ["shardId-000000000001", "shardId-000000000002"])
    new = [r["Data"] for shard in (1, 2) for r in read(kinesis, "r", f"shardId-00000000000{shard}")[0]]
    same("kinesis: children have what came after", sorted(new), sorted(str(i).encode() for i in range(10, 20)))
    refused("kinesis: a closed shard is not split", lambda: kinesis.split_shard(StreamName="r", ShardToSplit="shardId-000000000000", NewStartingHashKey="5"), "ResourceInUseException")
    kinesis.merge_shards(StreamName="r", ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002")
    merged = kinesis.list_shards(StreamName="r", ShardFilter={"Type": "AT_LATEST"})["Shards"]
    same("kinesis: a merge", [(s["ShardId"], s["ParentShardId"], s["AdjacentParentShardId"]) for s in merged], [("shardId-000000000003", "shardId-000000000001", "shardId-000000000002")])
    scaled = kinesis.update_shard_count(StreamName="r", TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    same("kinesis: UpdateShardCount", (scaled["CurrentShardCount"], scaled["TargetShardCount"]), (1, 2))
    refused("kinesis: more than twice as many", lambda: kinesis.update_shard_count(StreamName="r", TargetShardCount=5, ScalingType="UNIFORM_SCALING"), "InvalidArgumentException")
    paged = [page for page in kinesis.get_paginator("list_shards").paginate(StreamName="r", PaginationConfig={"PageSize": 4})]
    same("kinesis: pages of ListShards", [len(p["Shards"]) for p in paged], [4, 2])
    open_ranges = sorted((int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"])) for s in kinesis.list_shards(StreamName="r", ShardFilter={"Type": "AT_LATEST"})["Shards"])
    same("kinesis: scaled shards are equal", open_ranges, [(0, HALF - 1), (HALF, 2**128 - 1)])
    account.advance(86_400 + 7_200)
    until("kinesis: closed shards go", lambda: len(kinesis.list_shards(StreamName="r")["Shards"]) == 2)
    same("kinesis: closed shards go with their last record", len(kinesis.list_shards(StreamName="r")["Shards"]), 2)


def retention(account, kinesis):
    kinesis.create_stream(StreamName="kept", ShardCount=1)
    kinesis.put_record(StreamName="kept", Data=b"old", PartitionKey="a")
    refused("kinesis: a retention that is not longer", lambda: kinesis.increase_stream_retention_period(StreamName="kept", RetentionPeriodHours=23), "InvalidArgumentException")
    kinesis.increase_stream_retention_period(StreamName="kept", RetentionPeriodHours=48)
    account.advance(30 * 3600)
    kinesis.put_record(StreamName="kept", Data=b"new", PartitionKey="a")
    same("kinesis: kept for 48 hours", [r["Data"] for r in read(kinesis, "kept", "shardId-000000000000")[0]], [b"old", b"new"])
    kinesis.decrease_stream_retention_period(StreamName="kept", RetentionPeriodHours=24)
    account.advance(5)
    same("kinesis: beyond the retention nothing is read", [r["Data"] for r in read(kinesis, "kept", "shardId-000000000000")[0]], [b"new"])
    account.advance(30 * 3600)
    same("kinesis: nothing is left", read(kinesis, "kept", "shardId-000000000000")[0], [])


def tags(kinesis):
    same("kinesis: tags of the creation", kinesis.list_tags_for_stream(StreamName="s")["Tags"], [{"Key": "team", "Value": "a"}])
    kinesis.add_tags_to_stream(StreamName="s", Tags={"b": "1", "c": "2"})
    kinesis.remove_tags_from_stream(StreamName="s", TagKeys=["b"])
    kinesis.tag_resource(ResourceARN=f"{ARN}/s", Tags={"d": "3"})
    kinesis.untag_resource(ResourceARN=f"{ARN}/s", TagKeys=["team"])
    same("kinesis: tags by both kinds of operation", {t["Key"]: t["Value"] for t in kinesis.list_tags_for_resource(ResourceARN=f"{ARN}/s")["Tags"]}, {"c": "2", "d": "3"})


def permissions(account, kinesis):
    role = account.role("producer", [{"Effect": "Allow", "Action": "kinesis:PutRecord*", "Resource": f"{ARN}/s"}])
    producer = account.client("kinesis", account.as_role(role))
    producer.put_record(StreamName="s", Data=b"p", PartitionKey="a")
    refused("kinesis: what a role may not", lambda: producer.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="LATEST"), "AccessDeniedException", f"kinesis:GetShardIterator on resource: {ARN}/s")
    iterator = kinesis.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="LATEST")["ShardIterator"]
    refused("kinesis: an iterator is no permission", lambda: producer.get_records(ShardIterator=iterator), "AccessDeniedException")


def refusals(kinesis):
    refused("kinesis: fan-out is refused by name", lambda: kinesis.register_stream_consumer(StreamARN=f"{ARN}/s", ConsumerName="c"), "NotImplemented", "kinesis:RegisterStreamConsumer")
    refused("kinesis: encryption is refused by name", lambda: kinesis.start_stream_encryption(StreamName="s", EncryptionType="KMS", KeyId="alias/x"), "NotImplemented", "kinesis:StartStreamEncryption")
    refused("kinesis: larger records are refused by name", lambda: kinesis.create_stream(StreamName="x", ShardCount=1, MaxRecordSizeInKiB=2048), "NotImplemented", "MaxRecordSizeInKiB")


def cbor(value):
    """CBOR of what a request has."""
    if isinstance(value, dict):
        return bytes([0xA0 | len(value)]) + b"".join(cbor(k) + cbor(v) for k, v in value.items())
    kind, raw = (0x60, value.encode()) if isinstance(value, str) else (0x40, value)
    return bytes([kind | 24, len(raw)]) + raw


def in_cbor(account):
    """The protocol that SDKs for Java speak with Kinesis."""

    def call(operation, params):
        body = cbor(params)
        headers = {"Content-Type": "application/x-amz-cbor-1.1", "X-Amz-Target": f"Kinesis_20131202.{operation}"}
        request = AWSRequest("POST", account.endpoint + "/", data=body, headers=headers)
        SigV4Auth(Credentials(account.keys["access_key_id"], account.keys["secret_access_key"]), "kinesis", "us-east-1").add_auth(request)
        try:
            with urllib.request.urlopen(urllib.request.Request(request.url, body, dict(request.headers))) as answer:
                return answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            return error.headers["Content-Type"], error.read()

    kind, body = call("PutRecord", {"StreamName": "s", "Data": b"\x00raw\xff", "PartitionKey": "c", "ExplicitHashKey": "0"})
    check("kinesis: CBOR in and out", kind == "application/x-amz-cbor-1.1" and b"shardId-000000000000" in body and body[0] >> 5 == 5, (kind, body))
    account.advance(5)
    kinesis = account.client("kinesis")
    iterator = kinesis.get_shard_iterator(StreamName="s", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    _, body = call("GetRecords", {"ShardIterator": iterator})
    check("kinesis: bytes are bytes in CBOR, and times milliseconds", b"Data\x45\x00raw\xff" in body and b"ApproximateArrivalTimestamp\xc1\x1b" in body, body[-300:])
    _, body = call("DescribeStream", {"StreamName": "none"})
    check("kinesis: errors in CBOR", b"ResourceNotFoundException" in body, body)


def durability(account):
    kinesis = account.client("kinesis")
    kinesis.create_stream(StreamName="durable", ShardCount=4)
    answered = set()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        def put(i):
            return kinesis.put_record(StreamName="durable", Data=str(i).encode(), PartitionKey=str(i))["SequenceNumber"]
        answered.update(pool.map(put, range(400)))
    account.kill_and_begin_again()
    kinesis = account.client("kinesis")
    found = [r for shard in range(4) for r in read(kinesis, "durable", f"shardId-00000000000{shard}")[0]]
    check("kinesis: what was answered survives kill -9, once", {r["SequenceNumber"] for r in found} == answered and len(found) == 400, len(found))
    put = kinesis.put_record(StreamName="durable", Data=b"after", PartitionKey="a")
    last = read(kinesis, "durable", put["ShardId"])[0][-1]
    same("kinesis: numbers go on after it", (last["SequenceNumber"], last["Data"]), (put["SequenceNumber"], b"after"))


def speed(account):
    """2,000 records a second are easy: four shards take 4,000."""
    kinesis = account.client("kinesis")
    kinesis.create_stream(StreamName="fast", ShardCount=20)
    entries = [{"Data": b"x" * 200, "PartitionKey": str(i)} for i in range(500)]
    account.advance(5)
    cpu = cpu_seconds(account.pid)
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        failed = sum(pool.map(lambda _: kinesis.put_records(StreamName="fast", Records=entries)["FailedRecordCount"], range(80)))
    seconds = time.monotonic() - begun
    taken = 40_000 - failed
    print(f"       kinesis: {taken / seconds:.0f} records a second into 20 shards ({failed} throttled), {cpu_seconds(account.pid) - cpu:.1f} processor seconds for 40,000")
    check("kinesis: 2,000 records a second are easy", taken / seconds > 2_000, (taken, seconds))


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
