"""What the checks in Python share: binaries, a `.steppe` of their own, the embedded cloud's environment."""

import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SHARED_DATA = pathlib.Path(os.environ.get("STEPPE_SHARED_DATA", ROOT.parent / "shared" / "data"))
SWEDEN = SHARED_DATA / "marriages" / "sweden_county_marriages_2000_2022.csv"


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

    def run(self, *arguments, check=True):
        command = [TARGET / "debug" / "xtask", *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, text=True, capture_output=True, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise SystemExit(f"xtask {' '.join(map(str, arguments))} failed:\n{done.stdout}{done.stderr}")
        return done

    def aws_environment(self):
        exports = self.run("local", "env").stdout.splitlines()
        pairs = dict(line.removeprefix("export ").split("=", 1) for line in exports)
        return self.environment | pairs
