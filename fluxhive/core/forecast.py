"""When a task is likely to start: the hive is played forward a few times, on copies (rollout.py).

Here is chosen what is copied, so that a forecast costs about the same in a hive of any size: some
nodes of the kind that could hold the task, what runs on them, and the first of the line. In a large
hive a part of the nodes and the same part of the line stand for all. Nothing of the hive is
changed. Called by outlook.py and by trials.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge, nsmallest
from itertools import islice
from typing import NamedTuple

from .capability import missing
from .durations import Lengths, basis_of, lengths_of
from .hive_state import HiveState
from .line_up import line_key, need_for, terms_for, terms_of
from .lines import Line, Place
from .node_copy import copy_of
from .node_record import NodeRecord
from .pieces import Pieces
from .placement import capacity_misfit
from .rollout import ROLLOUTS, Outset, Rollout, Runner, Started, Waiter, family_of, rows_of
from .start_record import Question
from .task import Attempt, Task
from .values import Ms, TaskId

#: Nodes that are copied, and tasks in line that are.
NODES_MAX = 32
WAITERS_MAX = 200


class Forecast(NamedTuple):
    """How long a task still waits in each rollout, the shortest first, and the middle one."""

    waits_ms: tuple[Ms, ...]
    likely: Started

    @property
    def likely_ms(self) -> Ms:
        """The wait in the middle."""
        return self.waits_ms[len(self.waits_ms) // 2]


def forecast(hive: HiveState, waiter: Waiter, n_before: int) -> Pieces[Forecast | None]:
    """The start of a task behind so many others; None: in most rollouts nobody can tell.

    As of when the first piece was done: the hive may change between the others.
    """
    stride, records = _some_nodes(hive, waiter)
    waiters = [
        waiter_in(hive, line, place, rank)
        for line, place, rank in first_in_line(hive, WAITERS_MAX * stride)[::stride]
    ]
    waiters = [waiter, *(each for each in waiters if each.task_id != waiter.task_id)]
    rows, kinds = rows_of(waiters)
    outset = Outset(
        now_ms=hive.now_ms,
        policy=hive.policy,
        records=[copy_of(record, {}) for record in records],
        runners=_runners(hive, records),
        rows=rows,
        kinds=kinds,
        promised=dict.fromkeys(hive.promises),
    )
    yield
    # Of those before it, one in ``stride`` is played; those beyond the first many are not.
    n_to_go = n_before // stride
    found: list[tuple[Ms, Started]] = []
    for number in range(ROLLOUTS):
        rollout = Rollout(outset, number)
        started = rollout.start_of(waiter.task_id)
        n_gone = min(n_to_go, len(waiters) - 1)
        if started is None and rollout.is_cut and rollout.n_started:
            # Not that far: the rest goes at the pace of those that started.
            n_gone = min(n_to_go, rollout.n_started)
            started = Started(rollout.now_ms, (), None)
        if started is not None:
            wait_ms = (started.at_ms - outset.now_ms) * (n_to_go + 1) // (n_gone + 1)
            found.append((wait_ms, started))
        yield
    if len(found) <= ROLLOUTS // 2:
        return None
    found.sort(key=lambda each: each[0])
    return Forecast(tuple(wait_ms for wait_ms, _ in found), found[len(found) // 2][1])


def waiter_of(hive: HiveState, task: Task) -> Waiter:
    """A task as one that waits for room, whether it is in line or not."""
    line = hive.queue.line_of(task.id)
    if line is not None:
        place = line.place_of(task.id)
        return waiter_in(hive, line, place, rank_in(hive, line, place))
    need, key = need_for(hive, task.spec, task.owner), line_key(hive, task)
    terms = terms_for(hive, need)
    return Waiter(
        task_id=task.id,
        number=task.number,
        submitted_at_ms=task.submitted_at_ms,
        request=need.request,
        owner=task.owner,
        excluded=key.excluded,
        terms=terms,
        rank=hive.ranking.rank_of(key, need.expected, task.submitted_at_ms),
        rank_per_ms=hive.ranking.rank_per_ms(key, need.expected),
        lengths=None,
        family=family_of(need.request, terms, _owner(hive, task.owner), key.excluded),
    )


def question_of(hive: HiveState, waiter: Waiter) -> Question:
    """What is asked, as far as it matters for how true the answer will be."""
    return Question(waited_ms=max(0, hive.now_ms - waiter.submitted_at_ms), is_gang=waiter.is_gang)


def live_attempts(hive: HiveState) -> list[Attempt]:
    """Every attempt that has not ended, oldest first."""
    return [hive.attempts[attempt_id] for attempt_id in hive.live_of.values()]


def nobody_knows(hive: HiveState) -> TaskId | None:
    """The first in line of which nothing says how long it will run; None: there is none."""
    for line, place, _ in first_in_line(hive, WAITERS_MAX):
        limit_ms = hive.tasks[place.task_id].spec.time_limit_ms
        if lengths_of(line.basis, 0, limit_ms) is None:
            return place.task_id
    return None


def runner_of(hive: HiveState, attempt: Attempt) -> Runner:
    """How long an attempt may still run."""
    task = hive.tasks[attempt.task_id]
    began_ms = attempt.started_at_ms or attempt.reserved_at_ms
    age_ms = max(1, hive.now_ms - began_ms)
    lengths = lengths_of(basis_of(hive.book, task), age_ms, task.spec.time_limit_ms)
    return Runner(attempt.id, task.id, began_ms, lengths)


def first_in_line(hive: HiveState, n: int) -> list[tuple[Line, Place, int]]:
    """At most so many who are next, with their ranks as the lines were ranked last.

    Who came first goes first within a line, so that the lines are walked as one.
    """
    lines = nsmallest(n, hive.queue.lines.values(), key=lambda line: line.rank)
    rows = (_ranked(hive, line) for line in lines)
    return [(line, place, rank) for rank, _, line, place in islice(merge(*rows), n)]


def _ranked(hive: HiveState, line: Line) -> Iterator[tuple[int, int, Line, Place]]:
    rank_at = hive.ranking.of_line(line.key, line.need.expected)
    for place in line.in_order():
        yield rank_at(place.submitted_at_ms), place.number, line, place


def n_ahead(hive: HiveState, waiter: Waiter) -> int:
    """How many tasks in line go before this one."""
    own = waiter.rank, waiter.number
    return sum(_n_before(hive, line, own) for line in hive.queue.lines.values())


def _n_before(hive: HiveState, line: Line, own: tuple[int, int]) -> int:
    """Those of a line that go before this rank and number: the first of them, in their order."""
    head = line.head
    if head is None:
        return 0
    rank_at = hive.ranking.of_line(line.key, line.need.expected)
    if (rank_at(head.submitted_at_ms), head.number) >= own:
        return 0
    if line.n_waiting == 1:
        return 1
    places = line.in_order()
    low, high = 1, len(places)
    while low < high:
        middle = (low + high) // 2
        if (rank_at(places[middle].submitted_at_ms), places[middle].number) < own:
            low = middle + 1
        else:
            high = middle
    return low


def rank_in(hive: HiveState, line: Line, place: Place) -> int:
    """Where a task stands among all, as of the last ranking: lower goes first."""
    return hive.ranking.rank_of(line.key, line.need.expected, place.submitted_at_ms)


def _owner(hive: HiveState, owner: str) -> str:
    """The owner where it matters whose task it is, else empty."""
    return owner if hive.is_private(owner) else ""


# ── what is copied ────────────────────────────────────────────────────────────────────────────


def _some_nodes(hive: HiveState, waiter: Waiter) -> tuple[int, list[NodeRecord]]:
    """Nodes that could hold the task, and for how many each of them stands."""
    able = [record for record in hive.nodes.values() if _could_hold(waiter, record)]
    least = max(NODES_MAX, 2 * waiter.request.nodes)
    stride = -(-len(able) // least) if able else 1
    return stride, able[::stride]


def _could_hold(waiter: Waiter, record: NodeRecord) -> bool:
    node = record.node
    return (
        record.takes
        and record.serves(waiter.owner)
        and node.id not in waiter.excluded
        and not (waiter.request.on_nodes and node.label not in waiter.request.on_nodes)
        and not missing(waiter.terms.capabilities, node.capabilities)
        and capacity_misfit(waiter.request, node.id, node.inventory) is None
    )


def _runners(hive: HiveState, records: Iterable[NodeRecord]) -> list[Runner]:
    """What makes room when it is over: attempts and bookings."""
    ids = dict.fromkeys(attempt_id for record in records for attempt_id in record.holders)
    runners = [runner_of(hive, hive.attempts[attempt_id]) for attempt_id in ids]
    for booking in hive.bookings.values():
        ends = Lengths((booking.until_ms,), (1,))
        runners.append(Runner(booking.id, TaskId(booking.id), 0, ends))
    return runners


def waiter_in(hive: HiveState, line: Line, place: Place, rank: int) -> Waiter:
    """A task in line."""
    task, need = hive.tasks[place.task_id], line.need
    terms = terms_of(hive, line, task.id)
    return Waiter(
        task_id=task.id,
        number=place.number,
        submitted_at_ms=place.submitted_at_ms,
        request=need.request,
        owner=line.key.owner,
        excluded=line.key.excluded,
        terms=terms,
        rank=rank,
        rank_per_ms=hive.ranking.rank_per_ms(line.key, line.need.expected),
        lengths=lengths_of(line.basis, 0, task.spec.time_limit_ms),
        family=family_of(need.request, terms, _owner(hive, line.key.owner), line.key.excluded),
    )
