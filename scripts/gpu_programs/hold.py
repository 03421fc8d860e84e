"""Holds GPU memory until it is ended: ``hold.py MIB [GROW_MIB WHEN_THIS_FILE_EXISTS]``."""

import os
import sys
import time

import torch

held = [torch.empty(int(sys.argv[1]) << 20, dtype=torch.uint8, device="cuda")]
print("holds", sys.argv[1], flush=True)
if len(sys.argv) > 2:
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.05)
    held.append(torch.empty(int(sys.argv[2]) << 20, dtype=torch.uint8, device="cuda"))
    print("grown by", sys.argv[2], flush=True)
while True:
    time.sleep(1)
