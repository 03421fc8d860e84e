"""What people change about a task that waits: the body of ``PATCH /tasks/{id}``."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from fluxhive.core.task import Priority

from .rest import Body


class RequestChange(Body, frozen=True, kw_only=True):
    """What a task asks of its node; what is absent stays."""

    gpus: int | UnsetType = UNSET
    #: null: whole GPUs.
    gpu_memory_mib: int | UnsetType | None = UNSET
    exclusive: bool | UnsetType = UNSET
    cpus: int | UnsetType = UNSET
    #: null: not counted.
    memory_mib: int | UnsetType | None = UNSET


class TaskChange(Body, frozen=True, kw_only=True):
    """``PATCH /tasks/{id}``; what is absent stays.

    All of it while the task waits; the priority until it has ended.
    """

    priority: Priority | UnsetType = UNSET
    name: str | UnsetType = UNSET
    #: Empty: the owner's own.
    project: str | UnsetType = UNSET
    request: RequestChange | UnsetType = UNSET
    #: null: no limit.
    time_limit_ms: int | UnsetType | None = UNSET
    #: null: as soon as there is room.
    begin_at_ms: int | UnsetType | None = UNSET
    retry: int | UnsetType = UNSET
