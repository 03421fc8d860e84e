"""How true the estimate of a start is: what was told at submission against what came.

Goal: the accuracy of `fluxhive why`. Method: the core alone, without processes or a clock: 32 GPUs
on 4 nodes, tasks of a dozen kinds whose lengths scatter, arriving at a load that makes them wait.
Each waiting task's outlook is asked when it is submitted; its start is noted when it comes.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics

from own_hive import heading

from fluxhive.core.effects import Dispatch, HiveEffect
from fluxhive.core.events import NodeJoined, NodeSaid, TaskSubmitted
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.node import GpuReport, Inventory
from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.pieces import whole
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptStarted, Report
from fluxhive.core.request import Request
from fluxhive.core.task import TaskSpec
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import GpuUuid, NodeId, TaskId

NODES, GPUS = 4, 8
HOUR_MS = 3_600_000


class World:
    """The hive, and the ends that are still to come."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        # Nodes say nothing between reports here, and are not silent for that.
        self.manager = TaskManager(settings=HiveSettings(silent_after_ms=10**12))
        self.now_ms = 0
        self.lengths_ms: dict[TaskId, int] = {}
        self.started_ms: dict[TaskId, int] = {}
        self.ends: list[tuple[int, int, Dispatch]] = []
        for node in range(NODES):
            reports = tuple(
                GpuReport(uuid=GpuUuid(f"{node}-{gpu}"), index=gpu, model="GPU", total_mib=81_920)
                for gpu in range(GPUS)
            )
            inventory = Inventory(cpus=64, memory_mib=512_000, gpus=reports)
            name = f"n{node}"
            self.carry_out(
                self.manager.handle(
                    NodeJoined(
                        node_id=NodeId(name),
                        session=1,
                        incarnation=1,
                        label=name,
                        inventory=inventory,
                    ),
                    0,
                )
            )

    def submit(self, number: int, kind: int) -> TaskId:
        """A task of a kind; its length is near the kind's."""
        task_id = TaskId(f"t{number}")
        usual_ms = HOUR_MS * (1 + kind % 5) // 2
        self.lengths_ms[task_id] = int(usual_ms * self.chance.lognormvariate(0, 0.25))
        gpus = 2 if kind % 4 == 3 else 1
        memory = None if gpus > 1 or kind % 3 == 0 else 20_000
        spec = TaskSpec(
            command=("train",),
            name=f"kind{kind}",
            request=Request(gpus=gpus, gpu_memory_mib=memory),
        )
        event = TaskSubmitted(task_id=task_id, number=number, owner=f"u{kind % 3}", spec=spec)
        self.carry_out(self.manager.handle(event, self.now_ms))
        whole(self.manager.trial(event))
        return task_id

    def pass_to(self, at_ms: int) -> None:
        """Everything that ends until then ends."""
        while self.ends and self.ends[0][0] <= at_ms:
            self.now_ms, _, dispatch = heapq.heappop(self.ends)
            outcome = Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)
            attempt = dispatch.attempt
            ended = AttemptEnded(attempt_id=attempt.id, epoch=attempt.epoch, outcome=outcome)
            self.say(dispatch, ended)
        self.now_ms = at_ms

    def say(self, dispatch: Dispatch, report: Report) -> None:
        """The node's word."""
        event = NodeSaid(node_id=dispatch.node_id, session=1, report=report)
        self.carry_out(self.manager.handle(event, self.now_ms))
        whole(self.manager.trial(event))

    def carry_out(self, effects: list[HiveEffect]) -> None:
        """What is dispatched starts at once and ends after its length."""
        for effect in effects:
            if not isinstance(effect, Dispatch):
                continue
            attempt = effect.attempt
            self.started_ms[attempt.task_id] = self.now_ms
            at_ms = self.now_ms + self.lengths_ms[attempt.task_id]
            heapq.heappush(self.ends, (at_ms, len(self.started_ms), effect))
            self.say(effect, AttemptAccepted(attempt_id=attempt.id, epoch=attempt.epoch))
            started = AttemptStarted(attempt_id=attempt.id, epoch=attempt.epoch, pid=1, age_ms=0)
            self.say(effect, started)


def main() -> None:
    """Plays it through and prints how true the estimates were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--apart-ms", type=int, default=115_000)
    given = parser.parse_args()
    heading(f"{given.tasks} tasks on {NODES * GPUS} GPUs, seed {given.seed}")
    world = World(given.seed)
    told: dict[TaskId, tuple[int, int, int | None]] = {}
    n_waited = n_untold = 0
    for number in range(given.tasks):
        world.pass_to(world.now_ms + int(world.chance.expovariate(1 / given.apart_ms)))
        task_id = world.submit(number, world.chance.randrange(12))
        if task_id in world.started_ms:
            continue
        n_waited += 1
        outlook = whole(world.manager.outlook(task_id))
        estimate = None if outlook is None else outlook.estimate
        if estimate is None:
            n_untold += 1
        else:
            told[task_id] = (world.now_ms, estimate.earliest_at_ms, estimate.latest_at_ms)
    world.pass_to(world.now_ms + 1000 * HOUR_MS)
    print(f"  waited: {n_waited}, without an estimate: {n_untold}")
    _print_errors(world, told)


def _print_errors(world: World, told: dict[TaskId, tuple[int, int, int | None]]) -> None:
    inside = 0
    errors_min, waits_min = [], []
    for task_id, (asked_ms, early_ms, late_ms) in told.items():
        real_ms = world.started_ms[task_id]
        middle_ms = early_ms if late_ms is None else (early_ms + late_ms) // 2
        inside += early_ms <= real_ms <= (real_ms if late_ms is None else late_ms)
        errors_min.append((real_ms - middle_ms) / 60_000)
        waits_min.append((real_ms - asked_ms) / 60_000)
    absolute = sorted(abs(error) for error in errors_min)
    print(f"  real wait: median {statistics.median(waits_min):.0f} min, worst {max(waits_min):.0f}")
    print(
        f"  error of the middle of the range: median {statistics.median(absolute):.1f} min, "
        f"90 of 100 within {absolute[len(absolute) * 9 // 10]:.1f} min, "
        f"mean {statistics.mean(errors_min):+.1f} min"
    )
    print(f"  started within the range: {inside} of {len(told)}")


if __name__ == "__main__":
    main()
