"""Lines of equal tasks, and shapes: the lines that need the same of a node.

A line knows its head, a shape its best line. Which lines there are, and who stands in which, says
task_queue.py; how a line is ranked score.py, and what it needs need.py.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from .fairshare import Of, kind_of
from .learning import Basis, Expected
from .request import Estimate, Request
from .values import Mib, Ms, NodeId, TaskId, Value


class LineKey(Value, frozen=True, cache_hash=True):
    """What its tasks have in common: all that decides about rank and need."""

    request: Request
    owner: str
    project: str
    #: Rank of the priority, lower first.
    priority: int
    #: Nodes that are no choice.
    excluded: tuple[NodeId, ...] = ()
    signature: str = ""
    limit_ms: Ms | None = None
    least_gpu_memory_mib: Mib = 0
    alone: bool = False
    #: What an agent must be able to do for it (capability.py).
    capabilities: tuple[str, ...] = ()


#: Whose shares a line goes by: its user's and project's, of GPUs or of CPUs.
ShareKey: TypeAlias = tuple[str, str, Of]
#: Those, and the rank of its priority.
Weighs: TypeAlias = tuple[ShareKey, int]


def share_key(key: LineKey) -> ShareKey:
    """The shares that a line with this key goes by."""
    return key.owner, key.project, kind_of(key.request)


class Place(Value, frozen=True, order=True):
    """Where a task stands in its line: by order of submission."""

    number: int
    task_id: TaskId
    submitted_at_ms: Ms


#: A place's number, as quick as it goes: a line may have a hundred thousand.
_NUMBER: Callable[[Place], int] = attrgetter("number")


class ShapeKey(NamedTuple):
    """What a placement asks of a node."""

    request: Request
    #: The owner where that matters, else empty.
    owner: str
    excluded: tuple[NodeId, ...]
    utilization_percent: int
    capabilities: tuple[str, ...] = ()
    #: Bookings that are for it.
    bookings: tuple[str, ...] = ()
    #: Host memory that earlier runs took, where nothing is declared.
    learned_memory_mib: Mib = 0

    @property
    def family(self) -> ShapeKey:
        """All that ask the same but for more or less GPU memory and time of a GPU."""
        request = replace(self.request, gpu_memory_mib=1)
        return self._replace(request=request, utilization_percent=0)


class Need(Value, frozen=True, kw_only=True):
    """What the tasks of a line need, as far as is known; most lines of a shape share theirs."""

    #: As placement takes it: GPU memory filled in, alone where nothing is shared.
    request: Request
    estimate: Estimate | None
    expected: Expected
    #: What its response ratio goes by (score.py).
    stretch_ms: float
    #: What an agent must be able to do (capability.py).
    capabilities: tuple[str, ...] = ()
    #: Bookings that are for it.
    bookings: tuple[str, ...] = ()
    #: Host memory that earlier runs took, where nothing is declared; 0: not known.
    learned_memory_mib: Mib = 0


#: Whoever left stays in what is kept in order until he surfaces; beyond this share it is rebuilt.
STALE_FACTOR = 2
STALE_MIN = 64


class Line:
    """The tasks with one key, in order of submission."""

    __slots__ = (
        "_crowd",
        "_heap",
        "_in_order",
        "basis",
        "head",
        "key",
        "need",
        "rank",
        "shape",
        "sources",
        "weighs_as",
    )

    def __init__(self, key: LineKey) -> None:
        self.key = key
        #: All of the key that its rank goes by: shares and class.
        self.weighs_as: Weighs = share_key(key), key.priority
        #: Who is first; None when nobody waits.
        self.head: Place | None = None
        #: Everybody; None while there is nobody beside the head. In a long queue most tasks
        #: are alone in their line, which then has nothing to keep but this one.
        self._crowd: dict[TaskId, Place] | None = None
        self._heap: list[Place] = []
        #: The first one first; None when that is to be looked for.
        self._in_order: list[Place] | None = None
        self.need: Need
        #: What the need was made from.
        self.basis: Basis
        #: Keys of the records that speak about it.
        self.sources: tuple[str, ...] = ()
        #: Lower goes first; as of the last ranking.
        self.rank = 0
        self.shape: Shape

    @property
    def n_waiting(self) -> int:
        """How many stand in it."""
        if self._crowd is None:
            return 0 if self.head is None else 1
        return len(self._crowd)

    def place_of(self, task_id: TaskId) -> Place:
        """Where a task stands that is in the line."""
        if self._crowd is not None:
            return self._crowd[task_id]
        head = self.head
        assert head is not None, f"{task_id} is not in this line, which is empty"
        return head

    def add(self, place: Place) -> None:
        """Queue at this place."""
        head = self.head
        if self._crowd is None:
            if head is None or head.task_id == place.task_id:
                self.head = place
                return
            self._crowd, self._heap = {head.task_id: head}, [head]
        self._crowd[place.task_id] = place
        self._in_order = None
        heappush(self._heap, place)
        self._find_head(self._crowd)

    def remove(self, task_id: TaskId) -> None:
        """Leave the line; the task must be in it."""
        crowd = self._crowd
        if crowd is None:
            self.head = None
            return
        del crowd[task_id]
        self._in_order = None
        if len(self._heap) > STALE_FACTOR * len(crowd) + STALE_MIN:
            self._heap = list(crowd.values())
            heapify(self._heap)
        self._find_head(crowd)

    def first(self, n: int) -> list[Place]:
        """At most ``n`` of its tasks, the first one first; few others are looked at."""
        crowd, heap = self._crowd, self._heap
        if crowd is None:
            return [self.head][:n] if self.head is not None else []
        found: list[Place] = []
        # None of a heap comes before the one above it: from the top down, the best of those below.
        below = [(heap[0], 0)] if heap else []
        while below and len(found) < n:
            place, at = heappop(below)
            if crowd.get(place.task_id) is place:
                found.append(place)
            for child in range(2 * at + 1, min(2 * at + 3, len(heap))):
                heappush(below, (heap[child], child))
        return found

    def n_before(self, number: int) -> int:
        """How many of its tasks were submitted before this number."""
        if self._crowd is None:
            return int(self.head is not None and self.head.number < number)
        return sum(map(number.__gt__, map(_NUMBER, self._crowd.values())))

    def in_order(self) -> list[Place]:
        """Who waits, the first one first; not to be changed."""
        if self._crowd is None:
            return [] if self.head is None else [self.head]
        if self._in_order is None:
            self._in_order = sorted(self._crowd.values())
        return self._in_order

    def _find_head(self, crowd: dict[TaskId, Place]) -> None:
        heap = self._heap
        while heap and crowd.get(heap[0].task_id) is not heap[0]:
            heappop(heap)
        self.head = heap[0] if heap else None


_Entry: TypeAlias = tuple[int, int, int, Line]


class Shape:
    """All lines that need the same of a node, the best first."""

    __slots__ = (
        "_n_pushed",
        "_pushed",
        "_ranked",
        "current",
        "family",
        "is_proven",
        "key",
        "lines",
        "need",
        "number",
        "ranked_at_ms",
    )

    def __init__(self, key: ShapeKey, number: int) -> None:
        self.key = key
        #: Of all shapes there have been; orders those that are equal otherwise.
        self.number = number
        self.family = key.family if key.request.shares_gpu else None
        #: That of most of its lines.
        self.need: Need | None = None
        #: When its lines were ranked last, in hive time.
        self.ranked_at_ms: Ms = -1
        #: As an ordered set.
        self.lines: dict[Line, None] = {}
        self.is_proven = False
        #: As ranked last, the best at the end; and a heap of what was pushed since.
        self._ranked: list[_Entry] = []
        self._pushed: list[_Entry] = []
        self._n_pushed = 0
        #: Its best as ``best`` says it; None when that has to be looked for.
        self.current: _Entry | None = None

    def best(self) -> _Entry | None:
        """Rank and number of who is first of all lines, and his line; None when nobody waits."""
        if self.current is None:
            ranked, pushed = self._ranked, self._pushed
            while ranked:
                # As ``_is_true``, of one who has mostly just left, and then of the next one.
                rank, number, _, line = ranked[-1]
                head = line.head
                if (
                    head is not None
                    and head.number == number
                    and line.rank == rank
                    and line.shape is self
                ):
                    break
                ranked.pop()
            if not pushed:
                self.current = ranked[-1] if ranked else None
                return self.current
            while pushed and not self._is_true(pushed[0]):
                heappop(pushed)
            if ranked and (not pushed or ranked[-1] < pushed[0]):
                self.current = ranked[-1]
            elif pushed:
                self.current = pushed[0]
        return self.current

    def forget_best(self) -> None:
        """A line has left."""
        self.current = None

    def push(self, line: Line) -> None:
        """Its rank or its head is new."""
        head = line.head
        if head is not None:
            self.current = None
            self._n_pushed += 1
            heappush(self._pushed, (line.rank, head.number, self._n_pushed, line))

    def rebuild(self) -> None:
        """All ranks are new."""
        found = [
            (line.rank, head.number, position, line)
            for position, line in enumerate(self.lines)
            if (head := line.head) is not None
        ]
        found.sort(reverse=True)
        self._ranked, self._pushed, self.current = found, [], None
        self._n_pushed = len(found)

    def _is_true(self, entry: _Entry) -> bool:
        """Whether it is still as it was when it was noted."""
        line = entry[3]
        head = line.head
        return (
            head is not None
            and head.number == entry[1]
            and line.rank == entry[0]
            and line.shape is self
        )
