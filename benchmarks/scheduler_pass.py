"""How fast is a placement pass of 10,000 queued tasks over 8,000 GPUs? CPU time of one core.

    python benchmarks/scheduler_pass.py

A hive of 1,000 nodes with 8 GPUs gets 10,000 tasks of many shapes, five parts of them each of a
user, four priorities; one pass places what fits. Beside it, in the same run, a naive scan that asks
every GPU for every task (500 tasks, extrapolated). Then 100,000 queued tasks, and what one ended
attempt costs. Prints the load of the machine with the figures.
"""

from __future__ import annotations

import os
import random
import statistics
import time

from fluxhive.core.events import NodeJoined, NodeSaid, TaskSubmitted
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.node import GpuReport, Inventory
from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.placement import find
from fluxhive.core.placement_pass import place_waiting
from fluxhive.core.reports import AttemptEnded
from fluxhive.core.request import Request
from fluxhive.core.task import AttemptState, Priority, TaskSpec
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import GpuUuid, NodeId, TaskId

N_NODES, N_GPUS, N_TASKS = 1_000, 8, 10_000
GPU_MIB = 81_920


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
            ),
            0,
        )
    return manager


def submit(manager: TaskManager, n_tasks: int, *, now_ms: int, seed: int = 7) -> float:
    """Queue tasks without letting anything start; the CPU time of it."""
    chance = random.Random(seed)
    hive = manager.hive
    began = time.process_time()
    for number in range(n_tasks):
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


def main() -> None:
    """Measure and print."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    times, placed = [], 0
    for seed in range(3):
        manager = hive_of(N_NODES)
        submit(manager, N_TASKS, now_ms=1_000, seed=seed)
        before = manager.n_queued()
        began = time.process_time()
        place_waiting(manager.hive)
        times.append(time.process_time() - began)
        placed = before - manager.n_queued()
    took = statistics.median(times)
    print(
        f"pass: {N_TASKS} queued over {N_NODES} x {N_GPUS} GPUs: {1000 * took:.0f} ms, "
        f"{placed} placed with all their records, {N_TASKS / took / 1000:.0f} k decisions/s"
    )
    began = time.process_time()
    manager.hive.roomy = dict(list(manager.hive.nodes.items())[:1])
    place_waiting(manager.hive)
    print(f"the next pass, with room on one node: {1000 * (time.process_time() - began):.2f} ms")
    fresh = hive_of(N_NODES)
    submit(fresh, 50, now_ms=1_000)
    print(f"naive scan: {naive(fresh, 50):.0f} decisions/s")
    deep(manager)


def deep(manager: TaskManager) -> None:
    """100,000 tasks in line: what a submission and an end cost."""
    n_before = len(manager.hive.tasks)
    chance = random.Random(1)
    began = time.process_time()
    for number in range(n_before, n_before + 90_000):
        spec = TaskSpec(
            command=("python", f"train_{number % 500}.py"),
            request=Request(gpus=1, gpu_memory_mib=1024 * chance.randint(40, 70)),
        )
        manager.handle(
            TaskSubmitted(
                task_id=TaskId(f"t{number}"), number=number, owner=f"u{number % 50}", spec=spec
            ),
            2_000,
        )
    each = (time.process_time() - began) / 90_000
    print(f"{manager.n_queued()} queued; a submission: {1e6 * each:.0f} us")
    live = [a for a in manager.hive.attempts.values() if a.state is not AttemptState.ENDED][:200]
    began = time.process_time()
    for step, attempt in enumerate(live):
        outcome = Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)
        report = AttemptEnded(attempt_id=attempt.id, epoch=attempt.epoch, outcome=outcome)
        said = NodeSaid(node_id=attempt.node_id, session=1, report=report)
        manager.handle(said, 2_000 + step)
    each = (time.process_time() - began) / len(live)
    print(f"an end with what follows from it: {1000 * each:.2f} ms")


if __name__ == "__main__":
    main()
