"""Functions by the API: their configurations, versions and aliases; and what nobody waits for."""

import concurrent.futures
import io
import json
import pathlib
import platform
import tempfile
import zipfile

from services_messages_checks import check, equal, refused, words
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


ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
# It answers with its version, its variable VALUE and the ARN that it was invoked by, and waits as long as
# the event says.
ECHO = """#!/usr/bin/env python3
import json, os, time, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as response:
        request, event, arn = response.headers["Lambda-Runtime-Aws-Request-Id"], json.load(response), response.headers["Lambda-Runtime-Invoked-Function-Arn"]
    time.sleep(event.get("seconds", 0))
    answer = {"version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"], "v": os.environ.get("VALUE"), "arn": arn}
    urllib.request.urlopen(api + request + "/response", json.dumps(answer).encode())
"""


def packed(bootstrap):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        archive.writestr(info, bootstrap)
    return package.getvalue()


def run(cloud):
    by_api(cloud)
    versions(cloud)
    concurrency(cloud)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "events")
        seen = lambda: [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        function(cloud, out)
        by_callers(cloud, seen)
        by_rules(cloud, seen)
        destinations(cloud, seen)


def made(cloud, name, **more):
    """Makes a function by the API and waits until it is there."""
    functions = cloud.client("lambda")
    role = cloud.role(f"{name}-role", "lambda.amazonaws.com", [{"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}])
    answer = functions.create_function(**{"FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role, "Architectures": [ARCHITECTURE], "Timeout": 10, "Code": {"ZipFile": packed(ECHO)}, **more})
    settled(functions, name)
    return functions, answer


def settled(functions, name):
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def asked(functions, name, event=None, **more):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event or {}), **more)
    return json.load(answer["Payload"]) | {"executed": answer["ExecutedVersion"]}


def by_api(cloud):
    functions, answer = made(cloud, "api", Tags={"a": "1"}, Environment={"Variables": {"VALUE": "1"}}, Description="d")
    equal("a function is being made at first", (answer["State"], answer["Version"], answer["MemorySize"], answer["CodeSize"] > 0), ("Pending", "$LATEST", 128, True))
    params = {k: answer[k] for k in ("Runtime", "Handler", "Role", "Architectures")} | {"Code": {"ZipFile": packed(ECHO)}}
    create = lambda **more: functions.create_function(**(params | {"FunctionName": "other"} | more))
    equal("a name is there once", (refused(create, FunctionName="api"), words(create, FunctionName="api")), ("ResourceConflictException", "Function already exist: api"))
    stranger = cloud.role("stranger", "glue.amazonaws.com", [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}])
    equal("a role must trust Lambda", (refused(create, Role=stranger), words(create, Role=stranger)), ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."))
    equal("other runtimes are refused by name", (refused(create, Runtime="python3.13"), "python3.13" in words(create, Runtime="python3.13")), ("NotImplemented", True))
    equal("and images", refused(create, PackageType="Image", Code={"ImageUri": "x"}), "NotImplemented")
    equal("what is no package", words(create, Code={"ZipFile": b"x"}), "Could not unzip uploaded file. Please check your file, then try to upload again.")
    seen = words(create, Code={"S3Bucket": "nobodys", "S3Key": "k"})
    equal("no bucket", seen, "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist")
    maker = cloud.role("maker", None, [{"Effect": "Allow", "Action": ["lambda:*"], "Resource": "*"}])
    seen = refused(cloud.client("lambda", cloud.as_role(maker)).create_function, **(params | {"FunctionName": "other"}))
    equal("who may not pass the role", seen, "AccessDeniedException")
    create(FunctionName="hasty")
    equal("who does not wait is refused", words(functions.invoke, FunctionName="hasty")[-7:], "Pending")
    settled(functions, "hasty")
    functions.delete_function(FunctionName="hasty")
    equal("an answer", asked(functions, "api"), {"version": "$LATEST", "v": "1", "arn": cloud.arn("lambda", "function:api"), "executed": "$LATEST"})
    before = functions.get_function_configuration(FunctionName="api")
    changed = functions.update_function_configuration(FunctionName="api", Environment={"Variables": {"VALUE": "2"}}, RevisionId=before["RevisionId"])
    equal("a change is under way", changed["LastUpdateStatus"], "InProgress")
    seen = words(functions.update_function_configuration, FunctionName="api", Timeout=5)
    equal("and another one refused", seen, f"The operation cannot be performed at this time. An update is in progress for resource: {cloud.arn('lambda', 'function:api')}")
    settled(functions, "api")
    equal("a revision that is old", refused(functions.update_function_configuration, FunctionName="api", Timeout=5, RevisionId=before["RevisionId"]), "PreconditionFailedException")
    equal("what is not said stays", [functions.get_function_configuration(FunctionName="api")[k] for k in ("Description", "Timeout")], ["d", 10])
    equal("the change counts", asked(functions, "api")["v"], "2")
    sha = functions.get_function_configuration(FunctionName="api")["CodeSha256"]
    other = packed(ECHO + "# changed\n")
    dry = functions.update_function_code(FunctionName="api", ZipFile=other, DryRun=True)
    check("a dry run changes nothing", dry["CodeSha256"] != sha == functions.get_function_configuration(FunctionName="api")["CodeSha256"])
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="code-of-api")
    s3.put_bucket_versioning(Bucket="code-of-api", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="code-of-api", Key="k", Body=other)["VersionId"]
    s3.put_object(Bucket="code-of-api", Key="k", Body=b"no package")
    updated = functions.update_function_code(FunctionName="api", S3Bucket="code-of-api", S3Key="k", S3ObjectVersion=version)
    equal("a version of an object is a package", updated["CodeSha256"], dry["CodeSha256"])
    settled(functions, "api")
    arn = cloud.arn("lambda", "function:api")
    functions.tag_resource(Resource=arn, Tags={"b": "2"})
    functions.untag_resource(Resource=arn, TagKeys=["a"])
    equal("tags", (functions.list_tags(Resource=arn)["Tags"], functions.get_function(FunctionName="api")["Tags"]), ({"b": "2"}, {"b": "2"}))
    names = [f["FunctionName"] for page in functions.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1}) for f in page["Functions"]]
    check("functions are listed in pages", "api" in names and len(names) == len(set(names)), names)
    seen = words(functions.update_function_configuration, FunctionName="api", DeadLetterConfig={"TargetArn": cloud.arn("sqs", "dead")})
    equal("a dead-letter queue that the role may not send to", seen, "The provided execution role does not have permissions to call SendMessage on SQS")
    functions.delete_function(FunctionName="api")
    equal("a function that is gone", refused(functions.get_function, FunctionName="api"), "ResourceNotFoundException")


def versions(cloud):
    functions, _ = made(cloud, "versions", Environment={"Variables": {"VALUE": "1"}})
    first = functions.publish_version(FunctionName="versions", Description="one")
    equal("a version", (first["Version"], first["FunctionArn"], first["Description"]), ("1", cloud.arn("lambda", "function:versions:1"), "one"))
    equal("is not published twice", functions.publish_version(FunctionName="versions")["Version"], "1")
    functions.update_function_configuration(FunctionName="versions", Environment={"Variables": {"VALUE": "2"}})
    settled(functions, "versions")
    equal("another hash", refused(functions.publish_version, FunctionName="versions", CodeSha256="x"), "InvalidParameterValueException")
    equal("the next one", functions.publish_version(FunctionName="versions")["Version"], "2")
    equal("all of them", [v["Version"] for v in functions.list_versions_by_function(FunctionName="versions")["Versions"]], ["$LATEST", "1", "2"])
    alias = functions.create_alias(FunctionName="versions", Name="live", FunctionVersion="1")
    equal("an alias is there once", refused(functions.create_alias, FunctionName="versions", Name="live", FunctionVersion="1"), "ResourceConflictException")
    arn = cloud.arn("lambda", "function:versions:live")
    equal("an alias runs its version", asked(functions, "versions", Qualifier="live"), {"version": "1", "v": "1", "arn": arn, "executed": "1"})
    equal("also by its ARN", asked(functions, arn)["v"], "1")
    seen = words(functions.update_alias, FunctionName="versions", Name="live", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    equal("a version beside itself", seen, "Invalid function version 1. Function version 1 is already included in routing configuration.")
    equal("a version that is not there", refused(functions.update_alias, FunctionName="versions", Name="live", FunctionVersion="9"), "ResourceNotFoundException")
    functions.update_alias(FunctionName="versions", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}, RevisionId=alias["RevisionId"])
    seen = {asked(functions, "versions", Qualifier="live")["v"] for _ in range(30)}
    equal("invocations are divided", seen, {"1", "2"})
    equal("an old revision", refused(functions.update_alias, FunctionName="versions", Name="live", FunctionVersion="2", RevisionId=alias["RevisionId"]), "PreconditionFailedException")
    seen = words(functions.delete_function, FunctionName="versions", Qualifier="2")
    check("a version that an alias needs stays", "reference it" in seen, seen)
    functions.update_alias(FunctionName="versions", Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}})
    functions.delete_function(FunctionName="versions", Qualifier="1")
    equal("others go", refused(functions.get_function, FunctionName="versions", Qualifier="1"), "ResourceNotFoundException")
    functions.add_permission(FunctionName="versions", Qualifier="live", StatementId="s", Action="lambda:InvokeFunction", Principal="events.amazonaws.com")
    statement = json.loads(functions.get_policy(FunctionName="versions", Qualifier="live")["Policy"])["Statement"][0]
    equal("an alias has a policy of its own", (statement["Resource"], refused(functions.get_policy, FunctionName="versions")), (arn, "ResourceNotFoundException"))
    equal("aliases", [a["Name"] for a in functions.list_aliases(FunctionName="versions")["Aliases"]], ["live"])
    cloud.crash()
    functions = cloud.client("lambda")
    equal("versions outlive a crash", asked(functions, "versions", Qualifier="live")["v"], "2")
    functions.delete_alias(FunctionName="versions", Name="live")
    equal("an alias that is gone", refused(functions.get_alias, FunctionName="versions", Name="live"), "ResourceNotFoundException")


def concurrency(cloud):
    functions, _ = made(cloud, "one")
    reserve = lambda count: functions.put_function_concurrency(FunctionName="one", ReservedConcurrentExecutions=count)
    equal("too much is not reserved", words(reserve, count=901), "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].")
    reserve(1)
    equal("what is reserved is shown", (functions.get_function_concurrency(FunctionName="one")["ReservedConcurrentExecutions"], functions.get_function(FunctionName="one")["Concurrency"]), (1, {"ReservedConcurrentExecutions": 1}))
    asked(functions, "one")
    with concurrent.futures.ThreadPoolExecutor() as threads:
        first = threads.submit(asked, cloud.client("lambda"), "one", {"seconds": 2})
        reasons = []

        def second():
            try:
                functions.invoke(FunctionName="one", Payload=b"{}")
            except functions.exceptions.TooManyRequestsException as error:
                reasons.append(error.response["Reason"])
            return reasons

        until(second)
        equal("a second invocation at a time is refused", reasons, ["ReservedFunctionConcurrentInvocationLimitExceeded"])
        equal("the first goes on", first.result()["executed"], "$LATEST")
    functions.delete_function_concurrency(FunctionName="one")
    equal("nothing is reserved any more", "ReservedConcurrentExecutions" in functions.get_function_concurrency(FunctionName="one"), False)


def function(cloud, out):
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="code-of-functions")
    s3.put_object(Bucket="code-of-functions", Key="f.zip", Body=packed(BOOTSTRAP))
    role = cloud.role("function-role", "lambda.amazonaws.com", [{"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage", "events:PutEvents"], "Resource": "*"}])
    cloud.stack("function", {
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/f"}},
        "F": {"Type": "AWS::Lambda::Function", "Properties": {
            "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": role, "Architectures": [ARCHITECTURE], "Timeout": 10, "MemorySize": 256,
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


def received(sqs, url, fits):
    """The first message of a queue that fits; others may come of what was done before."""
    found = []

    def look():
        for message in sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"]).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.extend([message] if fits(message) else [])
        return found

    until(look)
    return found[0]


def told(sqs, url, event):
    """The record of an event's end."""
    return json.loads(received(sqs, url, lambda message: json.loads(message["Body"])["requestPayload"] == event)["Body"])


def destinations(cloud, seen):
    functions, sqs, events = cloud.client("lambda"), cloud.client("sqs"), cloud.client("events")
    make = lambda name: sqs.create_queue(QueueName=name)["QueueUrl"]
    arn_of = lambda name: cloud.arn("sqs", name)
    failed, dead = make("function-failed"), make("function-letters")
    bus = cloud.arn("events", "event-bus/default")
    put = lambda **config: functions.put_function_event_invoke_config(FunctionName="f", **config)
    to = lambda **arns: {outcome: {"Destination": arn} for outcome, arn in arns.items()}
    equal("nothing is said", words(put), "You must specify at least one of error handling or destination setting.")
    seen_words = words(put, DestinationConfig=to(OnFailure="arn:aws:s3:::b"))
    equal("a destination that there is not", seen_words, "The provided destination config DestinationConfig(onSuccess=null, onFailure=OnFailure(destination=arn:aws:s3:::b)) is invalid.")
    seen_words = words(put, DestinationConfig=to(OnFailure=arn_of("nobodys")))
    equal("a queue that there is not", seen_words, f"The destination ARN {arn_of('nobodys')} is invalid.")
    topic = cloud.client("sns").create_topic(Name="of-function")["TopicArn"]
    seen_words = words(put, DestinationConfig=to(OnSuccess=topic))
    equal("a topic that the role may not send to", seen_words, f"The function's execution role does not have permissions to call Publish on {topic}")
    events.put_rule(Name="results", EventPattern=json.dumps({"source": ["lambda"], "detail-type": ["Lambda Function Invocation Result - Success"]}))
    result = queue(cloud, "function-results", "events.amazonaws.com")
    events.put_targets(Rule="results", Targets=[{"Id": "1", "Arn": arn_of("function-results")}])
    put(MaximumRetryAttempts=1, MaximumEventAgeInSeconds=3600, DestinationConfig=to(OnSuccess=bus, OnFailure=arn_of("function-failed")))
    functions.update_function_configuration(FunctionName="f", DeadLetterConfig={"TargetArn": arn_of("function-letters")})
    settled(functions, "f")
    shown = functions.get_function_event_invoke_config(FunctionName="f")
    equal("the configuration is shown", (shown["MaximumRetryAttempts"], shown["FunctionArn"], shown["DestinationConfig"]["OnSuccess"]["Destination"]), (1, cloud.arn("lambda", "function:f:$LATEST"), bus))
    functions.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps({"n": "good"}))
    message = json.loads(sqs.receive_message(QueueUrl=result, WaitTimeSeconds=20)["Messages"][0]["Body"])
    detail = message["detail"]
    equal("success is an event", (message["source"], message["resources"], detail["requestContext"]["condition"], detail["requestContext"]["approximateInvokeCount"], detail["requestPayload"], detail["responsePayload"], detail["responseContext"]),
          ("lambda", [cloud.arn("lambda", "function:f:$LATEST"), bus], "Success", 1, {"n": "good"}, "done", {"statusCode": 200, "executedVersion": "$LATEST"}))
    event = {"n": "bad", "fails": 9}
    functions.invoke(FunctionName="f", InvocationType="Event", Payload=json.dumps(event))
    until(lambda: seen().count(event) == 1)
    until(lambda: cloud.advance(61) and seen().count(event) >= 2)
    record = told(sqs, failed, event)
    equal("failure is told", (record["version"], record["requestContext"]["condition"], record["requestContext"]["approximateInvokeCount"], record["requestPayload"], record["responseContext"]["functionError"], record["responsePayload"]["errorMessage"]),
          ("1.0", "RetriesExhausted", 2, event, "Unhandled", "again"))
    letter = received(sqs, dead, lambda letter: json.loads(letter["Body"]) == event)
    attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    equal("and the event is a dead letter", (json.loads(letter["Body"]), attributes["ErrorCode"], attributes["RequestID"]), (event, "200", record["requestContext"]["requestId"]))
    functions.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=0)
    functions.invoke(FunctionName="f", InvocationType="Event", Payload=b"{}")
    record = told(sqs, failed, {})
    equal("a function that may not run", (record["requestContext"]["condition"], record["requestContext"]["approximateInvokeCount"], "responseContext" in record), ("ZeroReservedConcurrency", 0, False))
    functions.delete_function_concurrency(FunctionName="f")
    functions.update_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=0)
    kept = functions.list_function_event_invoke_configs(FunctionName="f")["FunctionEventInvokeConfigs"][0]
    equal("an update leaves the rest", (kept["MaximumRetryAttempts"], kept["MaximumEventAgeInSeconds"]), (0, 3600))
    functions.delete_function_event_invoke_config(FunctionName="f")
    equal("a configuration that is gone", words(functions.get_function_event_invoke_config, FunctionName="f"), f"The function {cloud.arn('lambda', 'function:f:$LATEST')} doesn't have an EventInvokeConfig")
