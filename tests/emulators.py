"""The embedded cloud beside moto and MiniStack: one script, a fresh process of each per round, as a Markdown table.

The embedded cloud is the unoptimised binary that `cargo xtask deploy` runs, and it writes to disk before it
answers; the others keep objects in memory. Functions are Python programs: by the runtime API in
`provided.al2023` here, as `python3.12` on MiniStack. moto runs functions only in Docker.
"""

import contextlib
import io
import json
import os
import pathlib
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile

import boto3
import psutil
from botocore.config import Config
from support import EmbeddedCloud

ROUNDS = 3
OBJECTS = 1_000
CALLS = 1_000
SCRIPTS = pathlib.Path(sys.executable).parent

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
# A bucket, a role, a database and a table: what every data pipeline begins with.
STACK = {
    "Resources": {
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
        "Database": {
            "Type": "AWS::Glue::Database",
            "Properties": {"CatalogId": {"Ref": "AWS::AccountId"}, "DatabaseInput": {"Name": "d"}},
        },
        "Table": {
            "Type": "AWS::Glue::Table",
            "DependsOn": "Database",
            "Properties": {
                "CatalogId": {"Ref": "AWS::AccountId"},
                "DatabaseName": "d",
                "TableInput": {
                    "Name": "t",
                    "TableType": "EXTERNAL_TABLE",
                    "Parameters": {"EXTERNAL": "TRUE"},
                    "StorageDescriptor": {
                        "Location": "s3://lake/t/",
                        "Columns": [{"Name": "n", "Type": "bigint"}],
                        "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                        "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
                        "SerdeInfo": {
                            "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
                        },
                    },
                },
            },
        },
    }
}
BOOTSTRAP = f"""#!{sys.executable}
import os, http.client
host = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    host.request("GET", "/2018-06-01/runtime/invocation/next")
    asked = host.getresponse()
    event, request = asked.read(), asked.headers["Lambda-Runtime-Aws-Request-Id"]
    host.request("POST", f"/2018-06-01/runtime/invocation/{{request}}/response", event)
    host.getresponse().read()
"""
HANDLER = "def handler(event, context):\n    return event\n"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def steppe():
    with EmbeddedCloud() as cloud:
        yield cloud.environment, cloud.process


def peer(command, variables):
    """Starts somebody else's server on a free port and waits until it answers."""

    @contextlib.contextmanager
    def started():
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {name: value.format(port=port) for name, value in variables.items()}
            line = [SCRIPTS / command[0], *(part.format(port=port) for part in command[1:])]
            process = subprocess.Popen(
                line,
                env=environment,
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                yield {
                    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                    "AWS_ACCESS_KEY_ID": "test",
                    "AWS_SECRET_ACCESS_KEY": "test",
                    "AWS_REGION": "us-east-1",
                }, process
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=30)

    return started


CLOUDS = {
    "Steppe": steppe,
    "moto": peer(["moto_server", "--host", "127.0.0.1", "--port", "{port}"], {}),
    "MiniStack": peer(["ministack"], {"GATEWAY_PORT": "{port}", "LAMBDA_EXECUTOR": "local"}),
}


def client_of(environment):
    def client(service):
        return boto3.client(
            service,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(max_pool_connections=1, retries={"max_attempts": 0}),
        )

    return client


def wait_until_up(environment, process):
    sts = client_of(environment)("sts")
    while process.poll() is None:
        with contextlib.suppress(Exception):
            sts.get_caller_identity()
            return
        time.sleep(0.01)
    raise SystemExit(f"a server ended with {process.returncode} before it answered")


def resident_mb(process):
    """Of the process and what it started."""
    whole = psutil.Process(process.pid)
    return sum(one.memory_info().rss for one in [whole, *whole.children(recursive=True)]) / 2**20


def zipped(name, text):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, text)
    return file.getvalue()


def objects(client):
    s3, body = client("s3"), bytes(1024)
    s3.create_bucket(Bucket="emulators")
    keys = [f"k/{number:05}" for number in range(OBJECTS)]
    began = time.perf_counter()
    for key in keys:
        s3.put_object(Bucket="emulators", Key=key, Body=body)
    put = time.perf_counter() - began
    began = time.perf_counter()
    for key in keys:
        assert s3.get_object(Bucket="emulators", Key=key)["Body"].read() == body
    got = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(10):
        assert len(s3.list_objects_v2(Bucket="emulators")["Contents"]) == OBJECTS
    return {"put 1,000 × 1 KB": put, "get 1,000 × 1 KB": got, "list 1,000 keys, 10 times": time.perf_counter() - began}


def created(client, name, template):
    """Seconds until a stack is complete."""
    cloudformation, began = client("cloudformation"), time.perf_counter()
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])
    while True:
        status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        if not status.endswith("IN_PROGRESS"):
            break
        time.sleep(0.01)
    if status != "CREATE_COMPLETE":
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        raise SystemExit("\n".join(event.get("ResourceStatusReason", "") for event in events))
    return time.perf_counter() - began


def function(runtime):
    """A stack of a function whose program is in S3."""
    properties = {
        "FunctionName": "f",
        "Runtime": runtime,
        "Handler": "main.handler",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Code": {"S3Bucket": "emulators", "S3Key": "f.zip"},
    }
    return {
        "Resources": {
            "Role": STACK["Resources"]["Role"],
            "Function": {"Type": "AWS::Lambda::Function", "Properties": properties},
        }
    }


def calls(name, client):
    if name == "moto":
        return {}
    code, runtime = (zipped("bootstrap", BOOTSTRAP), "provided.al2023")
    if name == "MiniStack":
        code, runtime = (zipped("main.py", HANDLER), "python3.12")
    client("s3").put_object(Bucket="emulators", Key="f.zip", Body=code)
    began = time.perf_counter()
    created(client, "f", function(runtime))
    functions, call = client("lambda"), {"FunctionName": "f", "Payload": b'{"n": 1}'}
    assert json.load(functions.invoke(**call)["Payload"]) == {"n": 1}
    first = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(CALLS):
        functions.invoke(**call)["Payload"].read()
    return {"function: stack and first call": first, "1,000 calls": time.perf_counter() - began}


def round_of(name):
    began = time.perf_counter()
    with CLOUDS[name]() as (environment, process):
        wait_until_up(environment, process)
        found = {"start to first answer": time.perf_counter() - began}
        found["MB idle"] = resident_mb(process)
        client = client_of(environment)
        found |= objects(client)
        found["stack of four resources"] = created(client, "s", STACK)
        found |= calls(name, client)
        found["MB at the end"] = resident_mb(process)
    return found


def main():
    rounds = {name: [] for name in CLOUDS}
    for _ in range(ROUNDS):
        for name in CLOUDS:
            rounds[name].append(round_of(name))
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores; medians of {ROUNDS}, seconds\n")
    print("| | " + " | ".join(CLOUDS) + " |\n|---|" + "---:|" * len(CLOUDS))
    for row in rounds["Steppe"][0]:
        cells = []
        for name in CLOUDS:
            values = [found[row] for found in rounds[name] if row in found]
            digits = 0 if row.startswith("MB") else 3
            cells.append(f"{statistics.median(values):.{digits}f}" if values else "cannot")
        print(f"| {row} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
