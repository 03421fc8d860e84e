"""When a task is likely to start: what runs is let end one by one, on a copy, until it fits.

Asks the same placement that acts. Tasks before it in the queue start first, in their order. An end
is guessed from earlier runs (durations.py), else from the time limit; what has neither is taken to
run on. Nothing of the hive is changed. Called by outlook.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import NamedTuple

from .durations import quantile_ms
from .hive_state import HiveState
from .line_up import need_for, terms_for
from .node_record import NodeRecord
from .placement import DEFAULT_TERMS, Terms, find
from .request import Request, Reservation
from .task import Attempt, Task, TaskSpec
from .values import AttemptId, Ms, NodeId, TaskId

#: Tasks before it that are played through, and ends that are; later starts are not estimated.
AHEAD_MAX = 300
ENDS_MAX = 1_000


class Wish(NamedTuple):
    """What has to fit."""

    request: Request
    owner: str
    excluded: tuple[NodeId, ...] = ()
    terms: Terms = DEFAULT_TERMS

    def fit(self, nodes: Iterable[NodeRecord]) -> tuple[Reservation, ...] | None:
        """Where it fits on these nodes, as placement says."""
        return find(self.request, self.owner, self.excluded, nodes, self.terms)

    def later(self, by_ms: Ms) -> Wish:
        """The same, so much later."""
        terms = self.terms._replace(done_at_ms=self.terms.done_at_ms + max(0, by_ms))
        return self._replace(terms=terms)


class Start(NamedTuple):
    """When and where it would start."""

    at_ms: Ms
    reservations: tuple[Reservation, ...]
    #: The task, or the booking, whose end makes the room; None: there is room now.
    after: TaskId | None


def forecast(hive: HiveState, wish: Wish, ahead: list[Task], per_cent: int) -> Start | None:
    """The start, if ends come as in so many of a hundred earlier runs; None: no telling."""
    records = {node_id: copy_of(record) for node_id, record in hive.nodes.items()}
    fit = None if ahead else wish.fit(records.values())
    if fit is not None:
        return Start(hive.now_ms, fit, None)
    if len(ahead) > AHEAD_MAX:
        return None
    ends: list[tuple[Ms, int, AttemptId, TaskId]] = []
    for number, attempt in enumerate(live_attempts(hive)):
        at_ms = end_ms(hive, attempt, per_cent)
        if at_ms is not None:
            heappush(ends, (at_ms, number, attempt.id, attempt.task_id))
    for booking in hive.bookings.values():
        # Its end makes room as a task's does.
        heappush(ends, (booking.until_ms, -1, AttemptId(booking.id), TaskId(booking.id)))
    waiting = list(ahead)
    for number in range(ENDS_MAX):
        if not ends:
            return None
        now_ms, _, attempt_id, task_id = heappop(ends)
        touched = _release(records, attempt_id)
        for task in list(waiting):
            places = records.values() if task.spec.request.nodes > 1 else touched
            found = wish_of(hive, task.spec, task.owner).later(now_ms - hive.now_ms).fit(places)
            if found is None:
                continue
            waiting.remove(task)
            stand_in = AttemptId(f"{task.id}.next")
            for reservation in found:
                records[reservation.node_id].hold(stand_in, reservation)
            lasts_ms = quantile_ms(hive.book, task, per_cent) or task.spec.time_limit_ms
            if lasts_ms is not None:
                heappush(ends, (now_ms + lasts_ms, ENDS_MAX + number, stand_in, task.id))
        places = records.values() if wish.request.nodes > 1 else touched
        fit = wish.later(now_ms - hive.now_ms).fit(places)
        if fit is not None:
            return Start(max(hive.now_ms, now_ms), fit, task_id)
    return None


def wish_of(hive: HiveState, spec: TaskSpec, owner: str) -> Wish:
    """What a task like this needs, by what is known of its kind."""
    need = need_for(hive, spec, owner)
    return Wish(need.request, owner, (), terms_for(hive, need))


def live_attempts(hive: HiveState) -> list[Attempt]:
    """Every attempt that has not ended, oldest first."""
    return [hive.attempts[attempt_id] for attempt_id in hive.live_of.values()]


def end_ms(hive: HiveState, attempt: Attempt, per_cent: int) -> Ms | None:
    """When an attempt is likely to be over; None: nothing tells."""
    task = hive.tasks[attempt.task_id]
    began_ms = attempt.started_at_ms or attempt.reserved_at_ms
    limit_ms, lasts_ms = task.spec.time_limit_ms, quantile_ms(hive.book, task, per_cent)
    if lasts_ms is None:
        return None if limit_ms is None else max(hive.now_ms, began_ms + limit_ms)
    at_ms = began_ms + lasts_ms
    if at_ms <= hive.now_ms:
        # Overdue: the longer it runs already, the longer it is likely to go on.
        at_ms = hive.now_ms + (hive.now_ms - began_ms) // 2
    return at_ms if limit_ms is None else max(hive.now_ms, min(at_ms, began_ms + limit_ms))


def copy_of(record: NodeRecord) -> NodeRecord:
    """The same node with the same reservations, to play with."""
    copied = NodeRecord(record.live())
    copied.set_open(record.is_open)
    for attempt_id, reservation in record.holders.items():
        copied.hold(attempt_id, reservation)
    for uuid, gpu in record.gpus.items():
        if gpu.bookings and uuid in copied.gpus:
            copied.gpus[uuid].bookings = gpu.bookings
    return copied


def _release(records: dict[NodeId, NodeRecord], over: str) -> list[NodeRecord]:
    """Lets an attempt go wherever it holds something, or a booking; those nodes."""
    touched = []
    for record in records.values():
        if over in record.holders:
            record.clear_usage(AttemptId(over))
            record.let_go(AttemptId(over))
            touched.append(record)
        for gpu in record.gpus.values():
            if any(booking.id == over for booking in gpu.bookings):
                gpu.bookings = tuple(each for each in gpu.bookings if each.id != over)
                touched.append(record)
    return touched
