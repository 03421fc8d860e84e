"""What keeps a task from the queue: a person, a start time, other tasks that have to end first.

A task is held as long as it has any of the three and queues when the last is gone (law 12). When a
dependency can never be met any more the task is cancelled, with the whole chain of reasons; so are
those that wait for it. Called by task_orders.py and, at the end of each step, by task_manager.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from .arrays import find_task, orphans
from .dependency import Dependency, EndWanted
from .hive_state import HiveState
from .outcome import Outcome, OutcomeKind
from .request import say_ms
from .task import Task, TaskState
from .values import TaskId

#: A reason that tells the end of another task, whose reason tells … ends here.
CHAIN_LENGTH_MAX = 600

_WANTED = {EndWanted.OK: "to succeed", EndWanted.ANY: "to end", EndWanted.FAIL: "to fail"}


def put_waiting(hive: HiveState, task: Task, reason: str) -> None:
    """Store a task that runs nowhere: held while anything holds it, else queued."""
    state = TaskState.HELD if task.is_held else TaskState.QUEUED
    hive.put_task(replace(task, state=state, reason=reason))


def describe(task: Task, now_ms: int) -> str:
    """What holds a task, as one sentence; empty when nothing does."""
    parts: list[str] = []
    if task.held_by is not None:
        parts.append(f"held by {task.held_by}")
    if task.begin_at_ms is not None:
        parts.append(f"starts in {say_ms(max(0, task.begin_at_ms - now_ms))} at the earliest")
    parts += [wanted(dependency) for dependency in task.waits_for]
    return "; ".join(parts)


def wanted(dependency: Dependency) -> str:
    """``needs t-7f3k to succeed``."""
    return f"needs {dependency.task_id} {_WANTED[dependency.end]}"


def is_met(end: EndWanted, state: TaskState) -> bool:
    """Whether a task that ended so is what was waited for."""
    if end is EndWanted.OK:
        return state is TaskState.SUCCEEDED
    return end is EndWanted.ANY or state is TaskState.FAILED


def weigh_new(
    hive: HiveState, after: tuple[Dependency, ...], settled: tuple[TaskId, ...]
) -> tuple[tuple[Dependency, ...], str]:
    """What a new task still has to wait for, and why it never can; empty: it can.

    ``settled``: tasks known to have ended as wanted before, though the core has forgotten them.
    """
    waits_for: list[Dependency] = []
    for dependency in after:
        if dependency.task_id in settled:
            continue
        other = find_task(hive, dependency.task_id)
        if other is None:
            return (), f"{wanted(dependency)}, and no such task is known"
        if not other.state.is_final:
            waits_for.append(dependency)
        elif not is_met(dependency.end, other.state):
            return (), _chain(dependency, other)
    return tuple(waits_for), ""


def begin(hive: HiveState, task: Task) -> None:
    """A task's start time has come."""
    task = replace(task, begin_at_ms=None)
    put_waiting(hive, task, describe(task, hive.now_ms) or "its start time has come")


def settle_dependents(hive: HiveState) -> None:
    """Free or cancel whoever waited for the tasks that ended in this step, and so on."""
    while hive.just_ended:
        ended = hive.just_ended.popleft()
        if ended.spec.array is not None:
            hive.just_ended.extend(orphans(hive, ended))
        for task in _in_turn(hive, ended.id):
            _settle(hive, task, ended)


def _in_turn(hive: HiveState, task_id: TaskId) -> list[Task]:
    """Who waits for a task, as they were submitted; members before arrays, which end last."""
    waiting = [hive.tasks[each] for each in hive.dependents.get(task_id, ())]
    return sorted(waiting, key=lambda task: (task.spec.array is not None, task.number))


def cancel_waiting(hive: HiveState, task: Task, *, detail: str, reason: str) -> None:
    """End a task that runs nowhere as cancelled."""
    hive.put_task(
        replace(
            task,
            state=TaskState.CANCELLED,
            held_by=None,
            begin_at_ms=None,
            waits_for=(),
            not_before_ms=0,
            ended_at_ms=hive.now_ms,
            outcome=Outcome(kind=OutcomeKind.CANCELLED, detail=detail),
            reason=reason,
        )
    )


def _settle(hive: HiveState, task: Task, ended: Task) -> None:
    left: list[Dependency] = []
    for dependency in task.waits_for:
        if dependency.task_id != ended.id:
            left.append(dependency)
        elif not is_met(dependency.end, ended.state):
            why = _chain(dependency, ended)
            cancel_waiting(hive, task, detail=f"{ended.id} {ended.state.value}", reason=why)
            return
    task = replace(task, waits_for=tuple(left))
    what = f"{ended.id} {ended.state.value}"
    put_waiting(hive, task, describe(task, hive.now_ms) or f"{what}: nothing holds it any more")


def _chain(dependency: Dependency, ended: Task) -> str:
    text = f"{wanted(dependency)}, and that {_past(ended.state)}: {ended.reason}"
    return text if len(text) <= CHAIN_LENGTH_MAX else text[: CHAIN_LENGTH_MAX - 2] + " …"


def _past(state: TaskState) -> str:
    return "was cancelled" if state is TaskState.CANCELLED else str(state.value)
