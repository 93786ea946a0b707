"""EventBridge Scheduler."""

import datetime
import json

from services_messages_checks import check, drain, equal, refused
from services_messages_topics import arrived

OFF = {"Mode": "OFF"}


def run(cloud):
    sqs = cloud.client("sqs")
    cloud.url = sqs.create_queue(QueueName="scheduled-messages", Attributes={"MessageRetentionPeriod": "1209600"})["QueueUrl"]
    cloud.role_arn = cloud.role("scheduler-sender", "scheduler.amazonaws.com", [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": cloud.arn("sqs", "*")}])
    schedules(cloud)
    groups(cloud)
    once(cloud)
    again(cloud)
    zones_and_bounds(cloud)
    windows(cloud)
    failures(cloud)
    down(cloud)
    templates(cloud)


def now(cloud):
    """What the cloud's clock shows."""
    return datetime.datetime.fromisoformat(cloud.advance(0)[:19] + "+00:00")


def at(time):
    return f"at({time.strftime('%Y-%m-%dT%H:%M:%S')})"


def target(cloud, body="x", **more):
    return {"Arn": cloud.arn("sqs", "scheduled-messages"), "RoleArn": cloud.role_arn, "Input": body} | more


def schedules(cloud):
    scheduler = cloud.client("scheduler")
    make = lambda **params: scheduler.create_schedule(**({"Name": "s", "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": OFF, "Target": target(cloud)} | params))
    equal("a schedule's ARN", make(Description="d")["ScheduleArn"], cloud.arn("scheduler", "schedule/default/s"))
    equal("a rate begins at once", arrived(cloud, cloud.url, 1), ["x"])
    equal("a schedule once", refused(make), "ConflictException")
    make(Name="t", ClientToken="token")
    arrived(cloud, cloud.url, 1)
    equal("unless it is the same request", make(Name="t", ClientToken="token")["ScheduleArn"], cloud.arn("scheduler", "schedule/default/t"))
    found = scheduler.get_schedule(Name="s")
    equal("a schedule", (found["ScheduleExpression"], found["ScheduleExpressionTimezone"], found["State"], found["GroupName"], found["Description"], found["FlexibleTimeWindow"], found["ActionAfterCompletion"], found["Target"]["RetryPolicy"]),
          ("rate(1 day)", "UTC", "ENABLED", "default", "d", OFF, "NONE", {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}))
    scheduler.update_schedule(Name="s", ScheduleExpression="rate(2 days)", FlexibleTimeWindow=OFF, Target=target(cloud), State="DISABLED")
    found = scheduler.get_schedule(Name="s")
    equal("an update sets all", (found["ScheduleExpression"], found["State"], "Description" in found), ("rate(2 days)", "DISABLED", False))
    equal("lists", [s["Name"] for s in scheduler.list_schedules(NamePrefix="s", State="DISABLED")["Schedules"]], ["s"])
    for name, params in {
        "an expression that is none": {"ScheduleExpression": "rate(1 days)"},
        "a time that is none": {"ScheduleExpression": "at(2026-13-01T00:00:00)"},
        "a zone that is none": {"ScheduleExpressionTimezone": "Mars/Olympus"},
        "a window without minutes": {"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}},
        "an end before the begin": {"StartDate": now(cloud) + datetime.timedelta(2), "EndDate": now(cloud) + datetime.timedelta(1)},
        "a role that is not there": {"Target": target(cloud) | {"RoleArn": f"arn:aws:iam::{cloud.account}:role/none"}},
        "a group for a standard queue": {"Target": target(cloud, SqsParameters={"MessageGroupId": "g"})},
    }.items():
        equal(name, refused(make, Name="x", **params), "ValidationException")
    equal("a target that nobody takes is refused by name", refused(make, Name="x", Target=target(cloud) | {"Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"}), "NotImplemented")
    equal("parameters of others are refused by name", refused(make, Name="x", Target=target(cloud, KinesisParameters={"PartitionKey": "k"})), "NotImplemented")
    equal("keys of KMS are refused by name", refused(make, Name="x", KmsKeyArn=cloud.arn("kms", "key/x")), "NotImplemented")
    for name in "st":
        scheduler.delete_schedule(Name=name)
    equal("a deleted schedule", refused(scheduler.get_schedule, Name="s"), "ResourceNotFoundException")


def groups(cloud):
    scheduler = cloud.client("scheduler")
    arn = scheduler.create_schedule_group(Name="g", Tags=[{"Key": "a", "Value": "b"}])["ScheduleGroupArn"]
    equal("a group once", refused(scheduler.create_schedule_group, Name="g"), "ConflictException")
    equal("a group", scheduler.get_schedule_group(Name="g")["State"], "ACTIVE")
    equal("groups", [g["Name"] for g in scheduler.list_schedule_groups()["ScheduleGroups"]], ["default", "g"])
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["a"])
    equal("tags of a group", scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"], [{"Key": "c", "Value": "d"}])
    scheduler.create_schedule(Name="s", GroupName="g", ScheduleExpression="rate(1 day)", FlexibleTimeWindow=OFF, Target=target(cloud))
    arrived(cloud, cloud.url, 1)
    equal("a schedule of a group", [s["GroupName"] for s in scheduler.list_schedules(GroupName="g")["Schedules"]], ["g"])
    equal("no group", refused(scheduler.create_schedule, Name="s", GroupName="h", ScheduleExpression="rate(1 day)", FlexibleTimeWindow=OFF, Target=target(cloud)), "ResourceNotFoundException")
    scheduler.delete_schedule_group(Name="g")
    equal("a group goes with its schedules", refused(scheduler.get_schedule, Name="s", GroupName="g"), "ResourceNotFoundException")
    equal("the default group stays", refused(scheduler.delete_schedule_group, Name="default"), "ValidationException")


def once(cloud):
    scheduler, sqs = cloud.client("scheduler"), cloud.client("sqs")
    time = now(cloud) + datetime.timedelta(hours=1)
    body = json.dumps({"at": "<aws.scheduler.scheduled-time>", "arn": "<aws.scheduler.schedule-arn>"})
    scheduler.create_schedule(Name="once", ScheduleExpression=at(time), FlexibleTimeWindow=OFF, Target=target(cloud, body), ActionAfterCompletion="DELETE")
    equal("not before its time", drain(sqs, cloud.url), [])
    cloud.advance(3_601)
    equal("at its time", [json.loads(b) for b in arrived(cloud, cloud.url, 1)], [{"at": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "arn": cloud.arn("scheduler", "schedule/default/once")}])
    equal("and then it is gone", refused(scheduler.get_schedule, Name="once"), "ResourceNotFoundException")
    plain = target(cloud)
    plain.pop("Input")
    scheduler.create_schedule(Name="stay", ScheduleExpression=at(now(cloud) + datetime.timedelta(seconds=60)), FlexibleTimeWindow=OFF, Target=plain)
    cloud.advance(61)
    event = json.loads(arrived(cloud, cloud.url, 1)[0])
    equal("without an input it is an event", (event["source"], event["detail-type"], event["resources"]), ("aws.scheduler", "Scheduled Event", [cloud.arn("scheduler", "schedule/default/stay")]))
    cloud.advance(100_000)
    equal("once is once", (drain(sqs, cloud.url), scheduler.get_schedule(Name="stay")["State"]), ([], "ENABLED"))


def again(cloud):
    scheduler, sqs = cloud.client("scheduler"), cloud.client("sqs")
    start = now(cloud) + datetime.timedelta(minutes=5)
    scheduler.create_schedule(Name="again", ScheduleExpression="rate(10 minutes)", StartDate=start, EndDate=start + datetime.timedelta(minutes=25), FlexibleTimeWindow=OFF, Target=target(cloud, "<aws.scheduler.scheduled-time>"))
    cloud.advance(3_600)
    expected = [(start + datetime.timedelta(minutes=m)).strftime("%Y-%m-%dT%H:%M:%SZ") for m in (0, 10, 20)]
    equal("from its start to its end", sorted(arrived(cloud, cloud.url, 3)), expected)
    equal("and no longer", drain(sqs, cloud.url), [])
    scheduler.delete_schedule(Name="again")
    scheduler.create_schedule(Name="off", ScheduleExpression="rate(1 minute)", State="DISABLED", FlexibleTimeWindow=OFF, Target=target(cloud))
    cloud.advance(120)
    equal("a disabled schedule does nothing", drain(sqs, cloud.url), [])
    scheduler.delete_schedule(Name="off")


def zones_and_bounds(cloud):
    scheduler = cloud.client("scheduler")
    scheduler.create_schedule(Name="zone", ScheduleExpression="cron(30 9 * * ? *)", ScheduleExpressionTimezone="Asia/Kolkata", FlexibleTimeWindow=OFF, Target=target(cloud, "<aws.scheduler.scheduled-time>"))
    cloud.advance(86_400)
    equal("half past nine in India", [body[11:] for body in arrived(cloud, cloud.url, 1)], ["04:00:00Z"])
    scheduler.delete_schedule(Name="zone")


def windows(cloud):
    scheduler, sqs = cloud.client("scheduler"), cloud.client("sqs")
    time = now(cloud) + datetime.timedelta(minutes=1)
    for number in range(20):
        scheduler.create_schedule(Name=f"w{number}", ScheduleExpression=at(time), FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60}, Target=target(cloud, str(number)), ActionAfterCompletion="DELETE")
    cloud.advance(61)
    early = drain(sqs, cloud.url, WaitTimeSeconds=1)
    check("within a window not all at once", len(early) < 20, early)
    cloud.advance(3_600)
    equal("but all at its end", sorted(early + arrived(cloud, cloud.url, 20 - len(early))), sorted(str(n) for n in range(20)))


def failures(cloud):
    scheduler, sqs = cloud.client("scheduler"), cloud.client("sqs")
    dead = sqs.create_queue(QueueName="schedule-dead")["QueueUrl"]
    gone = target(cloud, "lost", DeadLetterConfig={"Arn": cloud.arn("sqs", "schedule-dead")}) | {"Arn": cloud.arn("sqs", "nowhere")}
    scheduler.create_schedule(Name="failing", ScheduleExpression=at(now(cloud) + datetime.timedelta(minutes=1)), FlexibleTimeWindow=OFF, Target=gone)
    cloud.advance(61)
    message = sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"], WaitTimeSeconds=10)["Messages"][0]
    equal("what cannot be sent is dead", (message["Body"], message["MessageAttributes"]["ERROR_CODE"]["StringValue"]), ("lost", "QueueDoesNotExist"))


def down(cloud):
    scheduler = cloud.client("scheduler")
    for name, age in (("patient", 86_400), ("impatient", 600)):
        scheduler.create_schedule(Name=name, ScheduleExpression="rate(1 hour)", FlexibleTimeWindow=OFF, Target=target(cloud, name, RetryPolicy={"MaximumEventAgeInSeconds": age}))
    equal("both begin", sorted(arrived(cloud, cloud.url, 2)), ["impatient", "patient"])
    cloud.embedded.crash()
    # Its clock is put forward at once, as if it had been down for three hours and a half.
    cloud.advance(3 * 3_600 + 1_800)
    bodies = arrived(cloud, cloud.url, 3)
    equal("what was due while it was down is sent, if it is not too old", sorted(bodies), ["patient"] * 3)
    for name in ("patient", "impatient"):
        cloud.client("scheduler").delete_schedule(Name=name)


def templates(cloud):
    outputs = cloud.stack("schedules", {
        "Group": {"Type": "AWS::Scheduler::ScheduleGroup", "Properties": {"Name": "tg"}},
        "Schedule": {"Type": "AWS::Scheduler::Schedule", "Properties": {"Name": "ts", "GroupName": {"Ref": "Group"}, "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": OFF, "Target": target(cloud)}},
    }, {"Arn": {"Fn::GetAtt": ["Schedule", "Arn"]}})
    if outputs:
        equal("a template's schedule", outputs["Arn"], cloud.arn("scheduler", "schedule/tg/ts"))
        cloud.delete_stack("schedules")
