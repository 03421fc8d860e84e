"""How much a user or a project may have at once: limits, and what is used of them.

A quota is a reason to wait, not a state: a task over it stays queued and out of line until
something of its user or project ends. Kept up to date by hive_state.py; quota_gate.py takes tasks
out of line and back. How many tasks may wait is the server's business, which refuses more.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from .gpu_hours import GpuHours
from .policy import HOUR_MS
from .task import Task, TaskState
from .values import Ms, TaskId, Value


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
    #: GPU-hours from Monday to Monday (gpu_hours.py).
    weekly_gpu_hours: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it limits nothing."""
        limits = self.running_gpus, self.running_tasks, self.waiting_tasks, self.weekly_gpu_hours
        return all(limit is None for limit in limits)


class Use(Value, frozen=True, kw_only=True):
    """What one user or project has now."""

    running_gpus: int = 0
    running_tasks: int = 0
    waiting_tasks: int = 0
    #: Counted where there is a limit of them.
    weekly_gpu_hours: float = 0.0


QuotaKey: TypeAlias = tuple[QuotaScope, str]


class Blocked(NamedTuple):
    """Which limit keeps a task out of line."""

    quota: Quota
    #: ``gpus``, ``tasks`` or ``gpu-hours``.
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
        #: Where GPU-hours are limited; those that changed in this step. Hive time of the step.
        self.meters: dict[QuotaKey, GpuHours] = {}
        self.changed_meters: dict[QuotaKey, None] = {}
        self.now_ms: Ms = 0
        #: Where something ended in this step, or a limit was changed; none without a quota.
        self.freed: dict[QuotaKey, None] = {}

    def put(self, quota: Quota) -> None:
        """Set or, when it limits nothing, take away a quota."""
        key = quota.scope, quota.name
        if quota.is_empty:
            self.quotas.pop(key, None)
        else:
            self.quotas[key] = quota
        if quota.weekly_gpu_hours is None:
            self.meters.pop(key, None)
        elif key not in self.meters:
            self.meters[key] = GpuHours(scope=key[0].value, name=key[1])
        self.turn_meter(key)
        self.freed[key] = None

    def note(self, old: Task | None, task: Task) -> None:
        """A task is as it is now; an edit may have given it another project."""
        if self.out and old is not None:
            self.let_in(old)
        state, is_waiting = task.state, task.is_waiting
        is_running = state is TaskState.ACTIVE and task.spec.array is None
        keys = keys_of(task)
        if old is not None and (old.spec is not task.spec or old.owner != task.owner):
            before = keys_of(old)
            if before != keys:
                for key in before:
                    self.waiting.get(key, {}).pop(task.id, None)
        elif old is not None and old.state is state:
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
                    self.turn_meter(key)
            elif task.id in running:
                self._n_gpus[key] -= running.pop(task.id)
                self.turn_meter(key)
                if key in self.quotas:
                    self.freed[key] = None
            if is_waiting:
                waiting[task.id] = None
            else:
                waiting.pop(task.id, None)
                if not running and not waiting:
                    del self.running[key], self.waiting[key]
                    self._n_gpus.pop(key, None)

    def turn_meter(self, key: QuotaKey) -> None:
        """From now on as many GPUs count as are in use now."""
        meter = self.meters.get(key) if self.meters else None
        if meter is not None:
            self.changed_meters[key] = None
            self.meters[key] = meter.moved_to(self.now_ms, self.used_gpus(key))

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
            hours, meter = quota.weekly_gpu_hours, self.meters.get(key)
            if wanted and hours is not None and meter is not None:
                used_ms = meter.used_at(self.now_ms)
                if used_ms >= hours * HOUR_MS:
                    return Blocked(quota, "gpu-hours", used_ms // HOUR_MS, hours)
        return None


def keys_of(task: Task) -> tuple[QuotaKey, QuotaKey]:
    """The quotas that a task counts against."""
    return (QuotaScope.USER, task.owner), (QuotaScope.PROJECT, task.project)


def n_gpus(task: Task) -> int:
    """The GPUs that one attempt of it takes."""
    return task.spec.request.gpus * task.spec.request.nodes
