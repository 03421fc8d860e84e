"""Output from a task to the server's disk: MB/s, and CPU seconds per GB of agent and server.

In the same run: the same program writing straight into a file, a bare WebSocket between two
processes that does nothing but carry the bytes to a file, and one JSON message for each line.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

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


class Pipe(NamedTuple):
    """What one pass through log_pipes.py took."""

    megabytes_per_s: float
    sender_cpu_s_per_gb: float
    server_cpu_s_per_gb: float

    def __str__(self) -> str:
        costs = f"{self.sender_cpu_s_per_gb:.2f} and {self.server_cpu_s_per_gb:.2f}"
        return f"{self.megabytes_per_s:.3g} MB/s, CPU s/GB {costs}"


def pipe(kind: str, megabytes: float) -> Pipe:
    """Carries so much through a pipe of log_pipes.py."""
    script = Path(__file__).with_name("log_pipes.py")
    n_bytes = int(megabytes * 1e6)
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        subprocess.run(["sh", "-c", f"yes '{LINE}' | head -c {n_bytes} > {source}"], check=True)
        command = [sys.executable, str(script)]
        serving = subprocess.Popen(
            [*command, "serve", kind, str(target)], stdout=subprocess.PIPE, text=True
        )
        assert serving.stdout is not None
        port = serving.stdout.readline().strip()
        started = time.perf_counter()
        sent = subprocess.run(
            [*command, "send", kind, port, str(source)], check=True, capture_output=True, text=True
        )
        took_s = time.perf_counter() - started
        server_cpu_s = float(serving.stdout.readline())
        serving.wait()
        assert target.stat().st_size == n_bytes
    per_gb = 1000 / megabytes
    return Pipe(megabytes / took_s, float(sent.stdout) * per_gb, server_cpu_s * per_gb)


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
            bare, lines = pipe("floor", options.megabytes), pipe("lines", 1)
            speed = options.megabytes / took
            print(
                f"  FlowHive {speed:.0f} MB/s, CPU s/GB "
                f"{cost['agent']:.2f} and {cost['server']:.2f} (agent, server)\n"
                f"    plain file {options.megabytes / floor:.0f} MB/s\n"
                f"    bare WebSocket {bare}: FlowHive has "
                f"{speed / bare.megabytes_per_s:.2f} of it\n"
                f"    a JSON message a line {lines}: FlowHive is "
                f"{speed / lines.megabytes_per_s:.0f} times as fast"
            )


if __name__ == "__main__":
    main()
