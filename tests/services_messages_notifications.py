"""Notifications of S3: to queues, topics, functions and EventBridge, also across a kill."""

import itertools
import json
import pathlib
import tempfile
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from services_messages_checks import check
from services_messages_functions import ARCHITECTURE, packed


BOOTSTRAP = """#!/usr/bin/env python3
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as response:
        request, event = response.headers["Lambda-Runtime-Aws-Request-Id"], response.read().decode()
    with open(os.environ["OUT"], "a") as out:
        out.write(event + "\\n")
    urllib.request.urlopen(api + request + "/response", b'"done"')
"""


class Notifications:
    """`check(name, holds, seen)` is told of each check."""

    def __init__(self, environment, check):
        self.check = check
        session = boto3.Session(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"])
        config = Config(retries={"max_attempts": 0})
        client = lambda name: session.client(
            name, endpoint_url=environment["AWS_ENDPOINT_URL"], config=config)
        self.s3, self.sqs, self.sns, self.events = map(client, ("s3", "sqs", "sns", "events"))
        self.cloudformation = client("cloudformation")

    def queue(self, name, sender=None, source="*"):
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        if sender:
            self.admit(url, arn, sender, source)
        return url, arn

    def admit(self, url, arn, sender, source):
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": sender}, "Action": "sqs:SendMessage",
            "Resource": arn, "Condition": {"ArnLike": {"aws:SourceArn": source}}}]}
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})

    def received(self, url, count):
        """At least so many messages, which arrive in the background."""
        found = []
        for _ in range(200):
            got = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            for message in got:
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            if len(found) >= count:
                return found
            time.sleep(0.05)
        return found

    def records(self, url, count):
        return [m["Records"][0] for m in self.received(url, count)]

    def configure(self, bucket, **configuration):
        try:
            self.s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration=configuration)
        except ClientError as error:
            return error.response["Error"]["Message"]
        return "done"

    def run(self):
        self.to_a_queue()
        self.to_a_topic()
        self.to_a_function()
        self.to_event_bridge()
        self.clean()

    def to_a_queue(self):
        s3, b = self.s3, "clients-notified"
        s3.create_bucket(Bucket=b)
        url, arn = self.queue("clients-notified")
        wanted = [{"Id": "q", "QueueArn": arn, "Events": [
            "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"},
                                               {"Name": "suffix", "Value": ".csv"}]}}}]
        seen = self.configure(b, QueueConfigurations=wanted)
        unable = "Unable to validate the following destination configurations"
        self.check("a queue that does not let S3 send", seen == unable, seen)
        self.admit(url, arn, "s3.amazonaws.com", "arn:aws:s3:::another")
        seen = self.configure(b, QueueConfigurations=wanted)
        self.check("a queue that lets another bucket send", seen == unable, seen)
        self.admit(url, arn, "s3.amazonaws.com", f"arn:aws:s3:::{b}")
        seen = self.configure(b, QueueConfigurations=wanted)
        self.check("a queue that lets S3 send", seen == "done", seen)
        test = self.received(url, 1)
        self.check("a test message", [(m["Event"], m["Bucket"]) for m in test] == [("s3:TestEvent", b)], test)
        s3.put_object(Bucket=b, Key="other.csv", Body=b"")
        s3.put_object(Bucket=b, Key="in/other", Body=b"")
        put = s3.put_object(Bucket=b, Key="in/a b+é.csv", Body=b"12345")
        [record] = self.records(url, 1)
        item = record["s3"]
        self.check("an object was put", (
            record["eventName"], item["object"]["key"], item["object"]["size"], item["object"]["eTag"],
            item["configurationId"], item["bucket"]["arn"], record["eventVersion"]) == (
            "ObjectCreated:Put", "in/a+b%2B%C3%A9.csv", 5, put["ETag"].strip('"'), "q",
            f"arn:aws:s3:::{b}", "2.1"), record)
        self.check("who put it", record["userIdentity"]["principalId"].startswith("AWS:AIDA")
                   and record["requestParameters"]["sourceIPAddress"] == "127.0.0.1", record)
        request = put["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
        self.check("by which request", record["responseElements"]["x-amz-request-id"] == request, record)
        s3.copy_object(Bucket=b, Key="in/c.csv", CopySource=f"{b}/other.csv")
        s3.put_object_tagging(Bucket=b, Key="in/c.csv", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
        s3.delete_object_tagging(Bucket=b, Key="in/c.csv")
        s3.delete_object(Bucket=b, Key="in/c.csv")
        s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
        marker = s3.delete_object(Bucket=b, Key="in/a b+é.csv")["VersionId"]
        s3.delete_object(Bucket=b, Key="in/a b+é.csv", VersionId=marker)
        names = sorted(r["eventName"] for r in self.records(url, 6))
        self.check("what else was done", names == [
            "ObjectCreated:Copy", "ObjectRemoved:Delete", "ObjectRemoved:Delete",
            "ObjectRemoved:DeleteMarkerCreated", "ObjectTagging:Delete", "ObjectTagging:Put"], names)
        self.sqs.create_queue(QueueName="clients.fifo", Attributes={"FifoQueue": "true"})
        fifo = arn.replace("clients-notified", "clients.fifo")
        seen = self.configure(b, QueueConfigurations=[
            {"QueueArn": fifo, "Events": ["s3:ObjectCreated:*"]}])
        self.check("a FIFO queue", seen == unable, seen)
        kept = s3.get_bucket_notification_configuration(Bucket=b)["QueueConfigurations"]
        self.check("what was refused changes nothing", kept[0]["Id"] == "q", kept)

    def to_a_topic(self):
        s3, b = self.s3, "clients-notified-topic"
        s3.create_bucket(Bucket=b)
        topic = self.sns.create_topic(Name="clients-notified")["TopicArn"]
        url, arn = self.queue("clients-notified-topic", "sns.amazonaws.com", topic)
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        wanted = [{"TopicArn": topic, "Events": ["s3:ObjectCreated:Put"]}]
        seen = self.configure(b, TopicConfigurations=wanted)
        self.check("a topic that does not let S3 send", seen.startswith("Unable"), seen)
        self.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps({
            "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sns:Publish", "Resource": topic,
                "Condition": {"StringEquals": {"aws:SourceAccount": "000000000000"}}}]}))
        seen = self.configure(b, TopicConfigurations=wanted)
        self.check("a topic that lets S3 send", seen == "done", seen)
        s3.put_object(Bucket=b, Key="k", Body=b"")
        got = self.received(url, 2)
        self.check("a topic's messages", [m["Subject"] for m in got] == ["Amazon S3 Notification"] * 2, got)
        keys = [r["s3"]["object"]["key"] for m in got for r in json.loads(m["Message"]).get("Records", [])]
        self.check("a topic is told", keys == ["k"], got)

    def to_a_function(self):
        """A function writes what it is told into a file."""
        s3, b = self.s3, "clients-notified-function"
        s3.create_bucket(Bucket=b)
        s3.put_object(Bucket=b, Key="code.zip", Body=packed(BOOTSTRAP))
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder, "events")
            self.with_function(b, out)
        self.cloudformation.delete_stack(StackName="clients-notified")
        self.cloudformation.get_waiter("stack_delete_complete").wait(
            StackName="clients-notified", WaiterConfig={"Delay": 1})

    def with_function(self, b, out):
        trust = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole"}]}
        logs = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}]}
        resources = {
            "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/clients-notified"}},
            "Role": {"Type": "AWS::IAM::Role", "Properties": {
                "AssumeRolePolicyDocument": trust,
                "Policies": [{"PolicyName": "logs", "PolicyDocument": logs}]}},
            "F": {"Type": "AWS::Lambda::Function", "Properties": {
                "FunctionName": "clients-notified", "Runtime": "provided.al2023", "Handler": "bootstrap",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]}, "Architectures": [ARCHITECTURE], "Timeout": 10,
                "MemorySize": 256, "Code": {"S3Bucket": b, "S3Key": "code.zip"},
                "Environment": {"Variables": {"OUT": str(out)}},
                "LoggingConfig": {"LogGroup": {"Ref": "Logs"}}}},
        }
        permission = {"Type": "AWS::Lambda::Permission", "Properties": {
            "FunctionName": {"Fn::GetAtt": ["F", "Arn"]}, "Action": "lambda:InvokeFunction",
            "Principal": "s3.amazonaws.com", "SourceArn": f"arn:aws:s3:::{b}",
            "SourceAccount": "000000000000"}}
        stack = lambda what, body: (
            getattr(self.cloudformation, f"{what}_stack")(
                StackName="clients-notified", Capabilities=["CAPABILITY_IAM"],
                TemplateBody=json.dumps({"Resources": body})),
            self.cloudformation.get_waiter(f"stack_{what}_complete").wait(
                StackName="clients-notified", WaiterConfig={"Delay": 1}))
        stack("create", resources)
        wanted = [{"LambdaFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:clients-notified",
                   "Events": ["s3:ObjectCreated:*"],
                   "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}}]
        seen = self.configure(b, LambdaFunctionConfigurations=wanted)
        self.check("a function that does not let S3 invoke it", seen.startswith("Unable"), seen)
        stack("update", resources | {"Permission": permission})
        seen = self.configure(b, LambdaFunctionConfigurations=wanted)
        self.check("a function that lets S3 invoke it", seen == "done", seen)
        self.s3.put_object(Bucket=b, Key="in/1", Body=b"x")
        for _ in range(400):
            if out.exists() and out.read_text().endswith("\n"):
                break
            time.sleep(0.05)
        told = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        keys = [r["s3"]["object"]["key"] for event in told for r in event["Records"]]
        self.check("a function is told", keys == ["in/1"], told)

    def to_event_bridge(self):
        s3, b = self.s3, "clients-bridged"
        s3.create_bucket(Bucket=b)
        rule = self.events.put_rule(Name="clients-bridged", EventPattern=json.dumps({
            "source": ["aws.s3"], "detail": {"bucket": {"name": [b]}}}))["RuleArn"]
        url, arn = self.queue("clients-bridged", "events.amazonaws.com", rule)
        self.events.put_targets(Rule="clients-bridged", Targets=[{"Id": "q", "Arn": arn}])
        seen = self.configure(b, EventBridgeConfiguration={})
        self.check("EventBridge", seen == "done", seen)
        s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
        put = s3.put_object(Bucket=b, Key="k", Body=b"1", Tagging="a=1")
        s3.delete_object_tagging(Bucket=b, Key="k")
        marker = s3.delete_object(Bucket=b, Key="k")["VersionId"]
        s3.delete_object(Bucket=b, Key="k", VersionId=marker)
        got = self.received(url, 4)
        kinds = {(m["detail-type"], m["detail"].get("deletion-type")) for m in got}
        self.check("EventBridge's events", kinds == {
            ("Object Created", None), ("Object Deleted", "Delete Marker Created"),
            ("Object Deleted", "Permanently Deleted"), ("Object Tags Deleted", None)}, kinds)
        created = next(m["detail"] for m in got if m["detail-type"] == "Object Created")
        self.check("an event's detail", (created["object"]["version-id"], created["reason"],
                   created["requester"], created["object"]["size"]) == (
                   put["VersionId"], "PutObject", "000000000000", 1), created)

    def across_a_kill(self, cloud):
        """Everything that was acknowledged is there, with its bytes, and is told."""
        s3, b, keys = self.s3, "clients-killed", set()
        s3.create_bucket(Bucket=b)
        url, arn = self.queue("clients-killed", "s3.amazonaws.com", f"arn:aws:s3:::{b}")
        seen = self.configure(b, QueueConfigurations=[
            {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}])
        self.check("a queue of a cloud that will be killed", seen == "done", seen)
        self.received(url, 1)
        s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
        versions, lock = {}, threading.Lock()

        def write(worker):
            for number in itertools.count():
                key, body = f"{worker}/{number % 5}", f"{worker}-{number}".encode()
                try:
                    version = s3.put_object(Bucket=b, Key=key, Body=body)["VersionId"]
                    with lock:
                        versions[key, version] = body
                    if number % 7 == 0:
                        s3.delete_object(Bucket=b, Key=key)
                except Exception:
                    return

        writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        [w.start() for w in writers]
        while len(versions) < 150:
            time.sleep(0.01)
        cloud.crash()
        [w.join() for w in writers]
        found, place = {}, {}
        while True:
            page = s3.list_object_versions(Bucket=b, **place)
            found |= {(v["Key"], v["VersionId"]): None for v in page.get("Versions", [])}
            latest = [v["Key"] for v in page.get("Versions", []) + page.get("DeleteMarkers", [])
                      if v["IsLatest"]]
            keys |= set(latest)
            if not page["IsTruncated"]:
                break
            place = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        lost = set(versions) - set(found)
        self.check("a kill loses no version that was acknowledged", not lost, lost)
        bodies = {at: s3.get_object(Bucket=b, Key=at[0], VersionId=at[1])["Body"].read() for at in found}
        self.check("every version that is listed has its bytes", all(
            bodies[at] == body for at, body in versions.items()))
        told = set()
        for _ in range(5):
            # One that was sent right before the kill comes twice.
            told |= {(r["s3"]["object"]["key"], r["s3"]["object"]["versionId"])
                     for r in self.records(url, len(set(found) - told))}
            if told >= set(found):
                break
        self.check("every version that is there was told", told >= set(found), set(found) - told)

    def clean(self):
        for bucket in ("clients-notified", "clients-notified-topic", "clients-notified-function",
                       "clients-bridged"):
            found = self.s3.list_object_versions(Bucket=bucket)
            for v in found.get("Versions", []) + found.get("DeleteMarkers", []):
                self.s3.delete_object(Bucket=bucket, Key=v["Key"], VersionId=v["VersionId"])
            self.s3.delete_bucket(Bucket=bucket)


def run(cloud):
    notifications = Notifications(cloud.embedded.environment, check)
    notifications.run()
    notifications.across_a_kill(cloud)
