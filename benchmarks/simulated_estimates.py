"""How true estimates of starts are under the policy itself: a workload in the simulator.

    python benchmarks/simulated_estimates.py [lab32|org256] [LOAD]

Of the tasks that do not start at once each twentieth is asked for its outlook when it comes, and
with it somebody who has waited for a while. The hive tries estimates of its own meanwhile, as it
always does. Prints how many got an estimate, how many of the starts lay within its range, before
and after it, and how wide the ranges were.
"""

from __future__ import annotations

import statistics
import sys
from typing import NamedTuple

from fluxhive.core.outlook import Estimate
from fluxhive.core.pieces import whole
from fluxhive.core.policy import HIVE
from fluxhive.core.start_record import SLACK_MS
from fluxhive.core.task import Attempt, TaskState
from fluxhive.core.values import Ms, TaskId
from fluxhive.sim import workload
from fluxhive.sim.policy_world import PolicyWorld
from fluxhive.sim.workload import Job

EVERY = 20
TRIAL_EVERY_MS = 60 * 60_000
#: By workload: its load, and how many nodes of 8 GPUs it is meant for.
WORKLOADS = {"lab32": (0.7, 4), "org256": (0.9, 32)}


class Answer(NamedTuple):
    """What somebody was told."""

    task_id: TaskId
    at_ms: Ms
    has_waited: bool
    estimate: Estimate | None
    summary: str


class AskingWorld(PolicyWorld):
    """A world in which some of those who wait ask when they will start."""

    def __init__(self, jobs: list[Job], n_nodes: int) -> None:
        super().__init__(
            jobs,
            HIVE,
            n_nodes=n_nodes,
            gpu_mib=(81_920,) * 8,
            trial_every_ms=TRIAL_EVERY_MS,
        )
        self.n_waited = 0
        self.answers: list[Answer] = []
        self.came_ms: dict[TaskId, Ms] = {}

    def _submit(self, job: Job) -> None:
        super()._submit(job)
        self.agenda.after(0, self._see, TaskId(f"t{job.number}"))

    def _see(self, task_id: TaskId) -> None:
        self._settle()
        task = self.manager.task(task_id)
        if task is None or task.state is not TaskState.QUEUED:
            return
        self.n_waited += 1
        if self.n_waited % EVERY:
            return
        self._ask(task_id, has_waited=False)
        in_line = [other for other in self.manager.hive.queue.task_ids() if other != task_id]
        if in_line:
            other = sorted(in_line, key=lambda each: int(each[1:]))
            self._ask(other[self.n_waited * 7919 % len(other)], has_waited=True)

    def _ask(self, task_id: TaskId, *, has_waited: bool) -> None:
        told = whole(self.manager.outlook(task_id))
        assert told is not None, f"{task_id} is not known"
        if task_id in self.manager.hive.queue:
            now_ms = self.agenda.now_ms
            answer = Answer(task_id, now_ms, has_waited, told.estimate, told.summary)
            self.answers.append(answer)

    def _begin(self, attempt: Attempt) -> None:
        super()._begin(attempt)
        self.came_ms[attempt.task_id] = self.agenda.now_ms


def main() -> None:
    """Play, and count."""
    name = sys.argv[1] if len(sys.argv) > 1 else "lab32"
    load, n_nodes = WORKLOADS[name]
    load = float(sys.argv[2]) if len(sys.argv) > 2 else load
    world = AskingWorld(workload.at_load(workload.load(name), load), n_nodes)
    tally = world.run()
    print(f"{name} at load {load}: {world.n_waited} tasks did not start at once")
    for has_waited, who in ((False, "who just came"), (True, "who had waited")):
        report(world, who, [each for each in world.answers if each.has_waited is has_waited])
    print(f"  the hive says at the end: {world.manager.hive.starts.accuracy().text}")
    print(f"  mean time to completion {tally.result('hive', 0.0).mean_jct_h} h")


def report(world: AskingWorld, who: str, answers: list[Answer]) -> None:
    """What they were told against what came."""
    told = [
        (each, each.estimate, world.came_ms[each.task_id])
        for each in answers
        if each.estimate is not None
    ]
    untold = [each.summary.split("; ")[-1] for each in answers if each.estimate is None]
    n_early = sum(came < est.earliest_at_ms - SLACK_MS for _, est, came in told)
    n_late = sum(came > (est.latest_at_ms or came) + SLACK_MS for _, est, came in told)
    n = max(1, len(told))
    print(f"  {who}: {len(answers)} asked, {len(told)} told")
    for reason in sorted(set(untold)):
        print(f"    not told: {untold.count(reason)} ({reason})")
    print(
        f"    in the range {100 * (n - n_early - n_late) / n:.0f} %, "
        f"earlier {100 * n_early / n:.0f} %, later {100 * n_late / n:.0f} %"
    )
    waits = [max(SLACK_MS, came - each.at_ms) for each, _, came in told]
    widths = [((est.latest_at_ms or came) - est.earliest_at_ms) for _, est, came in told]
    errors = [abs(came - (est.likely_at_ms or came)) for _, est, came in told]
    per_wait = [width / wait for width, wait in zip(widths, waits, strict=True)]
    per_error = [error / wait for error, wait in zip(errors, waits, strict=True)]
    folds = [
        ((est.latest_at_ms or came) - each.at_ms + SLACK_MS)
        / (est.earliest_at_ms - each.at_ms + SLACK_MS)
        for each, est, came in told
    ]
    print(
        f"    wait {statistics.median(waits) / 60_000:.0f} min, "
        f"width {statistics.median(widths) / 60_000:.0f} min or "
        f"{statistics.median(per_wait):.1f} times the wait, "
        f"its end {statistics.median(folds):.1f} times its beginning, "
        f"likely start off by {100 * statistics.median(per_error):.0f} % of the wait (medians)"
    )


if __name__ == "__main__":
    main()
