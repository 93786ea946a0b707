"""What the checks in Python share: binaries, a `.steppe` of their own, the embedded cloud's environment."""

import json
import math
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SHARED_DATA = pathlib.Path(os.environ.get("STEPPE_SHARED_DATA", ROOT.parent / "shared" / "data"))
SWEDEN = SHARED_DATA / "marriages" / "sweden_county_marriages_2000_2022.csv"


class ModelServer:
    """The model server with a model of its own making, on a free port of the loopback interface."""

    def __init__(self, family="lstm", folder=None, environment=None):
        command = [TARGET / "release" / "examples" / "serve_model", family, *([folder] if folder else [])]
        environment = os.environ | {"STEPPE_LISTEN": "127.0.0.1:0"} | (environment or {})
        self._process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.address = self._process.stderr.readline().strip()
        if ":" not in self.address:
            raise SystemExit(f"the model server did not start: {self.address} {self._process.stderr.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(timeout=30)

    @property
    def url(self):
        return f"http://{self.address}"

    def resident_mb(self):
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def history(length=25, until="2021-12"):
    """Observations as a request brings them along."""
    values = [round(100 + 20 * math.sin(2 * math.pi * i / 12) + 0.4 * i, 2) for i in range(length)]
    return {"series": "s0", "observed_until": until, "values": values}


class EmbeddedCloud:
    """An embedded cloud of its own on a free port, and the environment of its clients."""

    PROFILE = "debug"

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._state = pathlib.Path(self._folder.name)
        self._log = open(self._state / "log", "w")
        self._start()

    def _start(self):
        command = [TARGET / self.PROFILE / "steppe-cloud", "serve", "--state", self._state, "--port", "0"]
        about = self._state / "cloud.json"
        about.unlink(missing_ok=True)
        self._process = subprocess.Popen(list(map(str, command)), stdout=self._log, stderr=self._log)
        while not about.exists():
            if self._process.poll() is not None:
                raise SystemExit(f"the embedded cloud did not start:\n{(self._state / 'log').read_text()}")
            time.sleep(0.01)
        keys = json.loads((self._state / "credentials.json").read_text())
        self.endpoint = f"http://127.0.0.1:{json.loads(about.read_text())['port']}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": keys["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()
        self._folder.cleanup()

    @property
    def state(self):
        return self._state

    @property
    def process(self):
        return self._process

    def log(self):
        return (self._state / "log").read_text()

    def advance(self, seconds):
        """Puts the cloud's clock forward."""
        identity = (self._state / "identity").read_text().strip()
        body = json.dumps({"seconds": seconds}).encode()
        request = urllib.request.Request(f"{self.endpoint}/_steppe/clock", body, {"x-steppe-identity": identity})
        return json.load(urllib.request.urlopen(request))["now"]

    def crash(self):
        """Kills the process and starts another one on the same state."""
        self._process.kill()
        self._process.wait(timeout=30)
        self._start()


class Checkout:
    """Runs `xtask` with state and port of its own; stops the embedded cloud at the end."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self.environment |= {"STEPPE_DIR": str(self.folder), "STEPPE_PORT": "0", "STEPPE_SKIP_BUILD": "1"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.run("local", "stop", check=False)
        self._folder.cleanup()

    def run(self, *arguments, check=True, cwd=ROOT):
        command = [TARGET / "debug" / "xtask", *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, cwd=cwd, text=True, capture_output=True, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise SystemExit(f"xtask {' '.join(map(str, arguments))} failed:\n{done.stdout}{done.stderr}")
        return done

    def aws_environment(self):
        exports = self.run("local", "env").stdout.splitlines()
        pairs = dict(line.removeprefix("export ").split("=", 1) for line in exports)
        return self.environment | pairs
