"""What a simulated run came to: waits, completion times, fairness, memory that ran out.

``Tally`` is told by the world as it happens; ``Result`` is one line of the table that
``fluxhive simulate`` prints, and one object of its JSON.
"""

from __future__ import annotations

from collections.abc import Iterable

from fluxhive.core.values import Ms, Value

from .sharing import Card, Run
from .workload import Job

HOUR_MS = 3_600_000
#: A task counts as at least so long, so that one of a second does not decide about slowdown.
LEAST_MS = 60_000
#: Users with fewer tasks say little about fairness.
LEAST_TASKS = 5


class Result(Value, frozen=True, kw_only=True, omit_defaults=False):
    """Figures of one policy; times in hours."""

    policy: str
    tasks: int
    mean_jct_h: float
    p50_jct_h: float
    p95_jct_h: float
    mean_wait_h: float
    p95_wait_h: float
    max_wait_h: float
    #: Useful work against what the GPUs could do one task at a time; above 1 by packing alone.
    throughput_fraction: float
    #: GPUs that were idle while somebody waited.
    idle_while_queued_fraction: float
    #: Of the users' mean progress (1: all equal).
    jain: float
    oom_attempt_fraction: float
    wasted_gpu_time_fraction: float
    #: Tasks that failed although some GPU could have held them.
    final_oom_failures: int
    wall_s: float
    mean_slowdown: float
    makespan_h: float
    attempts: int
    #: Mean wait of tasks by their number of GPUs.
    mean_wait_h_by_gpus: dict[str, float]
    #: Of tasks placed by what their signature was learned to take: reserved against the true peak
    #: (median), and how many took more than was reserved.
    learned_ratio_median: float
    learned_exceeded_fraction: float


class Tally:
    """Counts while the world runs."""

    def __init__(self, jobs: list[Job], *, n_gpus: int) -> None:
        self._jobs = jobs
        self._n_gpus = n_gpus
        #: Tasks that have not ended.
        self.n_open = len(jobs)
        self._first_start: dict[int, Ms] = {}
        self._end: dict[int, Ms] = {}
        self._n_busy = 0
        self._held: dict[str, int] = {}
        self._idle_ms = 0
        self._now_ms: Ms = 0
        self._n_attempts = 0
        self._n_ooms = 0
        self._wasted_ms = 0.0
        self._n_failed = 0
        self._ratios: list[float] = []
        self._n_exceeded = 0

    # ── told by the world ─────────────────────────────────────────────────────────────────────

    def pass_to(self, at_ms: Ms, *, is_waiting: bool) -> None:
        """Time passes until then, as things are."""
        if is_waiting:
            self._idle_ms += (at_ms - self._now_ms) * (self._n_gpus - self._n_busy)
        self._now_ms = at_ms

    def started(self, run: Run) -> None:
        """An attempt begins."""
        job = run.job
        self._n_attempts += 1
        self._first_start.setdefault(job.number, self._now_ms)
        for card in run.cards:
            n_runs = self._held.get(card.uuid, 0)
            self._held[card.uuid] = n_runs + 1
            self._n_busy += n_runs == 0
        estimate = run.attempt.estimate
        if estimate is not None and estimate.source.value == "learned":
            self._ratios.append(estimate.reserved_mib / max(1, job.peak_mib))
            self._n_exceeded += estimate.reserved_mib < job.peak_mib

    def left(self, cards: Iterable[Card]) -> None:
        """An attempt is gone from these GPUs."""
        for card in cards:
            self._held[card.uuid] -= 1
            self._n_busy -= self._held[card.uuid] == 0

    def ran_out(self, run: Run, now_ms: Ms, n_runs: int) -> None:
        """An attempt was refused memory; its work is lost, its part of the GPU's time wasted."""
        self._n_ooms += 1
        self._wasted_ms += (now_ms - run.started_ms) / n_runs

    def finished(self, job: Job, now_ms: Ms) -> None:
        """A task is done."""
        self._end[job.number] = now_ms
        self.n_open -= 1

    def failed(self, job: Job) -> None:
        """The hive has failed a task for good."""
        self._n_failed += 1
        self.finished(job, self._now_ms)

    # ── asked at the end ──────────────────────────────────────────────────────────────────────

    def jct_ms(self, numbers: Iterable[int]) -> list[Ms]:
        """From submission to the end, of these tasks."""
        return [self._end[number] - self._jobs[number].submit_ms for number in numbers]

    def wait_ms(self, numbers: Iterable[int]) -> list[Ms]:
        """From submission to the first start, of these tasks."""
        return [self._first_start[number] - self._jobs[number].submit_ms for number in numbers]

    def queue_lengths(self, n_points: int) -> list[tuple[float, int]]:
        """How many tasks waited for their first start, over time: (hour, tasks)."""
        # At one moment whoever comes is counted before who starts.
        changes = sorted(
            [(job.submit_ms, 0) for job in self._jobs]
            + [(at_ms, 1) for at_ms in self._first_start.values()]
        )
        every = max(1, len(changes) // n_points)
        points, waiting = [], 0
        for position, (at_ms, is_start) in enumerate(changes):
            waiting += -1 if is_start else 1
            if position % every == 0:
                points.append((at_ms / HOUR_MS, waiting))
        return points

    def result(self, policy: str, wall_s: float) -> Result:
        """The figures."""
        jobs, numbers = self._jobs, range(len(self._jobs))
        jct, wait = self.jct_ms(numbers), self.wait_ms(numbers)
        work_ms = sum(job.duration_ms * job.gpus for job in jobs)
        makespan_ms = max(self._end.values())
        slow = [
            max(1.0, t / max(job.duration_ms, LEAST_MS)) for t, job in zip(jct, jobs, strict=True)
        ]
        room_ms = self._n_gpus * makespan_ms
        return Result(
            policy=policy,
            tasks=len(jobs),
            mean_jct_h=_hours(_mean(jct)),
            p50_jct_h=_hours(_part(jct, 0.5)),
            p95_jct_h=_hours(_part(jct, 0.95)),
            mean_wait_h=_hours(_mean(wait)),
            p95_wait_h=_hours(_part(wait, 0.95)),
            max_wait_h=_hours(max(wait)),
            throughput_fraction=round(work_ms / room_ms, 4),
            idle_while_queued_fraction=round(self._idle_ms / room_ms, 4),
            jain=round(self._jain(jct), 4),
            oom_attempt_fraction=round(self._n_ooms / max(1, self._n_attempts), 5),
            wasted_gpu_time_fraction=round(self._wasted_ms / work_ms, 6),
            final_oom_failures=self._n_failed,
            wall_s=round(wall_s, 1),
            mean_slowdown=round(_mean(slow), 2),
            makespan_h=_hours(makespan_ms),
            attempts=self._n_attempts,
            mean_wait_h_by_gpus=self._waits_by_gpus(),
            learned_ratio_median=round(_part(self._ratios, 0.5), 3) if self._ratios else 0.0,
            learned_exceeded_fraction=round(self._n_exceeded / max(1, len(self._ratios)), 4),
        )

    def _jain(self, jct: list[Ms]) -> float:
        """Jain's index over users of their tasks' mean progress."""
        by_user: dict[str, list[float]] = {}
        for job, took_ms in zip(self._jobs, jct, strict=True):
            progress = min(1.0, max(job.duration_ms, LEAST_MS) / max(1, took_ms))
            by_user.setdefault(job.user, []).append(progress)
        means = [_mean(each) for each in by_user.values() if len(each) >= LEAST_TASKS]
        if not means:
            return 1.0
        return sum(means) ** 2 / (len(means) * sum(mean * mean for mean in means))

    def _waits_by_gpus(self) -> dict[str, float]:
        sizes = sorted({job.gpus for job in self._jobs})
        return {
            str(gpus): _hours(
                _mean(self.wait_ms(job.number for job in self._jobs if job.gpus == gpus))
            )
            for gpus in sizes
        }


def _mean(values: list[Ms] | list[float]) -> float:
    return sum(values) / len(values)


def _part(values: list[Ms] | list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def _hours(length_ms: float) -> float:
    return round(length_ms / HOUR_MS, 3)
