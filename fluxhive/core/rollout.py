"""One way in which the next hours may go: what runs ends, who waits starts, on a copy of the hive.

Asks the same placement that acts, in the same order, and keeps promises to gangs as promises.py
does. How long each attempt still runs is drawn from what is known of its kind; which rollout it is
decides which part of the possible lengths is drawn, so that a few of them stand for all, and the
same question has the same answer everywhere. Who may come later is not in it. Called by
forecast.py, which chooses what of the hive is copied.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from .durations import Lengths
from .node_copy import copy_of
from .node_record import GpuRecord, NodeRecord
from .placement import Terms
from .policy import Backfill, Policy
from .request import Request, Reservation
from .room_index import RoomIndex
from .values import AttemptId, GpuUuid, Mib, Ms, NodeId, TaskId

if TYPE_CHECKING:
    from .hive_state import HiveState

#: So many of them are made for one forecast.
ROLLOUTS = 5
#: Ends that are played through in one of them, and looks for room: it costs some 20 ms at most.
STEPS_MAX = 200
LOOKS_MAX = 600


class Waiter(NamedTuple):
    """A task that waits for room, or a request that may come."""

    task_id: TaskId
    number: int
    submitted_at_ms: Ms
    request: Request
    owner: str
    excluded: tuple[NodeId, ...]
    #: As of now; ``done_at_ms`` moves with the time.
    terms: Terms
    #: Its rank as of now, and how it changes in a millisecond (score.py).
    rank: int
    rank_per_ms: float
    #: How long it will run; None: nobody knows.
    lengths: Lengths | None
    #: All that it asks but for memory and time of a GPU; the same for those that ask alike.
    family: tuple[object, ...]

    def fit(self, hive: HiveState) -> tuple[Reservation, ...] | None:
        """Where it fits now, as placement says."""
        return hive.room.find(self.request, self.owner, self.excluded, self.terms)

    def rank_at(self, by_ms: Ms) -> tuple[float, int]:
        """Where it stands so much later: lower goes first."""
        return self.rank + self.rank_per_ms * by_ms, self.number

    @property
    def is_gang(self) -> bool:
        """Whether it needs several GPUs at once."""
        return self.request.gpus * self.request.nodes > 1


class Runner(NamedTuple):
    """An attempt that runs, or a booking that stands; both make room when they are over."""

    id: str
    task_id: TaskId
    #: Since when its lengths count; None: it is not known when it is over.
    began_ms: Ms
    lengths: Lengths | None


class Row(NamedTuple):
    """Somebody who waits, as an order is made of it."""

    number: int
    #: Those of one kind ask for the same and are done at the same time: they fit or fail alike.
    kind: int
    waiter: Waiter


class Outset(NamedTuple):
    """What all rollouts of one forecast begin with."""

    now_ms: Ms
    policy: Policy
    #: Copies: the hive goes on.
    records: list[NodeRecord]
    runners: list[Runner]
    #: The first of the line by number, and one of each kind.
    rows: list[Row]
    kinds: list[Waiter]
    promised: dict[TaskId, None]


class Started(NamedTuple):
    """When and where it starts in one rollout."""

    at_ms: Ms
    reservations: tuple[Reservation, ...]
    #: The task, or the booking, whose end made the room; None: there was room at once.
    after: TaskId | None


class Rollout:
    """A copy of the hive, played forward."""

    def __init__(self, outset: Outset, number: int) -> None:
        self._outset, self._number = outset, number
        self._policy = outset.policy
        self._now_ms = outset.now_ms
        self._index = RoomIndex(outset.policy)
        self._records: dict[NodeId, NodeRecord] = {}
        for record in outset.records:
            self._records[record.node.id] = copy_of(record, self._index.touched)
        #: Where each attempt holds something.
        self._where: dict[str, list[NodeRecord]] = {}
        for copied in self._records.values():
            for attempt_id in copied.holders:
                self._where.setdefault(attempt_id, []).append(copied)
        #: Who waits, by number; and how many of each kind, by its number.
        self._rows = list(outset.rows)
        self._n_of_kind = [0] * len(outset.kinds)
        for row in self._rows:
            self._n_of_kind[row.kind] += 1
        self._gangs = {row.waiter.task_id: row.waiter for row in self._rows if row.waiter.is_gang}
        self._promised = dict(outset.promised)
        self._has_bookings = any(
            gpu.bookings for record in outset.records for gpu in record.gpus.values()
        )
        #: What is over next: time, order, who, whose.
        self._ends: list[tuple[Ms, int, str, TaskId]] = []
        self._end_of: dict[str, Ms] = {}
        for runner in outset.runners:
            if runner.lengths is not None:
                at_ms = runner.began_ms + runner.lengths.at(self._draw(runner.id))
                self._will_end(max(outset.now_ms, at_ms), runner.id, runner.task_id)
        self.n_started = 0
        self._n_looks = 0

    def start_of(self, target: TaskId) -> Started | None:
        """Plays on until this task starts; None: it does not as far as can be told."""
        found = self._pass(list(self._records.values()), None, target)
        for _ in range(STEPS_MAX):
            if found is not None or not self._ends or self._n_looks > LOOKS_MAX:
                return found
            self._now_ms, _, over, task_id = heappop(self._ends)
            found = self._pass(self._release(over), task_id, target)
        return None

    @property
    def is_cut(self) -> bool:
        """Whether more would come, were it played on."""
        return bool(self._ends)

    @property
    def now_ms(self) -> Ms:
        """How far it has come."""
        return self._now_ms

    def _draw(self, name: str) -> int:
        """Which part of the possible lengths is taken: others in each rollout, evenly spread."""
        first = crc32(name.encode()) * 2_654_435_761 % 2**32 % 1_000
        return (first + self._number * 1_000 // ROLLOUTS) % 1_000

    def _will_end(self, at_ms: Ms, who: str, task_id: TaskId) -> None:
        self._end_of[who] = at_ms
        heappush(self._ends, (at_ms, len(self._end_of), who, task_id))

    def _release(self, over: str) -> list[NodeRecord]:
        """Lets an attempt go wherever it holds something, or a booking; those nodes."""
        touched = self._where.pop(over, [])
        for record in touched:
            record.clear_usage(AttemptId(over))
            record.let_go(AttemptId(over))
        if self._has_bookings:
            for record in self._records.values():
                for gpu in record.gpus.values():
                    if any(booking.id == over for booking in gpu.bookings):
                        gpu.bookings = tuple(each for each in gpu.bookings if each.id != over)
                        touched.append(record)
        return touched

    def _pass(
        self, touched: list[NodeRecord], after: TaskId | None, target: TaskId
    ) -> Started | None:
        """Whoever fits where room appeared starts, the first first."""
        by_ms = self._now_ms - self._outset.now_ms
        kinds = self._that_may_fit(touched)
        failed = _Failed(time_matters=bool(self._promised) or self._has_bookings)
        covered: set[int] = set()
        for row in self._in_order(kinds, by_ms):
            kind, waiter = row.kind, row.waiter
            if kind in covered:
                continue
            terms = waiter.terms._replace(done_at_ms=waiter.terms.done_at_ms + by_ms)
            self._n_looks += 1
            fit = self._index.find(waiter.request, waiter.owner, waiter.excluded, terms)
            if fit is None:
                if self._policy.backfill is Backfill.NONE:
                    return None
                failed.add(waiter)
                covered = {each for each in kinds if failed.covers(kinds[each])}
                if len(covered) == len(kinds):
                    break
                continue
            if waiter.task_id == target:
                return Started(self._now_ms, fit, after)
            self._start(row, fit)
        if self._gangs and self._policy.backfill is Backfill.PROMISED:
            self._promise_more()
        return None

    def _that_may_fit(self, touched: list[NodeRecord]) -> dict[int, Waiter]:
        """Of each kind that may find room there one, by its number."""
        some = {
            number: each
            for number, each in enumerate(self._outset.kinds)
            if self._n_of_kind[number]
        }
        if self._policy.backfill is Backfill.NONE:
            return some
        most = _Most(touched)
        return {number: each for number, each in some.items() if most.may_hold(each.request)}

    def _in_order(self, kinds: dict[int, Waiter], by_ms: Ms) -> list[Row]:
        """Who waits of these kinds: who was promised something, then the first first."""
        some = [row for row in self._rows if row[1] in kinds]
        # They stand by number, which decides between equal ranks.
        ranks = [row[2].rank + row[2].rank_per_ms * by_ms for row in some]
        rows = [some[position] for position in sorted(range(len(some)), key=ranks.__getitem__)]
        if self._promised:
            rows.sort(key=lambda row: row.waiter.task_id not in self._promised)
        return rows

    def _start(self, row: Row, fit: tuple[Reservation, ...]) -> None:
        waiter = row.waiter
        self._rows.remove(row)
        self._n_of_kind[row.kind] -= 1
        self._gangs.pop(waiter.task_id, None)
        self.n_started += 1
        stand_in = AttemptId(f"{waiter.task_id}.next")
        by_ms = self._now_ms - self._outset.now_ms
        for reservation in fit:
            record = self._records[reservation.node_id]
            record.hold(stand_in, reservation)
            self._where.setdefault(stand_in, []).append(record)
            record.expect_end(stand_in, waiter.terms.done_at_ms + by_ms)
        if waiter.lengths is not None:
            at_ms = self._now_ms + waiter.lengths.at(self._draw(waiter.task_id))
            self._will_end(at_ms, stand_in, waiter.task_id)
        if waiter.task_id in self._promised:
            del self._promised[waiter.task_id]
            for record in self._records.values():
                for gpu in record.gpus.values():
                    if gpu.promised is not None and gpu.promised[0] == waiter.task_id:
                        gpu.promised = None

    # ── promises ──────────────────────────────────────────────────────────────────────────────

    def _promise_more(self) -> None:
        policy = self._policy
        while len(self._promised) < 1 + len(self._records) // policy.nodes_per_promise:
            latest_ms = self._now_ms - policy.promise_after_ms
            gangs = [
                waiter
                for waiter in self._gangs.values()
                if waiter.task_id not in self._promised and waiter.submitted_at_ms <= latest_ms
            ]
            by_ms = self._now_ms - self._outset.now_ms
            if not gangs or not self._promise(min(gangs, key=lambda each: each.rank_at(by_ms))):
                return

    def _promise(self, waiter: Waiter) -> bool:
        request = waiter.request
        choices: list[tuple[Ms, str, tuple[GpuUuid, ...]]] = []
        for record in self._records.values():
            free = sorted(
                (self._free_at(gpu), gpu.report.index, uuid)
                for uuid, gpu in record.gpus.items()
                if gpu.is_offered and gpu.promised is None
            )[: request.gpus]
            if record.takes and len(free) == request.gpus:
                choices.append((free[-1][0], record.node.id, tuple(uuid for _, _, uuid in free)))
        choices.sort()
        if len(choices) < request.nodes:
            return False
        chosen = choices[: request.nodes]
        self._promised[waiter.task_id] = None
        for _, node_id, uuids in chosen:
            for uuid in uuids:
                gpu = self._records[NodeId(node_id)].gpus[uuid]
                gpu.promised = waiter.task_id, chosen[-1][0]
        return True

    def _free_at(self, gpu: GpuRecord) -> Ms:
        at_ms = self._now_ms
        for attempt_id in gpu.shares:
            at_ms = max(at_ms, self._end_of.get(attempt_id, 0))
        return at_ms


class _Most:
    """The most that some nodes have, of each thing: what asks for more fits on none of them."""

    def __init__(self, records: list[NodeRecord]) -> None:
        self.mib = max(
            (
                gpu.free_mib
                for record in records
                for gpu in record.gpus.values()
                if gpu.exclusive is None and gpu.is_offered
            ),
            default=-1,
        )
        self.whole = max((record.n_whole_gpus for record in records), default=-1)

    def may_hold(self, request: Request) -> bool:
        if request.shares_gpu:
            return (request.gpu_memory_mib or 0) <= self.mib
        return request.gpus <= self.whole


class _Failed:
    """What did not fit in one pass: nothing that asks for as much or more is looked at again."""

    def __init__(self, *, time_matters: bool) -> None:
        #: How long it takes matters only where GPUs are kept for others.
        self._time_matters = time_matters
        #: By all else that is asked: memory of a GPU, its time, when it is done.
        self._by_family: dict[tuple[object, ...], list[tuple[Mib, int, Ms]]] = {}

    def covers(self, waiter: Waiter) -> bool:
        mib, percent, done_at_ms = self._asked(waiter)
        return any(
            less_mib <= mib and less_percent <= percent and sooner_ms <= done_at_ms
            for less_mib, less_percent, sooner_ms in self._by_family.get(waiter.family, ())
        )

    def add(self, waiter: Waiter) -> None:
        mib, percent, done_at_ms = asked = self._asked(waiter)
        failed = self._by_family.setdefault(waiter.family, [])
        failed[:] = [
            each for each in failed if each[0] < mib or each[1] < percent or each[2] < done_at_ms
        ]
        failed.append(asked)

    def _asked(self, waiter: Waiter) -> tuple[Mib, int, Ms]:
        terms = waiter.terms
        done_at_ms = terms.done_at_ms if self._time_matters else 0
        return waiter.request.gpu_memory_mib or 0, terms.utilization_percent, done_at_ms


def family_of(
    request: Request, terms: Terms, owner: str, excluded: tuple[NodeId, ...]
) -> tuple[object, ...]:
    """What tasks have in common that ask alike but for memory and time of a GPU."""
    where = (request.on_nodes, request.tags, request.gpu_model, owner, excluded)
    memory_mib = request.memory_mib or terms.learned_memory_mib
    much = (request.gpus, request.nodes, request.exclusive, request.cpus, memory_mib)
    return (*much, *where, terms.capabilities, terms.bookings)


def rows_of(waiters: list[Waiter]) -> tuple[list[Row], list[Waiter]]:
    """The waiters by number, and one of each kind."""
    numbers: dict[tuple[object, ...], int] = {}
    rows, kinds = [], list[Waiter]()
    for waiter in sorted(waiters, key=lambda each: each.number):
        terms = waiter.terms
        much = (waiter.request.gpu_memory_mib, terms.utilization_percent, terms.done_at_ms)
        kind = numbers.setdefault((waiter.family, *much), len(kinds))
        if kind == len(kinds):
            kinds.append(waiter)
        rows.append(Row(waiter.number, kind, waiter))
    return rows, kinds
