"""What is seen of running attempts: reservations follow it, and the hive learns from it.

Use beyond a reservation raises it at once, be it past what the GPU has. Once use has settled (three
minutes after the start, two after it last grew) a reservation that is larger than needed shrinks.
A peak is learned at a good end alone: one in ten tasks grows late. Called by heartbeat.py for
readings, by task_manager.py when a timer is due, by attempt_end.py at the end. Only the brain
changes a reservation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from .learning import Peak
from .memory import reserve_for, rounded
from .node import AttemptUsage, GpuReport
from .node_record import GpuRecord, NodeRecord
from .outcome import ExitFacts, Outcome, OutcomeKind
from .request import EstimateSource, Reservation, show_mib
from .task import Attempt, AttemptState
from .timers import TimerKind
from .values import AttemptId, Mib, Ms

if TYPE_CHECKING:
    from .hive_state import HiveState

#: Growth up to this is none.
GROWTH_PER_CENT = 2
#: Use has settled so long after the start, and after it last grew.
SETTLED_AFTER_MS: Ms = 180_000
STILL_FOR_MS: Ms = 120_000
#: A reservation shrinks to the use and so much more: of a known signature, of an unknown one.
KNOWN_PERCENT, KNOWN_MIB = 105, 300
UNKNOWN_PERCENT, UNKNOWN_MIB = 130, 512
#: Ends that say how much host memory a task takes: all of it, or at least so much.
_TELLS_MEMORY = (OutcomeKind.SUCCESS, OutcomeKind.HOST_OOM)
#: A GPU so busy has no time left: nobody can tell who would have taken more.
SATURATED_PERCENT = 97


def watch_settling(hive: HiveState, attempt: Attempt) -> None:
    """Wake up when a running attempt's use of GPU memory has probably settled."""
    if attempt.reservation.gpus and attempt.started_at_ms is not None:
        at_ms = _settles_at(attempt)
        if at_ms > hive.now_ms:
            hive.timers.set(TimerKind.SETTLE, attempt.id, at_ms)


def noted(hive: HiveState, record: NodeRecord) -> None:
    """A node's readings: who grew is written down, who outgrew his reservation gets more."""
    for gpu in record.gpus.values():
        for use in gpu.report.attempts:
            reserved_mib = gpu.shares.get(use.attempt_id)
            if reserved_mib is None:
                continue
            attempt = hive.attempts[use.attempt_id]
            grew = _grew(attempt, use)
            beyond = use.used_mib > reserved_mib and _follows(hive, attempt)
            if grew or beyond:
                _grow(hive, attempt, use.used_mib, beyond=beyond, grew=grew)


def has_grown(hive: HiveState, gpu: GpuRecord, report: GpuReport) -> bool:
    """Whether ``noted`` would find anything in this report of a GPU."""
    for use in report.attempts:
        reserved_mib = gpu.shares.get(use.attempt_id)
        if reserved_mib is not None:
            attempt = hive.attempts[use.attempt_id]
            if _grew(attempt, use) or (use.used_mib > reserved_mib and _follows(hive, attempt)):
                return True
    return False


def settle(hive: HiveState, attempt_id: AttemptId) -> None:
    """It is time to see whether an attempt's use has settled."""
    attempt = hive.attempts[attempt_id]
    if attempt.state is not AttemptState.RUNNING or _settles_at(attempt) > hive.now_ms:
        watch_settling(hive, attempt)
        return
    _learn_utilization(hive, attempt)
    if _follows(hive, attempt) and attempt.seen_mib:
        _shrink(hive, attempt)


def ended(hive: HiveState, attempt: Attempt, outcome: Outcome, facts: ExitFacts | None) -> None:
    """Learn from an attempt's end; its reservation must still be held."""
    task = hive.tasks[attempt.task_id]
    whose = task.signature, task.owner, task.project
    if not task.signature:
        return
    if outcome.kind in _TELLS_MEMORY and facts is not None and facts.peak_memory_mib:
        hive.book.learn_memory(task.signature, facts.peak_memory_mib)
    if outcome.kind is not OutcomeKind.SUCCESS:
        return
    if attempt.started_at_ms is not None:
        hive.book.learn_duration(*whose, hive.now_ms - attempt.started_at_ms, hive.now_ms)
    if not attempt.reservation.gpus:
        return
    peaks = () if facts is None else facts.gpu_peaks
    peak_mib = max([attempt.seen_mib, *(peak.peak_mib for peak in peaks)])
    _learn_peak(hive, attempt, peak_mib)
    _learn_utilization(hive, attempt)
    estimate = attempt.estimate
    if estimate is not None and estimate.source is EstimateSource.LEARNED and peak_mib:
        hive.book.count_placed(task.signature, exceeded=peak_mib > estimate.reserved_mib)


def _grew(attempt: Attempt, use: AttemptUsage) -> bool:
    return use.used_mib * 100 > attempt.seen_mib * (100 + GROWTH_PER_CENT)


def _settles_at(attempt: Attempt) -> Ms:
    started_at_ms = attempt.started_at_ms or attempt.reserved_at_ms
    return max(started_at_ms + SETTLED_AFTER_MS, attempt.grew_at_ms + STILL_FOR_MS)


def _follows(hive: HiveState, attempt: Attempt) -> bool:
    """Whether the reservation follows the use: of one GPU that others share, if not pinned."""
    request = hive.spec_of(attempt).request
    pinned = request.strict and request.gpu_memory_mib is not None
    return hive.policy.follows_use and not attempt.reservation.exclusive and not pinned


def _grow(hive: HiveState, attempt: Attempt, used_mib: Mib, *, beyond: bool, grew: bool) -> None:
    reason = f"uses {show_mib(used_mib)} of GPU memory"
    seen = replace(
        attempt,
        seen_mib=max(used_mib, attempt.seen_mib),
        grew_at_ms=hive.now_ms if grew else attempt.grew_at_ms,
    )
    if beyond:
        more = rounded(used_mib)
        reason += f": reserved {show_mib(more)} instead of {show_mib(attempt.gpu_memory_mib)}"
        seen = replace(seen, reservation=_with_memory(attempt.reservation, more))
    hive.put_attempt(seen, reason)


def _shrink(hive: HiveState, attempt: Attempt) -> None:
    task = hive.tasks[attempt.task_id]
    own = hive.book.records.get(task.signature)
    share = attempt.reservation.gpus[0]
    known = attempt.estimate is not None and attempt.estimate.source is EstimateSource.LEARNED
    if known and own is not None:
        enough_mib = attempt.seen_mib * KNOWN_PERCENT // 100 + KNOWN_MIB
        enough_mib = max(enough_mib, reserve_for(own, hive.policy))
    else:
        enough_mib = attempt.seen_mib * UNKNOWN_PERCENT // 100 + UNKNOWN_MIB
    floor_mib = max(task.least_gpu_memory_mib, own.floor_mib if own is not None else 0)
    mib = min(share.gpu_memory_mib, max(rounded(enough_mib), floor_mib))
    percent = share.utilization_percent
    if own is not None and own.utilization_permille is not None:
        percent = -(-own.utilization_permille // 10)
    if mib == share.gpu_memory_mib and percent == share.utilization_percent:
        return
    share = replace(share, gpu_memory_mib=mib, utilization_percent=percent)
    settled = replace(attempt, reservation=replace(attempt.reservation, gpus=(share,)))
    reason = f"settled at {show_mib(attempt.seen_mib)} of GPU memory: reserved {show_mib(mib)}"
    hive.put_attempt(settled, reason)


def _with_memory(reservation: Reservation, mib: Mib) -> Reservation:
    share = replace(reservation.gpus[0], gpu_memory_mib=mib)
    return replace(reservation, gpus=(share,))


def _learn_peak(hive: HiveState, attempt: Attempt, peak_mib: Mib) -> None:
    task = hive.tasks[attempt.task_id]
    if peak_mib and task.signature and not attempt.gang:
        peak = Peak(channel=attempt.channel, peak_mib=peak_mib)
        hive.book.learn_peak(task.signature, task.owner, task.project, peak, hive.now_ms)


def _learn_utilization(hive: HiveState, attempt: Attempt) -> None:
    task = hive.tasks[attempt.task_id]
    if attempt.gang or not task.signature:
        return
    record = hive.nodes[attempt.node_id]
    samples = [
        sample
        for share in attempt.reservation.gpus
        if (gpu := record.gpus.get(share.uuid)) is not None
        and (sample := _own_utilization(gpu, attempt.id)) is not None
    ]
    if samples:
        hive.book.learn_utilization(task.signature, task.owner, task.project, max(samples))


def _own_utilization(gpu: GpuRecord, attempt_id: AttemptId) -> int | None:
    """What an attempt takes of the GPU's time: all of it when alone, else what others leave.

    The driver's split among neighbours is not to be trusted; theirs is known by signature.
    """
    total = gpu.report.utilization_percent
    if total is None or attempt_id not in gpu.shares:
        return None
    if len(gpu.shares) == 1:
        return total
    expected = gpu.utilizations[attempt_id]
    others = gpu.utilization_percent - expected
    left = max(0, total - others)
    if total >= SATURATED_PERCENT and left < expected:
        return None
    return min(100, left)
