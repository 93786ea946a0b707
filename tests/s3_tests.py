"""Ceph's s3-tests (https://github.com/ceph/s3-tests, MIT) against the embedded cloud.

The suite is not part of this repository: STEPPE_S3_TESTS names a checkout of it. Every test that fails has to be in
`tests/s3_tests.txt`, below a heading with its class and the reason:

    R  the embedded cloud refuses by name, with 501: the heading is its words
    A  the test fails on AWS as well
    E  the test needs a second account, which there is not

A failure that is not there, a refusal in other words, and a listed test that passes are errors. `--write` rewrites the
classes R, keeps A and E, and puts what has to be judged by somebody below `[W]`.

What Ceph alone has is left out: its bucket logging, its tiers in other clouds, S3 Select, its days of ten seconds; so
are `test_iam.py`, `test_sts.py` and `test_sns.py`, which begin with users of IAM.
"""

import collections
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

LIST = pathlib.Path(__file__).with_suffix(".txt")
FILES = ["s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py"]
OUTSIDE = ["bucket_logging", "cloud_transition", "cloud_restore", "target_by_bucket"]
# Parameters of copies: hundreds of them would say the same, that keys of clients and of KMS are refused.
REFUSED = ["sse-c", "sse-kms"]
# A day of the suite lasts as long: what sleeps for days fails anyway, so it may fail soon.
DAY_SECS = 1
# Who is somebody else to the bucket's owner may do nothing but what policies of buckets allow.
OTHERS = ["s3 alt", "s3 tenant", "iam", "iam root", "iam alt root"]
# Errors of single keys have the key between code and message; what follows a comma names buckets.
REFUSAL = re.compile(
    r"<Code>NotImplemented</Code>(?:<Key>[^<]*</Key>)?<Message>.*?[Tt]he embedded cloud does not implement ([^,<]*)"
)
CONFIGURATION = """
[DEFAULT]
host = localhost
port = {port}
is_secure = False
ssl_verify = False

[fixtures]
bucket prefix = s3tests-{{random}}-

[s3 main]
display_name =
user_id = {owner}
email = main@example.com
access_key = {access_key_id}
secret_key = {secret_access_key}
lc_debug_interval = {day}
storage_classes = STANDARD_IA, ONEZONE_IA
"""
OTHER = """
[{name}]
display_name =
user_id = {role}
email = {role}@example.com
tenant = other
access_key = {AccessKeyId}
secret_key = {SecretAccessKey}
"""


# As a plugin of pytest: sends session tokens, which the suite does not know, and notes what was refused.


class Watch:
    """Notes of every test how it ended, and the last error that it was answered with."""

    def __init__(self, out):
        self.out, self.answers = out, []

    def see(self, status, text):
        if status >= 400 or "<Code>NotImplemented</Code>" in text:
            self.answers.append((status, text))

    def refusal(self):
        """The words of the last error when it was a refusal."""
        status, text = self.answers[-1] if self.answers else (0, "")
        found = REFUSAL.search(text)
        if found:
            return found.group(1).removesuffix(".")
        # Answers to HEAD have no words.
        return "an operation that is asked for by HEAD" if status == 501 else None

    def pytest_runtest_call(self, item):
        self.answers.clear()

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            ended = {"name": report.nodeid.split("::")[1], "when": report.when, "outcome": report.outcome}
            ended["refusal"] = self.refusal() if report.when == "call" else None
            ended["text"] = "" if report.longrepr is None else str(report.longrepr)[-800:]
            self.out.write(json.dumps(ended) + "\n")
            self.out.flush()


def pytest_collection_modifyitems():
    """Cleans up with one client: the suite makes six for every test, which is most of its time."""
    from s3tests import functional

    clients = []

    def clean():
        clients.extend([functional.get_client()] if not clients else [])
        functional.nuke_prefixed_buckets(functional.get_prefix(), clients[0])

    functional.setup = functional.teardown = clean


def pytest_configure(config):
    import boto3
    import botocore.httpsession
    import requests

    tokens = json.loads(os.environ["STEPPE_S3_TESTS_TOKENS"])
    watch = Watch(open(os.environ["STEPPE_S3_TESTS_RESULTS"], "w"))
    config.pluginmanager.register(watch)

    def with_token(make):
        def made(*args, **options):
            token = tokens.get(options.get("aws_access_key_id"))
            options |= {"aws_session_token": token} if token else {}
            return make(*args, **options | {"region_name": options.get("region_name") or "us-east-1"})

        return made

    def seen_by_botocore(session, request, send=botocore.httpsession.URLLib3Session.send):
        response = send(session, request)
        watch.see(response.status_code, "" if request.stream_output else response.text)
        return response

    def seen_by_requests(session, method, url, ask=requests.Session.request, **options):
        response = ask(session, method, url, **options)
        watch.see(response.status_code, response.text)
        return response

    boto3.client, boto3.resource = with_token(boto3.client), with_token(boto3.resource)
    botocore.httpsession.URLLib3Session.send = seen_by_botocore
    requests.Session.request = seen_by_requests


# As a program.


def other_callers(environment):
    """Sessions of roles that may list buckets and nothing else, by the suite's names for other users."""
    import boto3

    options = {"endpoint_url": environment["AWS_ENDPOINT_URL"], "region_name": environment["AWS_REGION"]}
    options |= {"aws_access_key_id": environment["AWS_ACCESS_KEY_ID"]}
    options |= {"aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"]}
    iam, sts = boto3.client("iam", **options), boto3.client("sts", **options)
    account = sts.get_caller_identity()["Account"]

    def policy(effect):
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | effect]})

    trust = policy({"Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"})
    callers = {}
    for name in OTHERS:
        role = name.replace(" ", "-")
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        listing = policy({"Action": "s3:ListAllMyBuckets", "Resource": "*"})
        iam.put_role_policy(RoleName=role, PolicyName="list", PolicyDocument=listing)
        session = sts.assume_role(RoleArn=arn, RoleSessionName=role, DurationSeconds=3600)
        callers[name] = session["Credentials"] | {"role": role}
    return account, callers


def none_of(words):
    return " and ".join(f"not {word}" for word in words)


def run(suite, folder):
    """Runs the suite against a cloud of its own; how each test ended."""
    from support import EmbeddedCloud

    with EmbeddedCloud() as cloud:
        account, callers = other_callers(cloud.environment)
        text = CONFIGURATION.format(
            port=cloud.endpoint.rsplit(":", 1)[1],
            owner=hashlib.sha256(account.encode()).hexdigest(),
            access_key_id=cloud.environment["AWS_ACCESS_KEY_ID"],
            secret_access_key=cloud.environment["AWS_SECRET_ACCESS_KEY"],
            day=DAY_SECS,
        )
        text += "".join(OTHER.format(name=name, **caller) for name, caller in callers.items())
        configuration, results = folder / "s3tests.conf", folder / "results"
        configuration.write_text(text)
        tokens = {caller["AccessKeyId"]: caller["SessionToken"] for caller in callers.values()}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "S3TEST_CONF": str(configuration),
            "STEPPE_S3_TESTS_TOKENS": json.dumps(tokens),
            "STEPPE_S3_TESTS_RESULTS": str(results),
            "PYTHONPATH": str(LIST.parent),
        }
        command = [sys.executable, "-m", "pytest", "-p", "s3_tests", "-p", "no:cacheprovider", "-q", "--no-header"]
        command += ["--tb=no", "--no-summary", "-m", none_of(OUTSIDE), "-k", none_of(REFUSED), *FILES]
        subprocess.run(command, cwd=suite, env=environment, check=False)
        return [json.loads(line) for line in results.read_text().splitlines()]


def read_list():
    """Class and reason by name. Names may have `*` for any parameters."""
    listed, heading = {}, None
    for line in LIST.read_text().splitlines() if LIST.exists() else []:
        if line.startswith("["):
            heading = (line[1], line[3:].strip())
        elif line and not line.startswith("#"):
            listed[line] = heading
    return listed


def entry_of(listed, name):
    """The line of the list that means a test."""
    if name in listed:
        return name
    patterns = (line for line in listed if "*" in line)
    return next((p for p in patterns if re.fullmatch(re.escape(p).replace(r"\*", ".*"), name)), None)


def judge(results, listed):
    """Counts by class, and what is wrong."""
    counts, wrong, used = collections.Counter(), [], set()
    for ended in results:
        name, line = ended["name"], entry_of(listed, ended["name"])
        if ended["outcome"] != "failed":
            counts[ended["outcome"]] += 1
            if line == name:
                used.add(line)
                wrong.append(f"{name} is in the list and {ended['outcome']}")
            continue
        used.add(line)
        kind, reason = listed.get(line, ("W", ""))
        counts[kind] += 1
        if kind == "R" and ended["refusal"] != reason:
            wrong.append(f"{name} is refused otherwise: {ended['refusal'] or ended['text']}")
        elif kind == "W":
            wrong.append(f"{name} is not in the list: {ended['refusal'] or ended['text']}")
    wrong += [f"{line} is in the list and there is no such failure" for line in set(listed) - used]
    return counts, wrong


def write_list(results, listed):
    """Keeps what was judged, and writes down anew what is refused."""
    sections = collections.defaultdict(set)
    for ended in (ended for ended in results if ended["outcome"] == "failed"):
        line = entry_of(listed, ended["name"])
        kind, reason = listed.get(line, ("W", "to be judged"))
        if ended["refusal"] and kind in "RW":
            sections["R", ended["refusal"]].add(ended["name"])
        else:
            sections[kind, reason].add(line or ended["name"])
    text = "# Tests of Ceph's suite that may fail; tests/s3_tests.py says what the classes mean.\n"
    for (kind, reason), names in sorted(sections.items()):
        text += f"\n[{kind}] {reason}\n" + "".join(f"{name}\n" for name in sorted(names))
    LIST.write_text(text)


def main():
    suite = os.environ.get("STEPPE_S3_TESTS")
    if not suite or not (pathlib.Path(suite) / FILES[0]).exists():
        raise SystemExit(
            "STEPPE_S3_TESTS has to name a checkout of https://github.com/ceph/s3-tests, which is not part of this "
            "repository; its requirements.txt has to be installed beside boto3"
        )
    with tempfile.TemporaryDirectory() as folder:
        results = run(suite, pathlib.Path(folder))
    if "--write" in sys.argv:
        write_list(results, read_list())
    counts, wrong = judge(results, read_list())
    print("\n| passed | refused by name (R) | fails on AWS (A) | second account (E) | wrong (W) | skipped by the suite |")
    print("|---:|---:|---:|---:|---:|---:|")
    print("| " + " | ".join(str(counts[kind]) for kind in ["passed", "R", "A", "E", "W", "skipped"]) + " |\n")
    print("\n".join(wrong))
    sys.exit(1 if wrong or not results else 0)


if __name__ == "__main__":
    main()
