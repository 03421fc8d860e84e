"""Where the time goes from submitting a task to the first instruction of its program.

One submission after the other, on an idle hive; for each hop the median of when it was passed, how
long that was after the hop before, and what CPU its process spent since its own last hop (all
threads). The programs are ``date``; beside them the same program started by ``subprocess``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import own_hive
from noop_tasks import DATE, subprocess_latency_s
from own_hive import OwnHive, heading
from start_hops import HOPS, VARIABLE

from fluxhive.core.task import TaskSpec
from fluxhive.protocol.rest import TaskView

#: Before the first that counts: what is loaded or made once.
WARM_UP = 5
PAUSE_S = 0.05
STARTED = "program runs"


class Note(NamedTuple):
    """A process passed a hop."""

    at_ns: int
    cpu_ns: int
    pid: int
    hop: str


class Run(NamedTuple):
    """One submission: when it was sent, answered, and when its program ran."""

    sent_ns: int
    answered_ns: int
    started_ns: int


def submit(hive: OwnHive) -> Run:
    """One task, waited for."""
    spec = TaskSpec(command=tuple(DATE))
    wall_s, sent_ns = time.time(), time.monotonic_ns()
    task = hive.transport.call("POST", "/api/v1/tasks", TaskView, body=spec)
    answered_ns = time.monotonic_ns()
    hive.transport.call("GET", f"/api/v1/tasks/{task.id}/wait", TaskView, query={"timeout_s": 30})
    text = b""
    while not text.strip():
        time.sleep(PAUSE_S)
        text = hive.transport.fetch("GET", f"/api/v1/tasks/{task.id}/logs/stdout")
    return Run(sent_ns, answered_ns, sent_ns + round((float(text) - wall_s) * 1e9))


def passed(runs: list[Run], notes: list[Note]) -> dict[str, list[tuple[float, float]]]:
    """By hop: when each submission passed it, and the CPU since its process's last hop, in ms."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in runs:
        seen: set[str] = set()
        last_cpu: dict[int, int] = {}
        for note in notes:
            if note.at_ns < run.sent_ns or note.at_ns > run.started_ns or note.hop in seen:
                continue
            seen.add(note.hop)
            cpu_ns = note.cpu_ns - last_cpu.get(note.pid, note.cpu_ns)
            last_cpu[note.pid] = note.cpu_ns
            found[note.hop].append(((note.at_ns - run.sent_ns) / 1e6, cpu_ns / 1e6))
        found["answered"].append(((run.answered_ns - run.sent_ns) / 1e6, 0.0))
        found[STARTED].append(((run.started_ns - run.sent_ns) / 1e6, 0.0))
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60)
    options = parser.parse_args()
    heading("from submit to start, hop by hop")
    with tempfile.TemporaryDirectory() as folder:
        here, path = Path(__file__).parent, Path(folder, "notes")
        hook = (
            f"import sys\nsys.path.append({str(here)!r})\nimport start_hops\nstart_hops.install()\n"
        )
        Path(folder, "sitecustomize.py").write_text(hook)
        passed_on = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(passed_on)
        with own_hive.own_hive(max_cpus=2, **{VARIABLE: str(path)}) as hive:
            runs = [submit(hive) for _ in range(WARM_UP + options.runs)][WARM_UP:]
        lines = [line.split(" ", 3) for line in path.read_text().splitlines()]
        notes = sorted(Note(int(at), int(cpu), int(pid), hop) for at, cpu, pid, hop in lines)
    before = 0.0
    table = {hop: values for hop, values in passed(runs, notes).items() if len(values) > 1}
    medians = {hop: statistics.median(at for at, _ in values) for hop, values in table.items()}
    for hop in sorted(medians, key=medians.__getitem__):
        cpu = statistics.median(cpu for _, cpu in table[hop])
        print(f"  {medians[hop]:6.2f} ms  +{medians[hop] - before:5.2f}  CPU {cpu:5.2f}  {hop}")
        before = medians[hop]
    quarters = statistics.quantiles([at for at, _ in table[STARTED]], n=4)
    print(f"  {STARTED}: {quarters[0]:.2f} / {quarters[1]:.2f} / {quarters[2]:.2f} ms (quarters)")
    bare = statistics.median(subprocess_latency_s() for _ in range(options.runs)) * 1e3
    print(f"  the same program by subprocess: {bare:.2f} ms; hops noted: {len(HOPS)}")


if __name__ == "__main__":
    main()
