"""What people want done to tasks: submitted, cancelled, held, released, edited, put before others.

Repeats, unknown ids and wishes that come too late change nothing. Called by task_manager.py, one
function for each event; who may want what is the shell's business.
"""

from __future__ import annotations

from msgspec.structs import replace

from . import holds
from .arrays import find_task, member_spec, orphans
from .attempt_end import stop_attempt, stop_unseen
from .dependency import Change, Edit
from .events import (
    TaskCancelRequested,
    TaskEdited,
    TaskHeld,
    TaskReleased,
    TaskReprioritised,
    TaskSubmitted,
)
from .hive_state import HiveState
from .outcome import StopCause
from .signature import signature
from .task import Task, TaskSpec, TaskState
from .values import TaskId

#: Edits that a task remembers, newest last.
EDITS_MAX = 50


def submitted(hive: HiveState, event: TaskSubmitted) -> None:
    """A new task, unless it is known already."""
    if find_task(hive, event.task_id) is not None:
        return
    spec = event.spec
    begin_at_ms = spec.begin_at_ms
    waits_for, never = holds.weigh_new(hive, spec.after, event.settled)
    task = Task(
        id=event.task_id,
        number=event.number,
        owner=event.owner,
        spec=spec,
        state=TaskState.QUEUED,
        priority=spec.priority,
        submitted_at_ms=hive.now_ms,
        held_by=event.held_by,
        begin_at_ms=begin_at_ms if begin_at_ms is not None and begin_at_ms > hive.now_ms else None,
        waits_for=waits_for,
    )
    task = replace(task, signature=_signature(task))
    if never:
        holds.cancel_waiting(hive, task, detail="what it comes after cannot be", reason=never)
    else:
        holds.put_waiting(hive, task, holds.describe(task, hive.now_ms) or "submitted")


def _signature(task: Task) -> str:
    """Of an array, its first member's."""
    first = None if task.spec.array is None else task.spec.array.first
    spec = task.spec if first is None else member_spec(task, first)
    return signature(spec, task.owner)


def cancel_requested(hive: HiveState, event: TaskCancelRequested) -> None:
    """Cancelled at once, or once its attempt has ended, which is being stopped."""
    task = find_task(hive, event.task_id)
    if task is None or task.state.is_final or task.cancelled_by is not None:
        return
    why = f"cancelled by {event.by}"
    if task.spec.array is not None:
        _cancel_array(hive, task, event.by)
        return
    if task.state is not TaskState.ACTIVE:
        task = replace(task, cancelled_by=event.by)
        holds.cancel_waiting(hive, task, detail=f"by {event.by}, not running", reason=why)
        return
    hive.put_task(replace(task, cancelled_by=event.by, reason=f"being {why}"))
    attempt = hive.attempts[hive.live_of[task.id]]
    # What is being stopped for another reason, and out of sight, is asked after now.
    stop_unseen(hive, attempt)
    stop_attempt(hive, attempt, StopCause.CANCEL, why)


def _cancel_array(hive: HiveState, array: Task, by: str) -> None:
    """No member is made any more; those that live are cancelled one by one."""
    record, why = hive.arrays[array.id], f"cancelled by {by}"
    array = replace(array, cancelled_by=by, held_by=None, begin_at_ms=None, waits_for=())
    record.drop_waiting()
    hive.put_task(replace(array, state=TaskState.ACTIVE, not_before_ms=0, reason=f"being {why}"))
    hive.just_ended.extend(orphans(hive, hive.tasks[array.id]))
    for task_id in list(record.live):
        cancel_requested(hive, TaskCancelRequested(task_id=task_id, by=by))
    hive.touched_arrays[array.id] = None


def held(hive: HiveState, event: TaskHeld) -> None:
    """A task that waits goes on waiting for the one who holds it."""
    for task_id in _whole(hive, event.task_id):
        task = find_task(hive, task_id)
        if task is None or not task.is_waiting or task.held_by is not None:
            continue
        task = replace(task, held_by=event.by)
        holds.put_waiting(hive, task, holds.describe(task, hive.now_ms))


def released(hive: HiveState, event: TaskReleased) -> None:
    """A person's hold is gone; the task queues unless something else holds it."""
    for task_id in _whole(hive, event.task_id):
        task = find_task(hive, task_id)
        if task is None or task.held_by is None:
            continue
        task = replace(task, held_by=None)
        rest = holds.describe(task, hive.now_ms)
        holds.put_waiting(hive, task, f"released by {event.by}" + (f"; {rest}" if rest else ""))


def reprioritised(hive: HiveState, event: TaskReprioritised) -> None:
    """A task that has not ended goes before or behind others."""
    for task_id in _whole(hive, event.task_id):
        task = find_task(hive, task_id)
        if task is not None and not task.state.is_final and task.priority is not event.priority:
            _put_priority(hive, task, event)


def _whole(hive: HiveState, task_id: TaskId) -> list[TaskId]:
    """A task; of an array also its living members."""
    record = hive.arrays.get(task_id)
    return [task_id] if record is None else [task_id, *record.live]


def _put_priority(hive: HiveState, task: Task, event: TaskReprioritised) -> None:
    changes = (Change(field="priority", old=task.priority.value, new=event.priority.value),)
    hive.put_task(
        replace(
            task,
            priority=event.priority,
            edits=_noted(hive, task, event.by, changes),
            reason=f"priority {event.priority.value}, set by {event.by}",
        )
    )


def edited(hive: HiveState, event: TaskEdited) -> None:
    """A task that waits asks for something else from now on; what it asked at first is kept."""
    task = hive.tasks.get(event.task_id)
    if task is None or not task.is_waiting:
        return
    changes = differences(task.spec, event.spec)
    if not changes or event.spec.retry < task.retries_used:
        return
    begin_at_ms = event.spec.begin_at_ms
    task = replace(
        task,
        spec=event.spec,
        original=task.original or task.spec,
        edits=_noted(hive, task, event.by, changes),
        begin_at_ms=begin_at_ms if begin_at_ms is not None and begin_at_ms > hive.now_ms else None,
    )
    task = replace(task, signature=_signature(task))
    what = ", ".join(f"{change.field} {change.old} → {change.new}" for change in changes)
    rest = holds.describe(task, hive.now_ms)
    reason = f"edited by {event.by}: {what}" + (f"; {rest}" if rest else "")
    holds.put_waiting(hive, task, reason)


def differences(old: TaskSpec, new: TaskSpec) -> tuple[Change, ...]:
    """The fields of a spec that an edit changes, in the order of their declaration."""
    found: list[Change] = []
    for name in TaskSpec.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if name == "request":
            for part in before.__struct_fields__:
                _compare(found, f"request.{part}", getattr(before, part), getattr(after, part))
        else:
            _compare(found, name, before, after)
    return tuple(found)


def _compare(found: list[Change], name: str, before: object, after: object) -> None:
    if before != after:
        found.append(Change(field=name, old=_text(before), new=_text(after)))


def _text(value: object) -> str:
    if value is None or value == "":
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(getattr(value, "value", value))


def _noted(hive: HiveState, task: Task, by: str, changes: tuple[Change, ...]) -> tuple[Edit, ...]:
    """The task's edits with one more; the oldest go once there are too many."""
    return (*task.edits, Edit(at_ms=hive.now_ms, by=by, changes=changes))[-EDITS_MAX:]
