"""One pass over the queue: whoever is first and fits starts.

A pass looks only where something changed: shapes that are new are tried on every node, all others
on nodes where room may have appeared. Whatever fits starts, also before one that does not; only
what is promised to a waiting gang is kept (promises.py), and with ``Backfill.NONE`` nobody passes
the first.
"""

from __future__ import annotations

from bisect import bisect_left
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
from .lines import Line, Shape, ShapeKey
from .node_record import NodeRecord
from .placement import Terms
from .policy import Backfill
from .rendezvous import meets, rendezvous_port
from .request import Reservation
from .short_way import UNSURE, ShortWay, Unsure, is_plain
from .task import Attempt, AttemptState, TaskState, Turn
from .task_queue import MostFree
from .values import Mib, Ms, NodeId, TaskId

#: Where room appeared on more nodes, all that waits is looked at.
ALL_FROM_NODES = 64
_ALL_WITHOUT_GPUS = MostFree(-1, 0, 2**31)
#: GPU memory, time of a GPU and length of something that did not fit.
_Failure: TypeAlias = tuple[Mib, int, Ms]
#: Rank, number, position; the shape whose best it is, or one line of it.
_Head: TypeAlias = tuple[int, int, int, "_Look", "Line | None"]


def place_waiting(hive: HiveState) -> None:
    """Start every waiting task that fits, in the order of the queue."""
    queue = hive.queue
    if not hive.roomy and not queue.unproven:
        return
    line_up.refresh(hive)
    promises.redate(hive)
    _start_holders(hive)
    roomy, hive.roomy = hive.roomy, {}
    # What a join or an end changed is sorted in with it: the next submission need not wait for it.
    hive.room.renew()
    shapes = _worth_a_look(hive, roomy)
    if shapes:
        _Pass(hive, shapes).run()
    queue.mark_proven()
    if hive.turns.rows:
        line_up.rank(hive, queue.shapes_within(_ALL_WITHOUT_GPUS))
    while (ahead := next_ahead(hive)) is not None:
        _start(hive, ahead.line, ahead.task_id, (nothing_on(ahead.turn),), turn=ahead.turn)
    promises.promise_more(hive)


def find_room(hive: HiveState, key: ShapeKey, terms: Terms) -> tuple[Reservation, ...] | None:
    """Where a task of this shape would go now."""
    return hive.room.find(key.request, key.owner, key.excluded, terms)


def _worth_a_look(hive: HiveState, roomy: dict[NodeId, NodeRecord]) -> list[Shape]:
    """The shapes that may fit: what is new, and what asks for no more than where room appeared."""
    queue = hive.queue
    # Where nobody passes the first, the first has to be known.
    if len(roomy) > ALL_FROM_NODES or hive.policy.backfill is Backfill.NONE:
        return list(queue.shapes.values())
    shapes = {shape.number: shape for shape in map(queue.shapes.__getitem__, queue.unproven)}
    if roomy:
        most = _most_free(roomy)
        shapes.update((shape.number, shape) for shape in queue.shapes_within(most))
    return list(shapes.values())


def _most_free(roomy: dict[NodeId, NodeRecord]) -> MostFree:
    mib = whole = cpus = -1
    for record in roomy.values():
        if record.takes:
            whole, cpus = max(whole, record.n_whole_gpus), max(cpus, record.free_cpus)
            for gpu in record.gpus.values():
                if gpu.free_mib > mib and gpu.is_offered and gpu.exclusive is None:
                    mib = gpu.free_mib
    return MostFree(mib, whole, cpus)


def _start_holders(hive: HiveState) -> None:
    """Whoever holds a promise starts as soon as it fits anywhere, before anybody else."""
    for task_id in list(hive.promises):
        line = hive.queue.line_of(task_id)
        if line is None:
            continue
        fit = find_room(hive, line.shape.key, terms_of(hive, line, task_id))
        if fit is not None:
            _start(hive, line, task_id, fit)


class _Look:
    """One shape as it is looked at in one pass."""

    __slots__ = ("failed", "shape", "too_long_ms", "way")

    def __init__(self, shape: Shape, way: ShortWay | None, failed: list[_Failure] | None) -> None:
        self.shape = shape
        #: The short way to its room; None: it has none.
        self.way = way
        #: What asks for the same of all else and did not fit, when it shares GPUs.
        self.failed = failed
        #: What takes so long does not fit on promised GPUs either.
        self.too_long_ms: Ms | None = None


class _Pass:
    """The shapes of one pass, the best first."""

    def __init__(self, hive: HiveState, shapes: list[Shape]) -> None:
        self._hive = hive
        #: By what else is asked.
        self._failed: dict[ShapeKey, list[_Failure]] = {}
        self._heads: list[_Head] = []
        # Ranks change with time: those that cannot start anyway need none.
        shapes = self._that_may_start(shapes)
        line_up.rank(hive, shapes)
        for position, shape in enumerate(shapes):
            entry = shape.best()
            if entry is not None:
                key, family = shape.key, shape.family
                way = ShortWay(hive.room, key, hive.policy) if is_plain(key) else None
                failed = None if family is None else self._failed.setdefault(family, [])
                look = _Look(shape, way, failed)
                self._heads.append((entry[0], entry[1], position, look, None))
        heapify(self._heads)

    def run(self) -> None:
        """Start whatever fits."""
        heads = self._heads
        while heads:
            rank, number, position, look, only = heads[0]
            if only is not None:
                self._try_single(only, position, look)
                continue
            shape = look.shape
            best = shape.current or shape.best()
            if best is not None and best[0] == rank and best[1] == number:
                if self._try(best[3], look):
                    best = shape.current or shape.best()
                elif self._hive.policy.backfill is Backfill.NONE:
                    return
                else:
                    heappop(heads)
                    self._go_on_without(position, look, best[3].need.expected.latest_ms)
                    continue
            if best is None:
                heappop(heads)
            else:
                heapreplace(heads, (best[0], best[1], position, look, None))

    def _try(self, line: Line, look: _Look) -> bool:
        """Starts the head of a line if it fits; answers whether it did."""
        hive, head, latest_ms = self._hive, line.head, line.need.expected.latest_ms
        assert head is not None, "the best line of a shape is empty"
        if look.failed and _is_known_to_fail(look.failed, look.shape, latest_ms):
            return False
        fit: tuple[Reservation, ...] | Unsure | None = UNSURE
        if look.way is not None:
            fit = look.way.find(hive.now_ms + latest_ms)
        if fit is UNSURE:
            fit = find_room(hive, look.shape.key, terms_of(hive, line, head.task_id))
        if fit is None:
            return False
        _start(hive, line, head.task_id, fit)
        return True

    def _go_on_without(self, position: int, look: _Look, latest_ms: Ms) -> None:
        """The best of a shape does not fit: none of it does, unless it is done sooner."""
        self._note_failure(look.shape, latest_ms)
        if self._hive.promises or self._hive.bookings:
            look.too_long_ms = latest_ms
            self._add_shorter(position, look, latest_ms)

    def _try_single(self, line: Line, position: int, look: _Look) -> None:
        """Looks at the head of a line that may fit though the best of its shape does not."""
        heappop(self._heads)
        latest_ms = line.need.expected.latest_ms
        assert look.too_long_ms is not None, "a line goes alone after its shape's best"
        if line.head is None or latest_ms >= look.too_long_ms:
            return
        if self._try(line, look):
            after = line.head
            if after is not None:
                heappush(self._heads, (line.rank, after.number, position, look, line))
            return
        self._note_failure(look.shape, latest_ms)
        if self._hive.promises or self._hive.bookings:
            look.too_long_ms = latest_ms

    def _that_may_start(self, shapes: list[Shape]) -> list[Shape]:
        """Those that would fit if they were done at once."""
        hive = self._hive
        if hive.policy.backfill is Backfill.NONE:
            return shapes
        found: list[Shape] = []
        alike: dict[tuple[ShapeKey, int], list[Shape]] = {}
        for shape in shapes:
            if shape.family is not None:
                alike.setdefault((shape.family, shape.key.utilization_percent), []).append(shape)
            elif self._may_start(shape):
                found.append(shape)
        for some in alike.values():
            # They differ in GPU memory alone: where one fits, whatever asks for less does.
            some.sort(key=lambda shape: shape.key.request.gpu_memory_mib or 0)
            n_fitting = bisect_left(some, True, key=lambda shape: not self._may_start(shape))
            found += some[:n_fitting]
            if n_fitting < len(some):
                self._note_failure(some[n_fitting], 0)
        return found

    def _may_start(self, shape: Shape) -> bool:
        hive, key = self._hive, shape.key
        percent, now_ms = key.utilization_percent, hive.now_ms
        terms = Terms(
            hive.policy,
            percent,
            now_ms,
            capabilities=key.capabilities,
            bookings=key.bookings,
            learned_memory_mib=key.learned_memory_mib,
        )
        return find_room(hive, key, terms) is not None

    def _note_failure(self, shape: Shape, latest_ms: Ms) -> None:
        if shape.family is None:
            return
        # How long it takes matters on promised GPUs alone.
        ms = latest_ms if self._hive.promises or self._hive.bookings else 0
        mib, percent = shape.key.request.gpu_memory_mib or 0, shape.key.utilization_percent
        failed = self._failed.setdefault(shape.family, [])
        failed[:] = [each for each in failed if each[0] < mib or each[1] < percent or each[2] < ms]
        failed.append((mib, percent, ms))

    def _add_shorter(self, position: int, look: _Look, latest_ms: Ms) -> None:
        """What is done sooner may fit on kept GPUs where the best of the shape does not."""
        hive = self._hive
        times = [promise.at_ms for promise in hive.promises.values()]
        times += [booking.from_ms for booking in hive.bookings.values()]
        last_ms = max(times) - hive.now_ms
        if last_ms <= 0:
            return
        for line in look.shape.lines:
            if line.need.expected.latest_ms <= min(last_ms, latest_ms - 1):
                head = line.head
                if head is not None:
                    heappush(self._heads, (line.rank, head.number, position, look, line))


def _is_known_to_fail(failed: list[_Failure], shape: Shape, latest_ms: Ms) -> bool:
    """Whether something that asks for no more in any respect did not fit in this pass."""
    mib, percent = shape.key.request.gpu_memory_mib or 0, shape.key.utilization_percent
    for less_mib, less_percent, less_ms in failed:
        if less_mib <= mib and less_percent <= percent and less_ms <= latest_ms:
            return True
    return False


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
