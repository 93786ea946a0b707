"""EventBridge."""

import json

from services_messages_checks import check, equal, refused
from services_messages_queues import until
from services_messages_topics import arrived, queue


def run(cloud):
    rules(cloud)
    patterns(cloud)
    targets(cloud)
    inputs(cloud)
    failures(cloud)
    schedules(cloud)
    machines(cloud)
    crash(cloud)


def entry(kind, detail, source="mine", **more):
    return {"Source": source, "DetailType": kind, "Detail": json.dumps(detail)} | more


def rules(cloud):
    events = cloud.client("events")
    arn = events.put_rule(Name="r", EventPattern=json.dumps({"source": ["mine"]}), Description="d", Tags=[{"Key": "a", "Value": "b"}])["RuleArn"]
    equal("a rule's ARN", arn, cloud.arn("events", "rule/r"))
    found = events.describe_rule(Name="r", EventBusName="default")
    equal("a rule", (found["State"], found["Description"], json.loads(found["EventPattern"])), ("ENABLED", "d", {"source": ["mine"]}))
    events.tag_resource(ResourceARN=arn, Tags=[{"Key": "c", "Value": "d"}])
    events.untag_resource(ResourceARN=arn, TagKeys=["a"])
    equal("tags of a rule", events.list_tags_for_resource(ResourceARN=arn)["Tags"], [{"Key": "c", "Value": "d"}])
    equal("a rule without anything", refused(events.put_rule, Name="x"), "ValidationException")
    equal("a schedule that is none", refused(events.put_rule, Name="x", ScheduleExpression="rate(1 days)"), "ValidationException")
    equal("a pattern that is none", refused(events.put_rule, Name="x", EventPattern='{"a":"b"}'), "InvalidEventPatternException")
    equal("a pattern that is no JSON", refused(events.put_rule, Name="x", EventPattern="{"), "InvalidEventPatternException")
    equal("another bus", refused(events.put_rule, Name="x", ScheduleExpression="rate(1 day)", EventBusName="other"), "ResourceNotFoundException")
    equal("a role of a rule is refused by name", refused(events.put_rule, Name="x", ScheduleExpression="rate(1 day)", RoleArn="arn:aws:iam::000000000000:role/x"), "NotImplemented")
    queue(cloud, "rule-target", "events.amazonaws.com")
    put = events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": cloud.arn("sqs", "rule-target")}, {"Id": "2", "Arn": cloud.arn("sqs", "other")}])
    equal("PutTargets", put["FailedEntryCount"], 0)
    events.put_rule(Name="r", EventPattern=json.dumps({"source": ["other"]}))
    equal("a changed rule keeps its targets", [t["Id"] for t in events.list_targets_by_rule(Rule="r")["Targets"]], ["1", "2"])
    equal("rules of a target", events.list_rule_names_by_target(TargetArn=cloud.arn("sqs", "rule-target"))["RuleNames"], ["r"])
    equal("a rule with targets stays", refused(events.delete_rule, Name="r"), "ValidationException")
    removed = events.remove_targets(Rule="r", Ids=["1", "2", "3"])
    equal("RemoveTargets", [(e["TargetId"], e["ErrorCode"]) for e in removed["FailedEntries"]], [("3", "ResourceNotFoundException")])
    events.delete_rule(Name="r")
    events.delete_rule(Name="r")
    equal("a deleted rule", refused(events.describe_rule, Name="r"), "ResourceNotFoundException")
    events.put_rule(Name="t", ScheduleExpression="rate(1 day)")
    for name, target in [
        ("that nobody takes", {"Arn": cloud.arn("ecs", "cluster/x")}),
        ("that runs a container", {"Arn": cloud.arn("sqs", "x"), "EcsParameters": {"TaskDefinitionArn": "x"}}),
    ]:
        equal(f"a target {name} is refused by name", refused(events.put_targets, Rule="t", Targets=[{"Id": "1"} | target]), "NotImplemented")
    for name, target in [
        ("with two inputs", {"Arn": cloud.arn("sqs", "x"), "Input": "{}", "InputPath": "$"}),
        ("whose input is no JSON", {"Arn": cloud.arn("sqs", "x"), "Input": "{"}),
        ("without a role", {"Arn": cloud.arn("states", "stateMachine:x")}),
        ("without a group", {"Arn": cloud.arn("sqs", "x.fifo")}),
        ("with a wrong template", {"Arn": cloud.arn("sqs", "x"), "InputTransformer": {"InputTemplate": "<a>"}}),
    ]:
        equal(f"a target {name}", refused(events.put_targets, Rule="t", Targets=[{"Id": "1"} | target]), "ValidationException")
    equal("six targets", refused(events.put_targets, Rule="t", Targets=[{"Id": str(n), "Arn": cloud.arn("sqs", "x")} for n in range(6)]), "LimitExceededException")
    events.delete_rule(Name="t")


def patterns(cloud):
    events = cloud.client("events")
    event = {"id": "1", "account": "0", "source": "mine", "time": "2026-01-01T00:00:00Z", "region": "x", "resources": [], "detail-type": "k", "detail": {"size": 7, "name": "Report.PDF", "ip": "10.1.2.3"}}
    for pattern, expected in [
        ({"source": ["mine"]}, True),
        ({"detail": {"size": [{"numeric": [">", 5, "<", 10]}]}}, True),
        ({"detail": {"name": [{"suffix": {"equals-ignore-case": ".pdf"}}]}}, True),
        ({"detail": {"name": [{"anything-but": {"wildcard": "*.PDF"}}]}}, False),
        ({"detail": {"ip": [{"cidr": "10.1.0.0/16"}], "other": [{"exists": False}]}}, True),
        ({"$or": [{"source": ["x"]}, {"detail": {"size": [8]}}]}, False),
    ]:
        equal(f"TestEventPattern {json.dumps(pattern)}", events.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))["Result"], expected)
    equal("TestEventPattern of no event", refused(events.test_event_pattern, EventPattern='{"a":["b"]}', Event="{}"), "ValidationException")


def targets(cloud):
    events, sns = cloud.client("events"), cloud.client("sns")
    url = queue(cloud, "plain-target", "events.amazonaws.com", cloud.arn("events", "rule/fan"))
    fifo = queue(cloud, "target.fifo", "events.amazonaws.com", FifoQueue="true", ContentBasedDeduplication="true")
    topic = sns.create_topic(Name="target")["TopicArn"]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sns:Publish", "Resource": topic}]}))
    after = queue(cloud, "after-topic", "sns.amazonaws.com")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=cloud.arn("sqs", "after-topic"), Attributes={"RawMessageDelivery": "true"})
    events.put_rule(Name="fan", EventPattern=json.dumps({"source": ["mine"], "detail": {"n": [{"exists": True}]}}))
    events.put_targets(Rule="fan", Targets=[
        {"Id": "queue", "Arn": cloud.arn("sqs", "plain-target")},
        {"Id": "fifo", "Arn": cloud.arn("sqs", "target.fifo"), "SqsParameters": {"MessageGroupId": "g"}, "InputPath": "$.detail"},
        {"Id": "topic", "Arn": topic, "Input": '"constant"'},
    ])
    put = events.put_events(Entries=[entry("k", {"n": 1}, Resources=["r"]), {"Source": "mine"}, {"Source": "mine", "DetailType": "k", "Detail": "[]"}, entry("k", {}, "aws.mine"), entry("k", {"m": 1})])
    equal("PutEvents has results by entry", (put["FailedEntryCount"], [e.get("ErrorCode") for e in put["Entries"]]), (3, [None, "InvalidArgument", "MalformedDetail", "NotAuthorizedForSourceException", None]))
    event = json.loads(arrived(cloud, url, 1)[0])
    equal("what a queue gets of an event", (event["id"], event["source"], event["detail-type"], event["detail"], event["resources"], event["account"]), (put["Entries"][0]["EventId"], "mine", "k", {"n": 1}, ["r"], cloud.account))
    equal("a FIFO queue gets a part", arrived(cloud, fifo, 1), ['{"n":1}'])
    equal("a topic gets a constant", arrived(cloud, after, 1), ['"constant"'])
    events.disable_rule(Name="fan")
    events.put_events(Entries=[entry("k", {"n": 2})])
    events.enable_rule(Name="fan")
    events.put_events(Entries=[entry("k", {"n": 3})])
    equal("a disabled rule does nothing", [json.loads(b)["detail"]["n"] for b in arrived(cloud, url, 1)], [3])
    equal("eleven events", refused(events.put_events, Entries=[entry("k", {})] * 11), "ValidationException")
    role = cloud.role("no-events", None, [{"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*", "Condition": {"StringEquals": {"events:source": "allowed"}}}])
    user = cloud.client("events", cloud.as_role(role))
    equal("who may put events of one source", refused(user.put_events, Entries=[entry("k", {}, "allowed")])[:9], "answered:")
    equal("may not put others", refused(user.put_events, Entries=[entry("k", {}, "other")]), "AccessDeniedException")


def inputs(cloud):
    events = cloud.client("events")
    url = queue(cloud, "transformed", "events.amazonaws.com")
    events.put_rule(Name="transform", EventPattern=json.dumps({"source": ["transform"]}))
    transformer = {"InputPathsMap": {"n": "$.detail.name", "all": "$.detail.all"}, "InputTemplate": '{"text": "<n> came", "all": <all>, "rule": "<aws.events.rule-name>"}'}
    events.put_targets(Rule="transform", Targets=[{"Id": "1", "Arn": cloud.arn("sqs", "transformed"), "InputTransformer": transformer}])
    equal("a transformer is shown", events.list_targets_by_rule(Rule="transform")["Targets"][0]["InputTransformer"], transformer)
    events.put_events(Entries=[entry("k", {"name": 'a "b"', "all": [1, {"x": 2}]}, "transform")])
    equal("a text made of parts", json.loads(arrived(cloud, url, 1)[0]), {"text": 'a "b" came', "all": [1, {"x": 2}], "rule": "transform"})


def failures(cloud):
    events, sqs = cloud.client("events"), cloud.client("sqs")
    dead = queue(cloud, "event-dead", "events.amazonaws.com")
    sqs.create_queue(QueueName="closed")
    events.put_rule(Name="failing", EventPattern=json.dumps({"source": ["failing"]}))
    events.put_targets(Rule="failing", Targets=[{"Id": "1", "Arn": cloud.arn("sqs", "closed"), "DeadLetterConfig": {"Arn": cloud.arn("sqs", "event-dead")}, "RetryPolicy": {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60}}])
    events.put_events(Entries=[entry("k", {"x": 1}, "failing")])
    message = sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"], WaitTimeSeconds=10)["Messages"][0]
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    equal("what is refused is dead at once", (json.loads(message["Body"])["detail"], attributes["ERROR_CODE"], attributes["RULE_ARN"], attributes["TARGET_ARN"], attributes["RETRY_ATTEMPTS"]), ({"x": 1}, "AccessDeniedException", cloud.arn("events", "rule/failing"), cloud.arn("sqs", "closed"), "0"))


def schedules(cloud):
    events = cloud.client("events")
    url = queue(cloud, "scheduled", "events.amazonaws.com")
    events.put_rule(Name="hourly", ScheduleExpression="rate(1 hour)")
    events.put_targets(Rule="hourly", Targets=[{"Id": "1", "Arn": cloud.arn("sqs", "scheduled")}])
    cloud.advance(3_601)
    event = json.loads(arrived(cloud, url, 1)[0])
    equal("a rule acts by the clock", (event["source"], event["detail-type"], event["resources"]), ("aws.events", "Scheduled Event", [cloud.arn("events", "rule/hourly")]))
    events.remove_targets(Rule="hourly", Ids=["1"])
    events.delete_rule(Name="hourly")


def machines(cloud):
    events, states = cloud.client("events"), cloud.client("stepfunctions")
    role = "arn:aws:iam::000000000000:role/event-starter"
    definition = {"QueryLanguage": "JSONata", "StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    made = cloud.stack("event-machine", {
        "MachineRole": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}]}}},
        "Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"StateMachineName": "m", "RoleArn": {"Fn::GetAtt": ["MachineRole", "Arn"]}, "DefinitionString": json.dumps(definition)}},
    }, {"Arn": {"Ref": "Machine"}})["Arn"]
    equal("a role that is not there", refused(events.put_targets, Rule="transform", Targets=[{"Id": "m", "Arn": made, "RoleArn": role}]), "ValidationException")
    cloud.role("event-starter", "events.amazonaws.com", [{"Effect": "Allow", "Action": "states:StartExecution", "Resource": made}])
    events.put_rule(Name="start", EventPattern=json.dumps({"source": ["start"]}))
    events.put_targets(Rule="start", Targets=[{"Id": "m", "Arn": made, "RoleArn": role, "InputPath": "$.detail"}])
    events.put_events(Entries=[entry("k", {"go": True}, "start")])
    until(lambda: [e["status"] for e in states.list_executions(stateMachineArn=made)["executions"]] == ["SUCCEEDED"])
    execution = states.list_executions(stateMachineArn=made)["executions"][0]["executionArn"]
    equal("a rule starts a state machine", json.loads(states.describe_execution(executionArn=execution)["input"]), {"go": True})
    url = queue(cloud, "ended", "events.amazonaws.com")
    events.put_rule(Name="ended", EventPattern=json.dumps({"source": ["aws.states"], "detail": {"status": ["SUCCEEDED"]}}))
    events.put_targets(Rule="ended", Targets=[{"Id": "1", "Arn": cloud.arn("sqs", "ended")}])
    states.start_execution(stateMachineArn=made, name="once")
    equal("and executions have events", [json.loads(b)["detail"]["name"] for b in arrived(cloud, url, 1)], ["once"])


def crash(cloud):
    events = cloud.client("events")
    url = queue(cloud, "crash-events", "events.amazonaws.com")
    events.put_rule(Name="crash", EventPattern=json.dumps({"source": ["crash"]}))
    events.put_targets(Rule="crash", Targets=[{"Id": "1", "Arn": cloud.arn("sqs", "crash-events"), "InputPath": "$.detail.n"}])
    for number in range(5):
        events.put_events(Entries=[entry("k", {"n": 10 * number + n}, "crash") for n in range(10)])
    cloud.crash()
    equal("what was put before a crash arrives", {int(b) for b in arrived(cloud, url, 50)}, set(range(50)))
