"""A training over two real GPUs with NCCL, started by FlowHive, beside the same on one GPU.

Needs a machine with at least two NVIDIA GPUs and PyTorch. Prints a transcript as ``gpu_check.py``
does; the exit code says whether all claims held.

    python scripts/gpu_nccl.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile

from gpu_check import COMMAND, Check

EPOCHS = "5"
DDP = ["-m", "fluxhive.examples.digits_ddp", "--epochs", EPOCHS]
#: Sums over two GPUs are added in another order than on one.
LOSS_SLACK = 0.005
#: Multicast over NVLink is not to be had on every virtual machine.
NO_MULTICAST = "NCCL_NVLS_ENABLE=0"


def losses(check: Check, task: str) -> list[float]:
    """What each epoch ended with, by the task's own output."""
    done = subprocess.run(
        [*COMMAND, "logs", task], env=check.env, check=True, capture_output=True, text=True
    )
    return [float(each) for each in re.findall(r"loss ([0-9.]+)", done.stdout)]


def train(check: Check, n_gpus: int) -> tuple[str, list[float]]:
    """One training to its end, and its losses."""
    task = check.submit(
        "--torchrun", "--python", sys.executable, "--gpus", str(n_gpus), "--env", NO_MULTICAST,
        "--", *DDP,
    )  # fmt: skip
    check.show("wait", task)
    check.show("logs", task)
    record = check.ask("show", task)
    check.expect(
        f"a training over {n_gpus} GPU(s) with NCCL succeeds",
        record["state"] == "succeeded",
        record["state"],
    )
    return task, losses(check, task)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="fluxhive-nccl-") as home:
        check = Check(home)
        if check.show("up", "--detach"):
            return 1
        try:
            check.show("gpus")
            _, alone = train(check, 1)
            _, together = train(check, 2)
            near = len(alone) == len(together) == int(EPOCHS) and all(
                abs(one - two) < LOSS_SLACK for one, two in zip(alone, together, strict=True)
            )
            check.expect("two GPUs reach the losses of one", near, (alone, together))
        finally:
            check.show("down", "--stop-tasks")
    print(f"{len(check.failed)} failed" + "".join(f"\n  {claim}" for claim in check.failed))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
