"""Attempts that wait on their node for the place of another: whose turn it is when one ends.

Which tasks are sent ahead like this, and why, says ahead.py. Here the rows are kept true: whoever
was sent after an attempt takes its place when that ends, on the node or, where it was waiting
itself, in the row. The node goes by the same rule (executor.py). Called by hive_state.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .durations import quantile_ms, runs_like
from .rendezvous import meets
from .spec import TaskSpec
from .task import Attempt, Task
from .values import AttemptId, Ms

if TYPE_CHECKING:
    from .hive_state import HiveState

#: A task is short when so many in a hundred runs of its kind took no longer; of at least so many.
SHORT_PERCENT = 90
SHORT_MS: Ms = 500
RUNS_MIN = 3


class Row:
    """A short attempt that holds its place, and those that wait for it, one after the other."""

    __slots__ = ("first", "last", "n_waiting", "over_ms")

    def __init__(self, first: AttemptId, over_ms: Ms) -> None:
        #: Names the row.
        self.first = first
        #: After whom the next is sent.
        self.last = first
        self.n_waiting = 0
        #: When all of them are over, if each takes as long as most of its kind do.
        self.over_ms = over_ms


class Turns:
    """All rows, and who was sent after whom."""

    def __init__(self) -> None:
        #: By attempt: the one that takes its place.
        self.followers: dict[AttemptId, AttemptId] = {}
        #: Rows that may grow, by their first; and the row of each attempt in one.
        self.rows: dict[AttemptId, Row] = {}
        self._row_of: dict[AttemptId, Row] = {}

    def begin(self, attempt_id: AttemptId, over_ms: Ms) -> None:
        """A short attempt got a place of its own."""
        self.rows[attempt_id] = self._row_of[attempt_id] = Row(attempt_id, over_ms)

    def join(self, attempt_id: AttemptId, after: AttemptId, now_ms: Ms, lasts_ms: Ms) -> None:
        """An attempt was sent after another."""
        assert after not in self.followers, f"law 26: two were sent after {after}"
        self.followers[after] = attempt_id
        row = self._row_of.get(after)
        if row is not None:
            self._row_of[attempt_id] = row
            row.last = attempt_id
            row.n_waiting += 1
            row.over_ms = max(now_ms, row.over_ms) + lasts_ms

    def some_rows(self, most: int) -> Iterator[Row]:
        """Rows in turn: those that were looked at longest ago first, so that all grow alike."""
        for _ in range(min(most, len(self.rows))):
            first = next(iter(self.rows), None)
            if first is None:
                return
            row = self.rows[first] = self.rows.pop(first)
            yield row

    def leave(self, ended: Attempt) -> AttemptId | None:
        """An attempt has ended; whoever was sent after it, and takes its place."""
        follower_id = self.followers.pop(ended.id, None)
        row = self._row_of.pop(ended.id, None)
        if ended.turn is not None:
            del self.followers[ended.turn.after]
            if follower_id is not None:
                self.followers[ended.turn.after] = follower_id
        if row is not None:
            if ended.turn is not None or follower_id is not None:
                row.n_waiting -= 1
            if row.last == ended.id and ended.turn is not None:
                row.last = ended.turn.after
            elif row.last == ended.id:
                self.rows.pop(row.first, None)
        return follower_id


def lasts_ms(hive: HiveState, task: Task) -> Ms | None:
    """How long a short task takes at most times; None: it is not known to be short."""
    if not _is_plain(task.spec) or len(runs_like(hive.book, task)) < RUNS_MIN:
        return None
    lasts = quantile_ms(hive.book, task, SHORT_PERCENT)
    return lasts if lasts is not None and lasts <= SHORT_MS else None


def note(hive: HiveState, attempt: Attempt) -> None:
    """A live attempt is new here."""
    turn = attempt.turn
    if turn is None and hive.is_loading:
        return  # What is stored does not say what is short.
    lasts = lasts_ms(hive, hive.tasks[attempt.task_id])
    if turn is not None:
        hive.turns.join(attempt.id, turn.after, hive.now_ms, lasts or 0)
    elif lasts is not None and not attempt.gang:
        hive.turns.begin(attempt.id, hive.now_ms + lasts)


def pass_on(hive: HiveState, ended: Attempt) -> None:
    """An attempt has ended: whoever was sent after it takes its place."""
    follower_id = hive.turns.leave(ended)
    if follower_id is None:
        return
    follower = hive.attempts[follower_id]
    assert follower.turn is not None, f"law 26: {follower_id} waits for nobody"
    if ended.turn is None:
        label = hive.nodes[follower.node_id].node.label
        taken = replace(follower, turn=None, reservation=follower.turn.reservation)
        hive.put_attempt(taken, f"its turn on {label}")
    else:
        after = ended.turn.after
        moved = replace(follower, turn=replace(follower.turn, after=after))
        hive.put_attempt(moved, f"next after {after}")


def _is_plain(spec: TaskSpec) -> bool:
    """Whether nothing about a task is worth more than a few milliseconds."""
    request = spec.request
    is_small = not request.gpus and request.nodes == 1
    is_bare = spec.image is None and spec.code is None and not spec.secrets and not meets(spec)
    return is_small and is_bare and not spec.preemptible
