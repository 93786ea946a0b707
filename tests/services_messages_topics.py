"""SNS."""

import json

from services_messages_checks import check, drain, equal, refused
from services_messages_queues import until


def allow(service, action, resource, source=None):
    """A resource policy that lets a service do something."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": resource}
    if source:
        statement["Condition"] = {"ArnLike": {"aws:SourceArn": source}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def queue(cloud, name, service, source=None, **attributes):
    """A queue that a service may send to."""
    attributes["Policy"] = allow(service, "sqs:SendMessage", cloud.arn("sqs", name), source)
    return cloud.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]


def arrived(cloud, url, count):
    """The bodies of so many messages, which may take a moment to come."""
    sqs, bodies = cloud.client("sqs"), []
    while len(bodies) < count:
        more = drain(sqs, url, WaitTimeSeconds=10)
        if not more:
            break
        bodies += more
    return bodies


def run(cloud):
    topics(cloud)
    delivery(cloud)
    filters(cloud)
    refusals(cloud)
    crash(cloud)


def topics(cloud):
    sns = cloud.client("sns")
    arn = sns.create_topic(Name="t", Attributes={"DisplayName": "T"}, Tags=[{"Key": "a", "Value": "b"}])["TopicArn"]
    equal("a topic's ARN", arn, cloud.arn("sns", "t"))
    equal("the same topic again", sns.create_topic(Name="t")["TopicArn"], arn)
    equal("with other attributes", refused(sns.create_topic, Name="t", Attributes={"DisplayName": "U"}), "InvalidParameter")
    equal("with other tags", refused(sns.create_topic, Name="t", Tags=[{"Key": "a", "Value": "c"}]), "InvalidParameter")
    equal("a name that is none", refused(sns.create_topic, Name="a b"), "InvalidParameter")
    equal("FIFO topics are refused by name", refused(sns.create_topic, Name="t.fifo", Attributes={"FifoTopic": "true"}), "NotImplemented")
    equal("keys of KMS are refused by name", refused(sns.set_topic_attributes, TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue="x"), "NotImplemented")
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="New")
    attributes = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    equal("attributes of a topic", (attributes["DisplayName"], attributes["Owner"], attributes["SubscriptionsConfirmed"]), ("New", cloud.account, "0"))
    equal("attributes of none", refused(sns.get_topic_attributes, TopicArn=arn + "x"), "NotFound")
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    sns.untag_resource(ResourceArn=arn, TagKeys=["a"])
    equal("tags of a topic", sns.list_tags_for_resource(ResourceArn=arn)["Tags"], [{"Key": "c", "Value": "d"}])
    sns.add_permission(TopicArn=arn, Label="l", AWSAccountId=[cloud.account], ActionName=["Publish"])
    policy = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])
    equal("AddPermission of a topic", policy["Statement"][0]["Action"], ["SNS:Publish"])
    sns.remove_permission(TopicArn=arn, Label="l")
    check("RemovePermission of a topic", "Policy" not in sns.get_topic_attributes(TopicArn=arn)["Attributes"])
    role = cloud.role("publisher", None, [{"Effect": "Allow", "Action": "sns:GetTopicAttributes", "Resource": arn}])
    user = cloud.client("sns", cloud.as_role(role))
    equal("who may not publish may not", refused(user.publish, TopicArn=arn, Message="m"), "AuthorizationError")
    statement = {"Effect": "Allow", "Principal": {"AWS": role}, "Action": "sns:Publish", "Resource": arn}
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    equal("unless the topic's policy lets it", refused(user.publish, TopicArn=arn, Message="m")[:9], "answered:")
    sns.delete_topic(TopicArn=arn)
    sns.delete_topic(TopicArn=arn)
    equal("a deleted topic", refused(sns.publish, TopicArn=arn, Message="m"), "NotFound")


def delivery(cloud):
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    arn = sns.create_topic(Name="d")["TopicArn"]
    url, raw = queue(cloud, "from-topic", "sns.amazonaws.com", arn), queue(cloud, "from-topic-raw", "sns.amazonaws.com", arn)
    subscription = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=cloud.arn("sqs", "from-topic"))["SubscriptionArn"]
    equal("subscribing twice is once", sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=cloud.arn("sqs", "from-topic"))["SubscriptionArn"], subscription)
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=cloud.arn("sqs", "from-topic-raw"), Attributes={"RawMessageDelivery": "true"})
    mail = sns.subscribe(TopicArn=arn, Protocol="email", Endpoint="a@example.org")["SubscriptionArn"]
    equal("subscriptions of a topic", sorted((s["Protocol"], s["Endpoint"]) for s in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]), [("email", "a@example.org"), ("sqs", cloud.arn("sqs", "from-topic")), ("sqs", cloud.arn("sqs", "from-topic-raw"))])
    equal("all subscriptions", len(sns.list_subscriptions()["Subscriptions"]), 3)
    attributes = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    equal("attributes of a subscription", (attributes["Protocol"], attributes["RawMessageDelivery"], attributes["PendingConfirmation"]), ("sqs", "false", "false"))
    sent = sns.publish(TopicArn=arn, Message="hello", Subject="S", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})["MessageId"]
    body = json.loads(arrived(cloud, url, 1)[0])
    equal("what a queue gets", (body["Type"], body["MessageId"], body["TopicArn"], body["Subject"], body["Message"], body["MessageAttributes"]), ("Notification", sent, arn, "S", "hello", {"a": {"Type": "String", "Value": "b"}}))
    message = sqs.receive_message(QueueUrl=raw, MessageAttributeNames=["All"], WaitTimeSeconds=10)["Messages"][0]
    equal("what a queue gets raw", (message["Body"], message["MessageAttributes"]["a"]["StringValue"]), ("hello", "b"))
    sqs.delete_message(QueueUrl=raw, ReceiptHandle=message["ReceiptHandle"])
    mails = [file.read_text() for file in (cloud.embedded.state / "outbox").glob("*.eml")]
    check("what a mailbox gets", len(mails) == 1 and "To: a@example.org" in mails[0] and mails[0].strip().endswith("hello"), mails)
    sns.unsubscribe(SubscriptionArn=mail)
    sns.unsubscribe(SubscriptionArn=mail)
    sns.publish(TopicArn=arn, MessageStructure="json", Message=json.dumps({"default": "d", "sqs": "q"}))
    equal("a message for a protocol", arrived(cloud, raw, 1), ["q"])
    arrived(cloud, url, 1)
    batch = sns.publish_batch(TopicArn=arn, PublishBatchRequestEntries=[{"Id": "1", "Message": "m1"}, {"Id": "2", "Message": "m2", "Subject": "\n"}, {"Id": "3", "Message": "m3"}])
    equal("a batch has results by entry", ([e["Id"] for e in batch["Successful"]], [(e["Id"], e["Code"]) for e in batch["Failed"]]), (["1", "3"], [("2", "InvalidParameter")]))
    equal("and arrives", sorted(arrived(cloud, raw, 2)), ["m1", "m3"])
    sqs.set_queue_attributes(QueueUrl=raw, Attributes={"Policy": ""})
    dead = queue(cloud, "topic-dead", "sns.amazonaws.com")
    found = [s["SubscriptionArn"] for s in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] if s["Endpoint"].endswith("raw")][0]
    sns.set_subscription_attributes(SubscriptionArn=found, AttributeName="RedrivePolicy", AttributeValue=json.dumps({"deadLetterTargetArn": cloud.arn("sqs", "topic-dead")}))
    sns.publish(TopicArn=arn, Message="denied")
    message = sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"], WaitTimeSeconds=10)["Messages"][0]
    equal("without permission it goes to the dead-letter queue", (message["Body"], message["MessageAttributes"]["ErrorCode"]["StringValue"]), ("denied", "AccessDeniedException"))


def filters(cloud):
    sns = cloud.client("sns")
    arn = sns.create_topic(Name="f")["TopicArn"]
    url = queue(cloud, "filtered", "sns.amazonaws.com")
    raw = {"RawMessageDelivery": "true"}
    subscription = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=cloud.arn("sqs", "filtered"), Attributes=raw | {"FilterPolicy": json.dumps({"kind": ["a", {"prefix": "b-"}], "size": [{"numeric": [">", 5]}]})})["SubscriptionArn"]

    def publish(message, **attributes):
        kinds = {str: "String", int: "Number", list: "String.Array"}
        values = {n: {"DataType": kinds[type(v)], "StringValue": v if isinstance(v, str) else json.dumps(v)} for n, v in attributes.items()}
        sns.publish(TopicArn=arn, Message=message, MessageAttributes=values)

    publish("1", kind="a", size=6)
    publish("2", kind="c", size=6)
    publish("3", kind="b-x", size=5)
    publish("4", kind=["z", "b-y"], size=7)
    publish("5")
    equal("filters on attributes", sorted(arrived(cloud, url, 2)), ["1", "4"])
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue="")
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="FilterPolicyScope", AttributeValue="MessageBody")
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue=json.dumps({"a": {"b": [{"anything-but": ["x"]}]}}))
    for body in ('{"a":{"b":"x"}}', '{"a":{"b":"y"}}', "no JSON"):
        publish(body)
    equal("filters on bodies", arrived(cloud, url, 1), ['{"a":{"b":"y"}}'])
    equal("a policy that is none", refused(sns.set_subscription_attributes, SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue='{"a":"b"}'), "InvalidParameter")


def refusals(cloud):
    sns = cloud.client("sns")
    arn = sns.create_topic(Name="r")["TopicArn"]
    for protocol in ("http", "https", "sms", "firehose", "application", "email-json"):
        equal(f"the protocol {protocol} is refused by name", refused(sns.subscribe, TopicArn=arn, Protocol=protocol, Endpoint="http://x"), "NotImplemented")
    equal("another one does not exist", refused(sns.subscribe, TopicArn=arn, Protocol="fax", Endpoint="x"), "InvalidParameter")
    equal("an address that is none", refused(sns.subscribe, TopicArn=arn, Protocol="email", Endpoint="x"), "InvalidParameter")
    equal("a queue that is none", refused(sns.subscribe, TopicArn=arn, Protocol="sqs", Endpoint="x"), "InvalidParameter")
    equal("no topic", refused(sns.subscribe, TopicArn=arn + "x", Protocol="email", Endpoint="a@b.c"), "NotFound")
    equal("an empty message", refused(sns.publish, TopicArn=arn, Message=""), "InvalidParameter")
    equal("a message that is too long", refused(sns.publish, TopicArn=arn, Message="x" * 262_145), "InvalidParameter")
    equal("no default text", refused(sns.publish, TopicArn=arn, Message="{}", MessageStructure="json"), "InvalidParameter")
    equal("an attribute without value", refused(sns.publish, TopicArn=arn, Message="x", MessageAttributes={"a": {"DataType": "Number", "StringValue": "x"}}), "ParameterValueInvalid")
    equal("eleven entries", refused(sns.publish_batch, TopicArn=arn, PublishBatchRequestEntries=[{"Id": str(n), "Message": "x"} for n in range(11)]), "TooManyEntriesInBatchRequest")
    equal("entries twice", refused(sns.publish_batch, TopicArn=arn, PublishBatchRequestEntries=[{"Id": "1", "Message": "x"}] * 2), "BatchEntryIdsNotDistinct")
    outputs = cloud.stack("topics", {
        "Topic": {"Type": "AWS::SNS::Topic"},
        "Policy": {"Type": "AWS::SNS::TopicPolicy", "Properties": {"Topics": [{"Ref": "Topic"}], "PolicyDocument": json.loads(allow("events.amazonaws.com", "sns:Publish", "*"))}},
    }, {"Arn": {"Ref": "Topic"}})
    if outputs:
        check("a template's policy of a topic", "Policy" in sns.get_topic_attributes(TopicArn=outputs["Arn"])["Attributes"])
        cloud.delete_stack("topics")


def crash(cloud):
    sns = cloud.client("sns")
    arn = sns.create_topic(Name="c")["TopicArn"]
    url = queue(cloud, "crash-topic", "sns.amazonaws.com")
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=cloud.arn("sqs", "crash-topic"), Attributes={"RawMessageDelivery": "true"})
    for number in range(20):
        sns.publish(TopicArn=arn, Message=str(number))
    cloud.crash()
    equal("what was published before a crash arrives", set(arrived(cloud, url, 20)), {str(n) for n in range(20)})
