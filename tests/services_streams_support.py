"""What the checks of the streaming services share: an embedded cloud that is killed and begun again, its clock, roles."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from support import TARGET

PASSED, FAILED = [], []


def check(name, holds, seen=""):
    (PASSED if holds else FAILED).append(name)
    print(f"{'ok    ' if holds else 'FAILED'} {name}{'' if holds else f': {str(seen)[:600]}'}", flush=True)


def same(name, seen, expected):
    check(name, seen == expected, f"{seen!r} instead of {expected!r}")


def refused(name, call, code, words=""):
    """The call fails with that code, and with these words in its message."""
    try:
        answer = call()
    except ClientError as error:
        told = error.response["Error"]
        check(name, told["Code"] == code and words in told.get("Message", ""), told)
        return error.response
    check(name, False, answer)
    return {}


def report():
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    return 1 if FAILED else 0


class Account:
    """An embedded cloud of its own."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.state = pathlib.Path(self._folder.name) / "state"
        self.state.mkdir()
        self._begin()

    def _begin(self):
        about = self.state / "cloud.json"
        about.unlink(missing_ok=True)
        command = [TARGET / "debug" / "steppe-cloud", "serve", "--state", self.state, "--port", "0"]
        if engine := os.environ.get("STEPPE_ENGINE"):
            command += ["--engine", engine]
        self._log = open(self.state.parent / "log", "a")
        self._process = subprocess.Popen(list(map(str, command)), stdout=self._log, stderr=self._log)
        while not about.exists():
            if self._process.poll() is not None:
                raise SystemExit(f"the embedded cloud did not start:\n{(self.state.parent / 'log').read_text()}")
            time.sleep(0.01)
        self.keys = json.loads((self.state / "credentials.json").read_text())
        self.endpoint = f"http://127.0.0.1:{json.loads(about.read_text())['port']}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()
        self._folder.cleanup()

    def kill_and_begin_again(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)
        self._log.close()
        self._begin()

    @property
    def pid(self):
        return self._process.pid

    def log(self):
        return (self.state.parent / "log").read_text()

    def client(self, service, keys=None, retries=0):
        keys = keys or {"aws_access_key_id": self.keys["access_key_id"], "aws_secret_access_key": self.keys["secret_access_key"]}
        config = Config(retries={"max_attempts": retries}, max_pool_connections=50)
        return boto3.client(service, region_name="us-east-1", endpoint_url=self.endpoint, config=config, **keys)

    def advance(self, seconds):
        """Puts the cloud's clock forward."""
        identity = (self.state / "identity").read_text()
        body = json.dumps({"seconds": seconds}).encode()
        request = urllib.request.Request(f"{self.endpoint}/_steppe/clock", body, {"x-steppe-identity": identity}, method="POST")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())["now"]

    def role(self, name, statements, service="lambda.amazonaws.com"):
        """A role with these statements; its ARN."""
        iam = self.client("iam")
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}, {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}]}
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        policy = {"Version": "2012-10-17", "Statement": statements}
        iam.put_role_policy(RoleName=name, PolicyName="policy", PolicyDocument=json.dumps(policy))
        return f"arn:aws:iam::000000000000:role/{name}"

    def as_role(self, arn):
        """Keys of a session of the role."""
        keys = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return {"aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"], "aws_session_token": keys["SessionToken"]}


def until(name, look, limit=30):
    """Waits for what other processes do, not for time: `look` answers something true within the limit."""
    end = time.monotonic() + limit
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            check(name, False, "it did not come")
            return seen
        time.sleep(0.02)
