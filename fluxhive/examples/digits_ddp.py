"""The digits learned by several processes together, with PyTorch's DistributedDataParallel.

``fluxhive submit --torchrun --gpus 2 -- -m fluxhive.examples.digits_ddp`` trains on two GPUs of one
node, with ``--nodes 2`` on two nodes; without GPUs it takes as many processes as
``--nproc-per-node`` says. Each process takes its part of every batch, so that any number of them
computes the same losses as one does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from .digits_data import CLASSES, PIXELS, load

if TYPE_CHECKING:
    torch: Any
else:
    try:
        import torch
        import torch.distributed
    except ImportError:
        torch = None

HIDDEN = 128


def main() -> int:
    """Trains; rank 0 prints each epoch and the others say only that they are there."""
    options = _options()
    if torch is None:
        print("PyTorch is not installed for this interpreter", file=sys.stderr)
        return 1
    device = _device()
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    print(f"rank {rank} of {world} on {os.environ.get('FLUXHIVE_NODE', 'this node')}", flush=True)
    try:
        _train(options, device, rank, world)
        # Nobody closes a connection in which another is still waiting.
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="digits_ddp", description="Learn digits together.")
    parser.add_argument("--epochs", type=int, default=10, metavar="N")
    parser.add_argument("--batch", type=int, default=96, metavar="N", help="of all processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, metavar="S", help="after each epoch")
    return parser.parse_args()


def _device() -> Any:
    """The GPU of this process among those that the task was given; without one, the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def _train(options: argparse.Namespace, device: Any, rank: int, world: int) -> None:
    # The same seed everywhere: the same network and the same order of the images.
    torch.manual_seed(options.seed)
    images, _ = load(options.seed)
    inputs = torch.tensor([image.pixels for image in images], device=device)
    digits = torch.tensor([image.digit for image in images], device=device)
    nn = torch.nn
    network = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    network = nn.parallel.DistributedDataParallel(network.to(device))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    measure = nn.CrossEntropyLoss()
    n_batches = len(inputs) // options.batch
    part = options.batch // world
    for epoch in range(1, options.epochs + 1):
        order = torch.randperm(len(inputs))[: n_batches * options.batch]
        total = torch.zeros(1, device=device)
        for chosen in order.split(options.batch):
            mine = chosen[rank * part : (rank + 1) * part].to(device)
            optimiser.zero_grad()
            loss = measure(network(inputs[mine]), digits[mine])
            loss.backward()
            optimiser.step()
            total += loss.detach()
        torch.distributed.all_reduce(total)
        if rank == 0:
            print(f"epoch {epoch:3}  loss {total.item() / world / n_batches:.4f}", flush=True)
        time.sleep(options.pause)


def _leave(code: int) -> NoReturn:
    """Ends this process at once.

    The threads of gloo outlive their destroyed group (PyTorch 2.13, once DistributedDataParallel
    has used it): they must not meet an interpreter that is taken down around them.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
