"""What an explanation costs in a large hive: `why` and `submit --dry-run` with a long line.

    python benchmarks/explanation_cost.py [QUEUED] [NODES]

The core alone: nodes with 8 GPUs each, all in use, and tasks of 200 owners in line. Prints the
processor's time of one look, for the first in line, the last and a task that is not submitted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from own_hive import heading

from fluxhive.core.effects import Dispatch
from fluxhive.core.events import NodeJoined, NodeSaid, TaskSubmitted
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.learning import Learned
from fluxhive.core.node import GpuReport, Inventory
from fluxhive.core.pieces import Pieces
from fluxhive.core.reports import AttemptStarted
from fluxhive.core.request import Request
from fluxhive.core.task import TaskSpec
from fluxhive.core.task_manager import HiveSnapshot, TaskManager
from fluxhive.core.values import GpuUuid, NodeId, TaskId

OWNERS, GPUS, TIMES = 200, 8, 5


def spec(number: int) -> TaskSpec:
    """A task that has a GPU to itself."""
    request = Request(gpus=1 + (number % 10 == 0), exclusive=True)
    return TaskSpec(command=("train", f"--model={number % 5}"), request=request)


def hive(n_queued: int, n_nodes: int) -> TaskManager:
    """Every GPU in use, so many in line."""
    lessons = tuple(
        Learned(key=f"project:u{owner}", durations_ms=(600_000, 1_800_000, 7_200_000))
        for owner in range(OWNERS)
    )
    settings = HiveSettings(silent_after_ms=10**12, trial_every_ms=0)
    manager = TaskManager.restore(HiveSnapshot(learned=lessons), 0, settings=settings)
    for number in range(n_nodes):
        gpus = tuple(
            GpuReport(uuid=GpuUuid(f"{number}-{index}"), index=index, model="X", total_mib=81_920)
            for index in range(GPUS)
        )
        inventory = Inventory(cpus=256, memory_mib=2_000_000, gpus=gpus)
        name = f"n{number:04}"
        joined = NodeJoined(
            node_id=NodeId(name), session=1, incarnation=1, label=name, inventory=inventory
        )
        manager.handle(joined, 0)
    for number in range(n_queued + n_nodes * GPUS):
        task_id, owner = TaskId(f"t{number}"), f"u{number % OWNERS}"
        event = TaskSubmitted(task_id=task_id, number=number, owner=owner, spec=spec(number))
        for effect in manager.handle(event, number):
            if isinstance(effect, Dispatch):
                attempt = effect.attempt
                said = AttemptStarted(attempt_id=attempt.id, epoch=attempt.epoch, pid=1, age_ms=0)
                node_said = NodeSaid(node_id=attempt.node_id, session=1, report=said)
                manager.handle(node_said, number)
    return manager


def cost(name: str, look: Callable[[], Pieces[object]]) -> None:
    """Prints the least and the most of a few looks, and the least of their longest pieces.

    The server decides between two pieces; so long it stands still.
    """
    took, longest = [], []
    for _ in range(TIMES):
        pieces, times = look(), []
        while True:
            began = time.process_time()
            is_over = next(pieces, None) is None and pieces.gi_frame is None
            times.append(1000 * (time.process_time() - began))
            if is_over:
                break
        took.append(sum(times))
        longest.append(max(times))
    print(
        f"  {name}: {min(took):.0f} to {max(took):.0f} ms in {len(times)} pieces, "
        f"the longest {min(longest):.0f} to {max(longest):.0f} ms"
    )


def main() -> None:
    """Builds the hive and looks."""
    n_queued = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    n_nodes = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    heading(f"{n_queued:,} tasks in line, {n_nodes:,} nodes of {GPUS} GPUs")
    manager = hive(n_queued, n_nodes)
    first = manager.next_in_line(1)[0]
    last = list(manager.hive.queue.task_ids())[-1]
    cost("why, of the first in line", lambda: manager.outlook(first))
    cost("why, of who came last", lambda: manager.outlook(last))
    cost("submit --dry-run", lambda: manager.dry_run(spec(7), "u7"))


if __name__ == "__main__":
    main()
