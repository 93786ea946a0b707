"""CloudWatch: metrics, statistics, alarms that evaluate and act, by the cloud's clock."""

import datetime
import json

from services_streams_support import check, refused, same, until

TOPIC = "arn:aws:sns:us-east-1:000000000000:told"


def checks(account):
    metrics(account)
    statistics(account)
    retention(account)
    alarms(account)
    several_datapoints(account)
    refusals(account)
    permissions(account)
    durability(account)


def now(account):
    return datetime.datetime.fromisoformat(account.advance(0).replace("Z", "+00:00"))


def around(account, minutes=60):
    time = now(account)
    return {"StartTime": time - datetime.timedelta(minutes=minutes), "EndTime": time + datetime.timedelta(minutes=minutes)}


def put(cw, name, *values, **more):
    cw.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": name, "Value": value} | more for value in values])


def metrics(account):
    cw = account.client("cloudwatch")
    put(cw, "Orders", 1, 2, Dimensions=[{"Name": "Region", "Value": "eu"}, {"Name": "Kind", "Value": "x"}])
    put(cw, "Orders", 5)
    listed = cw.list_metrics(Namespace="Shop")["Metrics"]
    same("cloudwatch: metrics by namespace, name and dimensions", [(m["MetricName"], m["Dimensions"]) for m in listed], [("Orders", []), ("Orders", [{"Name": "Kind", "Value": "x"}, {"Name": "Region", "Value": "eu"}])])
    same("cloudwatch: a filter of dimensions", len(cw.list_metrics(Dimensions=[{"Name": "Region"}])["Metrics"]), 1)
    same("cloudwatch: a filter of a value", len(cw.list_metrics(Dimensions=[{"Name": "Region", "Value": "us"}])["Metrics"]), 0)
    same("cloudwatch: no metric", cw.list_metrics(Namespace="None")["Metrics"], [])
    refused("cloudwatch: AWS's namespaces", lambda: cw.put_metric_data(Namespace="AWS/Lambda", MetricData=[{"MetricName": "a", "Value": 1}]), "InvalidParameterValue", "AWS/Lambda")
    refused("cloudwatch: no value", lambda: cw.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "a"}]), "InvalidParameterCombination")
    refused("cloudwatch: a time three weeks ago", lambda: put(cw, "a", 1, Timestamp=now(account) - datetime.timedelta(weeks=3)), "InvalidParameterValue", "past two weeks")


def statistics(account):
    cw = account.client("cloudwatch")
    dimension = [{"Name": "Host", "Value": "a"}]
    for value in range(1, 101):
        if value % 20 == 0:
            put(cw, "Latency", value, Dimensions=dimension, Unit="Milliseconds")
    cw.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Latency", "Dimensions": dimension, "Unit": "Milliseconds", "Values": [float(v) for v in range(1, 101) if v % 20], "Counts": [1.0] * 95}])
    found = cw.get_metric_statistics(Namespace="Shop", MetricName="Latency", Dimensions=dimension, Period=3600, Statistics=["Sum", "Average", "Minimum", "Maximum", "SampleCount"], **around(account, 120))["Datapoints"]
    points = sorted(found, key=lambda p: p["Timestamp"])
    count = sum(p["SampleCount"] for p in points)
    check("cloudwatch: statistics", count == 100 and sum(p["Sum"] for p in points) == 5050 and min(p["Minimum"] for p in points) == 1 and max(p["Maximum"] for p in points) == 100, points)
    if len(points) == 1:
        same("cloudwatch: the average", points[0]["Average"], 50.5)
    extended = cw.get_metric_statistics(Namespace="Shop", MetricName="Latency", Dimensions=dimension, Period=86400, ExtendedStatistics=["p50", "p99"], **around(account, 1440))["Datapoints"]
    check("cloudwatch: percentiles", any(p["ExtendedStatistics"] == {"p50": 50.0, "p99": 99.0} for p in extended), extended)
    query = {"Id": "a", "MetricStat": {"Metric": {"Namespace": "Shop", "MetricName": "Latency", "Dimensions": dimension}, "Period": 86400, "Stat": "Maximum"}}
    got = cw.get_metric_data(MetricDataQueries=[query, query | {"Id": "b", "Label": "mine", "MetricStat": query["MetricStat"] | {"Stat": "p90"}}], **around(account, 1440))["MetricDataResults"]
    same("cloudwatch: GetMetricData", [(r["Id"], r["Label"], max(r["Values"]), r["StatusCode"]) for r in got], [("a", "Latency", 100.0, "Complete"), ("b", "mine", 90.0, "Complete")])
    account.advance(120)
    put(cw, "Steps", 1)
    account.advance(60)
    put(cw, "Steps", 2)
    steps = {"Id": "s", "MetricStat": {"Metric": {"Namespace": "Shop", "MetricName": "Steps"}, "Period": 60, "Stat": "Sum"}}
    ascending = cw.get_metric_data(MetricDataQueries=[steps], ScanBy="TimestampAscending", **around(account))["MetricDataResults"][0]
    descending = cw.get_metric_data(MetricDataQueries=[steps], **around(account))["MetricDataResults"][0]
    check("cloudwatch: both orders", ascending["Values"] == [1.0, 2.0] and descending["Values"] == [2.0, 1.0] and (ascending["Timestamps"][1] - ascending["Timestamps"][0]).total_seconds() == 60, (ascending, descending))
    put(cw, "Fast", 1, StorageResolution=1)
    account.advance(10)
    put(cw, "Fast", 2, StorageResolution=1)
    fast = cw.get_metric_statistics(Namespace="Shop", MetricName="Fast", Period=10, Statistics=["Sum"], **around(account, 2))["Datapoints"]
    same("cloudwatch: periods of ten seconds", sorted(p["Sum"] for p in fast), [1.0, 2.0])
    refused("cloudwatch: more than 1,440 datapoints", lambda: cw.get_metric_statistics(Namespace="Shop", MetricName="Fast", Period=60, Statistics=["Sum"], **around(account, 1440)), "InvalidParameterCombination", "exceeds the limit of 1440")
    refused("cloudwatch: a wrong period", lambda: cw.get_metric_statistics(Namespace="Shop", MetricName="Fast", Period=61, Statistics=["Sum"], **around(account)), "InvalidParameterValue", "Period")
    cw.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "Sets", "StatisticValues": {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 4}}])
    sets = cw.get_metric_statistics(Namespace="Shop", MetricName="Sets", Period=60, Statistics=["Average"], **around(account))["Datapoints"]
    same("cloudwatch: sets of statistics", [p["Average"] for p in sets], [2.5])


def retention(account):
    """Minutes become five minutes after 15 days."""
    cw = account.client("cloudwatch")
    then = now(account)
    put(cw, "Old", 1, Timestamp=then)
    put(cw, "Old", 2, Timestamp=then - datetime.timedelta(seconds=60))
    account.advance(16 * 86_400)

    def points():
        window = {"StartTime": then - datetime.timedelta(minutes=30), "EndTime": then + datetime.timedelta(minutes=30)}
        return cw.get_metric_statistics(Namespace="Shop", MetricName="Old", Period=60, Statistics=["Sum"], **window)["Datapoints"]

    until("cloudwatch: old minutes become coarser", lambda: all(p["Timestamp"].minute % 5 == 0 for p in points()))
    same("cloudwatch: and nothing is lost", sum(p["Sum"] for p in points()), 3.0)
    same("cloudwatch: metrics without values for two weeks are not listed", cw.list_metrics(MetricName="Old")["Metrics"], [])


def topic(account):
    """A topic with a mail address, made by a stack; where its mails are."""
    cloudformation = account.client("cloudformation")
    template = {"Resources": {"T": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "told"}}, "S": {"Type": "AWS::SNS::Subscription", "Properties": {"TopicArn": {"Ref": "T"}, "Protocol": "email", "Endpoint": "a@example.org"}}}}
    cloudformation.create_stack(StackName="topic", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="topic", WaiterConfig={"Delay": 1})
    return account.state / "outbox"


def mails(outbox):
    return sorted(file.read_text() for file in outbox.glob("*.eml")) if outbox.exists() else []


def alarms(account):
    cw, outbox = account.client("cloudwatch"), topic(account)
    settings = {"AlarmName": "errors", "MetricName": "Errors", "Namespace": "Shop", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 3, "ComparisonOperator": "GreaterThanOrEqualToThreshold"}
    cw.put_metric_alarm(AlarmDescription="too many", AlarmActions=[TOPIC], OKActions=[TOPIC], Tags=[{"Key": "a", "Value": "b"}], **settings)

    def alarm(name="errors"):
        return cw.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]

    same("cloudwatch: a new alarm knows nothing", alarm()["StateValue"], "INSUFFICIENT_DATA")
    put(cw, "Errors", 1)
    account.advance(61)
    until("cloudwatch: below the threshold", lambda: alarm()["StateValue"] == "OK")
    same("cloudwatch: the topic is told that it is well", until("cloudwatch: a mail", lambda: len(mails(outbox)) >= 1 and len(mails(outbox))), 1)
    put(cw, "Errors", 2, 2)
    until("cloudwatch: a value raises it at once", lambda: alarm()["StateValue"] == "ALARM")
    mail = until("cloudwatch: a second mail", lambda: len(mails(outbox)) == 2 and next(m for m in mails(outbox) if "ALARM" in m))
    check("cloudwatch: the mail says so", 'Subject: ALARM: "errors" in us-east-1' in mail, mail[:400])
    body = json.loads(mail.replace("\r\n", "\n").split("\n\n", 1)[1])
    check("cloudwatch: the message is AWS's", body["NewStateValue"] == "ALARM" and body["OldStateValue"] == "OK" and body["Trigger"]["MetricName"] == "Errors" and body["Trigger"]["Threshold"] == 3 and body["AWSAccountId"] == "000000000000", body)
    about = alarm()
    check("cloudwatch: the reason", about["StateReason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints [4.0 (") and "greater than or equal to the threshold (3.0)" in about["StateReason"], about["StateReason"])
    same("cloudwatch: reason data", json.loads(about["StateReasonData"])["recentDatapoints"], [4.0])
    cw.disable_alarm_actions(AlarmNames=["errors"])
    cw.set_alarm_state(AlarmName="errors", StateValue="OK", StateReason="by hand")
    cw.enable_alarm_actions(AlarmNames=["errors"])
    same("cloudwatch: a state by hand, without actions", (alarm()["StateValue"], len(mails(outbox))), ("OK", 2))
    kinds = [h["HistoryItemType"] for h in cw.describe_alarm_history(AlarmName="errors", ScanBy="TimestampAscending")["AlarmHistoryItems"]]
    check("cloudwatch: the history", kinds[0] == "ConfigurationUpdate" and kinds.count("StateUpdate") == 3 and kinds.count("Action") == 2, kinds)
    same("cloudwatch: alarms for a metric", [a["AlarmName"] for a in cw.describe_alarms_for_metric(MetricName="Errors", Namespace="Shop")["MetricAlarms"]], ["errors"])
    same("cloudwatch: tags", cw.list_tags_for_resource(ResourceARN=about["AlarmArn"])["Tags"], [{"Key": "a", "Value": "b"}])
    cw.put_metric_alarm(**settings | {"Threshold": 5})
    same("cloudwatch: a change keeps the state", (alarm()["Threshold"], alarm()["StateValue"]), (5.0, "OK"))
    account.advance(3600)
    until("cloudwatch: without values it knows nothing", lambda: alarm()["StateValue"] == "INSUFFICIENT_DATA")
    for missing, state in (("notBreaching", "OK"), ("breaching", "ALARM"), ("ignore", "INSUFFICIENT_DATA")):
        cw.put_metric_alarm(**settings | {"AlarmName": missing, "TreatMissingData": missing})
        same(f"cloudwatch: missing data are {missing}", alarm(missing)["StateValue"], state)
    cw.delete_alarms(AlarmNames=["notBreaching", "breaching", "ignore"])
    refused("cloudwatch: none of them is deleted when one is not there", lambda: cw.delete_alarms(AlarmNames=["errors", "none"]), "ResourceNotFound")
    same("cloudwatch: the alarms", [a["AlarmName"] for a in cw.describe_alarms()["MetricAlarms"]], ["errors"])


def several_datapoints(account):
    """Two of three, by every comparison."""
    cw = account.client("cloudwatch")
    account.advance(3600)
    for name, comparison, threshold in (("above", "GreaterThanThreshold", 5), ("least", "GreaterThanOrEqualToThreshold", 6), ("below", "LessThanThreshold", 5), ("most", "LessThanOrEqualToThreshold", 4)):
        cw.put_metric_alarm(AlarmName=name, MetricName="Load", Namespace="Shop", Statistic="Average", Period=60, EvaluationPeriods=3, DatapointsToAlarm=2, Threshold=threshold, ComparisonOperator=comparison)

    def states():
        return {a["AlarmName"]: a["StateValue"] for a in cw.describe_alarms(AlarmNames=["above", "least", "below", "most"])["MetricAlarms"]}

    for value in (6, 1, 6):
        put(cw, "Load", value)
        account.advance(60)
    expected = {"above": "ALARM", "least": "ALARM", "below": "OK", "most": "OK"}
    until("cloudwatch: two of three", lambda: states() == expected)
    same("cloudwatch: two of three breach", states(), expected)
    for value in (1, 1):
        put(cw, "Load", value)
        account.advance(60)
    expected = {"above": "OK", "least": "OK", "below": "ALARM", "most": "ALARM"}
    until("cloudwatch: and back", lambda: states() == expected)
    same("cloudwatch: two of three do not breach any more", states(), expected)
    cw.put_metric_alarm(AlarmName="slow", MetricName="Load", Namespace="Shop", ExtendedStatistic="p90", Period=300, EvaluationPeriods=1, Threshold=0.5, ComparisonOperator="GreaterThanThreshold")
    same("cloudwatch: an alarm on a percentile", cw.describe_alarms(AlarmNames=["slow"])["MetricAlarms"][0]["StateValue"], "ALARM")
    cw.put_metric_alarm(AlarmName="quick", MetricName="Quick", Namespace="Shop", Statistic="Sum", Period=10, EvaluationPeriods=1, Threshold=1, ComparisonOperator="LessThanThreshold", TreatMissingData="notBreaching")
    put(cw, "Quick", 0, StorageResolution=1)
    account.advance(11)
    until("cloudwatch: a period of ten seconds", lambda: cw.describe_alarms(AlarmNames=["quick"])["MetricAlarms"][0]["StateValue"] == "ALARM")


def refusals(account):
    cw = account.client("cloudwatch")
    alarm = {"AlarmName": "x", "MetricName": "Errors", "Namespace": "Shop", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 3, "ComparisonOperator": "GreaterThanOrEqualToThreshold"}
    refused("cloudwatch: mathematics is refused by name", lambda: cw.get_metric_data(MetricDataQueries=[{"Id": "a", "Expression": "m1*2"}], **around(account)), "NotImplemented", "Expression")
    refused("cloudwatch: trimmed means are refused by name", lambda: cw.put_metric_alarm(**{k: v for k, v in alarm.items() if k != "Statistic"} | {"ExtendedStatistic": "tm90"}), "NotImplemented", "tm90")
    refused("cloudwatch: actions on instances are refused by name", lambda: cw.put_metric_alarm(**alarm | {"AlarmActions": ["arn:aws:automate:us-east-1:ec2:stop"]}), "NotImplemented", "arn:aws:automate")
    refused("cloudwatch: composite alarms are refused by name", lambda: cw.put_composite_alarm(AlarmName="c", AlarmRule="ALARM(x)"), "NotImplemented", "monitoring:PutCompositeAlarm")
    refused("cloudwatch: a range of more than a day", lambda: cw.put_metric_alarm(**alarm | {"Period": 600, "EvaluationPeriods": 1000}), "ValidationError", "86400")
    refused("cloudwatch: more datapoints than periods", lambda: cw.put_metric_alarm(**alarm | {"DatapointsToAlarm": 2}), "ValidationError", "DatapointsToAlarm")


def permissions(account):
    role = account.role("meter", [{"Effect": "Allow", "Action": "cloudwatch:PutMetricData", "Resource": "*"}])
    meter = account.client("cloudwatch", account.as_role(role))
    put(meter, "Allowed", 1)
    refused("cloudwatch: what a role may not", lambda: meter.list_metrics(), "AccessDeniedException", "cloudwatch:ListMetrics")


def durability(account):
    cw = account.client("cloudwatch")
    put(cw, "Durable", 7)
    account.kill_and_begin_again()
    cw = account.client("cloudwatch")
    found = cw.get_metric_statistics(Namespace="Shop", MetricName="Durable", Period=86400, Statistics=["Sum"], StartTime=datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=5), EndTime=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=60))["Datapoints"]
    same("cloudwatch: values survive kill -9", [p["Sum"] for p in found], [7.0])
    check("cloudwatch: alarms survive with their states", {a["AlarmName"]: a["StateValue"] for a in cw.describe_alarms()["MetricAlarms"]}.get("below") == "ALARM")
