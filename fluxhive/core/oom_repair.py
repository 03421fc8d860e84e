"""What follows when a task ran out of GPU memory: the ladder from which it is repaired or failed.

Culprit and victim are told apart. A victim of a neighbour is tried again free of charge, and alone
once it happened twice. A culprit gets more, then a GPU alone, then a larger GPU, and fails with the
reason when no GPU could hold it. Every rung is higher than the one before and each counts as a
restart: never a loop. Pure: called by attempt_end.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from .outcome import Blame, GpuOom, Outcome
from .request import show_mib
from .retry import Counted, RetryDecision, backoff_ms, decide, describe
from .spec import OnOom
from .task import Attempt, Task, TaskState
from .values import Mib, Value

#: The next reservation is at least so much of what it was seen to want, and of what it had.
WANTED_PERCENT = 125
HAD_PERCENT = 150
#: A victim so many times is put alone; beyond this it counts as a restart like any other end.
VICTIM_ALONE_AFTER = 2
VICTIM_FREE_MAX = 3


class Repair(Value, frozen=True, kw_only=True):
    """The task with what it learned, and where it goes."""

    task: Task
    decision: RetryDecision
    #: What its signature needs at least from now on; 0: nothing was learned.
    floor_mib: Mib = 0


def repair(
    task: Task, attempt: Attempt, outcome: Outcome, *, gpu_mib: Mib, largest_mib: Mib
) -> Repair:
    """What follows; ``gpu_mib`` is the GPU it ran on, ``largest_mib`` the largest it may have."""
    oom = outcome.oom or _guess(attempt)
    if oom.blame is Blame.NEIGHBOUR:
        return _victim(task, outcome, oom)
    had_mib = _had(attempt, gpu_mib)
    wanted_mib = max(_seen(attempt, oom) + (oom.requested_mib or 0), attempt.seen_mib)
    whole = attempt.reservation.exclusive
    if wanted_mib > largest_mib or (whole and largest_mib <= gpu_mib):
        return _too_large(task, outcome, wanted_mib, largest_mib)
    task = replace(task, own_ooms=task.own_ooms + 1)
    least_mib = max(wanted_mib * WANTED_PERCENT // 100, had_mib * HAD_PERCENT // 100)
    if whole or least_mib > largest_mib:
        # Alone on the largest there is, above the one that was too small.
        least_mib = min(largest_mib, max(least_mib, gpu_mib + 1 if whole else had_mib))
    alone = whole or task.own_ooms > 1
    decision = decide(task, outcome, None)
    if task.spec.oom is OnOom.FAIL:
        reason = f"{describe(outcome)}; it was to fail then (oom: fail)"
        decision = RetryDecision(to=TaskState.FAILED, reason=reason)
    elif decision.to is TaskState.QUEUED:
        what = _next(least_mib, gpu_mib, alone=alone, larger=whole)
        used = f" at {show_mib(wanted_mib)}" if wanted_mib else ""
        reason = f"attempt {task.attempts} ran out of GPU memory{used}; next {what}"
        decision = replace(decision, reason=reason)
    floor_mib = min(largest_mib, least_mib)
    task = replace(task, least_gpu_memory_mib=floor_mib, alone=task.alone or alone)
    return Repair(task=task, decision=decision, floor_mib=floor_mib)


def _next(least_mib: Mib, gpu_mib: Mib, *, alone: bool, larger: bool) -> str:
    if larger:
        return f"it gets a GPU of more than {show_mib(gpu_mib)}"
    return "it has a GPU alone" if alone else f"reserves {show_mib(least_mib)}"


def _victim(task: Task, outcome: Outcome, oom: GpuOom) -> Repair:
    n_times = task.neighbour_ooms + 1
    if task.spec.at_most_once or n_times > VICTIM_FREE_MAX:
        return Repair(task=task, decision=decide(task, outcome, None))
    task = replace(task, neighbour_ooms=n_times, alone=task.alone or n_times >= VICTIM_ALONE_AFTER)
    who = "a process that is no task's" if oom.culprit is None else oom.culprit
    reason = (
        f"attempt {task.attempts} ran out of GPU memory because of {who}; tried again, uncounted"
    )
    delay_ms = backoff_ms(task, 0)
    decision = RetryDecision(
        to=TaskState.QUEUED, counted=Counted.NOT, delay_ms=delay_ms, reason=reason
    )
    return Repair(task=task, decision=decision)


def _too_large(task: Task, outcome: Outcome, wanted_mib: Mib, largest_mib: Mib) -> Repair:
    if task.spec.retry > task.retries_used:
        # The author asked for retries of his own: they are his to spend.
        return Repair(task=task, decision=decide(task, outcome, None))
    wanted = f"it wanted {show_mib(wanted_mib)} on one GPU, and " if wanted_mib else ""
    reason = (
        f"{describe(outcome)}: {wanted}the largest GPU here has {show_mib(largest_mib)}; "
        "make it smaller (batch size, precision) or spread it over more GPUs"
    )
    return Repair(task=task, decision=RetryDecision(to=TaskState.FAILED, reason=reason))


def _had(attempt: Attempt, gpu_mib: Mib) -> Mib:
    """What it was placed with."""
    if attempt.reservation.exclusive:
        return gpu_mib
    if attempt.estimate is not None:
        return attempt.estimate.reserved_mib
    return max((share.gpu_memory_mib for share in attempt.reservation.gpus), default=0)


def _seen(attempt: Attempt, oom: GpuOom) -> Mib:
    """The most it was seen to use on one GPU."""
    peaks = () if attempt.facts is None else attempt.facts.gpu_peaks
    return max([attempt.seen_mib, oom.used_mib or 0, *(peak.peak_mib for peak in peaks)])


def _guess(attempt: Attempt) -> GpuOom:
    """An older node does not say whose doing it was: its own, unless it stayed within."""
    seen_mib = _seen(attempt, GpuOom(blame=Blame.OWN))
    reserved_mib = _had(attempt, 0)
    within = not attempt.reservation.exclusive and 0 < seen_mib <= reserved_mib * 9 // 10
    return GpuOom(blame=Blame.NEIGHBOUR if within else Blame.OWN)
