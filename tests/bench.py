"""Measured times and sizes on this machine, as a Markdown table. Each time is the median of several runs."""

import io
import os
import pathlib
import platform
import re
import statistics
import subprocess
import time
import zlib

import boto3
from botocore.config import Config
from support import ROOT, TARGET, Checkout

RUNS = 5


def timed(checkout, *arguments):
    """Seconds of a verb as users type it: with cargo's own look at what there is to build."""
    environment = {k: v for k, v in checkout.environment.items() if k != "STEPPE_SKIP_BUILD"}
    command = ["cargo", "xtask", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def resident_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def pids_of(name, folder):
    """Processes called `name` whose command line or executable lies under `folder` or that it serves."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if name in line.split("\0")[0] and str(folder) in line:
            found.append(int(entry.name))
    return found


def objects(environment):
    """Seconds of S3 over one connection that is kept."""
    s3 = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(max_pool_connections=1),
    )
    bucket, small, large = "bench", bytes(1024), bytes(64 * 1024 * 1024)
    s3.create_bucket(Bucket=bucket)

    def put():
        for number in range(1000):
            s3.put_object(Bucket=bucket, Key=str(number), Body=small)

    def get():
        for number in range(1000):
            s3.get_object(Bucket=bucket, Key=str(number))["Body"].read()

    work = {
        "1,000 PUTs of 1 KB, s": put,
        "1,000 GETs of 1 KB, s": get,
        "PUT of 64 MB, s": lambda: s3.put_object(Bucket=bucket, Key="large", Body=large),
        "GET of 64 MB, s": lambda: s3.get_object(Bucket=bucket, Key="large")["Body"].read(),
        "upload of 64 MB in parts, s": lambda: s3.upload_fileobj(io.BytesIO(large), bucket, "parts"),
    }
    seconds = {}
    for name, run in work.items():
        started = time.perf_counter()
        run()
        seconds[name] = time.perf_counter() - started
    return seconds


def once(results):
    def note(name, value):
        results.setdefault(name, []).append(value)

    with Checkout() as checkout:
        started = time.perf_counter()
        checkout.run("local", "start")
        note("embedded cloud starts, s", time.perf_counter() - started)
        time.sleep(0.5)
        note("embedded cloud idle, MB", resident_mb(pids_of("steppe-cloud", checkout.folder)[0]))
        for name, seconds in objects(checkout.aws_environment()).items():
            note(name, seconds)
        checkout.run("local", "stop")
        note("deploy from nothing, s", timed(checkout, "deploy"))
        note("deploy with nothing to change, s", timed(checkout, "deploy"))
        note("smoke-test, s", timed(checkout, "smoke-test"))
        note("model server resident, MB", resident_mb(pids_of("steppe-server", checkout.folder)[0]))
        note("embedded cloud after a smoke test, MB", resident_mb(pids_of("steppe-cloud", checkout.folder)[0]))
        log = checkout.run("logs", "predictor").stdout
        note("Lambda init, ms", max(map(float, re.findall(r"Init Duration: ([\d.]+) ms", log))))
        # What goes to AWS; the embedded cloud runs another build of it.
        binary = (TARGET / "release" / "bootstrap").read_bytes()
        note("Lambda zip, MB", len(zlib.compress(binary)) / 1e6)
        note("destroy, s", timed(checkout, "destroy"))


TARGETS = {
    "deploy from nothing, s": 6,
    "deploy with nothing to change, s": 1,
    "smoke-test, s": 6,
    "destroy, s": 3,
    "embedded cloud starts, s": 0.3,
    "embedded cloud idle, MB": 80,
    "Lambda zip, MB": 6,
    "Lambda init, ms": 50,
    "model server resident, MB": 60,
}


def main():
    results = {}
    for _ in range(RUNS):
        once(results)
    print(f"{os.cpu_count()} cores, {platform.machine()}, median of {RUNS} runs, after the build; times are those of `cargo xtask VERB`\n")
    print("| what | median | worst | target |\n|---|---:|---:|---:|")
    for name, values in results.items():
        target = TARGETS.get(name)
        print(f"| {name} | {statistics.median(values):.2f} | {max(values):.2f} | {f'≤ {target}' if target else ''} |")

if __name__ == "__main__":
    main()
