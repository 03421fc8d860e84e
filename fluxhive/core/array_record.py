"""How a hive counts the members of one array: who waits, who lives, how the others ended.

Kept up to date by hive_state.py as members change; never saved by itself: after a restart it is
made again from the array's row, its living members and counts of the others (``ArrayCount``).
"""

from __future__ import annotations

from .array import ArrayCount, ArraySpec, MemberCounts
from .task import Task, TaskState
from .values import TaskId

_ACTIVE, _QUEUED = TaskState.ACTIVE, TaskState.QUEUED


class ArrayRecord:
    """One array that has not ended."""

    __slots__ = (
        "ahead",
        "at_most",
        "end",
        "id",
        "live",
        "n_active",
        "n_ended",
        "next_index",
        "queued",
    )

    def __init__(self, array_id: TaskId, spec: ArraySpec, count: ArrayCount | None = None) -> None:
        self.id = array_id
        self.end = spec.end
        self.at_most = spec.at_most
        #: Every member below is a task of its own, or was one; so are those ``ahead`` of it.
        self.next_index = spec.first
        self.ahead: dict[int, None] = {}
        #: Members that are tasks and have not ended.
        self.live: dict[TaskId, None] = {}
        #: … those of them that wait for room, be it in a pause.
        self.queued: dict[TaskId, None] = {}
        self.n_active = 0
        self.n_ended = {
            TaskState.SUCCEEDED: 0,
            TaskState.FAILED: 0,
            TaskState.CANCELLED: 0,
        }
        if count is not None:
            self.next_index = count.next_index
            self.ahead = dict.fromkeys(count.ahead)
            self.n_ended[TaskState.SUCCEEDED] = count.succeeded
            self.n_ended[TaskState.FAILED] = count.failed
            self.n_ended[TaskState.CANCELLED] = count.cancelled

    @property
    def n_waiting(self) -> int:
        """Members that are no tasks of their own yet."""
        return self.end - self.next_index - len(self.ahead)

    @property
    def is_full(self) -> bool:
        """Whether as many run as may at once."""
        return self.at_most is not None and self.n_active >= self.at_most

    @property
    def counts(self) -> MemberCounts:
        """For people."""
        return MemberCounts(
            waiting=self.n_waiting,
            live=len(self.live),
            succeeded=self.n_ended[TaskState.SUCCEEDED],
            failed=self.n_ended[TaskState.FAILED],
            cancelled=self.n_ended[TaskState.CANCELLED],
        )

    @property
    def count(self) -> ArrayCount:
        """For whoever goes on with it."""
        return ArrayCount(
            array_id=self.id,
            next_index=self.next_index,
            ahead=tuple(sorted(self.ahead)),
            succeeded=self.n_ended[TaskState.SUCCEEDED],
            failed=self.n_ended[TaskState.FAILED],
            cancelled=self.n_ended[TaskState.CANCELLED],
        )

    def is_waiting(self, index: int) -> bool:
        """Whether the member is no task of its own yet."""
        return self.next_index <= index < self.end and index not in self.ahead

    def note(self, old: Task | None, new: Task) -> None:
        """A member changed, or became a task of its own."""
        if old is None:
            self._take(new.member_index or 0)
        was_active = old is not None and old.state is _ACTIVE
        self.n_active += (new.state is _ACTIVE) - was_active
        if new.state.is_final:
            self.live.pop(new.id, None)
            self.n_ended[new.state] += 1
        else:
            self.live[new.id] = None
        if new.state is _QUEUED:
            self.queued[new.id] = None
        else:
            self.queued.pop(new.id, None)

    def load(self, task: Task) -> None:
        """A living member from the store."""
        self.live[task.id] = None
        self.n_active += task.state is _ACTIVE
        if task.state is _QUEUED:
            self.queued[task.id] = None

    def drop_waiting(self) -> int:
        """All that are no tasks yet count as cancelled from now on; how many."""
        dropped = self.n_waiting
        self.n_ended[TaskState.CANCELLED] += dropped
        self.next_index, self.ahead = self.end, {}
        return dropped

    def _take(self, index: int) -> None:
        assert self.is_waiting(index), f"{self.id}[{index}] is a task of its own already"
        self.ahead[index] = None
        while self.next_index in self.ahead:
            del self.ahead[self.next_index]
            self.next_index += 1
