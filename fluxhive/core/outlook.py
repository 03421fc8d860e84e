"""All about why a task waits: reasons, every GPU counted, its place in line, a start, remedies.

Also for a task that nobody has submitted: where it would run and when. Asks the placement that acts
and changes nothing. Called by the server for `fluxhive why` and `submit --dry-run`.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from msgspec.structs import replace

from .arrays import find_task
from .capability import missing
from .durations import runs_like
from .explain import Reason, WaitCode, explain, obstacles, over_quota
from .forecast import Start, Wish, end_ms, forecast, live_attempts
from .hive_state import HiveState
from .line_up import need_for, standing, terms_for
from .memory import STEP_MIB, describe
from .node_record import GpuRecord, NodeRecord, serving
from .placement import MisfitCode, kept_as, lacks_memory
from .request import Estimate as MemoryEstimate
from .request import Request, Reservation, show_mib, show_ms
from .task import Task, TaskSpec, TaskState
from .values import Ms, TaskId, Value

#: An estimate goes from the end that 20 of 100 runs reached to that of 80 of 100.
EARLY_PER_CENT, LATE_PER_CENT = 20, 80
REMEDIES_MAX = 3
#: Reasons that say more than how much room there is.
_NOT_ROOM = frozenset(
    {
        WaitCode.NEVER,
        WaitCode.NO_NODES,
        WaitCode.RETRY_BACKOFF,
        WaitCode.AGENT_REFUSED,
        WaitCode.AGENT_TOO_OLD,
        WaitCode.ARRAY_LIMIT,
        WaitCode.QUOTA_USER,
        WaitCode.QUOTA_PROJECT,
    }
)
_GIB = 1024


class GpuStanding(Enum):
    """What a GPU is for a request now."""

    FITS = "fits"
    #: Too little of its memory is free.
    MEMORY = "memory"
    #: Somebody has it alone, or somebody is on it and the request needs it whole.
    IN_USE = "in-use"
    #: Its node has too few CPUs or too little memory left.
    NODE_FULL = "node-full"
    #: Dirty, faulty, or without a reading.
    OUT_OF_USE = "out-of-use"
    #: It is booked for others, and would not be back in time.
    BOOKED = "booked"
    #: Its node is out of contact, draining, handed the task back, or has too old an agent.
    NODE_AWAY = "node-away"
    #: Its node serves another user.
    NOT_YOURS = "not-yours"


class GpuCount(Value, frozen=True, kw_only=True):
    """How many GPUs stand so; the counts add up to all GPUs of the hive."""

    standing: GpuStanding
    n_gpus: int


class Remedy(Value, frozen=True, kw_only=True):
    """A change with which the task would start now, as placement says."""

    option: str
    where: str


class Estimate(Value, frozen=True, kw_only=True):
    """When it is likely to start."""

    earliest_at_ms: Ms
    #: None: it may be later than any figure that is known.
    latest_at_ms: Ms | None = None
    where: str = ""
    #: The task, or the booking, whose end makes the room; None: there is room.
    after: TaskId | None = None
    #: What the estimate rests on.
    basis: str = ""


class Outlook(Value, frozen=True, kw_only=True):
    """Why it waits and what will come of it."""

    summary: str
    reasons: tuple[Reason, ...] = ()
    #: Its place among all tasks in line, from 1 on; None: it is not in line.
    position: int | None = None
    n_in_line: int = 0
    #: Where the figure for GPU memory comes from; empty: no GPU is asked for.
    memory: str = ""
    gpus: tuple[GpuCount, ...] = ()
    estimate: Estimate | None = None
    remedies: tuple[Remedy, ...] = ()


def outlook(hive: HiveState, task_id: TaskId) -> Outlook | None:
    """The outlook of a task; None when there is no such task."""
    task = find_task(hive, task_id)
    if task is None:
        return None
    reasons = explain(hive, task_id)
    if task.state is not TaskState.QUEUED:
        text = "; ".join(reason.text for reason in reasons) or task.reason or task.state.value
        return Outlook(summary=text, reasons=tuple(reasons))
    line = hive.queue.line_of(task.array_id or task_id)
    ahead = list(_ahead(hive, task))
    need = need_for(hive, task.spec, task.owner) if line is None else line.need
    excluded = () if line is None else line.key.excluded
    wish = Wish(need.request, task.owner, excluded, terms_for(hive, need))
    told = _told(hive, wish, need.estimate, ahead, reasons)
    is_in_line = (task.array_id or task_id) in hive.queue
    return replace(
        told,
        reasons=tuple(reasons),
        position=len(ahead) + 1 if is_in_line else None,
        n_in_line=len(hive.queue),
    )


def dry_run(hive: HiveState, spec: TaskSpec, owner: str) -> Outlook:
    """What would come of a task that is not submitted; of an array: of its first member."""
    rank = spec.priority.rank
    ahead = [
        hive.tasks[task_id]
        for task_id in hive.queue.task_ids()
        if hive.tasks[task_id].priority.rank <= rank
    ]
    ahead.sort(key=lambda task: standing(hive, task))
    reasons = obstacles(spec, (record.node for record in hive.nodes.values()), owner)
    stand_in = Task(
        id=TaskId(""),
        number=0,
        owner=owner,
        spec=spec,
        state=TaskState.QUEUED,
        submitted_at_ms=hive.now_ms,
    )
    blocked = hive.book_of_quotas.blocks(stand_in)
    if blocked is not None:
        reasons.append(over_quota(hive, blocked))
    need = need_for(hive, spec, owner)
    wish = Wish(need.request, owner, (), terms_for(hive, need))
    return replace(_told(hive, wish, need.estimate, ahead, reasons), reasons=tuple(reasons))


def _told(
    hive: HiveState,
    wish: Wish,
    reserved: MemoryEstimate | None,
    ahead: list[Task],
    reasons: list[Reason],
) -> Outlook:
    fit = wish.fit(hive.nodes.values())
    main = reasons[0] if reasons else None
    if main is not None and main.code in _NOT_ROOM:
        # Room is not what it waits for, and no end of another task helps.
        estimate, parts = None, [main.text]
    elif fit is not None:
        estimate = _now(hive, fit)
        parts = ["there is room now", _when(hive, estimate)]
    else:
        estimate = _later(hive, wish, ahead)
        parts = [_lack(hive, wish) or ("" if main is None else main.text), _when(hive, estimate)]
    return Outlook(
        summary="; ".join(part for part in parts if part),
        memory=_memory(wish.request, reserved),
        gpus=census(hive, wish),
        estimate=estimate,
        remedies=() if fit is not None else tuple(_remedies(hive, wish))[:REMEDIES_MAX],
    )


def _ahead(hive: HiveState, task: Task) -> Iterator[Task]:
    """Who stands before a task, first first."""
    whole = hive.tasks[task.array_id] if task.id not in hive.tasks and task.array_id else task
    own = standing(hive, whole)
    others = (hive.tasks[task_id] for task_id in hive.queue.task_ids())
    places = sorted((standing(hive, other), other.id) for other in others)
    yield from (hive.tasks[task_id] for place, task_id in places if place < own)


# ── the start ─────────────────────────────────────────────────────────────────────────────────


def _now(hive: HiveState, fit: tuple[Reservation, ...]) -> Estimate:
    at_ms = hive.now_ms
    return Estimate(earliest_at_ms=at_ms, latest_at_ms=at_ms, where=_where(hive, fit))


def _later(hive: HiveState, wish: Wish, ahead: list[Task]) -> Estimate | None:
    early = forecast(hive, wish, ahead, EARLY_PER_CENT)
    if early is None:
        return None
    late = forecast(hive, wish, ahead, LATE_PER_CENT)
    return Estimate(
        earliest_at_ms=min(early.at_ms, late.at_ms if late is not None else early.at_ms),
        latest_at_ms=None if late is None else max(early.at_ms, late.at_ms),
        where=_where(hive, early.reservations),
        after=early.after,
        basis=_basis(hive, early),
    )


def _basis(hive: HiveState, start: Start) -> str:
    if start.after in hive.bookings:
        return f"a booking for {hive.bookings[start.after].whose}"
    task = None if start.after is None else hive.tasks.get(start.after)
    if task is None:
        return ""
    n_runs = len(runs_like(hive.book, task))
    if n_runs:
        return f"{n_runs} earlier run{'s' if n_runs > 1 else ''} like {task.id}"
    return f"the time limit of {task.id}"


def _where(hive: HiveState, fit: tuple[Reservation, ...]) -> str:
    parts = []
    for reservation in fit:
        label = hive.nodes[reservation.node_id].node.label
        gpus = ",".join(str(share.index) for share in reservation.gpus)
        parts.append(f"{label}:{gpus}" if gpus else label)
    return " ".join(parts)


def _when(hive: HiveState, estimate: Estimate | None) -> str:
    if estimate is None:
        unknown = [a for a in live_attempts(hive) if end_ms(hive, a, LATE_PER_CENT) is None]
        if unknown:
            return f"no telling when: nothing says how long {unknown[0].task_id} runs"
        return "no telling when"
    if estimate.after is None:
        return f"on {estimate.where}"
    early_ms = max(0, estimate.earliest_at_ms - hive.now_ms)
    text = f"about {show_ms(early_ms)}"
    if estimate.latest_at_ms is not None and estimate.latest_at_ms > estimate.earliest_at_ms:
        text += f" to {show_ms(estimate.latest_at_ms - hive.now_ms)}"
    return f"{text}, when {estimate.after} ends ({estimate.basis})"


# ── what stands in the way ────────────────────────────────────────────────────────────────────


def census(hive: HiveState, wish: Wish) -> tuple[GpuCount, ...]:
    """How each GPU of the hive stands to the wish; empty when it asks for none."""
    if not wish.request.gpus:
        return ()
    counts: dict[GpuStanding, int] = {}
    for record in hive.nodes.values():
        for gpu in record.gpus.values():
            standing = _standing(wish, record, gpu)
            counts[standing] = counts.get(standing, 0) + 1
    return tuple(
        GpuCount(standing=standing, n_gpus=counts[standing])
        for standing in GpuStanding
        if standing in counts
    )


def _standing(wish: Wish, record: NodeRecord, gpu: GpuRecord) -> GpuStanding:
    request = wish.request
    if not record.serves(wish.owner):
        return GpuStanding.NOT_YOURS
    lacks = missing(wish.terms.capabilities, record.node.capabilities)
    if lacks or not record.takes or record.node.id in wish.excluded:
        return GpuStanding.NODE_AWAY
    if not gpu.is_offered:
        return GpuStanding.OUT_OF_USE
    if gpu.exclusive is not None or (not request.shares_gpu and not gpu.is_whole):
        return GpuStanding.IN_USE
    free_mib = gpu.free_mib if request.shares_gpu else gpu.report.total_mib
    if free_mib < (request.gpu_memory_mib or 0):
        return GpuStanding.MEMORY
    if kept_as(gpu, wish.terms) is MisfitCode.BOOKED:
        return GpuStanding.BOOKED
    if request.cpus > record.free_cpus or lacks_memory(request, record, wish.terms):
        return GpuStanding.NODE_FULL
    return GpuStanding.FITS


def _lack(hive: HiveState, wish: Wish) -> str:
    """``needs 20.0 GiB on one GPU; the most free is 11.0 GiB on gpu-b:0``; else empty."""
    if not wish.request.shares_gpu:
        return ""
    best = _roomiest(hive, wish)
    needs = f"needs {show_mib(wish.request.gpu_memory_mib or 0)} on one GPU"
    if best is None:
        return f"{needs}, and none can be shared now"
    record, gpu = best
    if gpu.free_mib >= (wish.request.gpu_memory_mib or 0):
        return ""
    free = show_mib(max(0, gpu.free_mib))
    return f"{needs}; the most free is {free} on {record.node.label}:{gpu.report.index}"


def _roomiest(hive: HiveState, wish: Wish) -> tuple[NodeRecord, GpuRecord] | None:
    offered = [
        (record, gpu)
        for record in serving(hive.nodes, wish.owner)
        if record.takes and record.node.id not in wish.excluded
        if not missing(wish.terms.capabilities, record.node.capabilities)
        for gpu in record.gpus.values()
        if gpu.is_offered and gpu.exclusive is None
    ]
    return max(offered, key=lambda each: (each[1].free_mib, each[1].report.uuid), default=None)


def _memory(request: Request, reserved: MemoryEstimate | None) -> str:
    if not request.gpus:
        return ""
    if request.shares_gpu and reserved is not None and (request.gpu_memory_mib or 0) < STEP_MIB:
        return "a part of a GPU, by what there will be: nothing is known about it yet"
    if request.shares_gpu and reserved is not None:
        return f"{show_mib(request.gpu_memory_mib or 0)} on one GPU: {describe(reserved)}"
    if request.gpu_memory_mib is None:
        return "whole GPUs"
    return f"whole GPUs of {show_mib(request.gpu_memory_mib)} or more"


# ── what would help ───────────────────────────────────────────────────────────────────────────


def _remedies(hive: HiveState, wish: Wish) -> Iterator[Remedy]:
    """Single changes with which it would start now; each is tried on the placement that acts."""
    for option, request in _cheaper(hive, wish):
        fit = wish._replace(request=request).fit(hive.nodes.values())
        if fit is not None:
            yield Remedy(option=option, where=_where(hive, fit))


def _cheaper(hive: HiveState, wish: Wish) -> Iterator[tuple[str, Request]]:
    request = wish.request
    best = _roomiest(hive, wish)
    gib = 0 if best is None else best[1].free_mib // _GIB
    wanted_mib = request.gpu_memory_mib
    if request.gpus == 1 and gib > 0 and (wanted_mib is None or wanted_mib > gib * _GIB):
        smaller = replace(request, gpu_memory_mib=gib * _GIB, exclusive=False)
        yield f"--gpu-mem {gib}G", smaller
    if request.exclusive and wanted_mib is not None:
        yield "--shared", replace(request, exclusive=False)
    for gpus in range(request.gpus - 1, 0, -1):
        fewer = replace(request, gpus=gpus)
        if wish._replace(request=fewer).fit(hive.nodes.values()) is not None:
            yield f"--gpus {gpus}", fewer
            break
    records = [record for record in serving(hive.nodes, wish.owner) if record.takes]
    cpus = max((record.free_cpus for record in records), default=0)
    if 0 < cpus < request.cpus:
        yield f"--cpus {cpus}", replace(request, cpus=cpus)
    memory_gib = max((record.free_memory_mib for record in records), default=0) // _GIB
    wanted_mib = request.memory_mib or wish.terms.learned_memory_mib
    if 0 < memory_gib * _GIB < wanted_mib:
        yield f"--mem {memory_gib}G", replace(request, memory_mib=memory_gib * _GIB)
