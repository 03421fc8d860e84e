"""How much a user or a project may have at once: limits, and what is used of them.

A quota is a reason to wait, not a state: a task over it stays queued and out of line until
something of its user or project ends. Kept up to date by hive_state.py; quota_gate.py takes tasks
out of line and back. How many tasks may wait is the server's business, which refuses more.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from .task import Task, TaskState
from .values import TaskId, Value


class QuotaScope(Enum):
    """Whose quota it is."""

    USER = "user"
    PROJECT = "project"

    #: Each is there once: what tells it apart is enough, and asked for with every change of a task.
    __hash__ = object.__hash__


class Quota(Value, frozen=True, kw_only=True):
    """What one user or project may have at most; None: as much as there is."""

    scope: QuotaScope
    name: str
    running_gpus: int | None = None
    running_tasks: int | None = None
    #: Tasks that have not started, members of arrays each; more are refused at submission.
    waiting_tasks: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it limits nothing."""
        return (self.running_gpus, self.running_tasks, self.waiting_tasks) == (None, None, None)


class Use(Value, frozen=True, kw_only=True):
    """What one user or project has now."""

    running_gpus: int = 0
    running_tasks: int = 0
    waiting_tasks: int = 0


QuotaKey: TypeAlias = tuple[QuotaScope, str]


class Blocked(NamedTuple):
    """Which limit keeps a task out of line."""

    quota: Quota
    #: ``gpus`` or ``tasks``.
    what: str
    used: int
    limit: int


class QuotaBook:
    """All quotas, and the running and waiting tasks by user and by project."""

    def __init__(self) -> None:
        self.quotas: dict[QuotaKey, Quota] = {}
        self.running: dict[QuotaKey, dict[TaskId, int]] = {}
        self.waiting: dict[QuotaKey, dict[TaskId, None]] = {}
        #: Queued tasks that a quota keeps out of line.
        self.out: dict[QuotaKey, dict[TaskId, None]] = {}
        self._n_gpus: dict[QuotaKey, int] = {}
        #: Where something ended in this step, or a limit was changed; none without a quota.
        self.freed: dict[QuotaKey, None] = {}

    def put(self, quota: Quota) -> None:
        """Set or, when it limits nothing, take away a quota."""
        key = quota.scope, quota.name
        if quota.is_empty:
            self.quotas.pop(key, None)
        else:
            self.quotas[key] = quota
        self.freed[key] = None

    def note(self, old: Task | None, task: Task) -> None:
        """A task is as it is now; an edit may have given it another project."""
        if self.out and old is not None:
            self.let_in(old)
        keys, is_waiting = keys_of(task), task.is_waiting
        is_running = task.state is TaskState.ACTIVE and task.spec.array is None
        if old is not None:
            before = keys_of(old)
            if before != keys:
                for key in before:
                    self.waiting.get(key, {}).pop(task.id, None)
            elif old.state is task.state and old.spec is task.spec and old.is_waiting is is_waiting:
                return
        for key in keys:
            running, waiting = self.running.get(key), self.waiting.get(key)
            if running is None or waiting is None:
                running, waiting = (
                    self.running.setdefault(key, {}),
                    self.waiting.setdefault(key, {}),
                )
            if is_running:
                if task.id not in running:
                    running[task.id] = n_gpus(task)
                    self._n_gpus[key] = self._n_gpus.get(key, 0) + running[task.id]
            elif task.id in running:
                self._n_gpus[key] -= running.pop(task.id)
                if key in self.quotas:
                    self.freed[key] = None
            if is_waiting:
                waiting[task.id] = None
            else:
                waiting.pop(task.id, None)
                if not running and not waiting:
                    del self.running[key], self.waiting[key]
                    self._n_gpus.pop(key, None)

    def keep_out(self, task: Task) -> None:
        """A queued task is kept out of line until its user or its project has less."""
        for key in keys_of(task):
            self.out.setdefault(key, {})[task.id] = None

    def let_in(self, task: Task) -> None:
        """No quota keeps a task out of line."""
        for key in keys_of(task):
            out = self.out.get(key)
            if out is not None:
                out.pop(task.id, None)
                if not out:
                    del self.out[key]

    def used_gpus(self, key: QuotaKey) -> int:
        """GPUs of its running tasks; a shared one counts for each task on it."""
        return self._n_gpus.get(key, 0)

    def used_tasks(self, key: QuotaKey) -> int:
        """Its running tasks."""
        return len(self.running.get(key, ()))

    def blocks(self, task: Task) -> Blocked | None:
        """The limit that a task would exceed if it started now; None: none."""
        if not self.quotas:
            return None
        for key in keys_of(task):
            quota = self.quotas.get(key)
            if quota is None:
                continue
            tasks, gpus = self.used_tasks(key), self.used_gpus(key)
            if quota.running_tasks is not None and tasks + 1 > quota.running_tasks:
                return Blocked(quota, "tasks", tasks, quota.running_tasks)
            wanted = n_gpus(task)
            if wanted and quota.running_gpus is not None and gpus + wanted > quota.running_gpus:
                return Blocked(quota, "gpus", gpus, quota.running_gpus)
        return None


def keys_of(task: Task) -> tuple[QuotaKey, QuotaKey]:
    """The quotas that a task counts against."""
    return (QuotaScope.USER, task.owner), (QuotaScope.PROJECT, task.project)


def n_gpus(task: Task) -> int:
    """The GPUs that one attempt of it takes."""
    return task.spec.request.gpus * task.spec.request.nodes
