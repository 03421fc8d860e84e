"""Takes some GiB of the GPU, later more: `grow.py FIRST THEN SECONDS` (so long each)."""

from __future__ import annotations

import sys
import time

import torch

first, then, hold = float(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
held = [torch.empty(int(first * 2**28), device="cuda")]
print("holds", first, flush=True)
time.sleep(hold)
while sum(each.numel() for each in held) < then * 2**28:
    held.append(torch.empty(2**28, device="cuda"))
    time.sleep(0.2)
print("holds", then, flush=True)
time.sleep(hold)
