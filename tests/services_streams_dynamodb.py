"""DynamoDB, against what AWS documents."""

import decimal
import time

import boto3
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError
from services_streams_support import check, refused, same, until

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table"


def s(text):
    return {"S": text}


def n(number):
    return {"N": str(number)}


def checks(account):
    db = account.client("dynamodb")
    tables(db)
    items(db)
    expressions(db)
    queries(db)
    batches_and_transactions(db)
    limits(db)
    indexes(db)
    conditions_in_errors(db)
    permissions(account, db)
    refusals(db)
    expiry(account, db)
    durability(account)
    resource(account)


def tables(db):
    made = db.create_table(
        TableName="tab", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}], Tags=[{"Key": "team", "Value": "a"}],
    )["TableDescription"]
    same("dynamodb: a table's ARN is the account's", made["TableArn"], f"{ARN}/tab")
    db.get_waiter("table_exists").wait(TableName="tab")
    table = db.describe_table(TableName="tab")["Table"]
    same("dynamodb: a table is ACTIVE and paid per request", (table["TableStatus"], table["BillingModeSummary"]["BillingMode"]), ("ACTIVE", "PAY_PER_REQUEST"))
    check("dynamodb: a table is also found by its ARN", db.describe_table(TableName=f"{ARN}/tab")["Table"]["TableId"] == table["TableId"])
    refused("dynamodb: a second table of the name", lambda: db.create_table(TableName="tab", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}]), "ResourceInUseException", "Table already exists: tab")
    refused("dynamodb: a table that is not there", lambda: db.describe_table(TableName="none"), "ResourceNotFoundException", "Requested resource not found: Table: none not found")
    refused("dynamodb: an attribute that is no key", lambda: db.create_table(TableName="unm", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}, {"AttributeName": "b", "AttributeType": "S"}]), "ValidationException", "Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions")
    refused("dynamodb: provisioned without throughput", lambda: db.create_table(TableName="unm", KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}]), "ValidationException")
    for name in ("la1", "la2", "la3"):
        db.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}])
    pages = db.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 2})
    same("dynamodb: pages of ListTables", [page["TableNames"] for page in pages], [["la1", "la2"], ["la3", "tab"]])
    same("dynamodb: tags", db.list_tags_of_resource(ResourceArn=f"{ARN}/tab")["Tags"], [{"Key": "team", "Value": "a"}])
    db.tag_resource(ResourceArn=f"{ARN}/tab", Tags=[{"Key": "team", "Value": "b"}, {"Key": "x", "Value": "y"}])
    db.untag_resource(ResourceArn=f"{ARN}/tab", TagKeys=["x"])
    same("dynamodb: changed tags", db.list_tags_of_resource(ResourceArn=f"{ARN}/tab")["Tags"], [{"Key": "team", "Value": "b"}])
    refused("dynamodb: tags of a table that is not there", lambda: db.tag_resource(ResourceArn=f"{ARN}/none", Tags=[{"Key": "a", "Value": "b"}]), "ResourceNotFoundException")
    db.update_table(TableName="la1", DeletionProtectionEnabled=True)
    refused("dynamodb: a protected table is not deleted", lambda: db.delete_table(TableName="la1"), "ValidationException", "protected against deletion")
    db.update_table(TableName="la1", DeletionProtectionEnabled=False)
    for name in ("la1", "la2", "la3"):
        db.delete_table(TableName=name)
    same("dynamodb: deleted tables are gone", db.list_tables()["TableNames"], ["tab"])
    backups = db.describe_continuous_backups(TableName="tab")["ContinuousBackupsDescription"]
    same("dynamodb: backups are off", backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"], "DISABLED")


def items(db):
    item = {"pk": s("a"), "sk": n(1), "b": {"B": b"\x00\xff"}, "ss": {"SS": ["x", "y"]}, "ns": {"NS": ["1", "2"]}, "l": {"L": [s("q"), {"BOOL": True}, {"NULL": True}]}, "m": {"M": {"k": n("1.5")}}}
    db.put_item(TableName="tab", Item=item)
    same("dynamodb: an item comes back", db.get_item(TableName="tab", Key={"pk": s("a"), "sk": n(1)})["Item"], item)
    check("dynamodb: no item has no Item", "Item" not in db.get_item(TableName="tab", Key={"pk": s("none"), "sk": n(1)}))
    same("dynamodb: ALL_OLD of a put", db.put_item(TableName="tab", Item={"pk": s("a"), "sk": n(1), "v": n(2)}, ReturnValues="ALL_OLD")["Attributes"]["m"], {"M": {"k": n("1.5")}})
    updated = db.update_item(TableName="tab", Key={"pk": s("a"), "sk": n(1)}, UpdateExpression="SET v = v + :one, w = if_not_exists(w, :one) ADD tags :tags REMOVE z", ExpressionAttributeValues={":one": n(1), ":tags": {"SS": ["t1"]}}, ReturnValues="UPDATED_NEW")
    same("dynamodb: UPDATED_NEW", updated["Attributes"], {"v": n(3), "w": n(1), "tags": {"SS": ["t1"]}})
    old = db.update_item(TableName="tab", Key={"pk": s("a"), "sk": n(1)}, UpdateExpression="SET v = :v", ExpressionAttributeValues={":v": n(9)}, ReturnValues="UPDATED_OLD")
    same("dynamodb: UPDATED_OLD", old["Attributes"], {"v": n(3)})
    made = db.update_item(TableName="tab", Key={"pk": s("made"), "sk": n(1)}, UpdateExpression="SET q = :q", ExpressionAttributeValues={":q": s("x")}, ReturnValues="ALL_NEW")
    same("dynamodb: an update makes an item", made["Attributes"], {"pk": s("made"), "sk": n(1), "q": s("x")})
    same("dynamodb: ALL_OLD of a deletion", db.delete_item(TableName="tab", Key={"pk": s("made"), "sk": n(1)}, ReturnValues="ALL_OLD")["Attributes"]["q"], s("x"))
    refused("dynamodb: a wrong ReturnValues of a put", lambda: db.put_item(TableName="tab", Item={"pk": s("a"), "sk": n(1)}, ReturnValues="UPDATED_NEW"), "ValidationException")
    refused("dynamodb: a key of another type", lambda: db.get_item(TableName="tab", Key={"pk": n(1), "sk": n(1)}), "ValidationException", "The provided key element does not match the schema")
    refused("dynamodb: an item without its key", lambda: db.put_item(TableName="tab", Item={"pk": s("a")}), "ValidationException", "Missing the key sk in the item")
    refused("dynamodb: an empty key", lambda: db.put_item(TableName="tab", Item={"pk": s(""), "sk": n(1)}), "ValidationException", "empty string value")
    refused("dynamodb: a number of 39 digits", lambda: db.put_item(TableName="tab", Item={"pk": s("a"), "sk": n("1" * 39)}), "ValidationException")
    refused("dynamodb: an empty set", lambda: db.put_item(TableName="tab", Item={"pk": s("a"), "sk": n(1), "x": {"SS": []}}), "ValidationException")
    big = decimal.Decimal("12345678901234567890123456789012345678")
    db.put_item(TableName="tab", Item={"pk": s("n"), "sk": n(big)})
    same("dynamodb: 38 digits are kept", db.get_item(TableName="tab", Key={"pk": s("n"), "sk": n(big)})["Item"]["sk"], n(big))


def expressions(db):
    key = {"pk": s("a"), "sk": n(1)}
    db.put_item(TableName="tab", Item=key | {"v": n(5), "name": s("x"), "lst": {"L": [n(1), n(2), n(3)]}, "m": {"M": {"a": n(1), "b": n(2)}}})
    refused("dynamodb: a reserved word", lambda: db.update_item(TableName="tab", Key=key, UpdateExpression="SET name = :n", ExpressionAttributeValues={":n": s("y")}), "ValidationException", "Attribute name is a reserved keyword; reserved keyword: name")
    db.update_item(TableName="tab", Key=key, UpdateExpression="SET #n = :n", ExpressionAttributeNames={"#n": "name"}, ExpressionAttributeValues={":n": s("y")})
    refused("dynamodb: a value that is not used", lambda: db.update_item(TableName="tab", Key=key, UpdateExpression="SET v = :v", ExpressionAttributeValues={":v": n(1), ":w": n(1)}), "ValidationException", "unused in expressions: keys: {:w}")
    refused("dynamodb: a value that is not given", lambda: db.update_item(TableName="tab", Key=key, UpdateExpression="SET v = :v, w = :w", ExpressionAttributeValues={":v": n(1)}), "ValidationException", "An expression attribute value used in expression is not defined; attribute value: :w")
    refused("dynamodb: two paths overlap", lambda: db.update_item(TableName="tab", Key=key, UpdateExpression="SET m.a = :v, m = :v", ExpressionAttributeValues={":v": n(1)}), "ValidationException", "Two document paths overlap")
    refused("dynamodb: a key is not updated", lambda: db.update_item(TableName="tab", Key=key, UpdateExpression="SET sk = :v", ExpressionAttributeValues={":v": n(1)}), "ValidationException", "Cannot update attribute sk. This attribute is part of the key")
    db.update_item(TableName="tab", Key=key, UpdateExpression="SET lst[1] = :v, m.c = :v REMOVE lst[0], lst[2], m.a", ExpressionAttributeValues={":v": s("new")})
    item = db.get_item(TableName="tab", Key=key, ProjectionExpression="lst[0], m, v")["Item"]
    same("dynamodb: paths are set, removed and projected", item, {"lst": {"L": [s("new")]}, "m": {"M": {"b": n(2), "c": s("new")}}, "v": n(5)})
    for words, holds in (
        ("v BETWEEN :four AND :six", True), ("v IN (:four, :six)", False), ("attribute_exists(m.b) AND attribute_not_exists(m.a)", True), ("begins_with(#n, :y)", True), ("contains(lst, :new)", True),
        ("size(lst) = :one", True), ("attribute_type(m, :map)", True), ("NOT v > :four", False), ("v = :four OR (v > :four AND v < :six)", True),
    ):
        values = {":four": n(4), ":six": n(6), ":y": s("y"), ":new": s("new"), ":one": n(1), ":map": s("M")}
        used = {k: v for k, v in values.items() if k in words.replace("(", " ").replace(")", " ").replace(",", " ").split()}
        arguments = {"ConditionExpression": words} | ({"ExpressionAttributeValues": used} if used else {}) | ({"ExpressionAttributeNames": {"#n": "name"}} if "#n" in words else {})
        try:
            db.put_item(TableName="tab", Item=key | {"v": n(5), "name": s("y"), "lst": {"L": [s("new")]}, "m": {"M": {"b": n(2), "c": s("new")}}}, **arguments)
            held = True
        except ClientError as error:
            held = False if error.response["Error"]["Code"] == "ConditionalCheckFailedException" else error
        same(f"dynamodb: condition {words}", held, holds)


def queries(db):
    for i in range(20):
        db.put_item(TableName="tab", Item={"pk": s("q"), "sk": n(i), "even": {"BOOL": i % 2 == 0}})
    answer = db.query(TableName="tab", KeyConditionExpression="pk = :p AND sk BETWEEN :a AND :b", ExpressionAttributeValues={":p": s("q"), ":a": n(5), ":b": n(10)}, ScanIndexForward=False)
    same("dynamodb: a query in descending order of numbers", [i["sk"]["N"] for i in answer["Items"]], ["10", "9", "8", "7", "6", "5"])
    answer = db.query(TableName="tab", KeyConditionExpression="pk = :p", FilterExpression="even = :t", ExpressionAttributeValues={":p": s("q"), ":t": {"BOOL": True}})
    same("dynamodb: a filter counts what it scanned", (answer["Count"], answer["ScannedCount"]), (10, 20))
    answer = db.query(TableName="tab", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("q")}, Select="COUNT", Limit=3)
    check("dynamodb: a limit leaves a last key", answer["Count"] == 3 and answer["LastEvaluatedKey"] == {"pk": s("q"), "sk": n(2)} and "Items" not in answer, answer)
    pages = db.get_paginator("query").paginate(TableName="tab", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("q")}, PaginationConfig={"PageSize": 7})
    same("dynamodb: pages of a query", [len(p["Items"]) for p in pages], [7, 7, 6])
    refused("dynamodb: a query without its key", lambda: db.query(TableName="tab", KeyConditionExpression="sk = :p", ExpressionAttributeValues={":p": n(1)}), "ValidationException", "Query condition missed key schema element: pk")
    refused("dynamodb: a filter on a key", lambda: db.query(TableName="tab", KeyConditionExpression="pk = :p", FilterExpression="sk = :s", ExpressionAttributeValues={":p": s("q"), ":s": n(1)}), "ValidationException", "Primary key attribute")
    seen = [i["sk"]["N"] for segment in range(3) for page in db.get_paginator("scan").paginate(TableName="tab", TotalSegments=3, Segment=segment, FilterExpression="pk = :p", ExpressionAttributeValues={":p": s("q")}) for i in page["Items"]]
    same("dynamodb: segments of a scan are the whole", sorted(map(int, seen)), list(range(20)))
    db.create_table(TableName="large", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}], AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}])
    for i in range(5):
        db.put_item(TableName="large", Item={"pk": s(str(i)), "x": s("x" * 300_000)})
    page = db.scan(TableName="large", Select="COUNT")
    check("dynamodb: a page ends at 1 MB", page["Count"] in (3, 4) and "LastEvaluatedKey" in page, page)
    capacity = db.query(TableName="tab", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("q")}, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]
    same("dynamodb: consumed capacity", (capacity["TableName"], capacity["CapacityUnits"]), ("tab", 0.5))


def batches_and_transactions(db):
    writes = [{"PutRequest": {"Item": {"pk": s("batch"), "sk": n(i)}}} for i in range(25)]
    same("dynamodb: a batch of 25 writes", db.batch_write_item(RequestItems={"tab": writes})["UnprocessedItems"], {})
    refused("dynamodb: a batch of 26 writes", lambda: db.batch_write_item(RequestItems={"tab": writes + [{"PutRequest": {"Item": {"pk": s("batch"), "sk": n(99)}}}]}), "ValidationException")
    refused("dynamodb: one key twice in a batch", lambda: db.batch_write_item(RequestItems={"tab": writes[:1] * 2}), "ValidationException", "Provided list of item keys contains duplicates")
    got = db.batch_get_item(RequestItems={"tab": {"Keys": [{"pk": s("batch"), "sk": n(i)} for i in (1, 2, 77)]}})
    same("dynamodb: a batch of reads", sorted(i["sk"]["N"] for i in got["Responses"]["tab"]), ["1", "2"])
    refused("dynamodb: a batch of 101 reads", lambda: db.batch_get_item(RequestItems={"tab": {"Keys": [{"pk": s("batch"), "sk": n(i)} for i in range(101)]}}), "ValidationException")
    refused("dynamodb: a batch for a table that is not there", lambda: db.batch_get_item(RequestItems={"none": {"Keys": [{"pk": s("a")}]}}), "ResourceNotFoundException")
    key = {"pk": s("tx"), "sk": n(1)}
    db.transact_write_items(TransactItems=[{"Put": {"TableName": "tab", "Item": key | {"v": n(1)}}}, {"Update": {"TableName": "tab", "Key": {"pk": s("tx"), "sk": n(2)}, "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": {":v": n(2)}}}])
    answer = refused("dynamodb: a transaction is cancelled", lambda: db.transact_write_items(TransactItems=[
        {"Put": {"TableName": "tab", "Item": {"pk": s("tx"), "sk": n(3)}}},
        {"ConditionCheck": {"TableName": "tab", "Key": key, "ConditionExpression": "v = :no", "ExpressionAttributeValues": {":no": n(0)}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}},
    ]), "TransactionCanceledException", "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]")
    reasons = answer.get("CancellationReasons", [])
    check("dynamodb: a cancelled transaction has its reasons", [r["Code"] for r in reasons] == ["None", "ConditionalCheckFailed"] and reasons[1]["Item"]["v"] == n(1), reasons)
    check("dynamodb: nothing of a cancelled transaction is there", "Item" not in db.get_item(TableName="tab", Key={"pk": s("tx"), "sk": n(3)}))
    got = db.transact_get_items(TransactItems=[{"Get": {"TableName": "tab", "Key": key}}, {"Get": {"TableName": "tab", "Key": {"pk": s("tx"), "sk": n(3)}}}])
    same("dynamodb: a transaction of reads", [r.get("Item", {}).get("v") for r in got["Responses"]], [n(1), None])
    add = [{"Update": {"TableName": "tab", "Key": key, "UpdateExpression": "ADD v :one", "ExpressionAttributeValues": {":one": n(1)}}}]
    for _ in range(2):
        db.transact_write_items(TransactItems=add, ClientRequestToken="token-1")
    same("dynamodb: a token makes a transaction once", db.get_item(TableName="tab", Key=key)["Item"]["v"], n(2))
    refused("dynamodb: a token with another transaction", lambda: db.transact_write_items(TransactItems=add * 1 + [{"Put": {"TableName": "tab", "Item": {"pk": s("o"), "sk": n(1)}}}], ClientRequestToken="token-1"), "IdempotentParameterMismatchException")
    refused("dynamodb: one item twice in a transaction", lambda: db.transact_write_items(TransactItems=add * 2), "ValidationException", "Transaction request cannot include multiple operations on one item")


def limits(db):
    refused("dynamodb: an item above 400 KB", lambda: db.put_item(TableName="tab", Item={"pk": s("big"), "sk": n(1), "x": s("x" * 410_000)}), "ValidationException", "Item size has exceeded the maximum allowed size")
    db.put_item(TableName="tab", Item={"pk": s("big"), "sk": n(1), "x": s("x" * 400_000)})
    refused("dynamodb: an update that makes an item too large", lambda: db.update_item(TableName="tab", Key={"pk": s("big"), "sk": n(1)}, UpdateExpression="SET y = :y", ExpressionAttributeValues={":y": s("y" * 20_000)}), "ValidationException", "Item size to update has exceeded the maximum allowed size")
    large = [{"PutRequest": {"Item": {"pk": s(f"l{i}"), "sk": n(1), "x": s("x" * 399_000)}}} for i in range(25)]
    same("dynamodb: 25 items of almost 400 KB in a batch", db.batch_write_item(RequestItems={"tab": large})["UnprocessedItems"], {})
    refused("dynamodb: a partition key above 2048 bytes", lambda: db.put_item(TableName="tab", Item={"pk": s("x" * 2049), "sk": n(1)}), "ValidationException")
    deep = s("end")
    for _ in range(33):
        deep = {"L": [deep]}
    refused("dynamodb: nested more than 32 deep", lambda: db.put_item(TableName="tab", Item={"pk": s("deep"), "sk": n(1), "x": deep}), "ValidationException", "Nesting Levels have exceeded supported limits")


def indexes(db):
    db.create_table(
        TableName="idx", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": a, "AttributeType": "S"} for a in ("pk", "sk", "g", "l")],
        GlobalSecondaryIndexes=[{"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["v"]}}],
        LocalSecondaryIndexes=[{"IndexName": "by-l", "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "l", "KeyType": "RANGE"}], "Projection": {"ProjectionType": "KEYS_ONLY"}}],
    )
    for i in range(6):
        db.put_item(TableName="idx", Item={"pk": s("p"), "sk": s(str(i)), "l": s(str(9 - i)), "v": n(i), "w": n(i)} | ({"g": s("g")} if i % 2 else {}))
    answer = db.query(TableName="idx", IndexName="by-g", KeyConditionExpression="g = :g", ExpressionAttributeValues={":g": s("g")})
    check("dynamodb: a global index is sparse and projects", answer["Count"] == 3 and set(answer["Items"][0]) == {"pk", "sk", "g", "v"}, answer)
    answer = db.query(TableName="idx", IndexName="by-l", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("p")})
    same("dynamodb: a local index orders", [i["sk"]["S"] for i in answer["Items"]], ["5", "4", "3", "2", "1", "0"])
    refused("dynamodb: a consistent read of a global index", lambda: db.query(TableName="idx", IndexName="by-g", ConsistentRead=True, KeyConditionExpression="g = :g", ExpressionAttributeValues={":g": s("g")}), "ValidationException", "Consistent reads are not supported on global secondary indexes")
    refused("dynamodb: an index that is not there", lambda: db.query(TableName="idx", IndexName="none", KeyConditionExpression="g = :g", ExpressionAttributeValues={":g": s("g")}), "ValidationException", "The table does not have the specified index: none")
    db.update_item(TableName="idx", Key={"pk": s("p"), "sk": s("1")}, UpdateExpression="REMOVE g")
    same("dynamodb: an index follows an update", db.query(TableName="idx", IndexName="by-g", KeyConditionExpression="g = :g", ExpressionAttributeValues={":g": s("g")})["Count"], 2)
    db.update_table(TableName="idx", AttributeDefinitions=[{"AttributeName": "v", "AttributeType": "N"}], GlobalSecondaryIndexUpdates=[{"Create": {"IndexName": "by-v", "KeySchema": [{"AttributeName": "v", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}}])
    same("dynamodb: an index that is added is filled", db.query(TableName="idx", IndexName="by-v", KeyConditionExpression="v = :v", ExpressionAttributeValues={":v": n(4)})["Items"][0]["w"], n(4))
    table = db.describe_table(TableName="idx")["Table"]
    same("dynamodb: ARNs of indexes", sorted(i["IndexArn"] for i in table["GlobalSecondaryIndexes"]), [f"{ARN}/idx/index/by-g", f"{ARN}/idx/index/by-v"])
    db.update_table(TableName="idx", GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-v"}}])
    same("dynamodb: an index that is deleted is gone", len(db.describe_table(TableName="idx")["Table"]["GlobalSecondaryIndexes"]), 1)


def conditions_in_errors(db):
    answer = refused("dynamodb: a condition that fails", lambda: db.put_item(TableName="tab", Item={"pk": s("a"), "sk": n(1)}, ConditionExpression="attribute_not_exists(pk)", ReturnValuesOnConditionCheckFailure="ALL_OLD"), "ConditionalCheckFailedException", "The conditional request failed")
    same("dynamodb: a condition that fails returns the item", answer.get("Item", {}).get("v"), n(5))


def permissions(account, db):
    role = account.role("reader", [
        {"Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:PutItem"], "Resource": f"{ARN}/tab"},
        {"Effect": "Allow", "Action": "dynamodb:Query", "Resource": f"{ARN}/idx/index/*"},
    ])
    limited = account.client("dynamodb", account.as_role(role))
    check("dynamodb: what a role may", limited.get_item(TableName="tab", Key={"pk": s("a"), "sk": n(1)})["Item"]["v"] == n(5))
    refused("dynamodb: what a role may not", lambda: limited.delete_item(TableName="tab", Key={"pk": s("a"), "sk": n(1)}), "AccessDeniedException", f"is not authorized to perform: dynamodb:DeleteItem on resource: {ARN}/tab")
    check("dynamodb: a role may query an index", limited.query(TableName="idx", IndexName="by-g", KeyConditionExpression="g = :g", ExpressionAttributeValues={":g": s("g")})["Count"] == 2)
    refused("dynamodb: and not its table", lambda: limited.query(TableName="idx", KeyConditionExpression="pk = :g", ExpressionAttributeValues={":g": s("g")}), "AccessDeniedException")
    refused("dynamodb: a batch needs a permission of its own", lambda: limited.batch_get_item(RequestItems={"tab": {"Keys": [{"pk": s("a"), "sk": n(1)}]}}), "AccessDeniedException", "dynamodb:BatchGetItem")
    limited.transact_get_items(TransactItems=[{"Get": {"TableName": "tab", "Key": {"pk": s("a"), "sk": n(1)}}}])
    refused("dynamodb: parts of a transaction need theirs", lambda: limited.transact_write_items(TransactItems=[{"ConditionCheck": {"TableName": "tab", "Key": {"pk": s("a"), "sk": n(1)}, "ConditionExpression": "attribute_exists(pk)"}}]), "AccessDeniedException", "dynamodb:ConditionCheckItem")
    rows = account.role("rows", [{"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*", "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["a"]}}}])
    refused("dynamodb: a condition key that is not there is named", lambda: account.client("dynamodb", account.as_role(rows)).get_item(TableName="tab", Key={"pk": s("a"), "sk": n(1)}), "NotImplemented", "dynamodb:LeadingKeys")


def refusals(db):
    table = {"BillingMode": "PAY_PER_REQUEST", "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}], "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}]}
    refused("dynamodb: a stream needs a view", lambda: db.create_table(TableName="ref", StreamSpecification={"StreamEnabled": True}, **table), "ValidationException", "UpdateViewType")
    refused("dynamodb: keys of KMS are refused by name", lambda: db.create_table(TableName="ref", SSESpecification={"Enabled": True}, **table), "NotImplemented", "SSESpecification")
    refused("dynamodb: PartiQL is refused by name", lambda: db.execute_statement(Statement="SELECT * FROM tab"), "NotImplemented", "dynamodb:ExecuteStatement")
    refused("dynamodb: backups are refused by name", lambda: db.create_backup(TableName="tab", BackupName="abc"), "NotImplemented", "dynamodb:CreateBackup")
    check("dynamodb: nothing of a refused table is there", "ref" not in db.list_tables()["TableNames"])


def expiry(account, db):
    db.update_time_to_live(TableName="tab", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    same("dynamodb: time to live is on", db.describe_time_to_live(TableName="tab")["TimeToLiveDescription"], {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"})
    refused("dynamodb: time to live is on already", lambda: db.update_time_to_live(TableName="tab", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}), "ValidationException", "TimeToLive is already enabled")
    now = int(time.time())
    cases = {"past": now - 10, "soon": now + 1800, "later": now + 100_000, "ancient": now - 6 * 365 * 86_400}
    for name, end in cases.items():
        db.put_item(TableName="tab", Item={"pk": s("ttl-" + name), "sk": n(1), "ttl": n(end)})
    db.put_item(TableName="tab", Item={"pk": s("ttl-text"), "sk": n(1), "ttl": s(str(now - 10))})
    account.advance(3600)

    def left():
        pages = db.get_paginator("scan").paginate(TableName="tab", FilterExpression="begins_with(pk, :p)", ExpressionAttributeValues={":p": s("ttl-")})
        return sorted(i["pk"]["S"] for page in pages for i in page["Items"])

    until("dynamodb: expired items go", lambda: left() == ["ttl-ancient", "ttl-later", "ttl-text"], 20)
    same("dynamodb: expired items are deleted by the clock, others stay", left(), ["ttl-ancient", "ttl-later", "ttl-text"])


def durability(account):
    """Every write that was answered is there after kill -9."""
    db = account.client("dynamodb")
    begun = time.monotonic()
    for i in range(300):
        db.put_item(TableName="tab", Item={"pk": s("durable"), "sk": n(i)})
    print(f"       dynamodb: {300 / (time.monotonic() - begun):.0f} puts a second, one after the other")
    account.kill_and_begin_again()
    db = account.client("dynamodb")
    same("dynamodb: what was answered survives kill -9", db.query(TableName="tab", KeyConditionExpression="pk = :p", ExpressionAttributeValues={":p": s("durable")}, Select="COUNT")["Count"], 300)
    same("dynamodb: tables, tags and times to live survive", (db.list_tables()["TableNames"], db.describe_time_to_live(TableName="tab")["TimeToLiveDescription"]["TimeToLiveStatus"]), (["idx", "large", "tab"], "ENABLED"))
    db.delete_table(TableName="large")
    account.kill_and_begin_again()
    same("dynamodb: deleted tables stay deleted", account.client("dynamodb").list_tables()["TableNames"], ["idx", "tab"])


def resource(account):
    """boto3's own resource, with its types."""
    table = boto3.resource("dynamodb", region_name="us-east-1", endpoint_url=account.endpoint, aws_access_key_id=account.keys["access_key_id"], aws_secret_access_key=account.keys["secret_access_key"]).Table("tab")
    with table.batch_writer() as batch:
        for i in range(60):
            batch.put_item(Item={"pk": "resource", "sk": i, "x": decimal.Decimal("0.1")})
    items = table.query(KeyConditionExpression=Key("pk").eq("resource") & Key("sk").lt(10), FilterExpression=Attr("x").eq(decimal.Decimal("0.1")))["Items"]
    same("dynamodb: boto3's resource", len(items), 10)

