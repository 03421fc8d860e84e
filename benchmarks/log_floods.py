"""Floods of output: 1 GB on one line, the same at 100 MB/s, and ten million lines of a write each.

Shown of each: every byte arrives (SHA-256 against what the program wrote), what agent and server
hold in memory and the node on its disk stays bounded, and how much longer the program's writing
takes than into a plain file, in turns within one run. Exit code 1 unless the first three hold.

    TMPDIR=/dev/shm python benchmarks/log_floods.py --pairs 15

asks only what logging costs the program, on any machine: small floods and a program that computes
between its lines, each into a plain file and as a task, many times in turns, without a disk. On a
busy machine time tells of the others: what tells of logging is the program's CPU time and how often
the kernel made it wait for something other than a core (a lock, a disk).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flood_writer import pieces
from own_hive import OwnHive, heading, own_hive

from fluxhive.core.task import ExecutorKind, TaskSpec
from fluxhive.protocol.rest import LogStreamView, TaskView

WRITER = Path(__file__).with_name("flood_writer.py")
#: What memory may grow by while a flood passes: windows, queues and pages of the allocator.
GROWTH_MIB_MAX = 64.0
#: At 100 MB/s: the two seconds of docs/logs.md, and three more for a machine that is busy.
STEADY_DISK_MIB_MAX = 500.0
READ_BYTES = 8 << 20
LIMIT_S = 600.0
#: With ``--pairs``: each takes a few tenths of a second.
SMALL = {"one-line": 100 * 10**6, "lines": 300_000, "work": 1_000}


class Cost(NamedTuple):
    """What it took the program."""

    took_s: float
    cpu_s: float
    waits: int


def told(witness: Path) -> Cost:
    """What the program wrote down about itself."""
    took_s, cpu_s, waits = witness.read_text().split()
    return Cost(float(took_s), float(cpu_s), int(waits))


class Watch:
    """The highest memory of agent and server, and what a node's run directories took at last."""

    def __init__(self, hive: OwnHive) -> None:
        self._hive = hive
        self._at_first = self._now()
        self.growth_mib = dict.fromkeys(self._at_first, 0.0)
        self.node_disk_mib = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _now(self) -> dict[str, float]:
        processes = {"agent": self._hive.agent, "server": self._hive.server}
        return {name: process.memory_info().rss / 2**20 for name, process in processes.items()}

    def _run(self) -> None:
        while not self._is_over.wait(0.1):
            for name, mib in self._now().items():
                self.growth_mib[name] = max(self.growth_mib[name], mib - self._at_first[name])
            self.node_disk_mib = max(self.node_disk_mib, self._on_disk_mib())

    def _on_disk_mib(self) -> float:
        blocks = 0
        for path in self._hive.home.glob("state/agent/*/runs/*/stdout"):
            with contextlib.suppress(FileNotFoundError):  # forgotten meanwhile
                blocks += path.stat().st_blocks
        return blocks * 512 / 2**20


def plainly(hive: OwnHive, kind: str, amount: int) -> Cost:
    """What it takes the program to write into a file."""
    witness, target = hive.home / "witness", hive.home / "plain"
    with open(target, "wb") as file:
        command = [sys.executable, str(WRITER), kind, str(amount), str(witness)]
        subprocess.run(command, stdout=file, check=True)
    target.unlink()
    return told(witness)


def as_task(hive: OwnHive, kind: str, amount: int) -> tuple[str, Cost]:
    """The task, and what it takes its program to write."""
    witness = hive.home / "witness"
    witness.unlink(missing_ok=True)
    command = (sys.executable, str(WRITER), kind, str(amount), str(witness))
    spec = TaskSpec(command=command, executor=ExecutorKind.EXEC)
    task = hive.transport.call("POST", "/api/v1/tasks", TaskView, body=spec)
    until(witness.exists)
    return task.id, told(witness)


def until(claim: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not claim():
        if time.monotonic() > end:
            sys.exit(f"error: nothing came of it within {LIMIT_S:.0f} s")
        time.sleep(0.05)


def stored(hive: OwnHive, task: str, size: int) -> str:
    """SHA-256 of what the server has once it has as much as was written."""

    def is_whole() -> bool:
        views = hive.transport.call("GET", f"/api/v1/tasks/{task}/logs", list[LogStreamView])
        return any(view.stream == "stdout" and view.size >= size for view in views)

    until(is_whole)
    digest, at = hashlib.sha256(), 0
    while piece := hive.transport.fetch(
        "GET", f"/api/v1/tasks/{task}/logs/stdout", query={"offset": at, "limit": READ_BYTES}
    ):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def flood(hive: OwnHive, kind: str, amount: int, rounds: int) -> bool:
    """One kind, so many times; whether all of it held."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces(kind, amount):
        digest.update(piece)
        size += len(piece)
    ratios, held = [], True
    for _ in range(rounds):
        os.sync()  # or the kernel makes whoever writes next wait for what others wrote
        plain = plainly(hive, kind, amount).took_s
        os.sync()
        started = time.perf_counter()
        with Watch(hive) as watch:
            task, (took, _, _) = as_task(hive, kind, amount)
            is_same = stored(hive, task, size) == digest.hexdigest()
            all_s = time.perf_counter() - started
            until(lambda: not list(hive.home.glob("state/agent/*/runs/*")))
        is_bounded = max(watch.growth_mib.values()) <= GROWTH_MIB_MAX
        if kind == "steady":
            is_bounded = is_bounded and watch.node_disk_mib <= STEADY_DISK_MIB_MAX
        held = held and is_same and is_bounded
        ratios.append(took / plain)
        print(
            f"  {kind}: {size / 1e6:.0f} MB, {'the same' if is_same else 'NOT THE SAME'} on the "
            f"server after {all_s:.1f} s; written in {took:.2f} s, into a file in {plain:.2f} s; "
            f"agent +{watch.growth_mib['agent']:.0f} MiB, server "
            f"+{watch.growth_mib['server']:.0f} MiB, node's disk {watch.node_disk_mib:.0f} MiB",
            flush=True,
        )
    slower = (statistics.median(ratios) - 1) * 100
    print(f"  {kind}: the program takes {slower:+.1f} % (median) longer than into a file")
    return held


def compare(hive: OwnHive, kind: str, pairs: int) -> None:
    """What logging costs the program, by so many pairs of runs."""
    amount = SMALL[kind]
    plain, task = list[Cost](), list[Cost]()
    for number in range(pairs):
        for is_task in (False, True) if number % 2 else (True, False):
            if is_task:
                task.append(as_task(hive, kind, amount)[1])
                # What is still being sent must not slow the next one.
                until(lambda: not list(hive.home.glob("state/agent/*/runs/*")))
            else:
                plain.append(plainly(hive, kind, amount))
    cpu = [with_.cpu_s / without.cpu_s - 1 for with_, without in zip(task, plain, strict=True)]
    low, middle, high = statistics.quantiles(cpu, n=4)
    times = (
        statistics.median(each.took_s for each in task),
        statistics.median(each.took_s for each in plain),
    )
    print(
        f"  {kind}, {pairs} pairs: CPU of the program {middle:+.1%} (median; quarters {low:+.1%} "
        f"and {high:+.1%}), waits {statistics.median(each.waits for each in task):.0f} against "
        f"{statistics.median(each.waits for each in plain):.0f}, time {times[0]:.2f} s against "
        f"{times[1]:.2f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1_000)
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, help="only what it costs the program, so many times")
    options = parser.parse_args()
    heading("floods of output")
    amounts = {
        "one-line": options.megabytes * 10**6,
        "steady": options.megabytes * 10**6,
        "lines": options.lines,
    }
    with own_hive() as hive:
        flood(hive, "one-line", 10**7, 1)  # what is imported and allocated at first is not growth
        if options.pairs:
            for kind in SMALL:
                compare(hive, kind, options.pairs)
            return
        held = [flood(hive, kind, amount, options.rounds) for kind, amount in amounts.items()]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
