"""Lines of equal tasks, and the heaps that forget lazily."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fluxhive.core import line_up
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.hive_state import HiveState
from fluxhive.core.lines import Line, LineKey, Place
from fluxhive.core.policy import EASY, FIFO, HOUR_MS
from fluxhive.core.request import Request
from fluxhive.core.task import Priority, Task, TaskState
from fluxhive.core.task_queue import TaskQueue
from fluxhive.core.timers import TimerKind, Timers
from fluxhive.core.values import TaskId
from tests.helpers import factories

KEY = LineKey(Request(), "ann", "ann", 2)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans())))
def test_the_best_is_always_the_first_of_the_best_line(
    steps: list[tuple[int, int, bool]],
) -> None:
    """Lines by owner, each ranked by the owner's number; places by submission."""
    hive = HiveState(HiveSettings(policy=FIFO))
    model: dict[int, int] = {}
    for number, priority, comes in steps:
        hive.dequeue(TaskId(f"t{number}"))
        model.pop(number, None)
        if comes:
            hive.enqueue(queued_task(number, list(Priority)[priority]))
            model[number] = list(Priority)[priority].rank
        assert len(hive.queue) == len(model)
        bests = [shape.best() for shape in hive.queue.shapes.values()]
        first = min((best[:2] for best in bests if best is not None), default=None)
        in_line = sorted((rank, each) for each, rank in model.items())
        assert first == (in_line[0] if in_line else None)
        assert hive.queue.first(3) == [f"t{each}" for _, each in in_line[:3]]
        for n_ahead, (_, each) in enumerate(in_line):
            assert hive.queue.n_ahead(TaskId(f"t{each}")) == n_ahead


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 3))))
def test_the_best_is_the_first_of_what_was_ranked_and_of_what_came_since(
    steps: list[tuple[int, int, int]],
) -> None:
    hive = HiveState(HiveSettings())
    for number, priority, what in steps:
        hive.dequeue(TaskId(f"t{number}"))
        if what:
            hive.enqueue(queued_task(number, list(Priority)[priority]))
        if what == 1:
            hive.now_ms += 60_000
            line_up.rank(hive, list(hive.queue.shapes.values()))
        for shape in hive.queue.shapes.values():
            best = shape.best()
            heads = [(line.rank, line.head.number) for line in shape.lines if line.head]
            assert best is not None
            assert best[:2] == min(heads)


def test_a_rank_that_was_said_anew_counts_at_once() -> None:
    hive = HiveState(HiveSettings())
    for number, priority in enumerate((Priority.HIGH, Priority.LOW)):
        hive.enqueue(queued_task(number, priority))
    (shape,) = hive.queue.shapes.values()
    line_up.rank(hive, [shape])
    first, second = (hive.queue.line_of(TaskId(f"t{number}")) for number in range(2))
    assert first is not None
    assert second is not None
    first.rank = second.rank + 1
    shape.push(first)
    best = shape.best()
    assert best is not None
    assert best[3] is second


def test_lines_of_one_shape_share_a_need_only_while_it_is_the_same() -> None:
    hive = HiveState(HiveSettings(policy=EASY))
    for number, limit_ms in enumerate((HOUR_MS, 2 * HOUR_MS, HOUR_MS)):
        task = queued_task(number, list(Priority)[number])
        hive.enqueue(replace(task, spec=replace(task.spec, time_limit_ms=limit_ms)))
    assert len(hive.queue.shapes) == 1
    lines = [hive.queue.line_of(TaskId(f"t{number}")) for number in range(3)]
    assert [line.need.expected.latest_ms for line in lines if line] == [
        HOUR_MS,
        2 * HOUR_MS,
        HOUR_MS,
    ]


def test_who_leaves_does_not_pile_up() -> None:
    line = Line(KEY)
    line.add(Place(0, TaskId("first"), 0))
    for number in range(1000):
        line.add(Place(number + 1, TaskId("again"), 0))
        line.remove(TaskId("again"))
    assert len(line._heap) < 100
    assert line.head == Place(0, TaskId("first"), 0)


def test_an_empty_line_has_no_head() -> None:
    assert Line(KEY).head is None


def test_who_is_in_no_line_has_nobody_before() -> None:
    assert TaskQueue().n_ahead(TaskId("t1")) == 0
    assert TaskQueue().line_of(TaskId("t1")) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.booleans())))
def test_timers_are_due_in_order_and_once(steps: list[tuple[int, int, bool]]) -> None:
    timers = Timers()
    model: dict[str, int] = {}
    for number, at_ms, is_set in steps:
        name = f"n{number}"
        if is_set:
            timers.set(TimerKind.SILENCE, name, at_ms)
            model[name] = at_ms
        else:
            timers.cancel(TimerKind.SILENCE, name)
            model.pop(name, None)
        assert timers.next_at_ms() == min(model.values(), default=None)
    seen = []
    while (key := timers.pop_due(30)) is not None:
        seen.append((model[key[1]], key[1]))
    assert seen == sorted((at_ms, name) for name, at_ms in model.items() if at_ms <= 30)
    assert timers.next_at_ms() == min((at for at in model.values() if at > 30), default=None)


def test_timers_that_are_taken_back_do_not_pile_up() -> None:
    timers = Timers()
    for number in range(1000):
        timers.set(TimerKind.PAUSE, f"t{number}", number)
        timers.cancel(TimerKind.PAUSE, f"t{number}")
    assert len(timers._heap) < 100


def queued_task(number: int, priority: Priority) -> Task:
    return Task(
        id=TaskId(f"t{number}"),
        number=number,
        owner="ann",
        spec=factories.spec(),
        state=TaskState.QUEUED,
        priority=priority,
        submitted_at_ms=0,
    )
