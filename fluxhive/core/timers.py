"""What is due when: the earliest of many points in time, each set again or taken back freely.

Not here: what happens at that time. Used by the hive's state; shells see ``next_wakeup`` only.
"""

from __future__ import annotations

from enum import IntEnum
from heapq import heapify, heappop, heappush

from .values import Ms

#: What was taken back stays in the heap until it surfaces; beyond this share it is rebuilt.
_STALE_FACTOR = 2
_STALE_MIN = 64


class TimerKind(IntEnum):
    """What a point in time is for; ties go in this order, then by id."""

    #: A node was not heard for too long (id of the node).
    SILENCE = 0
    #: An attempt cannot be running any more on a node (ids of the attempt and the node).
    FENCE = 1
    #: An attempt has run past its limit and its node did not stop it (id of the attempt).
    TIME_LIMIT = 2
    #: A task's pause is over (id of the task).
    PAUSE = 3
    #: A task may be tried again on a node that handed it back (ids of the task and the node).
    BLOCK = 4
    #: Members of a gang went on for too long after another had ended well (id of the attempt).
    LINGER = 5
    #: A held task's start time has come (id of the task).
    BEGIN = 6
    #: A running attempt's use of GPU memory has probably settled (id of the attempt).
    SETTLE = 7
    #: A gang has waited long enough to be promised GPUs, or for what it was promised (its id).
    PROMISE = 8
    #: An attempt has had its guaranteed run time and may give way (id of the attempt).
    PREEMPTION = 9
    #: A booking is over (its id).
    BOOKING = 10
    #: GPU-hours of a week are used up, or a new week begins (whose).
    GPU_HOURS = 11
    #: A node that is draining takes tasks again (its id).
    DRAIN = 12


TimerKey = tuple[TimerKind, str, str]


class Timers:
    """A heap of deadlines with one entry per key."""

    def __init__(self) -> None:
        self._at: dict[TimerKey, Ms] = {}
        #: How many of each kind are set: of most kinds none, and those are taken back most often.
        self._n_of = [0] * len(TimerKind)
        self._heap: list[tuple[Ms, TimerKey]] = []

    def set(self, kind: TimerKind, owner: str, at_ms: Ms, *, other: str = "") -> None:
        """Be due at this time; replaces what was set under the same key."""
        key = (kind, owner, other)
        old_ms = self._at.get(key)
        if old_ms != at_ms:
            self._n_of[kind] += old_ms is None
            self._at[key] = at_ms
            heappush(self._heap, (at_ms, key))

    def cancel(self, kind: TimerKind, owner: str, *, other: str = "") -> None:
        """Take it back, if it was set."""
        if not self._n_of[kind] or self._at.pop((kind, owner, other), None) is None:
            return
        self._n_of[kind] -= 1
        if len(self._heap) > _STALE_FACTOR * len(self._at) + _STALE_MIN:
            self._heap = [(at_ms, key) for key, at_ms in self._at.items()]
            heapify(self._heap)

    def at_ms(self, kind: TimerKind, owner: str, *, other: str = "") -> Ms | None:
        """When this is due; None when it is not set."""
        return self._at.get((kind, owner, other))

    def pop_due(self, now_ms: Ms) -> TimerKey | None:
        """The earliest key that is due now, taken out; None when nothing is."""
        next_ms = self.next_at_ms()
        if next_ms is None or next_ms > now_ms:
            return None
        _, key = heappop(self._heap)
        del self._at[key]
        self._n_of[key[0]] -= 1
        return key

    def next_at_ms(self) -> Ms | None:
        """When something is due next; None when nothing is set."""
        heap = self._heap
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None
