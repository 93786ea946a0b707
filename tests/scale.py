"""Whether the embedded cloud stays as fast and small with much in it: times with a tenth of it and with all, as a Markdown table.

    .venv/bin/python tests/scale.py [--stacks 1000] [--objects 100000] [--executions 10000]

Times are medians of 15 calls over one connection. The binary is that of `target/debug` unless `--release` is given.
"""

import argparse
import concurrent.futures
import json
import pathlib
import re
import statistics
import time

import boto3
import support
from botocore.config import Config

CALLS = 15
CLIENTS = 4
TEMPLATE = json.dumps({"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}})
MACHINE = json.dumps({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}]})


class Cloud:
    """An embedded cloud with much in it, and clients of it."""

    def __init__(self, cloud):
        self.cloud = cloud
        client = lambda name: boto3.client(
            name,
            endpoint_url=cloud.endpoint,
            region_name="us-east-1",
            aws_access_key_id=cloud.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=cloud.environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(max_pool_connections=CLIENTS, retries={"max_attempts": 0}),
        )
        self.stacks, self.s3, self.machines = client("cloudformation"), client("s3"), client("stepfunctions")
        self.iam = client("iam")

    def prepare(self):
        self.s3.create_bucket(Bucket="scale")
        role = self.iam.create_role(RoleName="scale", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        self.machine = self.machines.create_state_machine(name="scale", definition=MACHINE, roleArn=role)["stateMachineArn"]

    def add_stack(self, number):
        name = f"stack-{number:05}"
        self.stacks.create_stack(StackName=name, TemplateBody=TEMPLATE)
        while self.stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] != "CREATE_COMPLETE":
            time.sleep(0.05)

    def add_object(self, number):
        self.s3.put_object(Bucket="scale", Key=f"k/{number:06}", Body=b"x")

    def add_execution(self, number):
        self.machines.start_execution(stateMachineArn=self.machine, name=f"run-{number:05}")

    def calls(self):
        execution = self.machine.replace(":stateMachine:", ":execution:") + ":run-00042"
        after = {"StartAfter": "k/000500"}
        return {
            "DescribeStacks, first page": lambda: self.stacks.describe_stacks(),
            "DescribeStacks of one": lambda: self.stacks.describe_stacks(StackName="stack-00042"),
            "ListStacks, first page": lambda: self.stacks.list_stacks(),
            "ListStacks by status": lambda: self.stacks.list_stacks(StackStatusFilter=["CREATE_COMPLETE"]),
            "DescribeStackResources": lambda: self.stacks.describe_stack_resources(StackName="stack-00042"),
            "DescribeStackEvents": lambda: self.stacks.describe_stack_events(StackName="stack-00042"),
            "ListObjectsV2, first page": lambda: self.s3.list_objects_v2(Bucket="scale"),
            "ListObjectsV2, a later page": lambda: self.s3.list_objects_v2(Bucket="scale", **after),
            "ListObjectsV2 with a delimiter": lambda: self.s3.list_objects_v2(Bucket="scale", Delimiter="/"),
            "GetObject": lambda: self.s3.get_object(Bucket="scale", Key="k/000042")["Body"].read(),
            "ListExecutions, first page": lambda: self.machines.list_executions(stateMachineArn=self.machine, maxResults=100),
            "ListExecutions by status": lambda: self.machines.list_executions(
                stateMachineArn=self.machine, maxResults=100, statusFilter="SUCCEEDED"
            ),
            "DescribeExecution": lambda: self.machines.describe_execution(executionArn=execution),
            "GetExecutionHistory": lambda: self.machines.get_execution_history(executionArn=execution),
        }

    def measured(self):
        return {name: median_ms(call) for name, call in self.calls().items()}


def median_ms(call):
    call()
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        call()
        times.append(1_000 * (time.perf_counter() - started))
    return statistics.median(times)


def fill(add, numbers):
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        for _ in clients.map(add, numbers):
            pass


def restarted(cloud):
    """Seconds until a cloud with this state answers, and its memory then in MB."""
    cloud._process.terminate()
    cloud._process.wait(timeout=30)
    started = time.perf_counter()
    cloud._start()
    seconds = time.perf_counter() - started
    time.sleep(2)
    status = pathlib.Path(f"/proc/{cloud._process.pid}/status").read_text()
    return seconds, int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stacks", type=int, default=1_000)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--executions", type=int, default=10_000)
    parser.add_argument("--release", action="store_true")
    options = parser.parse_args()
    if options.release:
        support.EmbeddedCloud.PROFILE = "release"
    with support.EmbeddedCloud() as embedded:
        cloud = Cloud(embedded)
        cloud.prepare()
        kinds = [(cloud.add_stack, options.stacks), (cloud.add_object, options.objects), (cloud.add_execution, options.executions)]
        for add, count in kinds:
            fill(add, range(count // 10))
        few = cloud.measured()
        little = restarted(embedded)
        cloud = Cloud(embedded)
        cloud.machine = cloud.machines.list_state_machines()["stateMachines"][0]["stateMachineArn"]
        kinds = [(cloud.add_stack, options.stacks), (cloud.add_object, options.objects), (cloud.add_execution, options.executions)]
        for add, count in kinds:
            fill(add, range(count // 10, count))
        many = cloud.measured()
        much = restarted(embedded)
    print(f"{options.stacks} stacks, {options.objects} objects, {options.executions} executions; a tenth, and all\n")
    print("| what | a tenth | all | times |\n|---|---:|---:|---:|")
    for name, value in few.items():
        print(f"| {name}, ms | {value:.1f} | {many[name]:.1f} | {many[name] / value:.1f} |")
    for name, low, high in zip(["start, s", "idle, MB"], little, much):
        print(f"| {name} | {low:.2f} | {high:.2f} | {high / low:.1f} |")


if __name__ == "__main__":
    main()
