"""The tasks that could start now, by class of request: whoever asks the same waits in one line.

A class that does not fit fits for none of its tasks, so that a hundred thousand equal tasks cost
one look. A class is *proven* when it is known to fit nowhere unless room appears; only room that
appears, or a new class, makes the brain look again (placement_pass.py). Tasks in a pause are not
here; they come when their pause is over.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TypeAlias

from .request import Request
from .values import NodeId, TaskId

#: What its tasks ask, the owner where that matters, and nodes that are no choice for them.
ClassKey: TypeAlias = tuple[Request, str, tuple[NodeId, ...]]
#: Rank of the priority, number of submission, id.
Place: TypeAlias = tuple[int, int, TaskId]

#: Tasks taken out stay in the heap until they surface; beyond this share it is rebuilt.
_STALE_FACTOR = 2
_STALE_MIN = 64


class QueueClass:
    """The line of the tasks with one key."""

    __slots__ = ("_heap", "excluded", "is_proven", "owner", "places", "request")

    def __init__(self, key: ClassKey) -> None:
        self.request, self.owner, self.excluded = key
        self.places: dict[TaskId, Place] = {}
        self.is_proven = False
        self._heap: list[Place] = []

    def head(self) -> Place | None:
        """Who is first; None when nobody waits."""
        heap, places = self._heap, self.places
        while heap and places.get(heap[0][2]) != heap[0]:
            heappop(heap)
        return heap[0] if heap else None

    def add(self, place: Place) -> None:
        """Queue at this place."""
        self.places[place[2]] = place
        heappush(self._heap, place)

    def remove(self, task_id: TaskId) -> None:
        """Leave the line; the task must be in it."""
        del self.places[task_id]
        if len(self._heap) > _STALE_FACTOR * len(self.places) + _STALE_MIN:
            self._heap = list(self.places.values())
            heapify(self._heap)


class TaskQueue:
    """All classes that have somebody waiting."""

    def __init__(self) -> None:
        self.classes: dict[ClassKey, QueueClass] = {}
        #: Classes that have not been looked at since they came into being.
        self.unproven: dict[ClassKey, None] = {}
        self._key_of: dict[TaskId, ClassKey] = {}

    def __contains__(self, task_id: TaskId) -> bool:
        return task_id in self._key_of

    def __len__(self) -> int:
        return len(self._key_of)

    def add(self, place: Place, key: ClassKey) -> None:
        """Put a task in line; it must not be in one."""
        task_id = place[2]
        assert task_id not in self._key_of, f"{task_id} is queued twice"
        line = self.classes.get(key)
        if line is None:
            line = self.classes[key] = QueueClass(key)
            self.unproven[key] = None
        line.add(place)
        self._key_of[task_id] = key

    def move(self, place: Place) -> None:
        """Give a task in line another place in the same line."""
        self.classes[self._key_of[place[2]]].add(place)

    def remove(self, task_id: TaskId) -> None:
        """Take a task out, wherever it stands; nothing when it is in no line."""
        key = self._key_of.pop(task_id, None)
        if key is None:
            return
        line = self.classes[key]
        line.remove(task_id)
        if not line.places:
            del self.classes[key]
            self.unproven.pop(key, None)

    def task_ids(self) -> list[TaskId]:
        """Everybody in line, in no order that matters."""
        return list(self._key_of)

    def class_of(self, task_id: TaskId) -> QueueClass | None:
        """The line a task stands in; None when it stands in none."""
        key = self._key_of.get(task_id)
        return None if key is None else self.classes[key]

    def mark_proven(self) -> None:
        """Every class has been looked at on every node."""
        for key in self.unproven:
            self.classes[key].is_proven = True
        self.unproven.clear()

    def n_ahead(self, task_id: TaskId) -> int:
        """How many stand before a task in its own line."""
        line = self.class_of(task_id)
        if line is None:
            return 0
        own = line.places[task_id]
        return sum(place < own for place in line.places.values())
