"""The network of an artifact for peers: the same features, weights and answers, in numpy, PyTorch and ONNX."""
import json
import math
import struct

import numpy as np

QUANTILES = 3
POOLED_WEIGHT = 8.0


def tensors(path):
    """Weights from safetensors: eight bytes of length, a JSON header, the values. What is no weight is not 32 bits wide."""
    raw = open(path, "rb").read()
    (length,) = struct.unpack("<Q", raw[:8])
    header, body = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    out = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            out[name] = np.frombuffer(body[start:end], np.float32).reshape(entry["shape"]).copy()
    return out


class Model:
    """Card, weights, and the way from a request to the network's input and from its output to an answer."""

    def __init__(self, folder):
        self.card = json.load(open(f"{folder}/card.json"))
        weights = tensors(f"{folder}/weights.safetensors")
        self.gates, self.head = weights["lstm.0.gates"], weights["lstm.0.head"]
        spec, frame = self.card["spec"], self.card["members"][0]["record"]
        lstm = spec["model"]["lstm"]
        self.context, self.hidden, self.horizon = lstm["context"], lstm["hidden"], spec["task"]["horizon"]
        self.features = self.gates.shape[0] - self.hidden - 1
        self.change, self.step, self.season = frame["change"], frame["step"], 12
        calibration = self.card["calibration"]
        tail = (1 - calibration["level"]) / 2
        at = [min(range(len(calibration["probabilities"])), key=lambda i: abs(calibration["probabilities"][i] - p)) for p in (tail, 1 - tail)]
        self.offsets = np.array(calibration["offsets"])[:, at]

    def window(self, history):
        """Input of the network, naive forecast and unit, for one history of a request."""
        tail = np.log1p(np.array(history["values"][-(self.context + 1 + self.season) :]))
        lag = self.season if len(tail) > self.season else 1
        changes = np.abs(tail[lag:] - tail[:-lag])
        unit = (changes.sum() + POOLED_WEIGHT * self.change) / (len(changes) + POOLED_WEIGHT)
        base = tail[-self.season :][np.arange(self.horizon) % self.season]
        year, month = map(int, history["observed_until"].split("-"))
        last = year * 12 + month - 1
        newest, step_unit = tail[-1], unit * max(self.step / self.change, 1.0)
        recent = tail[-(self.context + 1) :]
        angle = 2 * math.pi * ((last - self.context + 1 + np.arange(self.context)) % self.season) / self.season
        columns = [np.clip((recent[1:] - recent[:-1]) / step_unit, -8, 8), np.clip((recent[1:] - newest) / step_unit / 4, -8, 8)]
        inputs = np.stack(columns + [np.sin(angle), np.cos(angle)], 1).astype(np.float32)
        return inputs, base, unit, last

    def answer(self, history, base, unit, last, output):
        """The forecast as JSON would have it."""
        q = np.asarray(output, np.float64).reshape(self.horizon, QUANTILES)
        value = base + q[:, 1] * unit
        spread = np.maximum(unit * np.maximum((q[:, 2] - q[:, 0]) / 2, 0.1), 1e-4)
        rows = zip(np.expm1(value), np.expm1(value + self.offsets[:, 0] * spread), np.expm1(value + self.offsets[:, 1] * spread))
        steps = [
            {"step": i, "period": f"{(last + i) // 12:04}-{(last + i) % 12 + 1:02}", "value": float(v), "lower": float(lo), "upper": float(hi)}
            for i, (v, lo, hi) in enumerate(rows, 1)
        ]
        return {"series": history["series"], "observed_until": history["observed_until"], "steps": steps}

    def torch(self):
        """The same network as a PyTorch module."""
        import torch

        class Network(torch.nn.Module):
            def __init__(self, features, hidden, outputs):
                super().__init__()
                self.lstm = torch.nn.LSTM(features, hidden, batch_first=True)
                self.head = torch.nn.Linear(hidden, outputs)

            def forward(self, x):
                return self.head(self.lstm(x)[0][:, -1])

        net = Network(self.features, self.hidden, self.horizon * QUANTILES)
        f, h = self.features, self.hidden
        parts = {
            "lstm.weight_ih_l0": self.gates[:f].T, "lstm.weight_hh_l0": self.gates[f : f + h].T, "lstm.bias_ih_l0": self.gates[f + h],
            "lstm.bias_hh_l0": np.zeros(4 * h), "head.weight": self.head[:h].T, "head.bias": self.head[h],
        }
        net.load_state_dict({k: torch.tensor(np.ascontiguousarray(v), dtype=torch.float32) for k, v in parts.items()})
        return net.eval()

    def onnx(self):
        """The same network as ONNX, whose gates are in the order input, output, forget, cell."""
        from onnx import TensorProto, helper, numpy_helper

        f, h = self.features, self.hidden
        order = lambda m: np.concatenate([m[..., :h], m[..., 3 * h :], m[..., h : 2 * h], m[..., 2 * h : 3 * h]], -1)
        w, r, b = order(self.gates[:f]).T, order(self.gates[f : f + h]).T, order(self.gates[f + h])
        constants = {
            "w": w[None], "r": r[None], "b": np.concatenate([b, np.zeros(4 * h)])[None], "hw": self.head[:h], "hb": self.head[h],
        }
        initial = [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k) for k, v in constants.items()]
        initial.append(numpy_helper.from_array(np.array([0]), "axis"))
        nodes = [
            helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
            helper.make_node("LSTM", ["xt", "w", "r", "b"], ["", "last"], hidden_size=h),
            helper.make_node("Squeeze", ["last", "axis"], ["state"]),
            helper.make_node("MatMul", ["state", "hw"], ["product"]),
            helper.make_node("Add", ["product", "hb"], ["y"]),
        ]
        value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(nodes, "lstm", [value("x", ["n", self.context, f])], [value("y", ["n", None])], initial)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return model.SerializeToString()
