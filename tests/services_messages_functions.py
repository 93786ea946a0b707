"""Functions that nobody waits for: asynchronous invocations, by callers, rules and topics."""

import io
import json
import pathlib
import platform
import tempfile
import zipfile

from services_messages_checks import check, equal, refused
from services_messages_events import entry
from services_messages_queues import until
from services_messages_topics import queue

# It writes every event to a file, and fails as often as the event says.
BOOTSTRAP = """#!/usr/bin/env python3
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as response:
        request, event = response.headers["Lambda-Runtime-Aws-Request-Id"], json.load(response)
    seen = open(os.environ["OUT"]).read().splitlines() if os.path.exists(os.environ["OUT"]) else []
    with open(os.environ["OUT"], "a") as out:
        out.write(json.dumps(event) + "\\n")
    fails = isinstance(event, dict) and seen.count(json.dumps(event)) < event.get("fails", 0)
    answer = {"errorType": "E", "errorMessage": "again"} if fails else "done"
    urllib.request.urlopen(api + request + ("/error" if fails else "/response"), json.dumps(answer).encode())
"""


def run(cloud):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "events")
        seen = lambda: [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        function(cloud, out)
        by_callers(cloud, seen)
        by_rules(cloud, seen)


def function(cloud, out):
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="code-of-functions")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        archive.writestr(info, BOOTSTRAP)
    s3.put_object(Bucket="code-of-functions", Key="f.zip", Body=package.getvalue())
    role = cloud.role("function-role", "lambda.amazonaws.com", [{"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}])
    architecture = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    cloud.stack("function", {
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/f"}},
        "F": {"Type": "AWS::Lambda::Function", "Properties": {
            "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role, "Architectures": [architecture], "Timeout": 10, "MemorySize": 256,
            "Code": {"S3Bucket": "code-of-functions", "S3Key": "f.zip"}, "Environment": {"Variables": {"OUT": str(out)}}, "LoggingConfig": {"LogGroup": {"Ref": "Logs"}}}},
    })


def by_callers(cloud, seen):
    functions = cloud.client("lambda")
    invoke = lambda event, **params: functions.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps(event), **params)
    equal("an event is accepted", invoke({"n": 1})["StatusCode"], 202)
    until(lambda: seen() == [{"n": 1}])
    equal("and comes to the function", seen(), [{"n": 1}])
    equal("what is no JSON is not", refused(functions.invoke, FunctionName="f", InvocationType="Event", Payload=b"{"), "InvalidRequestContentException")
    equal("nor what is too large", refused(functions.invoke, FunctionName="f", InvocationType="Event", Payload=json.dumps("x" * 1_048_576)), "RequestTooLargeException")
    equal("no function", refused(functions.invoke, FunctionName="g", InvocationType="Event", Payload=b"{}"), "ResourceNotFoundException")
    event = {"n": 2, "fails": 2}
    invoke(event)
    until(lambda: seen().count(event) == 1)
    # That it failed is known a little later than the file is written, and the pause begins then.
    until(lambda: cloud.advance(61) and seen().count(event) >= 2)
    until(lambda: cloud.advance(121) and seen().count(event) >= 3)
    cloud.advance(3_600)
    equal("what fails is tried three times", seen().count(event), 3)
    last = {"n": 3, "fails": 9}
    invoke(last)
    until(lambda: seen().count(last) == 1)
    cloud.crash()
    until(lambda: cloud.advance(61) and seen().count(last) >= 2)
    check("also after a crash", seen().count(last) >= 2, seen())
    for _ in range(3):
        cloud.advance(121)


def by_rules(cloud, seen):
    events, sns = cloud.client("events"), cloud.client("sns")
    arn = cloud.arn("lambda", "function:f")
    role = cloud.role("rule-invoker", "events.amazonaws.com", [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn}])
    events.put_rule(Name="invoke", EventPattern=json.dumps({"source": ["invoke"]}))
    events.put_targets(Rule="invoke", Targets=[{"Id": "1", "Arn": arn, "RoleArn": role, "InputPath": "$.detail"}])
    events.put_events(Entries=[entry("k", {"rule": True}, "invoke")])
    until(lambda: {"rule": True} in seen())
    check("a rule invokes a function", {"rule": True} in seen(), seen())
    topic = sns.create_topic(Name="to-function")["TopicArn"]
    dead = queue(cloud, "function-dead", "sns.amazonaws.com")
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn, Attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": cloud.arn("sqs", "function-dead")})})
    sns.publish(TopicArn=topic, Message="m")
    message = cloud.client("sqs").receive_message(QueueUrl=dead, MessageAttributeNames=["All"], WaitTimeSeconds=10)["Messages"][0]
    record = json.loads(message["Body"])["Records"][0]
    equal("a function that does not let a topic is not invoked", (record["EventSource"], record["Sns"]["Message"], message["MessageAttributes"]["ErrorCode"]["StringValue"]), ("aws:sns", "m", "AccessDeniedException"))
