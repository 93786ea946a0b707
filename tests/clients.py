"""Clients that others wrote against the embedded cloud: the `aws` command, boto3, tools of S3."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import boto3
import clients_s3
from botocore.exceptions import ClientError
from support import Checkout

STACK = "steppe-marriages-local"
BUCKET = f"{STACK}-data-000000000000"
PASSED, FAILED = [], []


def check(name, holds, seen=""):
    (PASSED if holds else FAILED).append(name)
    print(f"{'ok    ' if holds else 'FAILED'} {name}{'' if holds else f': {str(seen)[:500]}'}")


def aws(environment, *arguments):
    command = [pathlib.Path(sys.executable).with_name("aws"), *arguments, "--output", "json"]
    done = subprocess.run(list(map(str, command)), env=environment, text=True, capture_output=True)
    if done.returncode != 0:
        return {"error": done.stderr.strip()}
    try:
        return json.loads(done.stdout or "{}")
    except json.JSONDecodeError:
        return {"text": done.stdout}


def with_aws_command(environment):
    listed = aws(environment, "s3", "ls")
    check("aws s3 ls", BUCKET in listed.get("text", ""), listed)
    stack = aws(environment, "cloudformation", "describe-stacks", "--stack-name", STACK)
    check("aws cloudformation describe-stacks", stack.get("Stacks", [{}])[0].get("StackStatus") == "CREATE_COMPLETE", stack)
    events = aws(environment, "cloudformation", "describe-stack-events", "--stack-name", STACK)
    check("aws cloudformation describe-stack-events", len(events.get("StackEvents", [])) > 60, events)
    with tempfile.NamedTemporaryFile() as out:
        payload = json.dumps({"region": "Almaty", "dataset_key": "processed/marriages/marriages/", "bucket_name": BUCKET})
        invoked = aws(environment, "lambda", "invoke", "--function-name", f"{STACK}-predictor", "--payload", payload, out.name)
        answer = json.loads(out.read() or "{}")
        check("aws lambda invoke", invoked.get("StatusCode") == 200 and answer.get("forecast", {}).get("series") == "Almaty", (invoked, answer))
    query = aws(environment, "athena", "start-query-execution", "--work-group", STACK, "--query-execution-context", "Database=steppe_marriages_local", "--query-string", "SELECT count(*) AS n FROM marriages")
    identifier = query.get("QueryExecutionId", "")
    for _ in range(100):
        state = aws(environment, "athena", "get-query-execution", "--query-execution-id", identifier)
        if state.get("QueryExecution", {}).get("Status", {}).get("State") != "RUNNING":
            break
        time.sleep(0.05)
    rows = aws(environment, "athena", "get-query-results", "--query-execution-id", identifier)
    values = [d.get("VarCharValue") for r in rows.get("ResultSet", {}).get("Rows", []) for d in r["Data"]]
    check("aws athena get-query-results", values == ["n", "480"], rows)
    with tempfile.TemporaryDirectory() as folder:
        large, back = pathlib.Path(folder, "large"), pathlib.Path(folder, "back")
        large.write_bytes(bytes(range(256)) * 80_000)
        aws(environment, "s3", "cp", large, f"s3://{BUCKET}/x/large")
        aws(environment, "s3", "cp", f"s3://{BUCKET}/x/large", back)
        check("aws s3 cp, multipart, there and back", back.exists() and back.read_bytes() == large.read_bytes())
        aws(environment, "s3", "rm", f"s3://{BUCKET}/x/", "--recursive")
    with tempfile.TemporaryDirectory() as folder:
        template = pathlib.Path(folder, "template.yaml")
        template.write_text("Resources:\n  Topic:\n    Type: AWS::SNS::Topic\n")
        aws(environment, "cloudformation", "deploy", "--stack-name", "other", "--template-file", template)
    other = aws(environment, "cloudformation", "describe-stacks", "--stack-name", "other")
    check("aws cloudformation deploy", other.get("Stacks", [{}])[0].get("StackStatus") == "CREATE_COMPLETE", other)
    aws(environment, "cloudformation", "delete-stack", "--stack-name", "other")
    wrong = aws(environment | {"AWS_SECRET_ACCESS_KEY": "x"}, "sts", "get-caller-identity")
    check("a wrong secret is refused", "SignatureDoesNotMatch" in wrong.get("error", ""), wrong)


def with_boto3(environment):
    session = boto3.Session(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=environment["AWS_REGION"])

    def client(name):
        return session.client(name, endpoint_url=environment["AWS_ENDPOINT_URL"])

    s3 = client("s3")
    for i in range(5):
        s3.put_object(Bucket=BUCKET, Key=f"x/{i}", Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="x/", PaginationConfig={"PageSize": 2})
    keys = [o["Key"] for p in pages for o in p.get("Contents", [])]
    check("boto3 pages of list_objects_v2", keys == [f"x/{i}" for i in range(5)], keys)
    ranged = s3.get_object(Bucket=BUCKET, Key="reports/marriages/etl.json", Range="bytes=0-0")["Body"].read()
    check("boto3 get_object with a range", ranged == b"{", ranged)
    deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": k} for k in keys]})
    check("boto3 delete_objects", len(deleted.get("Deleted", [])) == 5, deleted)
    states = client("stepfunctions")
    machine = {m["name"]: m["stateMachineArn"] for m in states.list_state_machines()["stateMachines"]}[STACK]
    execution = states.list_executions(stateMachineArn=machine)["executions"][0]
    history = states.get_execution_history(executionArn=execution["executionArn"], maxResults=1000)["events"]
    check("boto3 execution history", execution["status"] == "SUCCEEDED" and history[-1]["type"] == "ExecutionSucceeded", execution)
    tables = {t["Name"] for t in client("glue").get_tables(DatabaseName="steppe_marriages_local")["TableList"]}
    check("boto3 glue tables", tables == {"raw_marriages", "marriages", "predictions"}, tables)
    instances = [i for r in client("ec2").describe_instances()["Reservations"] for i in r["Instances"]]
    check("boto3 ec2 instances", len(instances) == 1 and instances[0]["State"]["Name"] == "running", instances)
    groups = {g["logGroupName"] for g in client("logs").describe_log_groups()["logGroups"]}
    check("boto3 log groups", "/steppe/marriages/local/predictor" in groups, groups)
    subscriptions = client("sns").list_subscriptions_by_topic(TopicArn=client("sns").list_topics()["Topics"][0]["TopicArn"])["Subscriptions"]
    check("boto3 sns subscriptions", [s["Protocol"] for s in subscriptions] == ["email"], subscriptions)
    events = client("events")
    rules = {r["Name"]: r.get("ScheduleExpression") for r in events.list_rules(NamePrefix=STACK)["Rules"]}
    schedules = {"train-on-schedule": "cron(0 6 1 * ? *)", "check-drift": "rate(1 day)", "tell-failure": None}
    check("boto3 events rules", rules == {f"{STACK}-{name}": schedule for name, schedule in schedules.items()}, rules)
    targets = events.list_targets_by_rule(Rule=f"{STACK}-train-on-schedule")["Targets"]
    check("boto3 events targets", [(t["Arn"], t["Input"]) for t in targets] == [(machine, '{"train":true}')], targets)
    events.disable_rule(Name=f"{STACK}-check-drift")
    state = events.describe_rule(Name=f"{STACK}-check-drift")["State"]
    events.enable_rule(Name=f"{STACK}-check-drift")
    check("boto3 events disable_rule", state == "DISABLED", state)
    tag = s3.put_object(Bucket=BUCKET, Key="x/tagged", Body=b"1")["ETag"]
    s3.put_object(Bucket=BUCKET, Key="x/tagged", Body=b"2", IfMatch=tag)
    refused = []
    for condition in ({"IfMatch": tag}, {"IfNoneMatch": "*"}):
        try:
            s3.put_object(Bucket=BUCKET, Key="x/tagged", Body=b"3", **condition)
        except ClientError as error:
            refused.append(error.response["Error"]["Code"])
    s3.delete_object(Bucket=BUCKET, Key="x/tagged")
    check("boto3 conditional writes", refused == ["PreconditionFailed"] * 2, refused)
    try:
        client("ec2").run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
        check("what is not implemented is an error", False, "no error")
    except ClientError as error:
        check("what is not implemented is an error", error.response["Error"]["Code"] == "NotImplemented", error)


CRAWLER = {
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": "clients-crawler",
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Principal": {"Service": "glue.amazonaws.com"}, "Action": "sts:AssumeRole"}],
                },
                "Policies": [
                    {
                        "PolicyName": "crawl",
                        "PolicyDocument": {
                            "Version": "2012-10-17",
                            "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket", "glue:*"], "Resource": "*"}],
                        },
                    }
                ],
            },
        },
        "Crawler": {
            "Type": "AWS::Glue::Crawler",
            "Properties": {
                "Name": "clients",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "DatabaseName": "steppe_marriages_local",
                "TablePrefix": "found_",
                "Targets": {"S3Targets": [{"Path": f"s3://{BUCKET}/processed/marriages/marriages/"}]},
            },
        },
    }
}


def with_crawler(environment):
    """boto3 makes a crawler and waits for it, the `aws` command reads what it found and takes it away."""
    session = boto3.Session(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=environment["AWS_REGION"])
    cloudformation, glue = (session.client(name, endpoint_url=environment["AWS_ENDPOINT_URL"]) for name in ("cloudformation", "glue"))
    cloudformation.create_stack(StackName="clients", TemplateBody=json.dumps(CRAWLER), Capabilities=["CAPABILITY_NAMED_IAM"])
    cloudformation.get_waiter("stack_create_complete").wait(StackName="clients", WaiterConfig={"Delay": 1})
    glue.start_crawler(Name="clients")
    try:
        glue.start_crawler(Name="clients")
        check("boto3 start_crawler twice", False, "no error")
    except glue.exceptions.CrawlerRunningException as error:
        check("boto3 start_crawler twice", "has already started" in str(error), error)
    while (crawler := glue.get_crawler(Name="clients")["Crawler"])["State"] != "READY":
        time.sleep(0.1)
    check("boto3 get_crawler", crawler["LastCrawl"]["Status"] == "SUCCEEDED", crawler)
    found = aws(environment, "glue", "get-table", "--database-name", "steppe_marriages_local", "--name", "found_marriages")
    declared = aws(environment, "glue", "get-table", "--database-name", "steppe_marriages_local", "--name", "marriages")
    columns = [[(c["Name"], c["Type"]) for c in t.get("Table", {}).get("StorageDescriptor", {}).get("Columns", [])] for t in (found, declared)]
    check("aws glue get-table of a crawler", columns[0] == columns[1] != [], columns)
    listed = aws(environment, "glue", "get-crawlers")
    check("aws glue get-crawlers", [c["Name"] for c in listed.get("Crawlers", [])] == ["clients"], listed)
    cloudformation.delete_stack(StackName="clients")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="clients", WaiterConfig={"Delay": 1})
    gone = aws(environment, "glue", "get-crawler", "--name", "clients")
    check("aws glue get-crawler of none", "EntityNotFoundException" in gone.get("error", ""), gone)


MACHINE = {
    "QueryLanguage": "JSONata",
    "StartAt": "Each",
    "States": {
        "Each": {
            "Type": "Map",
            "Label": "each",
            "MaxConcurrency": 1,
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSONL"},
                "Arguments": {"Bucket": BUCKET, "Key": "clients/items.jsonl"},
            },
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Find",
                "States": {
                    "Find": {
                        "Type": "Task",
                        "Resource": "arn:aws:states:::aws-sdk:glue:getCrawler",
                        "Arguments": {"Name": "{% $states.input.crawler %}"},
                        "Output": "{% $states.result.Crawler.Name %}",
                        "End": True,
                    }
                },
            },
            "ToleratedFailurePercentage": 0,
            "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": BUCKET, "Prefix": "clients"}},
            "End": True,
        }
    },
}

MAP = {
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": "clients-map",
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"} for service in ("states.amazonaws.com", "glue.amazonaws.com")],
                },
                "Policies": [
                    {
                        "PolicyName": "map",
                        "PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*", "glue:*", "states:*"], "Resource": "*"}]},
                    }
                ],
            },
        },
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"StateMachineName": "clients-map", "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]}, "DefinitionString": json.dumps(MACHINE)},
        },
    }
}


def with_map(environment):
    """boto3 runs a distributed Map that fails, looks at its children and redrives it."""
    session = boto3.Session(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=environment["AWS_REGION"])
    cloudformation, glue, states, s3 = (session.client(name, endpoint_url=environment["AWS_ENDPOINT_URL"]) for name in ("cloudformation", "glue", "stepfunctions", "s3"))
    cloudformation.create_stack(StackName="clients-map", TemplateBody=json.dumps(MAP), Capabilities=["CAPABILITY_NAMED_IAM"])
    cloudformation.get_waiter("stack_create_complete").wait(StackName="clients-map", WaiterConfig={"Delay": 1})
    outputs = cloudformation.describe_stack_resources(StackName="clients-map")["StackResources"]
    identifiers = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in outputs}

    def crawler(name):
        path = f"s3://{BUCKET}/clients/"
        glue.create_crawler(Name=name, Role=identifiers["Role"], DatabaseName="clients", Targets={"S3Targets": [{"Path": path}]})

    def ended(execution):
        while (described := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            time.sleep(0.05)
        return described

    crawler("one")
    s3.put_object(Bucket=BUCKET, Key="clients/items.jsonl", Body=b'{"crawler": "one"}\n{"crawler": "two"}\n')
    execution = states.start_execution(stateMachineArn=identifiers["Machine"])["executionArn"]
    failed = ended(execution)
    check("boto3 distributed Map that fails", failed.get("error") == "States.ExceedToleratedFailureThreshold" and failed["redriveStatus"] == "REDRIVABLE", failed)
    runs = states.list_map_runs(executionArn=execution)["mapRuns"]
    run = states.describe_map_run(mapRunArn=runs[0]["mapRunArn"])
    counts = {status: run["itemCounts"][status] for status in ("succeeded", "failed", "total")}
    check("boto3 describe_map_run", counts == {"succeeded": 1, "failed": 1, "total": 2} and run["status"] == "FAILED", run)
    children = states.list_executions(mapRunArn=run["mapRunArn"], statusFilter="FAILED")["executions"]
    check("boto3 list_executions of a Map Run", [c["itemCount"] for c in children] == [1], children)
    child = states.describe_execution(executionArn=children[0]["executionArn"])
    check("boto3 describe_execution of a child", child["mapRunArn"] == run["mapRunArn"] and child["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN", child)
    crawler("two")
    states.redrive_execution(executionArn=execution)
    redriven = ended(execution)
    check("boto3 redrive_execution", redriven["status"] == "SUCCEEDED" and redriven["redriveCount"] == 1, redriven)
    run = states.describe_map_run(mapRunArn=run["mapRunArn"])
    check("boto3 describe_map_run after a redrive", run["redriveCount"] == 1 and run["itemCounts"]["succeeded"] == 2, run)
    details = json.loads(redriven.get("output", "{}")).get("ResultWriterDetails", {"Bucket": BUCKET, "Key": "none"})
    manifest = json.loads(s3.get_object(**details)["Body"].read())
    results = json.loads(s3.get_object(Bucket=BUCKET, Key=manifest["ResultFiles"]["SUCCEEDED"][0]["Key"])["Body"].read())
    check("boto3 results of a Map Run", sorted(json.loads(r["Output"]) for r in results) == ["one", "two"], results)
    history = states.get_execution_history(executionArn=execution, maxResults=1000)["events"]
    kinds = [event["type"] for event in history]
    check("boto3 history of a redrive", {"ExecutionRedriven", "MapRunStarted", "MapRunRedriven", "MapRunSucceeded"} <= set(kinds), kinds)
    try:
        states.redrive_execution(executionArn=execution)
        check("boto3 redrive_execution of what succeeded", False, "no error")
    except states.exceptions.ExecutionNotRedrivable as error:
        check("boto3 redrive_execution of what succeeded", "Execution is SUCCEEDED and cannot be redriven" in str(error), error)
    for name in ("one", "two"):
        glue.delete_crawler(Name=name)
    cloudformation.delete_stack(StackName="clients-map")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="clients-map", WaiterConfig={"Delay": 1})


def with_users(environment):
    """A user with a policy of AWS's and a key of its own, which is switched off in the end."""

    def client(name, key=None):
        key = key or {"AccessKeyId": environment["AWS_ACCESS_KEY_ID"], "SecretAccessKey": environment["AWS_SECRET_ACCESS_KEY"]}
        session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=environment["AWS_REGION"])
        return session.client(name, endpoint_url=environment["AWS_ENDPOINT_URL"])

    def refusal(call, **params):
        try:
            return call(**params)
        except ClientError as error:
            return error.response["Error"]["Code"]

    iam, policy = client("iam"), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    published = iam.get_policy(PolicyArn=policy)["Policy"]
    document = iam.get_policy_version(PolicyArn=policy, VersionId=published["DefaultVersionId"])["PolicyVersion"]["Document"]
    check("boto3 a policy of AWS's", "s3:Get*" in document["Statement"][0]["Action"], document)
    names = {p["PolicyName"] for page in iam.get_paginator("list_policies").paginate(Scope="AWS") for p in page["Policies"]}
    check("boto3 list_policies", {"AdministratorAccess", "AWSGlueServiceRole"} <= names, names)
    iam.create_user(UserName="clients", Tags=[{"Key": "team", "Value": "a"}])
    iam.attach_user_policy(UserName="clients", PolicyArn=policy)
    key = iam.create_access_key(UserName="clients")["AccessKey"]
    who = client("sts", key).get_caller_identity()["Arn"]
    check("boto3 a user's key", who.endswith(":user/clients"), who)
    listed = client("s3", key).list_objects_v2(Bucket=BUCKET, MaxKeys=1)["KeyCount"]
    denied = refusal(client("s3", key).put_object, Bucket=BUCKET, Key="x/user", Body=b"x")
    check("boto3 what a user may and may not", (listed, denied) == (1, "AccessDenied"), (listed, denied))
    who = [r["UserName"] for r in iam.list_entities_for_policy(PolicyArn=policy)["PolicyUsers"]]
    check("boto3 list_entities_for_policy", who == ["clients"], who)
    conflict = refusal(iam.delete_user, UserName="clients")
    check("boto3 a user with a policy is not deleted", conflict == "DeleteConflict", conflict)
    iam.update_access_key(UserName="clients", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    invalid = refusal(client("sts", key).get_caller_identity)
    check("boto3 an inactive key", invalid == "InvalidClientTokenId", invalid)
    iam.delete_access_key(UserName="clients", AccessKeyId=key["AccessKeyId"])
    iam.detach_user_policy(UserName="clients", PolicyArn=policy)
    iam.delete_user(UserName="clients")
    gone = refusal(iam.get_user, UserName="clients")
    check("boto3 delete_user", gone == "NoSuchEntity", gone)


def main():
    with Checkout() as checkout:
        checkout.run("deploy")
        checkout.run("smoke-test", "Almaty")
        environment = checkout.aws_environment()
        with_aws_command(environment)
        with_boto3(environment)
        with_users(environment)
        with_crawler(environment)
        with_map(environment)
        clients_s3.with_s3(environment, checkout.folder / "local")
        checkout.run("destroy")
    passed, failed = PASSED + clients_s3.PASSED, FAILED + clients_s3.FAILED
    print(f"{len(passed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
