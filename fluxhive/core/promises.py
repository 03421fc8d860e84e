"""Promises to gangs that wait: certain GPUs, by a certain time, and others only if done before.

Without them a gang starves among small tasks, which always fit somewhere. Of the gangs that have
waited long enough, the first in the queue is promised the GPUs that will be free soonest; others
may use them only if they are expected to be gone by the promised time. A promise never moves to
later: past its time its GPUs only drain. The holder may start anywhere else earlier. Called in
each placement pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from .capability import missing
from .durations import basis_of, outlasting
from .learning import expected, percentile
from .line_up import terms_of
from .lines import Line
from .node import NodeState
from .node_record import GpuRecord, NodeRecord
from .placement import is_kept
from .policy import Backfill, DurationFrom
from .request import Promise, Request, say_ms
from .task import Attempt, Task, TaskState
from .timers import TimerKind
from .values import GpuUuid, Ms, TaskId

if TYPE_CHECKING:
    from .hive_state import HiveState

#: The times of promises are looked at again after so long.
REDATE_AFTER_MS: Ms = 60_000
#: A promise so late is overdue: who may be preempted gives way to it (preemption.py).
OVERDUE_AFTER_MS: Ms = 3_600_000


def watch(hive: HiveState, task: Task) -> None:
    """Wake up when a gang that came into line has waited long enough for a promise."""
    if is_gang(task.spec.request) and hive.policy.backfill is Backfill.PROMISED:
        at_ms = task.submitted_at_ms + hive.policy.promise_after_ms
        if at_ms > hive.now_ms:
            hive.timers.set(TimerKind.PROMISE, task.id, at_ms)


def keep(hive: HiveState, task: Task) -> None:
    """A task's record is new: so may be what it was promised, or that it needs no promise."""
    old = hive.promises.get(task.id)
    new = task.promise if task.state is TaskState.QUEUED else None
    if old == new:
        return
    if old is not None:
        del hive.promises[task.id]
        for record, gpu in gpus_of(hive, old):
            gpu.promised = None
            hive.roomy[record.node.id] = record
    if new is not None:
        hive.promises[task.id] = new
        overdue_at_ms = new.at_ms + OVERDUE_AFTER_MS
        if hive.settings.preemption and overdue_at_ms > hive.now_ms:
            hive.timers.set(TimerKind.PROMISE, task.id, overdue_at_ms)
        for _, gpu in gpus_of(hive, new):
            gpu.promised = task.id, new.at_ms


def overdue(hive: HiveState) -> list[TaskId]:
    """Those whose promise was due an hour ago."""
    last_ms = hive.now_ms - OVERDUE_AFTER_MS
    return [task_id for task_id, promise in hive.promises.items() if promise.at_ms <= last_ms]


def is_gang(request: Request) -> bool:
    """Whether it needs several GPUs at once."""
    return request.gpus * request.nodes > 1


def redate(hive: HiveState) -> None:
    """Move promises to earlier where their GPUs drain faster; drop those that cannot be kept."""
    if not hive.promises or hive.now_ms < hive.redated_at_ms + REDATE_AFTER_MS:
        return
    hive.redated_at_ms = hive.now_ms
    for task_id in list(hive.promises):
        task = hive.tasks[task_id]
        promise = task.promise
        assert promise is not None, f"{task_id} holds no promise"
        gpus = [
            (record, gpu)
            for record, gpu in gpus_of(hive, promise)
            if gpu.is_offered and record.node.state is NodeState.READY
        ]
        if len(gpus) < len(promise.gpus):
            hive.put_task(replace(task, promise=None, reason="its promised GPUs are out of use"))
            continue
        at_ms = max(free_at(hive, gpu) for _, gpu in gpus)
        if at_ms < promise.at_ms:
            hive.put_task(replace(task, promise=replace(promise, at_ms=at_ms)))


def promise_more(hive: HiveState) -> None:
    """Give the first gang in the queue a promise, while there are promises to give."""
    if hive.policy.backfill is not Backfill.PROMISED:
        return
    if not hive.queue.gangs:
        return
    while len(hive.promises) < 1 + hive.room.n_taking // hive.policy.nodes_per_promise:
        found = _first(hive)
        if found is None:
            return
        task, line = found
        promise = _best(hive, line)
        if promise is None:
            return
        by = say_ms(promise.at_ms - hive.now_ms)
        reason = f"promised {len(promise.gpus)} GPUs, which are expected to be free in {by}"
        hive.put_task(replace(task, promise=promise, reason=reason))


def _first(hive: HiveState) -> tuple[Task, Line] | None:
    """Of the gangs that have waited long enough, the first without a promise."""
    best: tuple[tuple[int, int], TaskId, Line] | None = None
    latest_ms = hive.now_ms - hive.policy.promise_after_ms
    for line in hive.queue.gangs:
        # Whoever holds a promise is the head of its line: the next one's turn comes after it.
        head = line.head
        if head is None or head.task_id in hive.promises or head.submitted_at_ms > latest_ms:
            continue
        rank = hive.ranking.rank(line), head.number
        if best is None or rank < best[0]:
            best = rank, head.task_id, line
    return None if best is None else (hive.tasks[best[1]], best[2])


def _best(hive: HiveState, line: Line) -> Promise | None:
    """The GPUs that are free soonest, on the nodes that could hold it."""
    request = line.need.request
    taken = {uuid: None for promise in hive.promises.values() for uuid in promise.gpus}
    choices: list[tuple[Ms, str, tuple[GpuUuid, ...]]] = []
    for record in hive.nodes.values():
        if not record.takes or not record.serves(line.key.owner):
            continue
        if record.node.id in line.key.excluded:
            continue
        if missing(line.key.capabilities, record.node.capabilities):
            continue
        free = sorted(
            (free_at(hive, gpu), gpu.report.index, uuid)
            for uuid, gpu in record.gpus.items()
            if gpu.is_offered
            and uuid not in taken
            and not _is_booked_then(hive, line, gpu)
            and gpu.report.total_mib >= (request.gpu_memory_mib or 0)
        )
        if len(free) >= request.gpus:
            chosen = free[: request.gpus]
            choices.append((chosen[-1][0], record.node.id, tuple(uuid for _, _, uuid in chosen)))
    choices.sort()
    if len(choices) < request.nodes:
        return None
    chosen_nodes = choices[: request.nodes]
    uuids = tuple(uuid for _, _, some in chosen_nodes for uuid in some)
    return Promise(gpus=uuids, at_ms=chosen_nodes[-1][0])


def _is_booked_then(hive: HiveState, line: Line, gpu: GpuRecord) -> bool:
    """Whether it would still need the GPU when that is booked for others."""
    if not gpu.bookings:
        return False
    done_at_ms = free_at(hive, gpu) + line.need.expected.latest_ms
    return is_kept(gpu, terms_of(hive, line, TaskId(""))._replace(done_at_ms=done_at_ms))


def gpus_of(hive: HiveState, promise: Promise) -> list[tuple[NodeRecord, GpuRecord]]:
    """The promised GPUs and their nodes, as far as they are known."""
    return [
        (record, gpu)
        for record in hive.nodes.values()
        for uuid in promise.gpus
        if (gpu := record.gpus.get(uuid)) is not None
    ]


def free_at(hive: HiveState, gpu: GpuRecord) -> Ms:
    """When everybody on the GPU is expected to be gone."""
    latest = hive.now_ms
    slowdown = max(100, min(500, gpu.utilization_percent))
    for attempt_id in gpu.shares:
        attempt = hive.attempts[attempt_id]
        since_ms = attempt.started_at_ms or attempt.reserved_at_ms
        age_ms = (hive.now_ms - since_ms) * 100 // slowdown
        at_ms = since_ms + _latest_ms(hive, attempt, age_ms) * slowdown // 100
        if at_ms < hive.now_ms:
            at_ms = hive.now_ms + (hive.now_ms - since_ms) // 2
        latest = max(latest, at_ms)
    return latest


def _latest_ms(hive: HiveState, attempt: Attempt, age_ms: Ms) -> Ms:
    """How long it will hardly exceed, were it alone: of those that got as old, most did not."""
    task = hive.tasks[attempt.task_id]
    basis = basis_of(hive.book, task)
    older = outlasting(basis, age_ms) if hive.policy.duration is DurationFrom.LEARNED else ()
    if older:
        return percentile(older, 80) * hive.policy.late_percent // 100
    return expected(basis, hive.policy, task.spec.time_limit_ms).latest_ms
