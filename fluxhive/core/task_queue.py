"""The tasks that could start now: lines of equal tasks, grouped by what they need.

All tasks of one *line* are equal but for the time of submission, so only its head is looked at. All
lines of one *shape* need the same of a node: what does not fit for one of them fits for none, so
that a hundred thousand equal tasks cost one look. A shape is *proven* when it is known to fit
nowhere unless room appears (placement_pass.py). Tasks in a pause are not here; they come when their
pause is over. Not here: how a line is ranked (score.py) and what it needs (need.py).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple, TypeAlias

from .learning import Basis
from .lines import Line, LineKey, Need, Place, Shape, ShapeKey, Weighs
from .request import Request
from .values import Mib, TaskId

#: Memory of the hive's smallest, a typical and its largest GPU; zeros without any.
GpuSizes: TypeAlias = tuple[Mib, Mib, Mib]


class MostFree(NamedTuple):
    """The most that one place has, of each thing: what asks for more fits on none of them."""

    #: On one GPU that can be shared; below zero: there is none.
    gpu_memory_mib: Mib
    whole_gpus: int
    cpus: int


class TaskQueue:
    """All lines that have somebody waiting, and their shapes."""

    def __init__(self) -> None:
        self.lines: dict[LineKey, Line] = {}
        self.shapes: dict[ShapeKey, Shape] = {}
        #: Shapes that have not been looked at since they came into being.
        self.unproven: dict[ShapeKey, None] = {}
        #: Lines of tasks that need several GPUs at once.
        self.gangs: dict[Line, None] = {}
        #: Lines by the records that speak about what they need.
        self._by_source: dict[str, dict[Line, None]] = {}
        #: One of all that are equal: what all lines are ranked by lies close together then.
        self._weighs_as: dict[Weighs, Weighs] = {}
        #: Shapes by what they need most of: GPU memory in order, whole GPUs, CPUs.
        self._sharing: list[tuple[Mib, int, Shape]] = []
        self._whole: dict[int, dict[ShapeKey, Shape]] = {}
        self._by_cpus: dict[int, dict[ShapeKey, Shape]] = {}
        self._n_shapes = 0
        self._line_of: dict[TaskId, Line] = {}

    def __contains__(self, task_id: TaskId) -> bool:
        return task_id in self._line_of

    def __len__(self) -> int:
        return len(self._line_of)

    def add(self, place: Place, key: LineKey) -> Line:
        """Put a task in line; it must not be in one. A new line must then be settled."""
        task_id = place.task_id
        assert task_id not in self._line_of, f"{task_id} is queued twice"
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(key)
            line.weighs_as = self._weighs_as.setdefault(line.weighs_as, line.weighs_as)
            if key.request.gpus * key.request.nodes > 1:
                self.gangs[line] = None
        line.add(place)
        self._line_of[task_id] = line
        return line

    def move(self, place: Place) -> Line:
        """Give a task in line another place in the same line, which must be ranked and pushed."""
        line = self._line_of[place.task_id]
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
                self._by_source.setdefault(source, {})[line] = None
        old: Shape | None = getattr(line, "shape", None)
        is_news = old is None or need != line.need
        line.basis = basis
        if old is not None and old.key == shape_key and line in old.lines:
            self._give(line, need, old)
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
        shape.lines[line] = None
        line.shape = shape
        self._give(line, need, shape)

    def remove(self, task_id: TaskId) -> Line | None:
        """Take a task out, wherever it stands; nothing when it is in no line.

        The line that has another head now, which must be ranked and pushed; None: there is none.
        """
        line = self._line_of.pop(task_id, None)
        if line is None:
            return None
        was_head = line.head
        line.remove(task_id)
        if line.head is not None:
            return None if was_head is line.head else line
        del self.lines[line.key]
        if line in self.gangs:
            del self.gangs[line]
        self._leave(line, line.shape)
        self._forget_sources(line)
        return None

    def task_ids(self) -> list[TaskId]:
        """Everybody in line, in no order that matters."""
        return list(self._line_of)

    def task_at(self, position: int) -> TaskId:
        """Of everybody in line the one at this position from 0 on, in no order that matters."""
        return next(islice(self._line_of, position, None))

    def first(self, n: int) -> list[TaskId]:
        """Who is next: at most ``n`` tasks as the lines were ranked last, the first one first."""
        found: list[tuple[int, int, TaskId]] = []
        for line in sorted(self.lines.values(), key=lambda line: line.rank):
            if len(found) >= n and line.rank > found[n - 1][0]:
                break
            found += [(line.rank, place.number, place.task_id) for place in line.first(n)]
            found = sorted(found)[:n]
        return [task_id for _, _, task_id in found]

    def line_of(self, task_id: TaskId) -> Line | None:
        """The line a task stands in; None when it stands in none."""
        return self._line_of.get(task_id)

    def lines_about(self, sources: Iterable[str]) -> dict[Line, None]:
        """The lines that these records speak about, as an ordered set."""
        found: dict[Line, None] = {}
        for source in sources:
            found.update(self._by_source.get(source, {}))
        return found

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
        number = line.place_of(task_id).number
        return sum(
            other.n_waiting if other.rank < line.rank else other.n_before(number)
            for other in line.shape.lines
            if other.rank <= line.rank
        )

    def _give(self, line: Line, need: Need, shape: Shape) -> None:
        """The need of the line, as one thing with that of others where it is the same."""
        if need != shape.need:
            shape.need = need
        line.need = shape.need

    def _leave(self, line: Line, shape: Shape) -> None:
        del shape.lines[line]
        shape.forget_best()
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
            lines = self._by_source[source]
            del lines[line]
            if not lines:
                del self._by_source[source]
