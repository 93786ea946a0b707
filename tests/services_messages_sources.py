"""Event source mappings: functions that read queues and streams, and what becomes of what fails."""

import base64
import datetime
import json
import pathlib
import tempfile

from services_messages_checks import check, equal, refused, words
from services_messages_functions import ARCHITECTURE, packed
from services_messages_queues import until

# It writes every event to a file. A record whose data are "bad" makes it fail, or is reported when
# the variable REPORTS is set.
BOOTSTRAP = """#!/usr/bin/env python3
import base64, json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
def data(record):
    if "dynamodb" in record:
        return record["dynamodb"]["Keys"]["pk"]["S"]
    return record["body"] if "body" in record else base64.b64decode(record["kinesis"]["data"]).decode()
def name(record):
    if "dynamodb" in record:
        return record["dynamodb"]["SequenceNumber"]
    return record["messageId"] if "body" in record else record["kinesis"]["sequenceNumber"]
while True:
    with urllib.request.urlopen(api + "next") as response:
        request, event = response.headers["Lambda-Runtime-Aws-Request-Id"], json.load(response)
    with open(os.environ["OUT"], "a") as out:
        out.write(json.dumps(event) + "\\n")
    bad = [name(r) for r in event["Records"] if data(r).startswith("bad")]
    if bad and not os.environ.get("REPORTS"):
        urllib.request.urlopen(api + request + "/error", json.dumps({"errorType": "E", "errorMessage": "bad"}).encode())
    else:
        answer = {"batchItemFailures": [{"itemIdentifier": b} for b in bad]}
        urllib.request.urlopen(api + request + "/response", json.dumps(answer).encode())
"""

READS_TABLES = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
READS = ["kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
RECEIVES = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]


class Reader:
    """A function with a file of what it was given."""

    def __init__(self, cloud, folder, name, actions, **variables):
        self.name, self.out = name, pathlib.Path(folder, name)
        self.functions = cloud.client("lambda")
        role = cloud.role(f"{name}-role", "lambda.amazonaws.com", [{"Effect": "Allow", "Action": actions, "Resource": "*"}])
        self.functions.create_function(
            FunctionName=name, Runtime="provided.al2023", Handler="bootstrap", Role=role, Architectures=[ARCHITECTURE], Timeout=10,
            MemorySize=256, Code={"ZipFile": packed(BOOTSTRAP)}, Environment={"Variables": {"OUT": str(self.out), **variables}})
        self.functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    def events(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()] if self.out.exists() else []

    def batches(self):
        """The data of each event's records; of a table's the keys."""
        data = lambda r: r["dynamodb"]["Keys"]["pk"]["S"] if "dynamodb" in r else r["body"] if "body" in r else base64.b64decode(r["kinesis"]["data"]).decode()
        return [[data(r) for r in e["Records"]] for e in self.events()]

    def all(self):
        return [data for batch in self.batches() for data in batch]

    def map(self, source, **settings):
        made = self.functions.create_event_source_mapping(EventSourceArn=source, FunctionName=self.name, **settings)
        self.wait(made["UUID"])
        return made["UUID"]

    def wait(self, mapping, state="Enabled"):
        until(lambda: self.functions.get_event_source_mapping(UUID=mapping)["State"] == state)

    def unmap(self, mapping):
        self.functions.delete_event_source_mapping(UUID=mapping)


def stream(cloud, name, shards=1):
    kinesis = cloud.client("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    return kinesis, cloud.arn("kinesis", f"stream/{name}")


def put(kinesis, name, *records):
    """Records as data with the partition key that stands before a colon, if one does."""
    entries = [{"Data": r.encode(), "PartitionKey": r.split(":")[0]} for r in records]
    kinesis.put_records(StreamName=name, Records=entries)


def queue_arn(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def run(cloud):
    with tempfile.TemporaryDirectory() as folder:
        refusals(cloud, folder)
        streams(cloud, folder)
        failures(cloud, folder)
        reported(cloud, folder)
        positions(cloud, folder)
        shards(cloud, folder)
        tables(cloud, folder)
        queues(cloud, folder)
        templates(cloud, folder)


def refusals(cloud, folder):
    reader = Reader(cloud, folder, "reads-nothing", ["logs:CreateLogStream"])
    _, arn = stream(cloud, "refused")
    sqs = cloud.client("sqs")
    queue = queue_arn(sqs, sqs.create_queue(QueueName="refused")["QueueUrl"])
    short = queue_arn(sqs, sqs.create_queue(QueueName="short", Attributes={"VisibilityTimeout": "5"})["QueueUrl"])
    make = lambda source, **settings: words(reader.functions.create_event_source_mapping, EventSourceArn=source, FunctionName="reads-nothing", **settings)
    seen = make(arn, StartingPosition="LATEST")
    equal("a role that may not read a stream", seen, f"Cannot access stream {arn}. Please ensure the role can perform the GetRecords, GetShardIterator, DescribeStream, ListShards, and ListStreams Actions on your stream in IAM.")
    equal("or a queue", make(queue), "The function execution role does not have permissions to call ReceiveMessage on SQS")
    check("a stream needs a position", "startingPosition" in make(arn), make(arn))
    check("a queue has none", "not valid for SQS" in make(queue, StartingPosition="LATEST"))
    tables = cloud.arn("dynamodb", "table/t/stream/2026-01-01T00:00:00.000")
    seen = make(tables, StartingPosition="LATEST")
    equal("or a stream of a table", seen, f"Cannot access stream {tables}. Please ensure the role can perform the GetRecords, GetShardIterator, DescribeStream, and ListStreams Actions on your stream in IAM.")
    equal("which has no times", make(tables, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=1), f"Unsupported starting position for arn type: {tables}")
    check("topics of Kafka are refused by name", "does not implement" in make("arn:aws:kafka:us-east-1:000000000000:cluster/c/1"))
    check("and windows that tumble", "TumblingWindowInSeconds" in make(arn, StartingPosition="LATEST", TumblingWindowInSeconds=1))
    able = Reader(cloud, folder, "refused-reader", READS + RECEIVES)
    create = lambda source, name="refused-reader", **settings: dict(EventSourceArn=source, FunctionName=name, **settings)
    seen = words(able.functions.create_event_source_mapping, **create(short))
    equal("a queue whose messages come back too soon", seen, "Queue visibility timeout: 5 seconds is less than Function timeout: 10 seconds")
    seen = words(able.functions.create_event_source_mapping, **create(arn, "nobody", StartingPosition="LATEST"))
    equal("no function", seen, "Function does not exist")
    seen = words(able.functions.create_event_source_mapping, **create(arn, StartingPosition="LATEST", DestinationConfig={"OnFailure": {"Destination": queue}}))
    equal("a destination that the role may not send to", seen, f"The function's execution role does not have permissions to call SendMessage on {queue}")
    seen = words(able.functions.create_event_source_mapping, **create(arn, StartingPosition="LATEST", FilterCriteria={"Filters": [{"Pattern": "{\"a\": 1}"}]}))
    equal("a filter that is none", seen, "Invalid filter pattern definition.")
    mapping = able.map(arn, StartingPosition="LATEST")
    seen = words(able.functions.create_event_source_mapping, **create(arn, StartingPosition="LATEST"))
    check("a second mapping of the same", seen.endswith(f"Please update or delete the existing mapping with UUID {mapping}"), seen)
    able.functions.update_event_source_mapping(UUID=mapping, BatchSize=7)
    equal("two changes at a time", refused(able.functions.update_event_source_mapping, UUID=mapping, BatchSize=8), "ResourceInUseException")
    able.wait(mapping)
    shown = able.functions.get_event_source_mapping(UUID=mapping)
    equal("settings are shown", [shown[k] for k in ("BatchSize", "MaximumRetryAttempts", "ParallelizationFactor", "State", "LastProcessingResult")], [7, -1, 1, "Enabled", "No records processed"])
    listed = able.functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    equal("and listed", [m["UUID"] for m in listed], [mapping])
    able.unmap(mapping)
    equal("and gone when deleted", refused(able.functions.get_event_source_mapping, UUID=mapping), "ResourceNotFoundException")


def streams(cloud, folder):
    reader = Reader(cloud, folder, "reads-stream", READS)
    kinesis, arn = stream(cloud, "events", 2)
    put(kinesis, "events", "before")
    mapping = reader.map(arn, StartingPosition="LATEST", BatchSize=3, MaximumBatchingWindowInSeconds=60)
    put(kinesis, "events", "a:1", "a:2", "a:3", "a:4")
    until(lambda: reader.batches())
    equal("a full batch does not wait for its window", reader.batches(), [["a:1", "a:2", "a:3"]])
    until(lambda: cloud.advance(61) and len(reader.batches()) == 2)
    equal("what is left waits for it", reader.batches()[1:], [["a:4"]])
    record = reader.events()[0]["Records"][0]
    shard = record["eventID"].split(":")[0]
    kinesis_part = record.pop("kinesis")
    equal("a record is AWS's", record, {
        "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": f"{shard}:{kinesis_part['sequenceNumber']}", "eventName": "aws:kinesis:record",
        "invokeIdentityArn": f"arn:aws:iam::{cloud.account}:role/reads-stream-role", "awsRegion": cloud.region, "eventSourceARN": arn})
    equal("with the data of the stream", (kinesis_part["kinesisSchemaVersion"], kinesis_part["partitionKey"], kinesis_part["data"]), ("1.0", "a", base64.b64encode(b"a:1").decode()))
    until(lambda: reader.functions.get_event_source_mapping(UUID=mapping)["LastProcessingResult"] == "OK")
    reader.functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    reader.wait(mapping, "Disabled")
    put(kinesis, "events", "a:5")
    pattern = {"data": {"t": [{"numeric": [">", 30]}]}}
    reader.functions.update_event_source_mapping(UUID=mapping, Enabled=True, MaximumBatchingWindowInSeconds=0, FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}, {"Pattern": '{"data": ["a:5"]}'}]})
    put(kinesis, "events", '{"t": 20}', '{"t": 31}', "text", "a:6")
    until(lambda: '{"t": 31}' in reader.all() and "a:5" in reader.all())
    put(kinesis, "events", '{"t": 32}')
    until(lambda: '{"t": 32}' in reader.all())
    equal("it goes on where it was, through filters", sorted(reader.all()[4:]), ["a:5", '{"t": 31}', '{"t": 32}'])
    cloud.crash()
    reader.functions = cloud.client("lambda")
    put(cloud.client("kinesis"), "events", '{"t": 33}')
    until(lambda: '{"t": 33}' in reader.all())
    check("and after a crash, with nothing lost", reader.all().count('{"t": 33}') >= 1, reader.all())
    reader.unmap(mapping)


def failures(cloud, folder):
    reader = Reader(cloud, folder, "fails", READS + ["sqs:SendMessage"])
    kinesis, arn = stream(cloud, "failing")
    sqs = cloud.client("sqs")
    dead = sqs.create_queue(QueueName="failed-batches")["QueueUrl"]
    on_failure = {"OnFailure": {"Destination": queue_arn(sqs, dead)}}
    put(kinesis, "failing", "1", "bad", "2", "3")
    mapping = reader.map(arn, StartingPosition="TRIM_HORIZON", MaximumRetryAttempts=1, BisectBatchOnFunctionError=True, DestinationConfig=on_failure)
    until(lambda: cloud.advance(2) and "3" in [b[-1] for b in reader.batches() if "bad" not in b])
    singles = [b for b in reader.batches() if "bad" not in b]
    equal("a batch is divided until the bad record is alone", [d for b in singles for d in b], ["1", "2", "3"])
    equal("which is tried as often as it may", reader.batches().count(["bad"]), 2)
    message = json.loads(until_message(sqs, dead))
    info, context = message["KinesisBatchInfo"], message["requestContext"]
    equal("the destination is told", (context["condition"], context["approximateInvokeCount"], message["responseContext"], info["batchSize"], info["shardId"], info["streamArn"]),
          ("RetryAttemptsExhausted", 2, {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}, 1, "shardId-000000000000", arn))
    check("with the numbers of the records", info["startSequenceNumber"] == info["endSequenceNumber"] and "approximateArrivalOfFirstRecord" in info, info)
    equal("and the function", context["functionArn"], cloud.arn("lambda", "function:fails"))
    reader.functions.update_event_source_mapping(UUID=mapping, MaximumRetryAttempts=-1, BisectBatchOnFunctionError=False, MaximumRecordAgeInSeconds=60)
    reader.wait(mapping)
    put(kinesis, "failing", "bad")
    until(lambda: reader.batches().count(["bad"]) == 3)
    until(lambda: reader.functions.get_event_source_mapping(UUID=mapping)["LastProcessingResult"] == "PROBLEM: Function call failed")
    message = json.loads(until_message(sqs, dead, lambda: cloud.advance(10)))
    equal("what is too old is given up", message["requestContext"]["condition"], "RecordAgeExceeded")
    put(kinesis, "failing", "4")
    until(lambda: "4" in reader.all())
    equal("and what comes after it is not held up", reader.batches()[-1], ["4"])
    reader.unmap(mapping)
    mapping = reader.map(arn, StartingPosition="LATEST")
    reader.functions.put_function_concurrency(FunctionName="fails", ReservedConcurrentExecutions=0)
    put(kinesis, "failing", "5")
    until(lambda: "Rate Exceeded." in reader.functions.get_event_source_mapping(UUID=mapping)["LastProcessingResult"])
    reader.functions.delete_function_concurrency(FunctionName="fails")
    until(lambda: cloud.advance(60) and "5" in reader.all())
    check("a function without room is tried until it has some", "5" in reader.all())
    reader.unmap(mapping)


def until_message(sqs, url, meanwhile=lambda: True):
    found = []

    def received():
        meanwhile()
        for message in sqs.receive_message(QueueUrl=url).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(message["Body"])
        return found

    until(received)
    return found[0]


def reported(cloud, folder):
    reader = Reader(cloud, folder, "reports", READS, REPORTS="1")
    kinesis, arn = stream(cloud, "reported")
    put(kinesis, "reported", "1", "2", "bad", "3")
    mapping = reader.map(arn, StartingPosition="TRIM_HORIZON", MaximumRetryAttempts=1, FunctionResponseTypes=["ReportBatchItemFailures"])
    until(lambda: len(reader.batches()) == 1)
    until(lambda: cloud.advance(2) and len(reader.batches()) >= 2)
    put(kinesis, "reported", "4")
    until(lambda: cloud.advance(2) and "4" in reader.all())
    equal("a part is done, the rest tried and given up", reader.batches(), [["1", "2", "bad", "3"], ["bad", "3"], ["4"]])
    reader.unmap(mapping)


def positions(cloud, folder):
    reader = Reader(cloud, folder, "positions", READS)
    kinesis, arn = stream(cloud, "positions")
    put(kinesis, "positions", "old")
    time = cloud.advance(60)
    put(kinesis, "positions", "new")
    mapping = reader.map(arn, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=time)
    until(lambda: reader.all())
    equal("a stream is read from a time on", reader.all(), ["new"])
    reader.unmap(mapping)
    for lanes in (4, 2):
        keys = [f"k{i % 20}:{lanes}-{i:03}" for i in range(200)]
        put(kinesis, "positions", *keys)
        if lanes == 4:
            reader.out.unlink()
            mapping = reader.map(arn, StartingPosition="TRIM_HORIZON", ParallelizationFactor=lanes, BatchSize=5)
        else:
            reader.functions.update_event_source_mapping(UUID=mapping, ParallelizationFactor=lanes)
        until(lambda: set(keys) <= set(reader.all()))
        seen = reader.all()
        in_order = all([s for s in dict.fromkeys(seen) if s in keys and s.startswith(f"k{k}:")] == [s for s in keys if s.startswith(f"k{k}:")] for k in range(20))
        check(f"records of a key come in order through {lanes} lanes", set(keys) <= set(seen) and in_order, seen[-20:])
    reader.unmap(mapping)


def shards(cloud, folder):
    reader = Reader(cloud, folder, "shards", READS)
    kinesis, arn = stream(cloud, "shards")
    mapping = reader.map(arn, StartingPosition="TRIM_HORIZON", BatchSize=1)
    records = []
    for round_ in range(4):
        more = [f"{round_}-{i}" for i in range(10)]
        put(kinesis, "shards", *more)
        records += more
        if round_ < 3:
            kinesis.update_shard_count(StreamName="shards", TargetShardCount=[2, 4, 2][round_], ScalingType="UNIFORM_SCALING")
    until(lambda: set(records) <= set(reader.all()))
    seen = reader.all()
    equal("every record is handed over through splits and merges", sorted(set(seen)), sorted(records))
    reader.unmap(mapping)


def tables(cloud, folder):
    reader = Reader(cloud, folder, "reads-table", READS_TABLES + ["sqs:SendMessage"])
    db, sqs = cloud.client("dynamodb"), cloud.client("sqs")
    made = db.create_table(
        TableName="changing", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}], StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    arn = made["TableDescription"]["LatestStreamArn"]
    put = lambda pk, n: db.put_item(TableName="changing", Item={"pk": {"S": pk}, "n": {"N": str(n)}})
    put("a", 1)
    put("a", 1)
    put("a", 2)
    db.delete_item(TableName="changing", Key={"pk": {"S": "a"}})
    mapping = reader.map(arn, StartingPosition="TRIM_HORIZON", MaximumBatchingWindowInSeconds=0)
    until(lambda: len(reader.all()) == 3)
    records = [r for e in reader.events() for r in e["Records"]]
    equal("changes come in order, and what changed nothing does not", [r["eventName"] for r in records], ["INSERT", "MODIFY", "REMOVE"])
    shown = records[1]["dynamodb"]
    equal("with both images", (shown["OldImage"]["n"], shown["NewImage"]["n"], shown["StreamViewType"]), ({"N": "1"}, {"N": "2"}, "NEW_AND_OLD_IMAGES"))
    equal("as AWS has them", {k: records[0][k] for k in ("eventVersion", "eventSource", "awsRegion", "eventSourceARN")}, {"eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": cloud.region, "eventSourceARN": arn})
    dead = sqs.create_queue(QueueName="failed-changes")["QueueUrl"]
    reader.functions.update_event_source_mapping(
        UUID=mapping, MaximumRetryAttempts=1, BisectBatchOnFunctionError=True, DestinationConfig={"OnFailure": {"Destination": queue_arn(sqs, dead)}},
        MaximumBatchingWindowInSeconds=60, FilterCriteria={"Filters": [{"Pattern": json.dumps({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"n": {"N": [{"anything-but": ["7"]}]}}}})}]})
    reader.wait(mapping)
    for pk, n in (("1", 1), ("no", 7), ("bad", 2), ("2", 3), ("3", 4)):
        put(pk, n)
    until(lambda: cloud.advance(31) and "3" in [b[-1] for b in reader.batches() if "bad" not in b])
    equal("a batch is divided until the bad change is alone", [d for b in reader.batches() if "bad" not in b for d in b][3:], ["1", "2", "3"])
    message = json.loads(until_message(sqs, dead))
    info = message["DDBStreamBatchInfo"]
    equal("of which the destination is told", (message["requestContext"]["condition"], info["batchSize"], info["streamArn"]), ("RetryAttemptsExhausted", 1, arn))
    until(lambda: reader.functions.get_event_source_mapping(UUID=mapping)["LastProcessingResult"] == "OK")
    before = reader.all().count("3")
    cloud.crash()
    reader.functions, db = cloud.client("lambda"), cloud.client("dynamodb")
    reader.functions.get_waiter("function_active_v2").wait(FunctionName="reads-table", WaiterConfig={"Delay": 1})
    db.put_item(TableName="changing", Item={"pk": {"S": "after"}})
    reader.functions.update_event_source_mapping(UUID=mapping, FilterCriteria={"Filters": []}, MaximumBatchingWindowInSeconds=0)
    until(lambda: "after" in reader.all())
    equal("a crash loses nothing and repeats nothing that was done", reader.all().count("3"), before)
    reader.wait(mapping)
    reader.unmap(mapping)
    streams_api(cloud, arn)


def streams_api(cloud, arn):
    streams, db = cloud.client("dynamodbstreams"), cloud.client("dynamodb")
    equal("streams are listed", [s["StreamArn"] for s in streams.list_streams(TableName="changing")["Streams"]], [arn])
    shown = streams.describe_stream(StreamArn=arn)["StreamDescription"]
    equal("and described", (shown["StreamStatus"], shown["TableName"], shown["KeySchema"], len(shown["Shards"])), ("ENABLED", "changing", [{"AttributeName": "pk", "KeyType": "HASH"}], 1))
    shard = shown["Shards"][0]["ShardId"]
    iterator = lambda kind, **more: streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]
    records = streams.get_records(ShardIterator=iterator("TRIM_HORIZON"))["Records"]
    equal("records are read", [r["eventName"] for r in records[:3]], ["INSERT", "MODIFY", "REMOVE"])
    second = records[1]["dynamodb"]["SequenceNumber"]
    read = lambda at: streams.get_records(ShardIterator=at, Limit=1)["Records"][0]["dynamodb"]["SequenceNumber"]
    equal("at and after a number", (read(iterator("AT_SEQUENCE_NUMBER", SequenceNumber=second)), read(iterator("AFTER_SEQUENCE_NUMBER", SequenceNumber=second))), (second, records[2]["dynamodb"]["SequenceNumber"]))
    at = iterator("LATEST")
    equal("nothing is new", streams.get_records(ShardIterator=at)["Records"], [])
    update = lambda **spec: db.update_table(TableName="changing", StreamSpecification=spec)
    equal("a table has one stream at a time", words(update, StreamEnabled=True, StreamViewType="KEYS_ONLY"), "Table already has an enabled stream: TableName: changing")
    db.update_time_to_live(TableName="changing", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    soon = int(datetime.datetime.fromisoformat(cloud.advance(1)).timestamp()) + 30
    db.put_item(TableName="changing", Item={"pk": {"S": "mortal"}, "ttl": {"N": str(soon)}})
    until(lambda: cloud.advance(601) and "Item" not in db.get_item(TableName="changing", Key={"pk": {"S": "mortal"}}))
    at = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="AFTER_SEQUENCE_NUMBER", SequenceNumber=records[-1]["dynamodb"]["SequenceNumber"])["ShardIterator"]
    removed = [r for r in streams.get_records(ShardIterator=at)["Records"] if r["eventName"] == "REMOVE"]
    equal("what has expired was removed by DynamoDB", [r.get("userIdentity") for r in removed], [{"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}])
    update(StreamEnabled=False)
    equal("a stream that is disabled can be read", streams.describe_stream(StreamArn=arn)["StreamDescription"]["StreamStatus"], "DISABLED")
    equal("and disabled once", words(update, StreamEnabled=False), "Table has no stream to disable: TableName: changing")
    update(StreamEnabled=True, StreamViewType="KEYS_ONLY")
    other = db.describe_table(TableName="changing")["Table"]["LatestStreamArn"]
    check("the next one is another", other != arn and len(streams.list_streams(TableName="changing")["Streams"]) == 2, other)
    db.put_item(TableName="changing", Item={"pk": {"S": "keys"}, "n": {"N": "1"}})
    shard = streams.describe_stream(StreamArn=other)["StreamDescription"]["Shards"][0]["ShardId"]
    at = streams.get_shard_iterator(StreamArn=other, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    only = streams.get_records(ShardIterator=at)["Records"]
    equal("and has its own changes only, and their keys", [(r["dynamodb"]["Keys"], "NewImage" in r["dynamodb"]) for r in only], [({"pk": {"S": "keys"}}, False)])
    cloud.advance(25 * 60 * 60)
    equal("after a day nothing is left to be read", streams.get_records(ShardIterator=streams.get_shard_iterator(StreamArn=other, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"])["Records"], [])
    equal("and the disabled stream is gone", refused(streams.describe_stream, StreamArn=arn), "ResourceNotFoundException")


def queues(cloud, folder):
    reader = Reader(cloud, folder, "reads-queue", RECEIVES, REPORTS="1")
    sqs = cloud.client("sqs")
    dead = sqs.create_queue(QueueName="source-dead")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": queue_arn(sqs, dead), "maxReceiveCount": 2})
    url = sqs.create_queue(QueueName="source-of-mapping", Attributes={"VisibilityTimeout": "30", "RedrivePolicy": policy})["QueueUrl"]
    arn = queue_arn(sqs, url)
    mapping = reader.map(arn, BatchSize=10, FunctionResponseTypes=["ReportBatchItemFailures"], FilterCriteria={"Filters": [{"Pattern": '{"body": [{"anything-but": "left out"}]}'}]})
    entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(["1", "bad", "left out", "2"])]
    entries[0]["MessageAttributes"] = {"n": {"DataType": "Number", "StringValue": "1"}}
    sqs.send_message_batch(QueueUrl=url, Entries=entries)
    until(lambda: sorted(set(reader.all())) == ["1", "2", "bad"])
    record = next(r for e in reader.events() for r in e["Records"] if r["body"] == "1")
    equal("a message is AWS's", (record["eventSource"], record["eventSourceARN"], record["awsRegion"], record["messageAttributes"], record["attributes"]["ApproximateReceiveCount"]),
          ("aws:sqs", arn, cloud.region, {"n": {"stringValue": "1", "stringListValues": [], "binaryListValues": [], "dataType": "Number"}}, "1"))
    check("with its digests and handle", {"messageId", "receiptHandle", "md5OfBody"} <= record.keys(), record.keys())
    left = lambda: sum(int(n) for n in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"])["Attributes"].values())
    until(lambda: left() == 1)
    equal("what is done and what is left out are deleted", left(), 1)
    equal("what failed comes again, and then to the dead-letter queue", until_message(sqs, dead, lambda: cloud.advance(31)), "bad")
    equal("after as many receipts as it may have", reader.all().count("bad"), 2)
    reader.unmap(mapping)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "300"})
    mapping = reader.map(arn, BatchSize=100, MaximumBatchingWindowInSeconds=60)
    for i in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=f"window-{i}")
    until(lambda: int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"]) == 0)
    before = len(reader.batches())
    cloud.advance(61)
    until(lambda: len(reader.batches()) > before)
    equal("a window gathers", reader.batches()[before:], [["window-0", "window-1", "window-2"]])
    reader.unmap(mapping)
    fifo = sqs.create_queue(QueueName="source.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})["QueueUrl"]
    mapping = reader.map(queue_arn(sqs, fifo), BatchSize=2)
    for i in range(6):
        sqs.send_message(QueueUrl=fifo, MessageBody=f"fifo-{i}", MessageGroupId="g")
    until(lambda: "fifo-5" in reader.all())
    equal("a FIFO queue keeps its order", [d for d in reader.all() if d.startswith("fifo")], [f"fifo-{i}" for i in range(6)])
    reader.unmap(mapping)


def templates(cloud, folder):
    out = pathlib.Path(folder, "templated")
    cloud.client("s3").create_bucket(Bucket="code-of-sources")
    cloud.client("s3").put_object(Bucket="code-of-sources", Key="f.zip", Body=packed(BOOTSTRAP))
    role = cloud.role("templated", "lambda.amazonaws.com", [{"Effect": "Allow", "Action": READS, "Resource": "*"}])
    resources = lambda size, memory: {
        "Stream": {"Type": "AWS::Kinesis::Stream", "Properties": {"ShardCount": 1}},
        "F": {"Type": "AWS::Lambda::Function", "Properties": {
            "FunctionName": "templated", "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role, "Architectures": [ARCHITECTURE], "Timeout": 10, "MemorySize": memory,
            "Code": {"S3Bucket": "code-of-sources", "S3Key": "f.zip"}, "Environment": {"Variables": {"OUT": str(out)}}, "ReservedConcurrentExecutions": 2}},
        f"V{memory}": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "F"}}},
        "A": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "F"}, "Name": "live", "FunctionVersion": {"Fn::GetAtt": [f"V{memory}", "Version"]}}},
        "E": {"Type": "AWS::Lambda::EventInvokeConfig", "Properties": {"FunctionName": {"Ref": "F"}, "Qualifier": "$LATEST", "MaximumRetryAttempts": 0}},
        "M": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {
            "EventSourceArn": {"Fn::GetAtt": ["Stream", "Arn"]}, "FunctionName": {"Ref": "A"}, "StartingPosition": "LATEST", "BatchSize": size}},
    }
    outputs = {"Stream": {"Ref": "Stream"}, "Mapping": {"Ref": "M"}, "Alias": {"Ref": "A"}, "Version": {"Ref": "V256"}}
    made = cloud.stack("sources", resources(10, 256), outputs)
    functions = cloud.client("lambda")
    equal("a template has versions and aliases", (made["Version"], made["Alias"]), (cloud.arn("lambda", "function:templated:1"), cloud.arn("lambda", "function:templated:live")))
    mapping = lambda: functions.get_event_source_mapping(UUID=made["Mapping"])
    equal("and mappings", (mapping()["BatchSize"], mapping()["FunctionArn"], mapping()["State"]), (10, made["Alias"], "Enabled"))
    put(cloud.client("kinesis"), made["Stream"], "x")
    until(lambda: out.exists())
    check("which hand over", out.exists() and json.loads(out.read_text().splitlines()[0])["Records"][0]["eventSource"] == "aws:kinesis")
    outputs["Version"] = {"Ref": "V512"}
    changed = cloud.stack("sources", resources(20, 512), outputs)
    equal("are changed in place", (changed["Mapping"], mapping()["BatchSize"]), (made["Mapping"], 20))
    equal("with a version of what was changed", (changed["Version"][-2:], functions.get_alias(FunctionName="templated", Name="live")["FunctionVersion"], functions.get_function(FunctionName="templated", Qualifier="live")["Configuration"]["MemorySize"]), (":2", "2", 512))
    formation = cloud.client("cloudformation")
    detection = formation.detect_stack_drift(StackName="sources")["StackDriftDetectionId"]
    until(lambda: formation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)["DetectionStatus"] != "DETECTION_IN_PROGRESS")
    drifts = formation.describe_stack_resource_drifts(StackName="sources")["StackResourceDrifts"]
    equal("nothing has drifted", {d["LogicalResourceId"]: d["StackResourceDriftStatus"] for d in drifts if d["StackResourceDriftStatus"] not in ("IN_SYNC", "NOT_CHECKED")}, {})
    cloud.delete_stack("sources")
    equal("and deleted", (refused(mapping), refused(functions.get_function, FunctionName="templated")), ("ResourceNotFoundException", "ResourceNotFoundException"))
