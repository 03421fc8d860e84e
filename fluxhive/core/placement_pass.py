"""One pass over the queue: whoever is first and fits starts.

A pass looks only where something changed: shapes that are new are tried on every node, all others
on nodes where room may have appeared. Whatever fits starts, also before one that does not; only
what is promised to a waiting gang is kept (promises.py), and with ``Backfill.NONE`` nobody passes
the first.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TypeAlias

from msgspec.structs import replace

from . import arrays, line_up, promises, quota_gate
from .ahead import next_ahead, nothing_on
from .gang import new_members
from .gpu_caps import cap_mib
from .hive_state import HiveState
from .ids import attempt_id
from .line_up import terms_of
from .node_record import NodeRecord
from .placement import find
from .policy import Backfill
from .rendezvous import meets, rendezvous_port
from .request import Reservation
from .task import Attempt, AttemptState, TaskState, Turn
from .task_queue import Line, Shape
from .values import Mib, Ms, NodeId, TaskId

#: Rank, number, position; the shape whose best it is, or one line of it.
_Head: TypeAlias = tuple[int, int, int, Shape, "Line | None"]


def place_waiting(hive: HiveState) -> None:
    """Start every waiting task that fits, in the order of the queue."""
    queue = hive.queue
    if not hive.roomy and not queue.unproven:
        return
    line_up.refresh(hive)
    promises.redate(hive)
    _start_holders(hive)
    roomy, hive.roomy = hive.roomy, {}
    # Where nobody passes the first, the first has to be known.
    is_strict = hive.policy.backfill is Backfill.NONE
    keys = queue.shapes if roomy or is_strict else queue.unproven
    shapes = [queue.shapes[key] for key in keys]
    _Pass(hive, shapes, roomy).run()
    queue.mark_proven()
    while (ahead := next_ahead(hive)) is not None:
        _start(hive, ahead.line, ahead.task_id, (nothing_on(ahead.turn),), turn=ahead.turn)
    promises.promise_more(hive)


def _start_holders(hive: HiveState) -> None:
    """Whoever holds a promise starts as soon as it fits anywhere, before anybody else."""
    for task_id in list(hive.promises):
        line = hive.queue.line_of(task_id)
        if line is None:
            continue
        nodes = hive.nodes.values()
        key = line.shape.key
        fit = find(key.request, key.owner, key.excluded, nodes, terms_of(hive, line, task_id))
        if fit is not None:
            _start(hive, line, task_id, fit)


class _Pass:
    """The shapes of one pass, the best first."""

    def __init__(
        self, hive: HiveState, shapes: list[Shape], roomy: dict[NodeId, NodeRecord]
    ) -> None:
        self._hive = hive
        self._roomy = roomy
        self._heads: list[_Head] = []
        #: By position of a shape: what takes so long does not fit on promised GPUs either.
        self._too_long_ms: dict[int, Ms] = {}
        for position, shape in enumerate(shapes):
            entry = shape.best()
            if entry is not None:
                self._heads.append((entry[0], entry[1], position, shape, None))
        heapify(self._heads)

    def run(self) -> None:
        """Start whatever fits."""
        heads = self._heads
        while heads:
            rank, number, position, shape, only = heads[0]
            if only is None:
                entry = shape.best()
                if entry is None:
                    heappop(heads)
                    continue
                if entry[0] != rank or entry[1] != number:
                    heapreplace(heads, (entry[0], entry[1], position, shape, None))
                    continue
                line = entry[3]
            else:
                line = only
            if not self._try(line, position, shape, is_single=only is not None):
                return

    def _try(self, line: Line, position: int, shape: Shape, *, is_single: bool) -> bool:
        """Looks at a line's head; False when nobody may pass it."""
        hive, heads = self._hive, self._heads
        head = line.head()
        latest_ms = line.need.expected.latest_ms
        if head is None or (is_single and latest_ms >= self._too_long_ms[position]):
            heappop(heads)
            return True
        key = shape.key
        # A gang may need room that was there before beside room that appeared.
        # Where nobody passes the first, most shapes were not even looked at in the pass before.
        is_proven = shape.is_proven and hive.policy.backfill is not Backfill.NONE
        nodes = self._roomy if is_proven and key.request.nodes == 1 else hive.nodes
        terms = terms_of(hive, line, head.task_id)
        fit = find(key.request, key.owner, key.excluded, nodes.values(), terms)
        if fit is not None:
            _start(hive, line, head.task_id, fit)
            if is_single:
                heappop(heads)
                after = line.head()
                if after is not None:
                    heappush(heads, (line.rank, after.number, position, shape, line))
            return True
        heappop(heads)
        if hive.policy.backfill is Backfill.NONE:
            return False
        if hive.promises:
            self._too_long_ms[position] = latest_ms
            if not is_single:
                self._add_shorter(position, shape, latest_ms)
        return True

    def _add_shorter(self, position: int, shape: Shape, latest_ms: Ms) -> None:
        """What is done sooner may fit on promised GPUs where the best of the shape does not."""
        hive = self._hive
        last_ms = max(promise.at_ms for promise in hive.promises.values()) - hive.now_ms
        if last_ms <= 0:
            return
        for line in shape.lines.values():
            if line.need.expected.latest_ms <= min(last_ms, latest_ms - 1):
                head = line.head()
                if head is not None:
                    heappush(self._heads, (line.rank, head.number, position, shape, line))


def _start(
    hive: HiveState,
    line: Line,
    task_id: TaskId,
    reservations: tuple[Reservation, ...],
    *,
    turn: Turn | None = None,
) -> None:
    old = hive.tasks[task_id]
    if old.spec.array is not None:
        old = arrays.next_member(hive, old)
        task_id = old.id
    epoch, channel = old.epoch + 1, hive.last_channel + 1
    # The epoch is ahead where a backup was restored: the numbers in between may have been used.
    number = max(old.attempts + 1, epoch)
    on = ", ".join(hive.nodes[reservation.node_id].node.label for reservation in reservations)
    first = reservations[0]
    attempt = Attempt(
        id=attempt_id(task_id, number),
        task_id=task_id,
        number=number,
        epoch=epoch,
        channel=channel,
        state=AttemptState.RESERVED,
        node_id=first.node_id,
        reservation=first,
        reserved_at_ms=hive.now_ms,
        gang=new_members(reservations),
        rendezvous_port=rendezvous_port(hive, first.node_id, channel) if meets(old.spec) else 0,
        estimate=line.need.estimate,
        gpu_cap_mib=_cap(hive, line, first),
        expected_end_ms=hive.now_ms + line.need.expected.latest_ms,
        turn=turn,
    )
    hive.put_task(
        replace(
            old,
            state=TaskState.ACTIVE,
            attempts=number,
            epoch=epoch,
            not_before_ms=0,
            promise=None,
            reason=f"attempt {number} on {on}",
        )
    )
    hive.put_attempt(attempt, f"placed on {on}")
    for member in attempt.members:
        hive.say_dispatch(attempt, member)
    arrays.started(hive, old)
    quota_gate.started(hive, old)


def _cap(hive: HiveState, line: Line, reservation: Reservation) -> Mib | None:
    """The cap of an attempt that shares one GPU."""
    need = line.need
    if need.estimate is None or not need.request.shares_gpu:
        return None
    (share,) = reservation.gpus
    gpu_mib = hive.nodes[reservation.node_id].gpus[share.uuid].report.total_mib
    return cap_mib(need.estimate, share.gpu_memory_mib, gpu_mib)
