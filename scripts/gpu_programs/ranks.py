"""One rank of several under torchrun, all on one GPU, with data loader workers.

``ranks.py [MIB]``: with MIB, rank 1 asks for so much after the first steps; without, they train
until they are ended.
"""

import os
import sys
import time

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    data = TensorDataset(torch.randn(4096, 256))
    loader = DataLoader(data, batch_size=64, num_workers=2, pin_memory=True)
    model = torch.nn.Linear(256, 256).cuda()
    held = torch.empty(2 << 30, dtype=torch.uint8, device="cuda")
    step = 0
    while True:
        for (batch,) in loader:
            model(batch.cuda()).sum().backward()
            for weight in model.parameters():
                grad = weight.grad.cpu()
                dist.all_reduce(grad)
            step += 1
            if rank == 0 and step % 20 == 0:
                print("step", step, flush=True)
            if len(sys.argv) > 1 and rank == 1 and step == 10:
                held = torch.empty(int(sys.argv[1]) << 20, dtype=torch.uint8, device="cuda")
            time.sleep(0.01)
    del held


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    main()
