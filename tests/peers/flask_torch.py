"""The original's way: Flask and PyTorch, under gunicorn. `PEER_MODEL` names the artifact's folder."""
import os

import torch
from flask import Flask, jsonify, request

from network import Model

torch.set_num_threads(1)
model = Model(os.environ["PEER_MODEL"])
net = model.torch()
app = Flask(__name__)


@app.post("/predict")
def predict():
    forecasts = []
    for history in request.get_json()["histories"]:
        inputs, *rest = model.window(history)
        with torch.inference_mode():
            output = net(torch.from_numpy(inputs)[None])[0].numpy()
        forecasts.append(model.answer(history, *rest, output))
    return jsonify({"forecasts": forecasts})
