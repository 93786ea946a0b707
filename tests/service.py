"""The model server as others use it: Triton's client, an API fuzzer, hostile clients, a million requests."""

import http.client
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

import numpy
import tritonclient.http as triton
from support import ModelServer, history
from tritonclient.utils import InferenceServerException

PASSED, FAILED = [], []
REQUESTS = 1_000_000


def check(name, holds, seen=""):
    (PASSED if holds else FAILED).append(name)
    print(f"{'ok    ' if holds else 'FAILED'} {name}{'' if holds else f': {str(seen)[:600]}'}", flush=True)


def post(server, body, path="/predict", headers=None):
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.request("POST", path, body if isinstance(body, (str, bytes)) else json.dumps(body), {"Content-Type": "application/json"} | (headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text)


def bad_input(server):
    """Each kind of bad input gets the documented problem; gaps get the documented repair."""
    h = history()
    values = lambda *new: {"histories": [h | {"values": [*h["values"][:-len(new)], *new]}]}
    cases = {
        "negative values": (values(-5), 422, "bad-history", "value 25 is -5"),
        "infinite values": (json.dumps(values(1)).replace("1]", "1e999]"), 400, "invalid-request", "number out of range"),
        "NaN": (json.dumps(values(float("nan"))), 400, "invalid-request", "the body is not a request"),
        "a long gap": (values(None, None, None, None, 100), 422, "bad-history", "4 values in a row are missing"),
        "a missing last value": (values(None), 422, "bad-history", "the first and the last value must be known"),
        "a period that is none": ({"histories": [h | {"observed_until": "2021-13"}]}, 422, "bad-history", "expected a monthly period"),
        "a horizon beyond training": ({"histories": [h], "horizon": 13}, 422, "horizon", "forecasts 1 to 12 steps"),
        "a horizon of zero": ({"histories": [h], "horizon": 0}, 422, "horizon", "the horizon is 0"),
        "no version of a model": ({"histories": [h], "model_version": "old"}, 400, "invalid-request", "is not a version"),
        "values beyond numbers": (values(1e300), 422, "not-finite", "is not a finite number"),
        "another model version": ({"histories": [h], "model_version": "0123456789abcdef"}, 409, "wrong-model-version", "is not in service"),
        "an unknown feature": ({"histories": [h | {"features": {"rain": [1]}}]}, 422, "bad-history", "does not know"),
        "an unknown field": ({"histories": [h], "horizont": 3}, 400, "invalid-request", "unknown field `horizont`"),
        "no histories": ({"histories": []}, 400, "invalid-request", "must not be empty"),
        "too many histories": ({"histories": [h] * 700}, 413, "body-too-large", "larger than"),
        "10 MB": ("x" * 10_000_000, 413, "body-too-large", "larger than"),
        "another bucket": ({"series": "a", "dataset_key": "k", "bucket_name": "b"}, 403, "wrong-bucket", "reads only"),
    }
    for name, (body, status, problem, detail) in cases.items():
        try:
            got, answer = post(server, body)
            holds = got == status and answer["type"] == f"/problems/{problem}" and detail in answer["detail"]
            check(f"{name}: {status} {problem}", holds, (got, answer))
        except (BrokenPipeError, ConnectionResetError):
            # The server answers and closes before it has read everything; whether the answer is seen is a matter of timing.
            check(f"{name}: refused while it was sent", status == 413)
    status, answer = post(server, values(None, 130.0))
    check("a gap is filled and counted", status == 200 and answer["forecasts"][0].get("repaired") == 1, (status, answer))
    status, answer = post(server, {"histories": [h], "horizon": 3, "quantiles": True})
    steps = answer["forecasts"][0]["steps"]
    ordered = all([q["value"] for q in s["quantiles"]] == sorted(q["value"] for q in s["quantiles"]) for s in steps)
    check("quantiles come when they are asked for, ascending", status == 200 and len(steps) == 3 and ordered and steps[0]["quantiles"], answer)


def batches(server):
    one = post(server, {"histories": [history()]})[1]["forecasts"][0]["steps"]
    many = post(server, {"histories": [history()] * 7})[1]["forecasts"]
    check("seven histories at once have the forecast of one", all(f["steps"] == one for f in many), many)


def open_inference_protocol(server):
    client = triton.InferenceServerClient(server.address)
    index = client.get_model_repository_index()
    name, version = index[0]["name"], index[0]["version"]
    check("triton: live, ready, model ready", client.is_server_live() and client.is_server_ready() and client.is_model_ready(name, version))
    check("triton: server metadata", client.get_server_metadata()["name"] == "steppe-server")
    metadata = client.get_model_metadata(name)
    check("triton: model metadata", [o["name"] for o in metadata["outputs"]] == ["value", "lower", "upper"], metadata)
    check("triton: model config", client.get_model_config(name)["input"][0]["data_type"] == "TYPE_FP64")
    h = history()
    expected = [s["value"] for s in post(server, {"histories": [h]})[1]["forecasts"][0]["steps"]]
    for binary in (False, True):
        values = triton.InferInput("history", [2, 25], "FP64")
        values.set_data_from_numpy(numpy.array([h["values"]] * 2), binary_data=binary)
        until = triton.InferInput("observed_until", [2], "BYTES")
        until.set_data_from_numpy(numpy.array([h["observed_until"].encode()] * 2, dtype=object), binary_data=binary)
        outputs = [triton.InferRequestedOutput(o, binary_data=binary) for o in ("value", "upper")]
        result = client.infer(name, [values, until], model_version=version, outputs=outputs, request_id="r1")
        got = result.as_numpy("value")
        holds = got.shape == (2, 12) and numpy.allclose(got[1], expected, rtol=1e-12) and (result.as_numpy("upper") >= got).all()
        check(f"triton: infer, {'binary' if binary else 'JSON'} tensors, equals /predict", holds, got)
        check(f"triton: request id comes back ({binary})", result.get_response()["id"] == "r1")
    for what, call in {
        "an unknown model": lambda: client.get_model_metadata("nothing"),
        "another version": lambda: client.infer(name, [values, until], model_version="7"),
        "a missing input": lambda: client.infer(name, [values]),
    }.items():
        try:
            call()
            check(f"triton: {what} is refused", False)
        except InferenceServerException as error:
            check(f"triton: {what} is refused", True, error)


ROW = {
    "gender": "Male", "age": 67, "hypertension": False, "heart_disease": True, "ever_married": True, "work_type": "Private",
    "residence_type": "Urban", "avg_glucose_level": 128.69, "bmi": 36.6, "smoking_status": "formerly smoked",
}


def bad_rows(server):
    """Each kind of bad row gets the documented problem, with the row and the column."""
    body = {"rows": [ROW, ROW]}
    with_row = lambda **new: {"rows": [ROW, ROW | new]}
    cases = {
        "a number as text": (with_row(age="67"), 422, "bad-row", 'rows[1]: `age` is `"67"`'),
        "an unknown column": (with_row(agee=67), 422, "bad-row", "did you mean `age`?"),
        "a missing column": ({"rows": [{k: v for k, v in ROW.items() if k != "bmi"}]}, 422, "bad-row", "lacks `bmi`; send null"),
        "NaN in a row": (with_row(bmi=float("nan")), 400, "invalid-request", "send null where a value is missing"),
        "no rows": ({"rows": []}, 400, "invalid-request", "send at least one row"),
        "rows and entities": (body | {"entities": ["a"]}, 400, "invalid-request", "send one of them"),
        "a threshold that is none": (body | {"threshold": 2}, 400, "invalid-request", "0 to 1"),
        "histories instead of rows": ({"histories": [history()]}, 400, "invalid-request", "unknown field `histories`"),
    }
    for name, (body, status, problem, detail) in cases.items():
        got, answer = post(server, body)
        check(f"{name}: {status} {problem}", got == status and answer["type"] == f"/problems/{problem}" and detail in answer["detail"], (got, answer))


def rows_as_tensors(server):
    client = triton.InferenceServerClient(server.address)
    index = client.get_model_repository_index()[0]
    metadata = client.get_model_metadata(index["name"])
    check("triton: a tensor per column", [i["name"] for i in metadata["inputs"]] == list(ROW), metadata)
    scored = post(server, {"rows": [ROW], "explain": True})[1]["rows"][0]
    effects = {reason["column"]: reason["effect"] for reason in scored["reasons"]}
    for binary in (False, True):
        inputs = []
        for name, value in ROW.items():
            text = isinstance(value, str)
            values = numpy.array([value.encode() if text else value] * 3, dtype=object if text else float)
            tensor = triton.InferInput(name, [3], "BYTES" if text else "FP64")
            tensor.set_data_from_numpy(values, binary_data=binary)
            inputs.append(tensor)
        outputs = [triton.InferRequestedOutput(o, binary_data=binary) for o in ("probability", "effects")]
        result = client.infer(index["name"], inputs, model_version=index["version"], outputs=outputs)
        same = numpy.allclose(result.as_numpy("probability"), scored["probability"], rtol=1e-12)
        told = numpy.allclose(result.as_numpy("effects")[2], [effects[name] for name in ROW], rtol=1e-9, atol=1e-12)
        check(f"triton: rows, {'binary' if binary else 'JSON'} tensors, equal /predict with reasons", same and told, result.get_response())


def api_fuzzer(server):
    command = [pathlib.Path(sys.executable).with_name("schemathesis"), "run", f"{server.url}/openapi.json", "--seed", "1", "--max-examples", "60"]
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    done = subprocess.run([*map(str, command), "--checks", checks, "--phases", "examples,coverage,fuzzing"], capture_output=True, text=True)
    check("schemathesis: answers conform to the OpenAPI document", done.returncode == 0, done.stdout[-3000:] + done.stderr[-500:])
    print("   ", next((l for l in reversed(done.stdout.splitlines()) if "generated" in l.lower() or "passed" in l.lower()), "").strip())


def pages_of_other_sites(server):
    """What a browser sends for somebody else's page gets no answer that the page may use."""
    body = {"histories": [history()]}
    cases = {
        "a page behind DNS rebinding": ({"Host": "evil.example"}, 421, "wrong-host"),
        "a page of another site": ({"Origin": "http://evil.example"}, 403, "other-site"),
        "a form of another site": ({"Content-Type": "text/plain"}, 415, "not-json"),
        "an image of another site": ({"Sec-Fetch-Site": "cross-site"}, 403, "other-site"),
    }
    for name, (headers, status, problem) in cases.items():
        got, answer = post(server, body, headers=headers)
        check(f"{name}: {status} {problem}", got == status and answer["type"] == f"/problems/{problem}", (got, answer))


def clients_that_take_nothing(server):
    """A hundred thousand requests whose answers nobody takes do not gather."""
    host, port = server.address.split(":")
    before, request = server.resident_mb(), b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connections = [socket.create_connection((host, int(port))) for _ in range(20)]
    for connection in connections:
        connection.settimeout(0.2)
        try:
            connection.sendall(request * 100_000)
        except TimeoutError:
            pass
    after = server.resident_mb()
    check(f"unread answers do not gather ({before:.0f} MB before, {after:.0f} MB after)", after - before < 40)
    idle = [socket.create_connection((host, int(port))) for _ in range(600)]
    status, _ = post(server, {"histories": [history()]})
    check("six hundred idle connections do not keep a client out", status == 200)
    for connection in connections + idle:
        connection.close()


def slow_clients(server):
    """Connections that send a byte now and then do not keep others waiting."""
    address = tuple(server.address.split(":"))
    slow = []
    for i in range(100):
        s = socket.create_connection((address[0], int(address[1])))
        s.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + (b"Content-Length: 100\r\n\r\n{" if i % 2 else b""))
        slow.append(s)
    started = time.perf_counter()
    status, _ = post(server, {"histories": [history()]})
    check("a hundred slow clients do not delay a quick one", status == 200 and time.perf_counter() - started < 1, status)
    slow[1].settimeout(15)
    answer = slow[1].recv(4096).decode(errors="replace")
    check("a body that does not come meets the deadline", " 503 " in answer and "/problems/deadline" in answer, answer)
    for s in slow:
        s.close()


MIXED = """
local bodies = {%s}
local paths = {"/predict", "/predict", "/predict", "/v2/models/bench/infer", "/nothing"}
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", paths[n %% #paths + 1], {["Content-Type"] = "application/json"}, bodies[n %% #bodies + 1])
end
"""


def a_million_requests(server):
    h = history()
    bodies = [
        {"histories": [h]}, {"histories": [h, h]}, {"histories": [h | {"values": h["values"][:3]}]}, {"histories": [h | {"values": [-1]}]},
        {"histories": 7}, {"series": "a", "dataset_key": "../x", "bucket_name": "data"}, {"histories": [h], "horizon": 99}, "{", "", "\\0\\255", "[" * 3000,
    ]
    lua = ", ".join("[==[" + (b if isinstance(b, str) else json.dumps(b)) + "]==]" for b in bodies)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(MIXED % lua)
        script.flush()
        command = ["wrk", "-t2", "-c64", "-s", script.name, server.url]
        subprocess.run([*command, "-d3s"], capture_output=True, check=True)
        before, counted, seconds = server.resident_mb(), 0, 0
        while counted < REQUESTS and seconds < 120:
            done = subprocess.run([*command, "-d10s"], capture_output=True, text=True, check=True).stdout
            counted += int(re.search(r"(\d+) requests in", done).group(1))
            seconds += 10
            errors = re.search(r"Socket errors: (.*)", done)
            if errors:
                check("no connection breaks", False, errors.group(1))
    after = server.resident_mb()
    connection = http.client.HTTPConnection(server.address)
    connection.request("GET", "/metrics")
    statuses = {}
    for status, count in re.findall(r'steppe_requests_total\{path="[^"]*",status="(\d+)"\} (\d+)', connection.getresponse().read().decode()):
        statuses[status] = statuses.get(status, 0) + int(count)
    check(f"{counted:,} mixed requests: statuses {statuses}, none is the server's fault but slow bodies", counted >= REQUESTS and set(statuses) <= {"200", "400", "403", "404", "405", "409", "413", "415", "421", "422", "503"} and statuses.get("503", 0) <= 60, statuses)
    check(f"memory does not grow ({before:.1f} MB before, {after:.1f} MB after) and stays below 60 MB", after < 60 and after - before < 8)


def main():
    with ModelServer() as server:
        for part in (bad_input, batches, open_inference_protocol, api_fuzzer, pages_of_other_sites, slow_clients, clients_that_take_nothing, a_million_requests):
            part(server)
    with ModelServer("logistic") as server:
        for part in (bad_rows, rows_as_tensors, api_fuzzer):
            part(server)
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    sys.exit(1 if FAILED else 0)


if __name__ == "__main__":
    main()
