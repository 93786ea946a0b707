"""Trains a PyTorch LSTM of the shape of `training_cost speed` on as many windows; prints seconds."""
import sys
import time

import torch

windows, epochs, threads = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(threads)
torch.manual_seed(1)
STEPS, FEATURES, HIDDEN, HORIZON, BATCH = 24, 4, 64, 12, 64


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(FEATURES, HIDDEN, batch_first=True)
        self.head = torch.nn.Linear(HIDDEN, HORIZON * 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


inputs, targets = torch.randn(windows, STEPS, FEATURES), torch.randn(windows, HORIZON)
net = Network()
optimizer = torch.optim.AdamW(net.parameters(), lr=0.003, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (windows // BATCH + 1))
started = time.perf_counter()
for _ in range(epochs):
    order = torch.randperm(windows)
    for batch in order.split(BATCH):
        q = net(inputs[batch]).view(-1, HORIZON, 3)
        error = targets[batch] - q[:, :, 1]
        huber = torch.where(error.abs() <= 1, 0.5 * error * error, error.abs() - 0.5)
        pinball = sum(torch.maximum(p * (targets[batch] - q[:, :, i]), (p - 1) * (targets[batch] - q[:, :, i])) for i, p in ((0, 0.05), (2, 0.95)))
        loss = (huber + 0.25 * pinball).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
print(f"{time.perf_counter() - started:.3f}")
