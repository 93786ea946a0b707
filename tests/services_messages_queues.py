"""SQS."""

import concurrent.futures
import hashlib
import json
import time

from services_messages_checks import check, drain, equal, refused, words


def run(cloud):
    queues(cloud)
    standard(cloud)
    fifo(cloud)
    dead_letters(cloud)
    batches(cloud)
    limits(cloud)
    permissions(cloud)
    crash(cloud)
    moves(cloud)
    templates(cloud)


def queues(cloud):
    sqs = cloud.client("sqs")
    made = sqs.create_queue(QueueName="plain", Attributes={"VisibilityTimeout": "10"}, tags={"a": "b"})
    url = made["QueueUrl"]
    equal("a queue's URL has account and name", url, f"{cloud.embedded.endpoint}/000000000000/plain")
    equal("the same queue again is the same", sqs.create_queue(QueueName="plain", Attributes={"VisibilityTimeout": "10"})["QueueUrl"], url)
    equal("another attribute is another queue", refused(sqs.create_queue, QueueName="plain", Attributes={"VisibilityTimeout": "11"}), "QueueNameExists")
    try:
        sqs.create_queue(QueueName="plain", Attributes={"DelaySeconds": "11"})
        check("exceptions have their classes", False)
    except sqs.exceptions.QueueNameExists as error:
        equal("codes of the old protocol stay", error.response["Error"]["Code"], "QueueAlreadyExists")
    equal("GetQueueUrl", sqs.get_queue_url(QueueName="plain")["QueueUrl"], url)
    equal("GetQueueUrl of none", refused(sqs.get_queue_url, QueueName="none"), "QueueDoesNotExist")
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    equal("attributes have AWS's defaults", {k: attributes[k] for k in ("VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod", "DelaySeconds", "ReceiveMessageWaitTimeSeconds", "QueueArn", "ApproximateNumberOfMessages")},
          {"VisibilityTimeout": "10", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600", "DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0", "QueueArn": cloud.arn("sqs", "plain"), "ApproximateNumberOfMessages": "0"})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "5"})
    equal("SetQueueAttributes", sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["DelaySeconds"])["Attributes"], {"DelaySeconds": "5"})
    equal("no names, no attributes", sqs.get_queue_attributes(QueueUrl=url).get("Attributes"), None)
    for attribute, value in [("VisibilityTimeout", "43201"), ("DelaySeconds", "x"), ("MaximumMessageSize", "1023"), ("MessageRetentionPeriod", "59"), ("ReceiveMessageWaitTimeSeconds", "21"), ("Policy", "{")]:
        equal(f"{attribute}={value} is refused", refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={attribute: value}), "InvalidAttributeValue")
    for attribute in ("Color", "QueueArn", "ContentBasedDeduplication", "FifoQueue"):
        equal(f"the attribute {attribute} cannot be set", refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={attribute: "true"}), "InvalidAttributeName")
    equal("keys of KMS are refused by name", refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/x"}), "NotImplemented")
    sqs.tag_queue(QueueUrl=url, Tags={"c": "d"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["a"])
    equal("tags", sqs.list_queue_tags(QueueUrl=url)["Tags"], {"c": "d"})
    for name in ("", "a b", "x" * 81, "a.fifo.fifo"):
        equal(f"no queue is called '{name[:20]}'", refused(sqs.create_queue, QueueName=name) in ("InvalidParameterValue", "MissingParameter"), True)
    equal("a name without .fifo", refused(sqs.create_queue, QueueName="x", Attributes={"FifoQueue": "true"}), "InvalidParameterValue")
    for number in range(3):
        sqs.create_queue(QueueName=f"page-{number}")
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix="page-", PaginationConfig={"PageSize": 2})
    equal("pages of queues", [len(page["QueueUrls"]) for page in pages], [2, 1])
    equal("no queues, no member", "QueueUrls" in sqs.list_queues(QueueNamePrefix="zzz"), False)
    sqs.delete_queue(QueueUrl=url)
    equal("a deleted queue is gone", refused(sqs.send_message, QueueUrl=url, MessageBody="x"), "QueueDoesNotExist")
    equal("its name is taken for a minute", refused(sqs.create_queue, QueueName="plain"), "QueueDeletedRecently")
    cloud.advance(61)
    equal("and free after that", sqs.create_queue(QueueName="plain")["QueueUrl"], url)
    equal("an address that is none", refused(sqs.send_message, QueueUrl="http://127.0.0.1/x", MessageBody="x"), "InvalidAddress")


def standard(cloud):
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="standard")["QueueUrl"]
    attributes = {"n": {"DataType": "Number", "StringValue": "12"}, "b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}, "s.x": {"DataType": "String.mine", "StringValue": "ü"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="héllo", MessageAttributes=attributes, MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}})
    equal("the digest of a body", sent["MD5OfMessageBody"], hashlib.md5("héllo".encode()).hexdigest())
    equal("the digest of attributes", sent["MD5OfMessageAttributes"], digest(attributes))
    equal("the digest of system attributes", sent["MD5OfMessageSystemAttributes"], digest({"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}}))
    message = sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"], MessageAttributeNames=["s.*", "n"])["Messages"][0]
    equal("attributes that were asked for", message["MessageAttributes"], {k: attributes[k] for k in ("n", "s.x")})
    equal("their digest", message["MD5OfMessageAttributes"], digest({k: attributes[k] for k in ("n", "s.x")}))
    equal("system attributes", sorted(message["Attributes"]), ["AWSTraceHeader", "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SenderId", "SentTimestamp"])
    equal("first receive", message["Attributes"]["ApproximateReceiveCount"], "1")
    equal("a received message is hidden", sqs.receive_message(QueueUrl=url).get("Messages"), None)
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"])["Attributes"]
    equal("and counted as in flight", counts, {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "1"})
    cloud.advance(31)
    again = sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"][0]
    equal("after the timeout it is there again", (again["MessageId"], again["Attributes"]), (message["MessageId"], {"ApproximateReceiveCount": "2"}))
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    cloud.advance(31)
    third = sqs.receive_message(QueueUrl=url)["Messages"][0]
    check("an old handle deletes nothing", third["MessageId"] == message["MessageId"], third)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"], VisibilityTimeout=0)
    fourth = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"][0]
    check("visibility 0 gives it back", fourth["MessageId"] == message["MessageId"], fourth)
    equal("what is not in flight cannot be changed", refused(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=fourth["ReceiptHandle"], VisibilityTimeout=9), "MessageNotInflight")
    equal("a handle that is none", refused(sqs.delete_message, QueueUrl=url, ReceiptHandle="x"), "ReceiptHandleIsInvalid")
    sqs.delete_message(QueueUrl=url, ReceiptHandle=fourth["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=fourth["ReceiptHandle"])
    equal("deleting is idempotent", drain(sqs, url), [])
    sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=20)
    equal("a delayed message is not there", drain(sqs, url), [])
    equal("but counted", sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"])["Attributes"]["ApproximateNumberOfMessagesDelayed"], "1")
    cloud.advance(20)
    equal("until its delay is over", drain(sqs, url), ["late"])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        time.sleep(0.2)
        check("a long poll waits", not waiting.done())
        sqs.send_message(QueueUrl=url, MessageBody="here")
        got = waiting.result(timeout=5)
        equal("and wakes for a message", [m["Body"] for m in got["Messages"]], ["here"])
        empty = pool.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        time.sleep(0.2)
        cloud.advance(20)
        equal("and ends by the clock", empty.result(timeout=5).get("Messages"), None)
    sqs.send_message(QueueUrl=url, MessageBody="old")
    cloud.advance(345_601)
    equal("what is beyond retention is gone", drain(sqs, url), [])
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.purge_queue(QueueUrl=url)
    equal("a purge empties", drain(sqs, url), [])
    equal("once a minute", refused(sqs.purge_queue, QueueUrl=url), "PurgeQueueInProgress")


def digest(attributes):
    out = hashlib.md5()

    def add(data):
        out.update(len(data).to_bytes(4, "big") + data)

    for name in sorted(attributes):
        attribute = attributes[name]
        add(name.encode())
        add(attribute["DataType"].encode())
        if "BinaryValue" in attribute:
            out.update(b"\x02")
            add(attribute["BinaryValue"])
        else:
            out.update(b"\x01")
            add(attribute["StringValue"].encode())
    return out.hexdigest()


def fifo(cloud):
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    equal("a group is needed", refused(sqs.send_message, QueueUrl=url, MessageBody="x"), "MissingParameter")
    equal("a deduplication ID is needed", refused(sqs.send_message, QueueUrl=url, MessageBody="x", MessageGroupId="g"), "InvalidParameterValue")
    equal("messages have no delay of their own", refused(sqs.send_message, QueueUrl=url, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="1", DelaySeconds=1), "InvalidParameterValue")
    first = sqs.send_message(QueueUrl=url, MessageBody="1", MessageGroupId="g", MessageDeduplicationId="1")
    second = sqs.send_message(QueueUrl=url, MessageBody="other", MessageGroupId="g", MessageDeduplicationId="1")
    equal("a duplicate has the ID of the first", (second["MessageId"], second["SequenceNumber"]), (first["MessageId"], first["SequenceNumber"]))
    equal("sequence numbers have 20 digits", len(first["SequenceNumber"]), 20)
    for number in (2, 3):
        sqs.send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId="g", MessageDeduplicationId=str(number))
    sqs.send_message(QueueUrl=url, MessageBody="h1", MessageGroupId="h", MessageDeduplicationId="h1")
    got = sqs.receive_message(QueueUrl=url, AttributeNames=["All"])["Messages"]
    equal("the first of a group", [(m["Body"], m["Attributes"]["MessageGroupId"], m["Attributes"]["MessageDeduplicationId"], m["Attributes"]["SequenceNumber"]) for m in got], [("1", "g", "1", first["SequenceNumber"])])
    equal("its group waits, another does not", [m["Body"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]], ["h1"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
    rest = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    equal("then the rest of the group in order", [m["Body"] for m in rest], ["2", "3"])
    cloud.advance(31)
    equal("an expired handle is refused", refused(sqs.delete_message, QueueUrl=url, ReceiptHandle=rest[0]["ReceiptHandle"]), "InvalidParameterValue")
    equal("and all are there again", sorted(drain(sqs, url)), ["2", "3", "h1"])
    cloud.advance(300)
    sqs.send_message(QueueUrl=url, MessageBody="again", MessageGroupId="g", MessageDeduplicationId="1")
    equal("after five minutes it is no duplicate", drain(sqs, url), ["again"])
    content = sqs.create_queue(QueueName="c.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})["QueueUrl"]
    for body in ("a", "a", "b"):
        sqs.send_message(QueueUrl=content, MessageBody=body, MessageGroupId="g")
    sqs.send_message(QueueUrl=content, MessageBody="a", MessageGroupId="g", MessageDeduplicationId="own")
    equal("duplicates by content", drain(sqs, content), ["a", "b", "a"])
    groups = sqs.create_queue(QueueName="g.fifo", Attributes={"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})["QueueUrl"]
    for group in ("g", "h", "g"):
        sqs.send_message(QueueUrl=groups, MessageBody=group, MessageGroupId=group, MessageDeduplicationId="1")
    equal("duplicates by group", sorted(drain(sqs, groups)), ["g", "h"])
    equal("throughput per group needs its scope", refused(sqs.create_queue, QueueName="t.fifo", Attributes={"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}), "InvalidAttributeValue")
    equal("no deduplication in standard queues", refused(sqs.send_message, QueueUrl=sqs.get_queue_url(QueueName="standard")["QueueUrl"], MessageBody="x", MessageDeduplicationId="1"), "InvalidParameterValue")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        send = lambda n: sqs.send_message(QueueUrl=groups, MessageBody=str(n), MessageGroupId=f"g{n % 4}", MessageDeduplicationId=f"n{n % 20}")["SequenceNumber"]
        numbers = list(pool.map(send, range(40)))
    equal("senders at the same time are told apart", (len(set(numbers)), len(drain(sqs, groups))), (20, 20))


def dead_letters(cloud):
    sqs = cloud.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": cloud.arn("sqs", "dead"), "maxReceiveCount": 2})
    equal("a dead-letter queue must be there", refused(sqs.create_queue, QueueName="s", Attributes={"RedrivePolicy": policy.replace("dead\"", "none\"")}), "InvalidParameterValue")
    source = sqs.create_queue(QueueName="source", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "5"})["QueueUrl"]
    equal("and of the same kind", refused(sqs.create_queue, QueueName="s.fifo", Attributes={"FifoQueue": "true", "RedrivePolicy": policy}), "InvalidParameterValue")
    equal("ListDeadLetterSourceQueues", sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"], [source])
    sent = sqs.send_message(QueueUrl=source, MessageBody="poison", MessageAttributes={"k": {"DataType": "String", "StringValue": "v"}})
    for _ in range(2):
        equal("received as often as allowed", len(sqs.receive_message(QueueUrl=source).get("Messages", [])), 1)
        cloud.advance(6)
    equal("and then not any more", sqs.receive_message(QueueUrl=source).get("Messages"), None)
    message = sqs.receive_message(QueueUrl=dead, AttributeNames=["All"], MessageAttributeNames=["All"])["Messages"][0]
    equal("it is in the dead-letter queue", (message["MessageId"], message["Body"], message["Attributes"]["DeadLetterQueueSourceArn"], message["MessageAttributes"]["k"]["StringValue"]), (sent["MessageId"], "poison", cloud.arn("sqs", "source"), "v"))
    sqs.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps({"redrivePermission": "denyAll"})})
    equal("a queue may not want to be one", refused(sqs.create_queue, QueueName="s", Attributes={"RedrivePolicy": policy}), "InvalidParameterValue")
    sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [cloud.arn("sqs", "s")]})})
    check("or only for some", sqs.create_queue(QueueName="s", Attributes={"RedrivePolicy": policy})["QueueUrl"].endswith("/s"))
    sqs.set_queue_attributes(QueueUrl=source, Attributes={"RedrivePolicy": ""})
    equal("a redrive policy can be taken away", refused(sqs.get_queue_attributes, QueueUrl=source, AttributeNames=["RedrivePolicy"])[:9], "answered:")


def batches(cloud):
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="batch")["QueueUrl"]
    entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(10)]
    sent = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    equal("ten at once", [e["Id"] for e in sent["Successful"]], [str(n) for n in range(10)])
    equal("an entry fails alone", [(e["Id"], e["Code"], e["SenderFault"]) for e in sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x", "DelaySeconds": 901}, {"Id": "b", "MessageBody": "m10"}])["Failed"]], [("a", "InvalidParameterValue", True)])
    equal("eleven are too many", refused(sqs.send_message_batch, QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "x"} for n in range(11)]), "TooManyEntriesInBatchRequest")
    equal("none are too few", refused(sqs.send_message_batch, QueueUrl=url, Entries=[]), "EmptyBatchRequest")
    equal("IDs are distinct", refused(sqs.send_message_batch, QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}] * 2), "BatchEntryIdsNotDistinct")
    equal("IDs are plain", refused(sqs.send_message_batch, QueueUrl=url, Entries=[{"Id": "a b", "MessageBody": "x"}]), "InvalidBatchEntryId")
    equal("together at most 1 MiB", refused(sqs.send_message_batch, QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": "x" * 600_000} for n in range(2)]), "BatchRequestTooLong")
    messages = []
    while len(messages) < 11:
        messages += sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    equal("each is received once", sorted(m["Body"] for m in messages), sorted(f"m{n}" for n in range(11)))
    changed = sqs.change_message_visibility_batch(QueueUrl=url, Entries=[{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 0} for i, m in enumerate(messages[:5])] + [{"Id": "bad", "ReceiptHandle": "x", "VisibilityTimeout": 0}])
    equal("visibility in a batch", ([e["Id"] for e in changed["Successful"]], [e["Code"] for e in changed["Failed"]]), ([str(n) for n in range(5)], ["ReceiptHandleIsInvalid"]))
    again = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    equal("these are there again", len(again), 5)
    handles = [m["ReceiptHandle"] for m in again + messages[5:]]
    for part in (handles[:10], handles[10:]):
        deleted = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "ReceiptHandle": h} for i, h in enumerate(part)])
        equal("deleted in a batch", len(deleted["Successful"]), len(part))
    cloud.advance(31)
    equal("nothing is left", drain(sqs, url), [])


def limits(cloud):
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="limits", Attributes={"MaximumMessageSize": "1024"})["QueueUrl"]
    equal("a message may be this long", "MessageId" in sqs.send_message(QueueUrl=url, MessageBody="x" * 1024), True)
    equal("and not longer", refused(sqs.send_message, QueueUrl=url, MessageBody="x" * 1025), "InvalidParameterValue")
    equal("attributes count", refused(sqs.send_message, QueueUrl=url, MessageBody="x" * 1020, MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}}), "InvalidParameterValue")
    equal("an empty message is none", refused(sqs.send_message, QueueUrl=url, MessageBody=""), "MissingParameter")
    equal("control characters", refused(sqs.send_message, QueueUrl=url, MessageBody="a\x01"), "InvalidMessageContents")
    equal("eleven attributes", refused(sqs.send_message, QueueUrl=url, MessageBody="x", MessageAttributes={f"a{n}": {"DataType": "String", "StringValue": "b"} for n in range(11)}), "InvalidParameterValue")
    for name, value in [("MaxNumberOfMessages", 0), ("MaxNumberOfMessages", 11), ("WaitTimeSeconds", 21), ("VisibilityTimeout", 43201)]:
        equal(f"{name}={value}", refused(sqs.receive_message, QueueUrl=url, **{name: value}), "InvalidParameterValue")
    equal("a wrong system attribute", refused(sqs.receive_message, QueueUrl=url, AttributeNames=["Nothing"]), "InvalidAttributeName")
    equal("attempt IDs are refused by name", refused(sqs.receive_message, QueueUrl=url, ReceiveRequestAttemptId="x"), "NotImplemented")
    handle = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    cloud.advance(10)
    equal("twelve hours in all", refused(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=43_200), "InvalidParameterValue")


def permissions(cloud):
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="guarded")["QueueUrl"]
    role = cloud.role("queue-user", None, [{"Effect": "Allow", "Action": "sqs:ReceiveMessage", "Resource": cloud.arn("sqs", "guarded")}])
    user = cloud.client("sqs", cloud.as_role(role))
    equal("who may receive may", refused(user.receive_message, QueueUrl=url)[:9], "answered:")
    equal("and not send", refused(user.send_message, QueueUrl=url, MessageBody="x"), "AccessDeniedException")
    statement = {"Effect": "Allow", "Principal": {"AWS": role}, "Action": "sqs:SendMessage", "Resource": cloud.arn("sqs", "guarded")}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})})
    equal("unless the queue's policy lets it", refused(user.send_message, QueueUrl=url, MessageBody="x")[:9], "answered:")
    sqs.add_permission(QueueUrl=url, Label="mine", AWSAccountIds=[cloud.account], Actions=["SendMessage", "ReceiveMessage"])
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    equal("AddPermission adds a statement", (len(policy["Statement"]), policy["Statement"][1]["Sid"], policy["Statement"][1]["Action"]), (2, "mine", ["SQS:SendMessage", "SQS:ReceiveMessage"]))
    equal("labels are distinct", refused(sqs.add_permission, QueueUrl=url, Label="mine", AWSAccountIds=[cloud.account], Actions=["*"]), "InvalidParameterValue")
    sqs.remove_permission(QueueUrl=url, Label="mine")
    equal("RemovePermission of none", refused(sqs.remove_permission, QueueUrl=url, Label="mine"), "InvalidParameterValue")
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalArn": role}}}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [deny]})})
    equal("a denial of the queue decides", refused(user.receive_message, QueueUrl=url), "AccessDeniedException")


def crash(cloud):
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="kept.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId=str(number % 2), MessageDeduplicationId=str(number))
    got = sqs.receive_message(QueueUrl=url)["Messages"][0]
    cloud.crash()
    sqs = cloud.client("sqs")
    equal("after a crash what was received stays hidden", [m["Body"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]], ["1"])
    again = sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="1", MessageDeduplicationId="0")
    equal("and duplicates are known", again["MessageId"], got["MessageId"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    equal("and handles are good", [m["Body"] for m in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]], ["2"])


def moves(cloud):
    sqs = cloud.client("sqs")
    dead = sqs.create_queue(QueueName="move-dead")["QueueUrl"]
    arn = cloud.arn("sqs", "move-dead")
    equal("only dead-letter queues are moved from", refused(sqs.start_message_move_task, SourceArn=arn), "InvalidParameterValue")
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    source = sqs.create_queue(QueueName="move-source", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=source, MessageBody=str(number))
    for _ in range(2):
        sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10)
    count = lambda url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"]
    equal("they are dead", (count(source), count(dead)), ("0", "3"))
    sqs.start_message_move_task(SourceArn=arn)
    until(lambda: sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] == "COMPLETED")
    task = sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]
    equal("a task moves them back", (task["ApproximateNumberOfMessagesMoved"], count(source), count(dead)), (3, "3", "0"))
    for _ in range(2):
        sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10)
    other = sqs.create_queue(QueueName="move-other")["QueueUrl"]
    started = sqs.start_message_move_task(SourceArn=arn, DestinationArn=cloud.arn("sqs", "move-other"), MaxNumberOfMessagesPerSecond=1)
    equal("one task at a time", refused(sqs.start_message_move_task, SourceArn=arn), "InvalidParameterValue")
    until(lambda: count(other) == "1")
    sqs.cancel_message_move_task(TaskHandle=started["TaskHandle"])
    cloud.advance(2)
    until(lambda: sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] == "CANCELLED")
    equal("a task can be cancelled", (count(other), count(dead)), ("1", "2"))


def templates(cloud):
    sqs = cloud.client("sqs")
    outputs = cloud.stack("queues", {
        "Dead": {"Type": "AWS::SQS::Queue"},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": False, "VisibilityTimeout": 7, "RedrivePolicy": {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 4}, "Tags": [{"Key": "a", "Value": "b"}]}},
        "Policy": {"Type": "AWS::SQS::QueuePolicy", "Properties": {"Queues": [{"Ref": "Queue"}], "PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["Queue", "Arn"]}}]}}},
    }, {"Url": {"Ref": "Queue"}, "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}, "Name": {"Fn::GetAtt": ["Queue", "QueueName"]}})
    if outputs:
        attributes = sqs.get_queue_attributes(QueueUrl=outputs["Url"], AttributeNames=["All"])["Attributes"]
        equal("a template's queue", (attributes["VisibilityTimeout"], json.loads(attributes["RedrivePolicy"])["maxReceiveCount"], "Policy" in attributes, sqs.list_queue_tags(QueueUrl=outputs["Url"])["Tags"]["a"]), ("7", 4, True, "b"))
        cloud.delete_stack("queues")


def until(holds):
    for _ in range(200):
        if holds():
            return
        time.sleep(0.02)
    check("what was waited for came", False)
