"""All about why a task waits: reasons, every GPU counted, its place in line, a start, remedies.

Also for a task that nobody has submitted: where it would run and when. Asks the placement that acts
and changes nothing. Called by the server for `fluxhive why` and `submit --dry-run`.
"""

from __future__ import annotations

from enum import Enum

from msgspec.structs import replace

from .arrays import find_task
from .capability import missing
from .choice import never_chosen
from .durations import basis_of, runs_like
from .explain import Reason, WaitCode, explain, obstacles, over_quota
from .forecast import (
    forecast,
    live_attempts,
    n_ahead,
    nobody_knows,
    question_of,
    runner_of,
    waiter_of,
)
from .hive_state import HiveState
from .line_up import need_for
from .memory import STEP_MIB, describe
from .node_record import GpuRecord, NodeRecord
from .pieces import Pieces
from .placement import MisfitCode, kept_as, lacks_memory
from .remedies import Remedy, remedies, roomiest, where_of
from .request import Estimate as MemoryEstimate
from .request import Request, Reservation, say_range_ms, show_mib
from .rollout import Waiter
from .signature import signature
from .start_record import Accuracy
from .task import Task, TaskSpec, TaskState
from .values import Ms, TaskId, Value
from .ways_out import ways_out, ways_out_of_hold

#: Who is not submitted yet comes after everybody.
NUMBER_LAST = 2**62
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
    #: Of another model, or on a node without the label or the tags that are asked for.
    NOT_CHOSEN = "not-chosen"


class GpuCount(Value, frozen=True, kw_only=True):
    """How many GPUs stand so; the counts add up to all GPUs of the hive."""

    standing: GpuStanding
    n_gpus: int


class Estimate(Value, frozen=True, kw_only=True):
    """When it is likely to start."""

    earliest_at_ms: Ms
    #: None: it may be later than any figure that is known.
    latest_at_ms: Ms | None = None
    #: As often earlier as later.
    likely_at_ms: Ms | None = None
    where: str = ""
    #: The task, or the booking, whose end makes the room; None: there is room.
    after: TaskId | None = None
    #: What the estimate rests on.
    basis: str = ""
    #: How true estimates have been lately; None: it starts now.
    accuracy: Accuracy | None = None


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
    #: What else helps, in words; for people.
    ways_out: tuple[str, ...] = ()


def outlook(hive: HiveState, task_id: TaskId) -> Pieces[Outlook | None]:
    """The outlook of a task; None when there is no such task."""
    task = find_task(hive, task_id)
    if task is None:
        return None
    reasons = explain(hive, task_id)
    if task.state is not TaskState.QUEUED:
        text = "; ".join(reason.text for reason in reasons) or task.reason or task.state.value
        return Outlook(summary=text, reasons=tuple(reasons), ways_out=ways_out_of_hold(task))
    if task.id not in hive.tasks and task.array_id is not None:
        task = hive.tasks[task.array_id]
    line = hive.queue.line_of(task.id)
    waiter = waiter_of(hive, task)
    n_before = n_ahead(hive, waiter)
    estimated = need_for(hive, task.spec, task.owner) if line is None else line.need
    yield
    told = yield from _told(hive, waiter, estimated.estimate, n_before, reasons)
    return replace(
        told,
        reasons=tuple(reasons),
        position=None if line is None else n_before + 1,
        n_in_line=len(hive.queue),
    )


def dry_run(hive: HiveState, spec: TaskSpec, owner: str) -> Pieces[Outlook]:
    """What would come of a task that is not submitted; of an array: of its first member."""
    reasons = obstacles(spec, (record.node for record in hive.nodes.values()), owner)
    stand_in = Task(
        id=TaskId(""),
        number=NUMBER_LAST,
        owner=owner,
        spec=spec,
        state=TaskState.QUEUED,
        priority=spec.priority,
        submitted_at_ms=hive.now_ms,
        signature=signature(spec, owner),
    )
    blocked = hive.book_of_quotas.blocks(stand_in)
    if blocked is not None:
        reasons.append(over_quota(hive, blocked))
    waiter = waiter_of(hive, stand_in)
    estimate = need_for(hive, spec, owner).estimate
    n_before = n_ahead(hive, waiter)
    yield
    told = yield from _told(hive, waiter, estimate, n_before, reasons)
    return replace(told, reasons=tuple(reasons))


def _told(
    hive: HiveState,
    waiter: Waiter,
    reserved: MemoryEstimate | None,
    n_before: int,
    reasons: list[Reason],
) -> Pieces[Outlook]:
    fit = waiter.fit(hive)
    main = reasons[0] if reasons else None
    if main is not None and (main.code in _NOT_ROOM or main.code is WaitCode.NOT_CHOSEN):
        # Room is not what it waits for, and no end of another task helps.
        estimate, parts = None, [main.text]
    elif fit is not None:
        estimate = _now(hive, fit)
        parts = ["there is room now", _when(hive, estimate)]
    else:
        lack = _lack(hive, waiter) or ("" if main is None else main.text)
        estimate = yield from _later(hive, waiter, n_before)
        parts = [lack, _when(hive, estimate)]
    return Outlook(
        summary="; ".join(part for part in parts if part),
        memory=_memory(waiter.request, reserved),
        gpus=census(hive, waiter),
        estimate=estimate,
        remedies=() if fit is not None else tuple(remedies(hive, waiter))[:REMEDIES_MAX],
        ways_out=ways_out(hive, waiter.request, waiter.owner, [reason.code for reason in reasons]),
    )


# ── the start ─────────────────────────────────────────────────────────────────────────────────


def _now(hive: HiveState, fit: tuple[Reservation, ...]) -> Estimate:
    now_ms = hive.now_ms
    return Estimate(
        earliest_at_ms=now_ms,
        likely_at_ms=now_ms,
        latest_at_ms=now_ms,
        where=where_of(hive, fit),
    )


def _later(hive: HiveState, waiter: Waiter, n_before: int) -> Pieces[Estimate | None]:
    found = yield from forecast(hive, waiter, n_before)
    if found is None:
        return None
    wait = hive.starts.range_of(found.waits_ms, question_of(hive, waiter), hive.now_ms)
    start = found.likely
    return Estimate(
        earliest_at_ms=hive.now_ms + wait.earliest_ms,
        likely_at_ms=hive.now_ms + wait.likely_ms,
        latest_at_ms=hive.now_ms + wait.latest_ms,
        where=where_of(hive, start.reservations),
        after=start.after,
        basis=_basis(hive, start.after),
        accuracy=hive.starts.accuracy(),
    )


def _basis(hive: HiveState, after: TaskId | None) -> str:
    """What is known about the task whose end makes the room."""
    if after is not None and after in hive.bookings:
        return f"a booking for {hive.bookings[after].whose}"
    task = None if after is None else hive.tasks.get(after)
    if task is None:
        return ""
    n_runs = len(runs_like(hive.book, task))
    if n_runs:
        return f"judged by {n_runs} earlier run{'s' if n_runs > 1 else ''} like {task.id}"
    basis = basis_of(hive.book, task)
    if basis.author is not None and basis.author.durations_ms:
        return f"judged by other tasks of {task.owner}"
    if basis.project is not None and basis.project.durations_ms:
        return f"judged by other tasks of project {task.project}"
    return f"judged by the time limit of {task.id}"


def _when(hive: HiveState, estimate: Estimate | None) -> str:
    if estimate is None:
        unknown = [a for a in live_attempts(hive) if runner_of(hive, a).lengths is None]
        if unknown:
            return f"no telling when: nothing says how long {unknown[0].task_id} runs"
        first = nobody_knows(hive)
        if first is not None:
            return f"no telling when: nothing says how long {first} will run"
        return "no telling when"
    if estimate.latest_at_ms == hive.now_ms:
        return f"on {estimate.where}" if estimate.where else "any moment"
    latest_at_ms = estimate.latest_at_ms or estimate.earliest_at_ms
    text = "in about " + say_range_ms(
        estimate.earliest_at_ms - hive.now_ms, latest_at_ms - hive.now_ms
    )
    if estimate.after is None:
        return text
    return f"{text}, when {estimate.after} ends ({estimate.basis})"


# ── what stands in the way ────────────────────────────────────────────────────────────────────


def census(hive: HiveState, waiter: Waiter) -> tuple[GpuCount, ...]:
    """How each GPU of the hive stands to the wish; empty when it asks for none."""
    if not waiter.request.gpus:
        return ()
    counts: dict[GpuStanding, int] = dict.fromkeys(GpuStanding, 0)
    for record in hive.nodes.values():
        if not record.serves(waiter.owner):
            counts[GpuStanding.NOT_YOURS] += len(record.gpus)
            continue
        is_away = _is_away(waiter, record)
        for gpu in record.gpus.values():
            counts[_standing(waiter, record, gpu, is_away=is_away)] += 1
    return tuple(
        GpuCount(standing=standing, n_gpus=counts[standing])
        for standing in GpuStanding
        if counts[standing]
    )


def _is_away(waiter: Waiter, record: NodeRecord) -> bool:
    lacks = missing(waiter.terms.capabilities, record.node.capabilities)
    return bool(lacks) or not record.takes or record.node.id in waiter.excluded


def _standing(waiter: Waiter, record: NodeRecord, gpu: GpuRecord, *, is_away: bool) -> GpuStanding:
    request = waiter.request
    if never_chosen(request, record.node, gpu.report.model):
        return GpuStanding.NOT_CHOSEN
    if is_away:
        return GpuStanding.NODE_AWAY
    if not gpu.is_offered:
        return GpuStanding.OUT_OF_USE
    if gpu.exclusive is not None or (not request.shares_gpu and not gpu.is_whole):
        return GpuStanding.IN_USE
    free_mib = gpu.free_mib if request.shares_gpu else gpu.report.total_mib
    if free_mib < (request.gpu_memory_mib or 0):
        return GpuStanding.MEMORY
    if kept_as(gpu, waiter.terms) is MisfitCode.BOOKED:
        return GpuStanding.BOOKED
    if request.cpus > record.free_cpus or lacks_memory(request, record, waiter.terms):
        return GpuStanding.NODE_FULL
    return GpuStanding.FITS


def _lack(hive: HiveState, waiter: Waiter) -> str:
    """``needs 20.0 GiB on one GPU; the most free is 11.0 GiB on gpu-b:0``; else empty."""
    if not waiter.request.shares_gpu:
        return ""
    best = roomiest(hive, waiter)
    needs = f"needs {show_mib(waiter.request.gpu_memory_mib or 0)} on one GPU"
    if best is None:
        return f"{needs}, and none can be shared now"
    record, gpu = best
    if gpu.free_mib >= (waiter.request.gpu_memory_mib or 0):
        return ""
    free = show_mib(max(0, gpu.free_mib))
    return f"{needs}; the most free is {free} on {record.node.label}:{gpu.report.index}"


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
