"""A small real training: `train.py KIND STEPS SEED`, KIND cnn, transformer, mlp or rnn."""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

kind, steps, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(seed)
device = torch.device("cuda")


class Rnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(64, 256, num_layers=2, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(256, 8, 512, batch_first=True)
        self.body, self.out = nn.TransformerEncoder(layer, 4), nn.Linear(256, 10)

    def forward(self, x):
        return self.out(self.body(x).mean(1))


if kind == "cnn":
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    shape = (64, 3, 64, 64)
elif kind == "transformer":
    model, shape = Transformer(), (32, 64, 256)
elif kind == "rnn":
    model, shape = Rnn(), (64, 64, 64)
else:
    model = nn.Sequential(nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 10))
    shape = (128, 1024)
model = model.to(device)
optimizer = torch.optim.AdamW(model.parameters())
began = time.perf_counter()
for step in range(steps):
    x, y = torch.randn(shape).to(device), torch.randint(0, 10, (shape[0],)).to(device)
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(step, round(loss.item(), 3), flush=True)
print("seconds", round(time.perf_counter() - began, 1), flush=True)
