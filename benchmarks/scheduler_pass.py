"""How fast does the brain decide? CPU time of one core, 1,000 nodes with 8 GPUs each.

    python benchmarks/scheduler_pass.py

- an empty hive and 10,000 queued tasks of many sizes, 50 users, four priorities: one pass. First
  the decisions (who is next, where it fits, what that leaves free), then these with the nodes'
  books and the queue, then with all the records and effects that a start comes with;
- a full hive and 10,000 queued tasks: one pass over all of them, one after a thousand attempts
  ended anywhere, and a pass after one end;
- 100,000 queued tasks: what a submission costs, and an end with what follows from it;
- beside it a naive scan that asks every GPU for every task.

A decision is one queued task about which the pass knows whether and where it starts. Prints the
load of the machine with the figures. As in the server, the collector of cycles leaves alone what
was there before (collector.py). The machine may be busy: of several equal passes, each measured in
short slices, the least of each slice counts.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import time
from itertools import pairwise
from typing import Any

from fluxhive import collector
from fluxhive.core import placement_pass
from fluxhive.core.capability import CAPABILITIES
from fluxhive.core.events import NodeJoined, NodeSaid, TaskSubmitted
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.hive_state import HiveState
from fluxhive.core.lines import Line
from fluxhive.core.node import GpuReport, Inventory
from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.placement import find
from fluxhive.core.placement_pass import place_waiting
from fluxhive.core.reports import AttemptEnded
from fluxhive.core.request import Request, Reservation
from fluxhive.core.task import Attempt, AttemptState, Priority, TaskSpec
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import AttemptId, GpuUuid, NodeId, TaskId

N_NODES, N_GPUS, N_TASKS = 1_000, 8, 10_000
GPU_MIB = 81_920
#: Equal passes, and starts between two looks at the clock.
N_RUNS, SLICE = 5, 50


def hive_of(n_nodes: int) -> TaskManager:
    """Nodes in contact, all GPUs free."""
    manager = TaskManager(settings=HiveSettings(silent_after_ms=2**50))
    for index in range(n_nodes):
        node_id = NodeId(f"n{index:04}")
        gpus = tuple(
            GpuReport(uuid=GpuUuid(f"{node_id}-{g}"), index=g, model="X", total_mib=GPU_MIB)
            for g in range(N_GPUS)
        )
        manager.handle(
            NodeJoined(
                node_id=node_id,
                session=1,
                incarnation=1,
                label=str(node_id),
                inventory=Inventory(cpus=256, memory_mib=2**20, gpus=gpus),
                capabilities=CAPABILITIES,
            ),
            0,
        )
    return manager


def submit(
    manager: TaskManager, n_tasks: int, *, now_ms: int, seed: int = 7, first: int = 0
) -> float:
    """Queue tasks without letting anything start; the CPU time of it."""
    chance = random.Random(seed)
    hive = manager.hive
    began = time.process_time()
    for number in range(first, first + n_tasks):
        gpus = 1 if chance.random() < 0.93 else chance.choice((2, 4, 8))
        request = Request(
            gpus=gpus, gpu_memory_mib=1024 * chance.randint(2, 60) if gpus == 1 else None
        )
        spec = TaskSpec(
            command=("python", f"train_{number % 500}.py"),
            request=request,
            priority=list(Priority)[number % 4],
            project=f"p{number % 5}",
        )
        event = TaskSubmitted(
            task_id=TaskId(f"t{number}"), number=number, owner=f"u{number % 50}", spec=spec
        )
        hive.now_ms = now_ms
        hive.effects = []
        manager._apply(event)
    return time.process_time() - began


def naive(manager: TaskManager, n_tasks: int) -> float:
    """Decisions a second of a scan over everything."""
    hive = manager.hive
    tasks = list(hive.tasks.values())[:n_tasks]
    began = time.process_time()
    for task in tasks:
        find(task.spec.request, task.owner, (), hive.nodes.values())
    return len(tasks) / (time.process_time() - began)


def book(hive: HiveState, line: Line, task_id: TaskId, held: tuple[Reservation, ...]) -> None:
    """What a start changes beside records and effects: the nodes' books and the queue."""
    for reservation in held:
        record, attempt_id = hive.nodes[reservation.node_id], AttemptId(f"{task_id}.1")
        record.hold(attempt_id, reservation)
        record.expect_end(attempt_id, hive.now_ms + line.need.expected.latest_ms)
    hive.dequeue(task_id)


class Slices:
    """CPU time of equal runs, cut at the same places; a slice lasts about a millisecond."""

    def __init__(self) -> None:
        self._runs: list[list[float]] = []
        self._n_seen = 0

    def begin(self) -> None:
        """A run begins."""
        self._runs.append([time.process_time()])
        self._n_seen = 0

    def seen(self) -> None:
        """One thing was done."""
        self._n_seen += 1
        if self._n_seen % SLICE == 0:
            self._runs[-1].append(time.process_time())

    def end(self) -> None:
        """The run is over."""
        self._runs[-1].append(time.process_time())

    @property
    def least_s(self) -> float:
        """What a run takes when nothing comes in between."""
        cut = [[till - since for since, till in pairwise(run)] for run in self._runs]
        return sum(map(min, zip(*cut, strict=True)))


def decisions(seed: int) -> tuple[float, float, int]:
    """CPU time of a pass with books and queue, of these alone, and how many it placed."""
    whole, alone = Slices(), Slices()
    booked: list[tuple[TaskId, tuple[Reservation, ...]]] = []

    def note(hive: HiveState, line: Line, task_id: TaskId, held: tuple[Reservation, ...]) -> None:
        whole.seen()
        booked.append((task_id, held))
        book(hive, line, task_id, held)

    for _ in range(N_RUNS):
        booked.clear()
        hive = queued(seed).hive
        real, placement_pass._start = placement_pass._start, note
        whole.begin()
        place_waiting(hive)
        whole.end()
        placement_pass._start = real
        # An equal hive, in which the books are written without deciding anything.
        hive = queued(seed).hive
        alone.begin()
        for task_id, held in booked:
            alone.seen()
            line = hive.queue.line_of(task_id)
            assert line is not None, f"{task_id} is not in line"
            book(hive, line, task_id, held)
        alone.end()
    return whole.least_s, alone.least_s, len(booked)


def records(seed: int) -> tuple[float, int]:
    """CPU time of a pass with all that belongs to it, and how many it placed."""
    slices, n_placed = Slices(), 0
    real = placement_pass._start

    def start(*arguments: Any, **named: Any) -> None:
        slices.seen()
        real(*arguments, **named)

    for _ in range(N_RUNS):
        manager = queued(seed)
        before = manager.n_queued()
        placement_pass._start = start
        slices.begin()
        place_waiting(manager.hive)
        slices.end()
        placement_pass._start = real
        n_placed = before - manager.n_queued()
    return slices.least_s, n_placed


def queued(seed: int) -> TaskManager:
    """The empty hive with its queue, as a server has it: what is there stays for long."""
    gc.unfreeze()
    manager = hive_of(N_NODES)
    submit(manager, N_TASKS, now_ms=1_000, seed=seed)
    collector.settle()
    return manager


def say(what: str, took_s: float, n_decisions: int, more: str = "") -> None:
    """One figure."""
    rate = n_decisions / took_s / 1000
    print(f"{what}: {1000 * took_s:.1f} ms, {rate:.0f} k decisions/s{more}", flush=True)


def main() -> None:
    """Measure and print."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    times = []
    for seed in range(3):
        took, books, placed = decisions(seed)
        times.append((took - books, took, placed))
    deciding, took, placed = min(times)
    say("empty hive, 10,000 queued, decisions", deciding, N_TASKS, f", {placed} placed")
    say("the same with books and queue", took, N_TASKS)
    took, placed = records(7)
    say("the same with all records and effects", took, N_TASKS, f", {placed} placed")
    manager = queued(7)
    place_waiting(manager.hive)
    fresh = hive_of(N_NODES)
    submit(fresh, 50, now_ms=1_000)
    print(f"naive scan: {naive(fresh, 50):.0f} decisions/s")
    full(manager)
    deep(manager)


def full(manager: TaskManager) -> None:
    """No GPU free, 10,000 queued: a pass over all of them, and after one end."""
    hive = manager.hive
    submit(manager, N_TASKS, now_ms=1_000, first=N_TASKS)
    place_waiting(hive)
    submit(manager, N_TASKS - manager.n_queued(), now_ms=1_000, first=2 * N_TASKS)
    place_waiting(hive)
    times = []
    for _ in range(5):
        hive.roomy = dict(hive.nodes)
        began = time.process_time()
        place_waiting(hive)
        times.append(time.process_time() - began)
    n_queued, n_shapes = manager.n_queued(), len(hive.queue.shapes)
    more = f" ({n_queued} in {n_shapes} shapes)"
    say("full hive, 10,000 queued, all nodes looked at", min(times), n_queued, more)
    mixed(manager, 2_000)
    ends(manager, 3_000)


def mixed(manager: TaskManager, now_ms: int) -> None:
    """Room on many nodes at once, for few of those that wait: one pass."""
    hive, chance = manager.hive, random.Random(3)
    hive.now_ms = now_ms
    for attempt_id in chance.sample(list(hive.live_of.values()), 1_000):
        manager._apply(ended(hive.attempts[attempt_id]))
        manager._settle()
        manager._save_lessons()
    n_queued = manager.n_queued()
    began = time.process_time()
    place_waiting(hive)
    took = time.process_time() - began
    n_placed = n_queued - manager.n_queued()
    say(f"1,000 ended, {n_queued} queued, all records", took, n_queued, f", {n_placed} placed")


def ended(attempt: Attempt) -> NodeSaid:
    """Its node says that it ended well."""
    outcome = Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)
    report = AttemptEnded(attempt_id=attempt.id, epoch=attempt.epoch, outcome=outcome)
    return NodeSaid(node_id=attempt.node_id, session=1, report=report)


def ends(manager: TaskManager, now_ms: int) -> None:
    """What the end of an attempt costs, with everything that follows."""
    live = [a for a in manager.hive.attempts.values() if a.state is not AttemptState.ENDED][:200]
    n_before = manager.n_queued()
    times = []
    for step, attempt in enumerate(live):
        said = ended(attempt)
        began = time.process_time()
        manager.handle(said, now_ms + step)
        times.append(time.process_time() - began)
    times.sort()
    print(
        f"an end with {n_before} queued: {1000 * statistics.mean(times):.2f} ms "
        f"(median {1000 * times[100]:.2f}, worst {1000 * times[-1]:.1f}), "
        f"{n_before - manager.n_queued()} started"
    )


def deep(manager: TaskManager) -> None:
    """100,000 tasks in line: what a submission and an end cost."""
    n_more = 100_000 - manager.n_queued()
    chance = random.Random(1)
    began = time.process_time()
    for number in range(1_000_000, 1_000_000 + n_more):
        spec = TaskSpec(
            command=("python", f"train_{number % 500}.py"),
            request=Request(gpus=1, gpu_memory_mib=1024 * chance.randint(40, 70)),
        )
        manager.handle(
            TaskSubmitted(
                task_id=TaskId(f"t{number}"), number=number, owner=f"u{number % 50}", spec=spec
            ),
            4_000,
        )
    each = (time.process_time() - began) / n_more
    print(f"{manager.n_queued()} queued; a submission: {1e6 * each:.0f} us")
    ends(manager, 5_000)


if __name__ == "__main__":
    main()
