"""What people want done to tasks: submitted, cancelled, held, released, put before others.

Repeats, unknown ids and wishes that come too late change nothing. Called by task_manager.py, one
function for each event; who may want what is the shell's business.
"""

from __future__ import annotations

from msgspec.structs import replace

from .attempt_end import stop_attempt
from .events import (
    TaskCancelRequested,
    TaskHeld,
    TaskReleased,
    TaskReprioritised,
    TaskSubmitted,
)
from .hive_state import HiveState
from .outcome import Outcome, OutcomeKind, StopCause
from .task import Task, TaskState


def submitted(hive: HiveState, event: TaskSubmitted) -> None:
    """A new task, unless it is known already."""
    if event.task_id in hive.tasks:
        return
    held = event.held_by is not None
    hive.put_task(
        Task(
            id=event.task_id,
            number=event.number,
            owner=event.owner,
            spec=event.spec,
            state=TaskState.HELD if held else TaskState.QUEUED,
            priority=event.spec.priority,
            submitted_at_ms=hive.now_ms,
            held_by=event.held_by,
            reason=f"held by {event.held_by}" if held else "submitted",
        )
    )


def cancel_requested(hive: HiveState, event: TaskCancelRequested) -> None:
    """Cancelled at once, or once its attempt has ended, which is being stopped."""
    task = hive.tasks.get(event.task_id)
    if task is None or task.state.is_final or task.cancelled_by is not None:
        return
    why = f"cancelled by {event.by}"
    if task.state is not TaskState.ACTIVE:
        outcome = Outcome(kind=OutcomeKind.CANCELLED, detail=f"by {event.by}, not running")
        hive.put_task(
            replace(
                task,
                state=TaskState.CANCELLED,
                cancelled_by=event.by,
                held_by=None,
                not_before_ms=0,
                ended_at_ms=hive.now_ms,
                outcome=outcome,
                reason=why,
            )
        )
        return
    hive.put_task(replace(task, cancelled_by=event.by, reason=f"being {why}"))
    stop_attempt(hive, hive.attempts[hive.live_of[task.id]], StopCause.CANCEL, why)


def held(hive: HiveState, event: TaskHeld) -> None:
    """A queued task waits for the one who holds it."""
    task = hive.tasks.get(event.task_id)
    if task is not None and task.state is TaskState.QUEUED:
        reason = f"held by {event.by}"
        hive.put_task(replace(task, state=TaskState.HELD, held_by=event.by, reason=reason))


def released(hive: HiveState, event: TaskReleased) -> None:
    """A held task queues again."""
    task = hive.tasks.get(event.task_id)
    if task is not None and task.state is TaskState.HELD:
        reason = f"released by {event.by}"
        hive.put_task(replace(task, state=TaskState.QUEUED, held_by=None, reason=reason))


def reprioritised(hive: HiveState, event: TaskReprioritised) -> None:
    """A task that has not ended goes before or behind others."""
    task = hive.tasks.get(event.task_id)
    if task is None or task.state.is_final or task.priority is event.priority:
        return
    reason = f"priority {event.priority.value}, set by {event.by}"
    hive.put_task(replace(task, priority=event.priority, reason=reason))
