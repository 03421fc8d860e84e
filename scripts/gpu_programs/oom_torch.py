"""Asks PyTorch for more GPU memory than there is: ``oom_torch.py MIB [HOW]``, HOW as below."""

import sys

import torch

mib, how = int(sys.argv[1]), (sys.argv[2:] or ["as"])[0]


def ask() -> None:
    torch.empty(mib << 20, dtype=torch.uint8, device="cuda")


if how == "as":
    ask()
elif how == "caught":
    try:
        ask()
    except torch.OutOfMemoryError as error:
        print(f"skipping the batch: {error}", file=sys.stderr)
    raise ValueError("loss is NaN")
elif how == "mention":
    print("WARNING: CUDA out of memory was seen last week", file=sys.stderr)
elif how == "compile":
    torch.compile(lambda x: torch.cat([x] * 64).sin())(
        torch.empty(mib << 14, dtype=torch.uint8, device="cuda")
    )
elif how == "cublas":
    free, _ = torch.cuda.mem_get_info()
    # All but what a library needs for itself; the caching allocator has no part in that.
    held = torch.empty(free - (4 << 20), dtype=torch.uint8, device="cuda")
    a = held[: 2 << 20].view(torch.float32).reshape(512, 1024)
    print((a @ a.T).sum().item())
