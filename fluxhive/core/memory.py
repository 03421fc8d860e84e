"""How much memory a task reserves, from what was learned, declared or seen to be too little.

Three numbers stay apart and are shown: what the author *declared*, what was *learned* (the largest
peak among the runs), what is *reserved*. The most particular knowledge wins: the same signature,
the same program, the same author; then the declaration; then a part of the GPU. Called for each
line of the queue when something about it was learned, and for running attempts (use_watch.py).
"""

from __future__ import annotations

from .learning import LITTLE_MEMORY_MIB, Basis, Learned, percentile
from .policy import MemoryFrom, Policy
from .request import Estimate, EstimateSource, Request, show_mib
from .values import Mib

#: Reservations are rounded up to this, so that tasks of nearly one size are looked at once.
STEP_MIB: Mib = 64
HOST_STEP_MIB: Mib = 1024
#: On top of the peaks of the same program with other sizes, and of an author's other tasks.
PROGRAM_PERCENT = 125
PROGRAM_MIB: Mib = 512
AUTHOR_PERCENT = 120
AUTHOR_MIB: Mib = 1024
#: Of an author's peaks, the one that so many percent do not exceed.
AUTHOR_PERCENTILE = 85
#: The same where a declaration is the cap: there more caution costs less.
CAPPED_PERCENT, CAPPED_PERCENTILE = 130, 90


def estimate(
    request: Request,
    basis: Basis,
    policy: Policy,
    *,
    gpu_mib: Mib,
    least_mib: Mib = 0,
) -> Estimate | None:
    """What one GPU of the task reserves; None: GPUs are not shared here, or it has none.

    ``gpu_mib``: a typical GPU of the hive. ``least_mib``: what it needs at least since it ran out.
    """
    if request.gpus != 1 or request.exclusive or policy.memory is MemoryFrom.WHOLE:
        return None
    declared = request.gpu_memory_mib
    own = basis.own if policy.memory is MemoryFrom.LEARNED else None
    if policy.memory is MemoryFrom.DECLARED or (request.strict and declared is not None):
        if declared is None:
            return None
        found = Estimate(
            source=EstimateSource.DECLARED, reserved_mib=declared, declared_mib=declared
        )
    else:
        found = _known(basis, policy, declared) or _unknown(declared, policy, gpu_mib)
    floor_mib = max(least_mib, own.floor_mib if own is not None else 0)
    if floor_mib <= found.reserved_mib:
        return found
    return Estimate(
        source=EstimateSource.REPAIR,
        reserved_mib=rounded(floor_mib),
        declared_mib=declared,
        peak_mib=found.peak_mib,
        runs=found.runs,
    )


def rounded(mib: Mib, /) -> Mib:
    """Up to the next step."""
    return -(-mib // STEP_MIB) * STEP_MIB


def host_memory_mib(request: Request, basis: Basis, policy: Policy) -> Mib:
    """What placing counts of a node's memory for who declares none: learned; 0: not known.

    A figure for placing alone: no limit comes of it.
    """
    own = basis.own
    is_learned = policy.memory is MemoryFrom.LEARNED and request.memory_mib is None
    if not is_learned or own is None or not own.memory_mib:
        return 0
    most_mib = max(own.memory_mib)
    if most_mib < LITTLE_MEMORY_MIB:
        return 0
    percent, _ = _margin(len(own.memory_mib), policy)
    mib = most_mib * (100 + percent) // 100
    # Steps of a GiB, and of an eighth where that is more: nearly equal needs are one look.
    step_mib = max(HOST_STEP_MIB, 1 << (mib.bit_length() - 4))
    return -(-mib // step_mib) * step_mib


def reserve_for(record: Learned, policy: Policy) -> Mib:
    """What the next run of a signature reserves by its own peaks; there must be one."""
    n_runs = len(record.peaks)
    percent, extra_mib = _margin(n_runs, policy)
    peak_mib = record.peak_mib
    if n_runs >= policy.outlier_runs:
        peak_mib = sorted(peak.peak_mib for peak in record.peaks)[-2]
    return rounded(peak_mib * (100 + percent) // 100 + extra_mib)


def _margin(n_runs: int, policy: Policy) -> tuple[int, Mib]:
    """What goes on top of the largest peak of so many runs: percent, and MiB."""
    known = (n_runs >= policy.thin_runs) + (n_runs >= policy.well_known_runs)
    return policy.margin_percent[known], policy.margin_mib[known]


def _known(basis: Basis, policy: Policy, declared: Mib | None) -> Estimate | None:
    own, program, author = basis.own, basis.program, basis.author
    if own is not None and own.peaks:
        source, record, mib = EstimateSource.LEARNED, own, reserve_for(own, policy)
    elif program is not None and program.peaks:
        mib = program.peak_mib * PROGRAM_PERCENT // 100 + PROGRAM_MIB
        source, record = EstimateSource.PROGRAM, program
    elif author is not None and len(author.peaks) >= policy.author_runs:
        peaks = [peak.peak_mib for peak in author.peaks]
        capped = declared is not None and policy.trusts_declared
        part = CAPPED_PERCENTILE if capped else AUTHOR_PERCENTILE
        percent = CAPPED_PERCENT if capped else AUTHOR_PERCENT
        mib = percentile(peaks, part) * percent // 100 + AUTHOR_MIB
        source, record = EstimateSource.AUTHOR, author
    else:
        return None
    mib = rounded(mib)
    is_learned = source is EstimateSource.LEARNED
    if declared is not None and policy.trusts_declared and not is_learned and declared < mib:
        source, mib = EstimateSource.DECLARED, declared
    return Estimate(
        source=source,
        reserved_mib=mib,
        declared_mib=declared,
        peak_mib=record.peak_mib,
        runs=len(record.peaks),
    )


def _unknown(declared: Mib | None, policy: Policy, gpu_mib: Mib) -> Estimate:
    if declared is not None:
        return Estimate(
            source=EstimateSource.DECLARED, reserved_mib=declared, declared_mib=declared
        )
    guess_mib = max(1, rounded(gpu_mib * policy.guess_percent // 100))
    return Estimate(source=EstimateSource.GUESS, reserved_mib=guess_mib)


def describe(estimate: Estimate) -> str:
    """Why so much is reserved, as people say it: ``learned from 14 runs (peak 8.4 GiB)``."""
    runs = "1 run" if estimate.runs == 1 else f"{estimate.runs} runs"
    peak = "" if estimate.peak_mib is None else f" (peak {show_mib(estimate.peak_mib)})"
    if estimate.peak_mib is not None and estimate.peak_mib > estimate.reserved_mib:
        peak = f"{peak[:-1]}, once)"
    match estimate.source:
        case EstimateSource.LEARNED:
            return f"learned from {runs}{peak}"
        case EstimateSource.PROGRAM:
            return f"learned from {runs} of the same program with other sizes{peak}"
        case EstimateSource.AUTHOR:
            return f"from {runs} of its author's other tasks{peak}"
        case EstimateSource.DECLARED:
            return "as declared"
        case EstimateSource.REPAIR:
            return "raised, because it ran out of GPU memory before"
        case _:
            return "nothing is known about it yet"


def confidence(estimate: Estimate, basis: Basis) -> str:
    """How far the estimate can be trusted: ``high``, ``medium`` or ``low``."""
    own = basis.own
    if estimate.source is not EstimateSource.LEARNED or own is None or not own.peaks:
        return "low"
    peaks = [peak.peak_mib for peak in own.peaks]
    close = max(peaks) * 100 <= min(peaks) * 115
    return "high" if len(peaks) >= 3 and close else "medium"
