"""No-op tasks per second end to end, and the time from submit to the process's start.

FlowHive beside a plain subprocess loop (which keeps nothing and supervises nothing), Debian's
task-spooler and, with ``--peers PYTHON``, HyperQueue, dask and Ray (peers.py says how), in turns,
all with two slots. A task is accepted durably, placed, run under a shim of its own with log files
and an exit record, and its end is stored.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from own_hive import OwnHive, heading, own_hive

from fluxhive.core.task import TaskSpec
from fluxhive.protocol.rest import TaskPage, TaskView

SLOTS = 2
#: By name, what is to be imported.
PEERS = {"hyperqueue": "hyperqueue", "dask": "distributed", "ray": "ray"}
TRUE = shutil.which("true") or "/bin/true"
DATE = [shutil.which("date") or "/bin/date", "+%s.%N"]


def subprocess_rate(count: int) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(SLOTS) as pool:
        list(pool.map(lambda _: subprocess.run([TRUE], check=True), range(count)))
    return count / (time.perf_counter() - started)


class Spooler:
    """Task-spooler with a socket of its own."""

    def __init__(self, home: str) -> None:
        self.env = {
            **os.environ,
            "TS_SOCKET": f"{home}/tsp",
            "TS_MAXFINISHED": "10",
            "TMPDIR": home,
        }
        self.run("-S", str(SLOTS))

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tsp", *arguments], env=self.env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def rate(self, count: int) -> float:
        started = time.perf_counter()
        last = ""
        for _ in range(count):
            last = self.run(TRUE)
        self.run("-w", last)
        return count / (time.perf_counter() - started)

    def latency_s(self) -> float:
        started = time.time()
        number = self.run(*DATE)
        self.run("-w", number)
        return float(Path(self.run("-o", number)).read_text()) - started


def hive_rate(hive: OwnHive, count: int) -> float:
    """From the first byte of the submission until every end is stored."""
    spec = TaskSpec(command=(TRUE,), name="noop")
    started = time.perf_counter()
    batch = hive.transport.call(
        "POST", "/api/v1/tasks/batch", TaskPage, body={"tasks": [spec] * count}
    )
    newest = max(batch.items, key=lambda task: task.number).id
    while True:
        task = hive.transport.call(
            "GET", f"/api/v1/tasks/{newest}/wait", TaskView, query={"timeout_s": 30}
        )
        if task.state.is_final and not _unfinished(hive):
            return count / (time.perf_counter() - started)


def _unfinished(hive: OwnHive) -> bool:
    for state in ("queued", "active"):
        query = {"state": state, "limit": 1}
        page = hive.transport.call("GET", "/api/v1/tasks", TaskPage, query=query)
        if page.items:
            return True
    return False


def hive_latency_s(hive: OwnHive) -> float:
    spec = TaskSpec(command=tuple(DATE))
    started = time.time()
    task = hive.transport.call("POST", "/api/v1/tasks", TaskView, body=spec)
    hive.transport.call("GET", f"/api/v1/tasks/{task.id}/wait", TaskView, query={"timeout_s": 30})
    for _ in range(200):
        text = hive.transport.fetch("GET", f"/api/v1/tasks/{task.id}/logs/stdout")
        if text.strip():
            return float(text) - started
        time.sleep(0.01)
    raise RuntimeError(f"no output of {task.id}")


def ask_peer(python: str, peer: str, tasks: int, latencies: int) -> tuple[float, list[float]]:
    """One round of a peer in a process of its own. HyperQueue's Python interface looks once a
    second whether all have ended: with few tasks that is most of its time."""
    words = [python, str(Path(__file__).with_name("peers.py")), peer]
    words += ["--tasks", str(tasks), "--latencies", str(latencies)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    return told["rate"], told["delays"]


def peers_of(python: str | None) -> list[str]:
    """The peers that this Python can import."""
    found = []
    for peer, module in PEERS.items() if python else ():
        asked = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True)
        if asked.returncode == 0:
            found.append(peer)
        else:
            print(f"  {peer} is not there and not measured: pip install {module}")
    return found


def subprocess_latency_s() -> float:
    started = time.time()
    return float(subprocess.run(DATE, check=True, capture_output=True).stdout) - started


def spread(name: str, values: list[float], unit: str, scale: float = 1.0) -> float:
    middle = statistics.median(values)
    figures = f"{min(values) * scale:.1f} / {middle * scale:.1f} / {max(values) * scale:.1f}"
    print(f"  {name:<24} {figures} {unit} (min / median / max of {len(values)})")
    return middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latencies", type=int, default=50)
    parser.add_argument("--peers", metavar="PYTHON", help="has hyperqueue, distributed and ray")
    options = parser.parse_args()
    heading("no-op tasks")
    rates: dict[str, list[float]] = {"subprocess loop": [], "FlowHive": []}
    delays: dict[str, list[float]] = {"subprocess loop": [], "FlowHive": []}
    peers = peers_of(options.peers)
    with tempfile.TemporaryDirectory() as home, own_hive(max_cpus=SLOTS) as hive:
        spooler = Spooler(home) if shutil.which("tsp") else None
        if spooler is None:
            print("  task-spooler is not installed and not measured: apt-get install task-spooler")
        hive_rate(hive, 50)
        before, ran = hive.cpu_s(), 0
        for _ in range(options.rounds):
            rates["subprocess loop"].append(subprocess_rate(options.tasks))
            rates["FlowHive"].append(hive_rate(hive, options.tasks))
            ran += options.tasks
            if spooler:
                rates.setdefault("task-spooler", []).append(spooler.rate(min(options.tasks, 500)))
            for peer in peers:
                share = max(1, options.latencies // options.rounds)
                rate, waits = ask_peer(options.peers, peer, options.tasks, share)
                rates.setdefault(peer, []).append(rate)
                delays.setdefault(peer, []).extend(waits)
        after = hive.cpu_s()
        for _ in range(options.latencies):
            delays["subprocess loop"].append(subprocess_latency_s())
            delays["FlowHive"].append(hive_latency_s(hive))
            if spooler:
                delays.setdefault("task-spooler", []).append(spooler.latency_s())
        if spooler:
            spooler.run("-K")
        memory = hive.memory_mib()
    report(rates, delays)
    for part in before:
        print(f"  CPU of the {part}: {(after[part] - before[part]) / ran * 1e6:.0f} us a task")
    print("  memory:", msgspec.json.encode({k: round(v, 1) for k, v in memory.items()}).decode())


def report(rates: dict[str, list[float]], delays: dict[str, list[float]]) -> None:
    print("tasks per second, two slots:")
    rate = {name: spread(name, values, "/s") for name, values in rates.items()}
    print("from submit to the start of the process:")
    delay = {name: spread(name, values, "ms", 1e3) for name, values in delays.items()}
    for peer in rate:
        if peer != "FlowHive":
            times = rate["FlowHive"] / rate[peer]
            later = delay["FlowHive"] / delay[peer]
            print(f"  FlowHive / {peer}: {times:.2f} x the rate, {later:.2f} x the delay")


if __name__ == "__main__":
    main()
