"""The tasks that could start now: lines of equal tasks, grouped by what they need.

All tasks of one *line* are equal but for the time of submission, so only its head is looked at. All
lines of one *shape* need the same of a node: what does not fit for one of them fits for none, so
that a hundred thousand equal tasks cost one look. A shape is *proven* when it is known to fit
nowhere unless room appears (placement_pass.py). Tasks in a pause are not here; they come when their
pause is over. Not here: how a line is ranked (score.py) and what it needs (need.py).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from heapq import heapify, heappop, heappush, nsmallest
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from .learning import Basis, Expected
from .request import Estimate, Request
from .values import Mib, Ms, NodeId, TaskId, Value

#: Memory of the hive's smallest, a typical and its largest GPU; zeros without any.
GpuSizes: TypeAlias = tuple[Mib, Mib, Mib]


class LineKey(NamedTuple):
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


class Place(NamedTuple):
    """Where a task stands in its line: by order of submission."""

    number: int
    task_id: TaskId
    submitted_at_ms: Ms


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


class MostFree(NamedTuple):
    """The most that one place has, of each thing: what asks for more fits on none of them."""

    #: On one GPU that can be shared; below zero: there is none.
    gpu_memory_mib: Mib
    whole_gpus: int
    cpus: int


class Need(Value, frozen=True, kw_only=True):
    """What the tasks of a line need, as far as is known."""

    #: As placement takes it: GPU memory filled in, alone where nothing is shared.
    request: Request
    estimate: Estimate | None
    expected: Expected
    #: What an agent must be able to do (capability.py).
    capabilities: tuple[str, ...] = ()
    #: Bookings that are for it.
    bookings: tuple[str, ...] = ()
    #: Host memory that earlier runs took, where nothing is declared; 0: not known.
    learned_memory_mib: Mib = 0


#: Tasks taken out stay in the heap until they surface; beyond this share it is rebuilt.
_STALE_FACTOR = 2
_STALE_MIN = 64


class Line:
    """The tasks with one key, in order of submission."""

    __slots__ = (
        "_heap",
        "basis",
        "key",
        "need",
        "places",
        "rank",
        "shape",
        "sources",
        "stretch_ms",
    )

    def __init__(self, key: LineKey) -> None:
        self.key = key
        self.places: dict[TaskId, Place] = {}
        self._heap: list[Place] = []
        self.need: Need
        #: What the need was made from.
        self.basis: Basis
        #: Keys of the records that speak about it.
        self.sources: tuple[str, ...] = ()
        #: Lower goes first; as of the last ranking.
        self.rank = 0
        #: What its response ratio goes by (score.py).
        self.stretch_ms = 1.0
        self.shape: Shape

    def head(self) -> Place | None:
        """Who is first; None when nobody waits."""
        heap, places = self._heap, self.places
        if heap and places.get(heap[0].task_id) is heap[0]:
            return heap[0]
        while heap and places.get(heap[0].task_id) is not heap[0]:
            heappop(heap)
        return heap[0] if heap else None

    def add(self, place: Place) -> None:
        """Queue at this place."""
        self.places[place.task_id] = place
        heappush(self._heap, place)

    def remove(self, task_id: TaskId) -> None:
        """Leave the line; the task must be in it."""
        del self.places[task_id]
        if len(self._heap) > _STALE_FACTOR * len(self.places) + _STALE_MIN:
            self._heap = list(self.places.values())
            heapify(self._heap)


_Entry: TypeAlias = tuple[int, int, int, Line]


class Shape:
    """All lines that need the same of a node, the best first."""

    __slots__ = (
        "_heap",
        "_n_pushed",
        "family",
        "is_proven",
        "key",
        "lines",
        "number",
        "ranked_at_ms",
    )

    def __init__(self, key: ShapeKey, number: int) -> None:
        self.key = key
        #: Of all shapes there have been; orders those that are equal otherwise.
        self.number = number
        self.family = key.family if key.request.shares_gpu else None
        #: When its lines were ranked last, in hive time.
        self.ranked_at_ms: Ms = -1
        self.lines: dict[LineKey, Line] = {}
        self.is_proven = False
        self._heap: list[_Entry] = []
        self._n_pushed = 0

    def best(self) -> _Entry | None:
        """Rank and number of who is first of all lines, and his line; None when nobody waits."""
        heap = self._heap
        while heap:
            rank, number, _, line = heap[0]
            head = line.head()
            is_true = head is not None and head.number == number and line.rank == rank
            if is_true and line.shape is self:
                return heap[0]
            heappop(heap)
        return None

    def push(self, line: Line) -> None:
        """Its rank or its head is new."""
        head = line.head()
        if head is not None:
            self._n_pushed += 1
            heappush(self._heap, (line.rank, head.number, self._n_pushed, line))

    def rebuild(self) -> None:
        """All ranks are new."""
        self._heap = [
            (line.rank, head.number, position, line)
            for position, line in enumerate(self.lines.values())
            if (head := line.head()) is not None
        ]
        self._n_pushed = len(self._heap)
        heapify(self._heap)


class TaskQueue:
    """All lines that have somebody waiting, and their shapes."""

    def __init__(self) -> None:
        self.lines: dict[LineKey, Line] = {}
        self.shapes: dict[ShapeKey, Shape] = {}
        #: Shapes that have not been looked at since they came into being.
        self.unproven: dict[ShapeKey, None] = {}
        #: Lines of tasks that need several GPUs at once.
        self.gangs: dict[LineKey, Line] = {}
        #: Lines by the records that speak about what they need.
        self.by_source: dict[str, dict[LineKey, Line]] = {}
        #: Shapes by what they need most of: GPU memory in order, whole GPUs, CPUs.
        self._sharing: list[tuple[Mib, int, Shape]] = []
        self._whole: dict[int, dict[ShapeKey, Shape]] = {}
        self._by_cpus: dict[int, dict[ShapeKey, Shape]] = {}
        self._n_shapes = 0
        self._key_of: dict[TaskId, LineKey] = {}

    def __contains__(self, task_id: TaskId) -> bool:
        return task_id in self._key_of

    def __len__(self) -> int:
        return len(self._key_of)

    def add(self, place: Place, key: LineKey) -> Line:
        """Put a task in line; it must not be in one. A new line must then be settled."""
        task_id = place.task_id
        assert task_id not in self._key_of, f"{task_id} is queued twice"
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(key)
            if key.request.gpus * key.request.nodes > 1:
                self.gangs[key] = line
        line.add(place)
        self._key_of[task_id] = key
        return line

    def move(self, place: Place) -> Line:
        """Give a task in line another place in the same line, which must be ranked and pushed."""
        line = self.lines[self._key_of[place.task_id]]
        line.add(place)
        return line

    def settle(
        self,
        line: Line,
        need: Need,
        basis: Basis,
        shape_key: ShapeKey,
        sources: tuple[str, ...] = (),
        *,
        some_kept: bool = False,
    ) -> None:
        """What a line needs is known anew: it stands in that shape from now on.

        ``sources``: the records that speak about it. ``some_kept``: GPUs are promised or booked.
        """
        if sources != line.sources:
            self._forget_sources(line)
            line.sources = sources
            for source in sources:
                self.by_source.setdefault(source, {})[line.key] = line
        old: Shape | None = getattr(line, "shape", None)
        is_news = old is None or need != line.need
        line.need, line.basis = need, basis
        if old is not None and old.key == shape_key and line.key in old.lines:
            if is_news:
                # It may be done sooner than was thought, and fit where it did not.
                old.is_proven = False
                self.unproven[shape_key] = None
            return
        if old is not None:
            self._leave(line, old)
        shape = self.shapes.get(shape_key)
        if shape is None:
            self._n_shapes += 1
            shape = self.shapes[shape_key] = Shape(shape_key, self._n_shapes)
            self.unproven[shape_key] = None
            self._sort_in(shape)
        elif some_kept:
            # It may be done before others want what is kept for them.
            shape.is_proven = False
            self.unproven[shape_key] = None
        shape.lines[line.key] = line
        line.shape = shape

    def remove(self, task_id: TaskId) -> Line | None:
        """Take a task out, wherever it stands; nothing when it is in no line.

        The line that has another head now, which must be ranked and pushed; None: there is none.
        """
        key = self._key_of.pop(task_id, None)
        if key is None:
            return None
        line = self.lines[key]
        was_head = line.head()
        line.remove(task_id)
        if not line.places:
            del self.lines[key]
            self.gangs.pop(key, None)
            self._forget_sources(line)
            self._leave(line, line.shape)
            return None
        return line if was_head is not None and was_head.task_id == task_id else None

    def task_ids(self) -> list[TaskId]:
        """Everybody in line, in no order that matters."""
        return list(self._key_of)

    def first(self, n: int) -> list[TaskId]:
        """Who is next: at most ``n`` tasks as the lines were ranked last, the first one first."""
        found: list[tuple[int, int, TaskId]] = []
        for line in sorted(self.lines.values(), key=lambda line: line.rank):
            if len(found) >= n and line.rank > found[n - 1][0]:
                break
            first = nsmallest(n, line.places.values(), key=lambda place: place.number)
            found += [(line.rank, place.number, place.task_id) for place in first]
            found = sorted(found)[:n]
        return [task_id for _, _, task_id in found]

    def line_of(self, task_id: TaskId) -> Line | None:
        """The line a task stands in; None when it stands in none."""
        key = self._key_of.get(task_id)
        return None if key is None else self.lines[key]

    def mark_proven(self) -> None:
        """Every shape has been looked at on every node."""
        for key in self.unproven:
            self.shapes[key].is_proven = True
        self.unproven.clear()

    def shapes_within(self, most: MostFree) -> list[Shape]:
        """Those that ask for no more than so much on one node; of gangs one member."""
        last = bisect_right(self._sharing, most.gpu_memory_mib, key=lambda each: each[0])
        shapes = [shape for _, _, shape in self._sharing[:last]]
        for wanted, limit in ((self._whole, most.whole_gpus), (self._by_cpus, most.cpus)):
            for amount, some in wanted.items():
                if amount <= limit:
                    shapes += some.values()
        return shapes

    def n_ahead(self, task_id: TaskId) -> int:
        """How many that need the same stand before a task."""
        line = self.line_of(task_id)
        if line is None:
            return 0
        own = line.rank, line.places[task_id].number
        return sum(
            (other.rank, place.number) < own
            for other in line.shape.lines.values()
            for place in other.places.values()
        )

    def _leave(self, line: Line, shape: Shape) -> None:
        del shape.lines[line.key]
        if not shape.lines:
            del self.shapes[shape.key]
            self.unproven.pop(shape.key, None)
            request = shape.key.request
            if request.shares_gpu:
                entry = (request.gpu_memory_mib or 0, shape.number, shape)
                del self._sharing[bisect_left(self._sharing, entry)]
            else:
                by, amount = self._sorted_by(request)
                del by[amount][shape.key]
                if not by[amount]:
                    del by[amount]

    def _sort_in(self, shape: Shape) -> None:
        request = shape.key.request
        if request.shares_gpu:
            insort(self._sharing, (request.gpu_memory_mib or 0, shape.number, shape))
        else:
            by, amount = self._sorted_by(request)
            by.setdefault(amount, {})[shape.key] = shape

    def _sorted_by(self, request: Request) -> tuple[dict[int, dict[ShapeKey, Shape]], int]:
        return (self._whole, request.gpus) if request.gpus else (self._by_cpus, request.cpus)

    def _forget_sources(self, line: Line) -> None:
        for source in line.sources:
            lines = self.by_source[source]
            del lines[line.key]
            if not lines:
                del self.by_source[source]
