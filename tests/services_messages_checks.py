"""What the parts of `services_messages.py` share: checks, clients, and errors as values."""

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

PASSED, FAILED = [], []


def check(name, holds, seen=""):
    (PASSED if holds else FAILED).append(name)
    print(f"{'ok    ' if holds else 'FAILED'} {name}{'' if holds else f': {str(seen)[:700]}'}", flush=True)


def equal(name, seen, expected):
    check(name, seen == expected, f"{seen!r} is not {expected!r}")


def refused(call, **params):
    """The code of the error that a call ends with."""
    try:
        answer = call(**params)
    except ClientError as error:
        return error.response["Error"].get("QueryErrorCode") or error.response["Error"]["Code"]
    except ParamValidationError as error:
        return f"client: {error}"
    return f"answered: {answer}"


def words(call, **params):
    """The message of the error that a call ends with."""
    try:
        return f"answered: {call(**params)}"
    except ClientError as error:
        return error.response["Error"]["Message"]


def report():
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    for name in FAILED:
        print(f"  {name}")
    return 1 if FAILED else 0


class Cloud:
    """An embedded cloud and clients of it."""

    def __init__(self, embedded):
        self.embedded = embedded
        self.account, self.region = "000000000000", "us-east-1"

    def client(self, name, keys=None):
        environment = self.embedded.environment
        keys = keys or {
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        }
        config = Config(retries={"max_attempts": 1}, read_timeout=60)
        return boto3.client(name, endpoint_url=self.embedded.endpoint, region_name=self.region, config=config, **keys)

    def advance(self, seconds):
        return self.embedded.advance(seconds)

    def crash(self):
        """Kills and starts the process; its clock shows what it showed before."""
        self.embedded.crash()

    def arn(self, service, rest):
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"

    def stack(self, name, resources, outputs=None):
        """Makes or updates a stack; its outputs, or nothing where templates do not know a type yet."""
        import json

        template = {"Resources": resources, "Outputs": {key: {"Value": value} for key, value in (outputs or {}).items()}}
        formation = self.client("cloudformation")
        params = {"StackName": name, "TemplateBody": json.dumps(template), "Capabilities": ["CAPABILITY_NAMED_IAM"]}
        try:
            formation.describe_stacks(StackName=name)
            formation.update_stack(**params)
            waiter = formation.get_waiter("stack_update_complete")
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            formation.create_stack(**params)
            waiter = formation.get_waiter("stack_create_complete")
        try:
            waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        except Exception as error:
            events = formation.describe_stack_events(StackName=name)["StackEvents"]
            reasons = [f"{e['LogicalResourceId']}: {e.get('ResourceStatusReason')}" for e in events if "FAILED" in e["ResourceStatus"]]
            raise SystemExit(f"the stack {name} failed: {reasons} {error}")
        found = formation.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])
        return {output["OutputKey"]: output["OutputValue"] for output in found}

    def delete_stack(self, name):
        formation = self.client("cloudformation")
        formation.delete_stack(StackName=name)
        formation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})

    def role(self, name, service, statements):
        """A role that a service may take on; made by a stack, since every account can make roles so."""
        import json

        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": service} if service else {"AWS": f"arn:aws:iam::{self.account}:root"}, "Action": "sts:AssumeRole"}]}
        policy = {"Version": "2012-10-17", "Statement": statements}
        self.stack(f"role-{name}", {"Role": {"Type": "AWS::IAM::Role", "Properties": {
            "RoleName": name, "AssumeRolePolicyDocument": trust,
            "Policies": [{"PolicyName": "p", "PolicyDocument": policy}]}}})
        return f"arn:aws:iam::{self.account}:role/{name}"

    def as_role(self, arn):
        """Keys of a session of the role."""
        keys = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return {"aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"], "aws_session_token": keys["SessionToken"]}


def drain(sqs, url, **params):
    """All bodies that can be received now, which are deleted."""
    bodies = []
    while True:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **params).get("Messages", [])
        if not messages:
            return bodies
        for message in messages:
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        params.pop("WaitTimeSeconds", None)
