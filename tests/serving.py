"""Serving and training beside peers, in one run on one machine: tables in Markdown.

Peers are Flask + gunicorn + PyTorch (what the original system uses) and FastAPI + uvicorn + onnxruntime, with the same
weights, the same requests and, to a millionth, the same answers.
"""

import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from support import ROOT, TARGET, ModelServer, history

PEERS = ROOT / "tests" / "peers"
SECONDS = 5
ROUNDS = 3
SCRIPT = 'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\nwrk.body=[==[%s]==]\n'
ROW = {
    "gender": "Male", "age": 67, "hypertension": False, "heart_disease": True, "ever_married": True, "work_type": "Private",
    "residence_type": "Urban", "avg_glucose_level": 128.69, "bmi": 36.6, "smoking_status": "formerly smoked",
}
PACED = "function delay() return math.random() < %s and %d or 0 end\n"


def example(name, *arguments):
    command = [TARGET / "release" / "examples" / name, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def load(url, connections, delay=None, asked=None):
    """Requests per second, and latencies in milliseconds at the middle and the 99th percentile."""
    body = SCRIPT % json.dumps(asked or {"histories": [history()]}) + (PACED % delay if delay is not None else "")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(body)
        script.flush()
        command = ["wrk", "-t2", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", script.name, f"{url}/predict"]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise SystemExit(f"{url} did not answer every request:\n{out}")
    unit = {"us": 0.001, "ms": 1, "s": 1000}
    latency = {p: float(v) * unit[u] for p, v, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)\n", out)}
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), latency["50"], latency["99"]


class Peer:
    """A server in Python with two workers, one per core."""

    def __init__(self, folder, port, *command, rows=None):
        self.rows = rows
        self.url = f"http://127.0.0.1:{port}"
        tool = pathlib.Path(sys.executable).with_name(command[0])
        environment = os.environ | {"PEER_MODEL": str(folder), "OMP_NUM_THREADS": "1", "PEER_ROWS_MODEL": rows or ""}
        self._process = subprocess.Popen([tool, *command[1:]], cwd=PEERS, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        for _ in range(120):
            try:
                self.answer()
                time.sleep(1)  # The other worker.
                return self
            except OSError:
                time.sleep(0.5)
        raise SystemExit(f"{self.url} did not start")

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(timeout=30)

    def answer(self):
        return row_answer(self.url) if self.rows else answer(self.url)


def answer(url):
    request = urllib.request.Request(f"{url}/predict", json.dumps({"histories": [history()]}).encode(), {"Content-Type": "application/json"})
    return [s["value"] for s in json.load(urllib.request.urlopen(request, timeout=30))["forecasts"][0]["steps"]]


def row_answer(url):
    request = urllib.request.Request(f"{url}/predict", json.dumps({"rows": [ROW]}).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=30))["rows"][0]["probability"]


def rows(folder):
    """A row over HTTP. Everybody fits on the same rows; scikit-learn's answers are the same up to its other penalty."""
    def peer(port, workers, model):
        command = ["uvicorn", "--workers", str(workers), "--port", str(port), "--log-level", "warning", "--no-access-log", "fastapi_rows:app"]
        return lambda: Peer(folder, port, *command, rows=model)

    plain, explained = {"rows": [ROW]}, {"rows": [ROW], "explain": True}
    servers = {
        "Steppe, logistic": (lambda: ModelServer("logistic", folder), plain),
        "Steppe, logistic, with reasons": (lambda: ModelServer("logistic"), explained),
        "Steppe, random forest": (lambda: ModelServer("random-forest"), plain),
        "Steppe, random forest, with reasons": (lambda: ModelServer("random-forest"), explained),
        "FastAPI, uvicorn × 2, scikit-learn logistic on data frames": (peer(9924, 2, "logistic"), plain),
        "FastAPI, uvicorn × 2, scikit-learn logistic on arrays": (peer(9925, 2, "logistic-arrays"), plain),
        "FastAPI, uvicorn × 2, xgboost": (peer(9926, 2, "xgboost"), plain),
    }
    results, answers = {name: [] for name in servers}, {}
    for _ in range(ROUNDS):
        for name, (start, asked) in servers.items():
            with start() as server:
                answers[name] = row_answer(server.url)
                results[name].append(load(server.url, 16, asked=asked))
    rate = {name: statistics.median(r[0] for r in runs) for name, runs in results.items()}
    print(f"\nOne row of ten columns over HTTP, 16 connections, median of {ROUNDS} runs in turn\n")
    print("| server | requests/s | p50 ms | p99 ms | Steppe's logistic is faster by | answer |\n|---|---:|---:|---:|---:|---:|")
    for name, runs in results.items():
        p50, p99 = (statistics.median(r[i] for r in runs) for i in (1, 2))
        print(f"| {name} | {rate[name]:,.0f} | {p50:.2f} | {p99:.2f} | {rate['Steppe, logistic'] / rate[name]:.1f}× | {answers[name]:.3f} |")


def serving(folder):
    expected = None
    servers = {
        "Steppe": lambda: ModelServer("lstm", folder),
        "Steppe, constant answer": lambda: ModelServer("last-value"),
        "Flask, gunicorn × 2, PyTorch": lambda: Peer(folder, 9921, "gunicorn", "-w", "2", "-b", "127.0.0.1:9921", "flask_torch:app"),
        "FastAPI, uvicorn × 2, onnxruntime": lambda: Peer(folder, 9922, "uvicorn", "--workers", "2", "--port", "9922", "--log-level", "warning", "--no-access-log", "fastapi_onnx:app"),
        "FastAPI, uvicorn × 1, onnxruntime": lambda: Peer(folder, 9923, "uvicorn", "--port", "9923", "--log-level", "warning", "--no-access-log", "fastapi_onnx:app"),
    }
    results = {name: [] for name in servers}
    for _ in range(ROUNDS):  # In turn, so that noise of the machine meets all of them.
        for name, start in servers.items():
            with start() as server:
                got = answer(server.url)
                if name == "Steppe":
                    expected = got
                elif "constant" not in name and max(abs(a / b - 1) for a, b in zip(got, expected)) > 1e-6:
                    raise SystemExit(f"{name} answers {got}, Steppe {expected}")
                results[name].append(load(server.url, 16))
    rate = {name: statistics.median(r[0] for r in runs) for name, runs in results.items()}
    print(f"\nOne LSTM forecast over HTTP (sequence 24, hidden 64, 12 steps), 16 connections, median of {ROUNDS} runs in turn\n")
    print("| server | requests/s | p50 ms | p99 ms | Steppe is faster by |\n|---|---:|---:|---:|---:|")
    for name, runs in results.items():
        p50, p99 = (statistics.median(r[i] for r in runs) for i in (1, 2))
        print(f"| {name} | {rate[name]:,.0f} | {p50:.2f} | {p99:.2f} | {rate['Steppe'] / rate[name]:.1f}× |")


def under_load():
    with ModelServer() as server:
        peak = load(server.url, 64)
        print(f"\n64 connections: peak {peak[0]:,.0f} requests/s, p99 {peak[2]:.2f} ms; {server.resident_mb():.1f} MB resident")
        # Share of the requests that wait, and milliseconds: wrk has no rate, so the one nearest to it is reported.
        paced = [load(server.url, 64, delay) for delay in ((0.25, 1), (0.5, 1), (0.75, 1), (1, 1), (1, 2))]
        near = min(paced, key=lambda r: abs(r[0] / peak[0] - 0.8))
        print(f"64 connections at {near[0] / peak[0]:.0%} of peak: {near[0]:,.0f} requests/s, p50 {near[1]:.2f} ms, p99 {near[2]:.2f} ms")


def forward(folder):
    ours = [line.split() for line in example("latency", folder)]
    code = """
import sys, time, torch
sys.path.insert(0, %r)
from network import Model
torch.set_num_threads(1)
m = Model(%r); net = m.torch()
for batch in (1, 32):
    x = torch.full((batch, m.context, m.features), 0.1)
    with torch.inference_mode():
        for _ in range(200): net(x)
        times = []
        for _ in range(300):
            t = time.perf_counter(); net(x); times.append(time.perf_counter() - t)
    print("torch", batch, sorted(times)[150] * 1e6)
import onnxruntime
o = onnxruntime.SessionOptions(); o.intra_op_num_threads = 1
s = onnxruntime.InferenceSession(m.onnx(), o, providers=["CPUExecutionProvider"])
for batch in (1, 32):
    x = torch.full((batch, m.context, m.features), 0.1).numpy()
    for _ in range(200): s.run(None, {"x": x})
    times = []
    for _ in range(300):
        t = time.perf_counter(); s.run(None, {"x": x}); times.append(time.perf_counter() - t)
    print("onnxruntime", batch, sorted(times)[150] * 1e6)
""" % (str(PEERS), str(folder))
    peers = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    print("\nForward pass, one thread, median\n\n| | batch | µs |\n|---|---:|---:|")
    for name, batch, micros in [*ours, *(line.split() for line in peers)]:
        print(f"| {name} | {batch} | {float(micros):.1f} |")


def training():
    ours, torch = [], []
    for _ in range(ROUNDS):
        windows, epochs, seconds = example("training_cost", "speed")[0].split()
        ours.append(float(seconds))
        command = [sys.executable, PEERS / "training_torch.py", windows, epochs, str(os.cpu_count())]
        torch.append(float(subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout))
    print(f"\nTraining, {windows} windows, {epochs} epochs, batch 64, {os.cpu_count()} threads, median of {ROUNDS} runs in turn\n")
    print("| | seconds |\n|---|---:|")
    print(f"| Steppe | {statistics.median(ours):.2f} |\n| PyTorch | {statistics.median(torch):.2f} |")
    print("\nBacktest, training (one epoch) and forecasts of monthly series\n\n| series | windows | seconds | ms per series |\n|---:|---:|---:|---:|")
    for line in example("training_cost", "growth"):
        series, windows, seconds = line.split()
        print(f"| {int(series):,} | {int(windows):,} | {seconds} | {float(seconds) * 1000 / int(series):.2f} |")


PARTS = {"series": serving, "rows": rows, "forward": forward, "load": lambda _: under_load(), "training": lambda _: training()}


def main():
    """All parts, or those that are named."""
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or PARTS:
            PARTS[name](f"{folder}/rows" if name == "rows" else folder)


if __name__ == "__main__":
    main()
