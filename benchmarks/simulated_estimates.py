"""How true estimates of starts are under the policy itself: lab32 in the simulator.

    python benchmarks/simulated_estimates.py [LOAD]

Each twentieth task that does not start at once is asked for its outlook when it comes; its start is
noted when it comes. Prints how many got an estimate, and how many of the starts lay within its
range, before and after it.
"""

from __future__ import annotations

import statistics
import sys

from fluxhive.core.outlook import Estimate
from fluxhive.core.policy import HIVE
from fluxhive.core.task import Attempt, TaskState
from fluxhive.core.values import Ms, TaskId
from fluxhive.sim import workload
from fluxhive.sim.policy_world import PolicyWorld
from fluxhive.sim.workload import Job

EVERY = 20
MINUTE_MS = 60_000


class AskingWorld(PolicyWorld):
    """A world in which some of those who wait ask when they will start."""

    def __init__(self, jobs: list[Job]) -> None:
        super().__init__(jobs, HIVE, n_nodes=4, gpu_mib=(81_920,) * 8)
        self.n_waited = 0
        self.told: dict[TaskId, Estimate | None] = {}
        self.came_ms: dict[TaskId, Ms] = {}

    def _submit(self, job: Job) -> None:
        super()._submit(job)
        self.agenda.after(0, self._ask, TaskId(f"t{job.number}"))

    def _ask(self, task_id: TaskId) -> None:
        self._settle()
        task = self.manager.task(task_id)
        if task is None or task.state is not TaskState.QUEUED:
            return
        self.n_waited += 1
        if self.n_waited % EVERY == 0:
            outlook = self.manager.outlook(task_id)
            self.told[task_id] = None if outlook is None else outlook.estimate

    def _begin(self, attempt: Attempt) -> None:
        super()._begin(attempt)
        self.came_ms.setdefault(attempt.task_id, self.agenda.now_ms)


def main() -> None:
    """Play, and count."""
    load = float(sys.argv[1]) if len(sys.argv) > 1 else 0.7
    world = AskingWorld(workload.at_load(workload.load("lab32"), load))
    world.run()
    within = early = late = 0
    late_by: list[float] = []
    for task_id, estimate in world.told.items():
        if estimate is None:
            continue
        at_ms = world.came_ms[task_id]
        if at_ms < estimate.earliest_at_ms - MINUTE_MS:
            early += 1
        elif estimate.latest_at_ms is None or at_ms <= estimate.latest_at_ms + MINUTE_MS:
            within += 1
        else:
            late += 1
            late_by.append((at_ms - estimate.latest_at_ms) / MINUTE_MS)
    n = max(1, within + early + late)
    print(f"{world.n_waited} tasks waited, {len(world.told)} asked, {n} got an estimate")
    parts = [f"{100 * part / n:.0f} %" for part in (within, early, late)]
    print(f"within {parts[0]}, earlier {parts[1]}, later {parts[2]}")
    if late_by:
        print(f"those that came later: by {statistics.median(late_by):.0f} min (median)")


if __name__ == "__main__":
    main()
