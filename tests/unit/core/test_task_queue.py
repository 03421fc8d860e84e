"""Lines of equal tasks, and the heaps that forget lazily."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fluxhive.core.request import Request
from fluxhive.core.task_queue import QueueClass, TaskQueue
from fluxhive.core.timers import TimerKind, Timers
from fluxhive.core.values import TaskId

KEY = (Request(), "", ())


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.booleans())))
def test_the_head_is_always_the_first_of_those_in_line(
    steps: list[tuple[int, int, bool]],
) -> None:
    queue = TaskQueue()
    model: dict[int, int] = {}
    for number, rank, comes in steps:
        queue.remove(TaskId(f"t{number}"))
        model.pop(number, None)
        if comes:
            queue.add((rank, number, TaskId(f"t{number}")), KEY)
            model[number] = rank
        line = queue.classes.get(KEY)
        assert (line is None) == (not model)
        assert len(queue) == len(model)
        if line is not None:
            first = min((rank, number) for number, rank in model.items())
            head = line.head()
            assert head is not None
            assert head[:2] == first


def test_who_leaves_does_not_pile_up() -> None:
    line = QueueClass(KEY)
    line.add((0, 0, TaskId("first")))
    for number in range(1000):
        line.add((1, number, TaskId("again")))
        line.remove(TaskId("again"))
    assert len(line._heap) < 100
    assert line.head() == (0, 0, "first")


def test_an_empty_line_has_no_head() -> None:
    assert QueueClass(KEY).head() is None


def test_who_is_in_no_line_has_nobody_before() -> None:
    assert TaskQueue().n_ahead(TaskId("t1")) == 0
    assert TaskQueue().class_of(TaskId("t1")) is None


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
