"""GPUs and what runs on them in a simulated hive: pace and memory.

Tasks on one GPU slow each other down by how busy they would keep it alone: up to a whole GPU's time
together hardly at all, beyond it the more, the more of them fill it by themselves. Checked against
measurements on an H100 (docs/measurements, GPU): four tasks of 38 % each run 2.9 times as much in
all as one, eight 3.6 to 3.8 times; and two that fill the GPU gain nothing.
"""

from __future__ import annotations

from fluxhive.core.node import AttemptUsage, GpuReport
from fluxhive.core.task import Attempt
from fluxhive.core.values import GpuUuid, Mib, Ms, NodeId

from .workload import Job

#: Beyond a whole GPU's time, time stretches with this power of what is asked, and with one more
#: part of the power as far as it is asked by tasks that fill a GPU alone.
STRETCH_POWER = 0.6
HEAVY_POWER = 0.4
HEAVY_FROM = 0.9
#: Each neighbour costs a little by being there.
COST_OF_A_NEIGHBOUR = 0.02


class Run:
    """An attempt that runs: how far it is and what it holds."""

    __slots__ = (
        "_at_ms",
        "_left",
        "attempt",
        "cards",
        "has_peaked",
        "is_over",
        "job",
        "pace",
        "started_ms",
        "used_mib",
        "version",
    )

    def __init__(
        self, job: Job, attempt: Attempt, cards: list[Card], used_mib: Mib, now_ms: Ms
    ) -> None:
        self.job = job
        self.attempt = attempt
        self.cards = cards
        self.used_mib = used_mib
        self.started_ms = now_ms
        self.has_peaked = False
        self.is_over = False
        #: Milliseconds of its own time in one of the hive's; 0: it has not begun.
        self.pace = 0.0
        #: Counts changes of pace: an end foreseen before the last one is void.
        self.version = 0
        self._left = float(job.duration_ms)
        self._at_ms = now_ms

    @property
    def exceeds(self) -> bool:
        """Whether it uses more than it was placed with."""
        return self.used_mib > self.attempt.reservation.gpus[0].gpu_memory_mib

    def go_on(self, now_ms: Ms, pace: float) -> None:
        """From now on at this pace."""
        self._left -= (now_ms - self._at_ms) * self.pace
        self._at_ms = now_ms
        self.pace = pace
        self.version += 1

    def left_ms(self) -> Ms:
        """How long it still takes at its pace."""
        return max(0, round(self._left / self.pace))


class Card:
    """One GPU."""

    __slots__ = ("_report", "index", "node_id", "runs", "total_mib", "uuid")

    def __init__(self, uuid: GpuUuid, index: int, node_id: NodeId, total_mib: Mib) -> None:
        self.uuid = uuid
        self.index = index
        self.node_id = node_id
        self.total_mib = total_mib
        self.runs: list[Run] = []
        self._report: GpuReport | None = None

    @property
    def used_mib(self) -> Mib:
        """What all runs on it use."""
        return sum(run.used_mib for run in self.runs)

    def add(self, run: Run) -> None:
        """It runs here from now on."""
        self.runs.append(run)

    def remove(self, run: Run) -> None:
        """It does not run here any more."""
        self.runs.remove(run)

    def report(self) -> GpuReport:
        """What its node would say; the same object while nothing has changed."""
        uses = tuple(
            AttemptUsage(attempt_id=run.attempt.id, used_mib=run.used_mib) for run in self.runs
        )
        busy = min(1.0, sum(run.job.utilization for run in self.runs))
        percent = round(100 * busy)
        old = self._report
        if old is None or old.attempts != uses or old.utilization_percent != percent:
            self._report = GpuReport(
                uuid=self.uuid,
                index=self.index,
                model="simulated",
                total_mib=self.total_mib,
                used_mib=min(self.total_mib, self.used_mib),
                attempts=uses,
                utilization_percent=percent,
            )
        assert self._report is not None
        return self._report


def slowdown(runs: list[Run]) -> float:
    """How many times as long everything takes on a GPU with these runs."""
    asked = sum(run.job.utilization for run in runs)
    cost = 1.0 + COST_OF_A_NEIGHBOUR * (len(runs) - 1)
    if asked <= 1.0:
        return cost
    heavy = sum(run.job.utilization for run in runs if run.job.utilization >= HEAVY_FROM)
    return float(asked ** (STRETCH_POWER + HEAVY_POWER * heavy / asked)) * cost
