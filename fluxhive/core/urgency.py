"""Who is urgent, and when running tasks may give way: what preemption.py goes by, kept up to date.

Called by hive_state.py as tasks and attempts change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .spec import Priority
from .task import Attempt, Task, TaskState
from .timers import TimerKind

if TYPE_CHECKING:
    from .hive_state import HiveState


def note(hive: HiveState, task: Task) -> None:
    """Keep the list of urgent tasks that are queued."""
    if task.state is TaskState.QUEUED and task.priority is Priority.URGENT:
        hive.urgent[task.id] = None
    else:
        hive.urgent.pop(task.id, None)


def watch(hive: HiveState, attempt: Attempt) -> None:
    """Wake up when a running attempt has had the run time that it was guaranteed."""
    spec = hive.spec_of(attempt)
    if hive.settings.preemption and spec.preemptible and attempt.started_at_ms is not None:
        at_ms = attempt.started_at_ms + spec.min_run_ms
        if at_ms > hive.now_ms:
            hive.timers.set(TimerKind.PREEMPTION, attempt.id, at_ms)
