"""Output from a task to the server's disk: MB/s, and CPU seconds per GB of agent and server.

Beside the floor: the same program writing straight into a file on this machine.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from own_hive import OwnHive, heading, own_hive

from fluxhive.core.task import ExecutorKind, TaskSpec
from fluxhive.protocol.rest import LogStreamView, TaskView

#: Lines that differ, as a real log's do, made by a program that is faster than what is measured.
LINE = "epoch 17 step 123456 loss 0.123456 accuracy 0.987654 lr 1e-3 throughput 1234.5 images/s"


def program(megabytes: int) -> str:
    return f"yes '{LINE}' | head -c {megabytes}000000"


def floor_s(megabytes: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "out"
        started = time.perf_counter()
        subprocess.run(["sh", "-c", f"{program(megabytes)} > {target}"], check=True)
        return time.perf_counter() - started


def hive_s(hive: OwnHive, megabytes: int) -> float:
    spec = TaskSpec(command=(program(megabytes),), executor=ExecutorKind.SHELL)
    started = time.perf_counter()
    task = hive.transport.call("POST", "/api/v1/tasks", TaskView, body=spec)
    while True:
        streams = hive.transport.call("GET", f"/api/v1/tasks/{task.id}/logs", list[LogStreamView])
        if any(s.stream == "stdout" and s.size == megabytes * 10**6 for s in streams):
            return time.perf_counter() - started
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    heading("log throughput")
    gigabytes = options.megabytes / 1000
    with own_hive() as hive:
        hive_s(hive, 10)
        for _ in range(options.rounds):
            floor = floor_s(options.megabytes)
            before = hive.cpu_s()
            took = hive_s(hive, options.megabytes)
            cost = {part: (s - before[part]) / gigabytes for part, s in hive.cpu_s().items()}
            print(
                f"  FlowHive {options.megabytes / took:.0f} MB/s, plain file "
                f"{options.megabytes / floor:.0f} MB/s, ratio {floor / took:.2f}; CPU s/GB: "
                + ", ".join(f"{part} {s:.2f}" for part, s in cost.items())
            )


if __name__ == "__main__":
    main()
