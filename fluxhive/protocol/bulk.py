"""``POST /tasks/bulk``: one thing done with many tasks."""

from __future__ import annotations

from enum import Enum

from fluxhive.core.task import Priority
from fluxhive.core.values import TaskId, Value

from .rest import Body, Problem, TaskView

#: Most tasks of one request.
BULK_MAX = 1_000


class BulkAction(Enum):
    """What is done with each of them, as its own route does it."""

    CANCEL = "cancel"
    HOLD = "hold"
    RELEASE = "release"
    RERUN = "rerun"
    PRIORITY = "priority"


class TaskBulk(Body, frozen=True, kw_only=True):
    """What, and with which tasks: ids, unique beginnings of ids, or names."""

    action: BulkAction
    ids: list[str]
    #: With the action `priority`, and with no other.
    priority: Priority | None = None


class BulkResult(Value, frozen=True, kw_only=True):
    """What became of one: the task as it is now (of a rerun: the new one), or why not."""

    #: As it was asked for.
    id: str
    ok: bool
    task_id: TaskId | None = None
    task: TaskView | None = None
    problem: Problem | None = None
    #: With the action `priority`: the one that it had, which takes the change back.
    priority_before: Priority | None = None


class BulkResults(Value, frozen=True, kw_only=True):
    """One for each task, in the order in which they were named."""

    results: tuple[BulkResult, ...]
