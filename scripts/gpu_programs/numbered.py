"""Trains on the GPU and numbers each line it prints: ``numbered.py N_STEPS SECONDS_A_STEP MIB``."""

import sys
import time

import torch

n_steps, pause_s, mib = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
x = torch.randn(1024, 1024, device="cuda")
peak = torch.empty(mib << 20, dtype=torch.uint8, device="cuda")
for step in range(n_steps):
    x = torch.tanh(x @ x)
    if step == n_steps // 4:
        # What it used at most lies in the first agent's life.
        time.sleep(2.5)
        del peak
        torch.cuda.empty_cache()
    print(f"step {step} {x.mean().item():.4f}", flush=True)
    time.sleep(pause_s)
sys.exit(7)
