"""The hive in one look (``GET /api/v1/summary``), and the GPUs' last minutes."""

from __future__ import annotations

from fluxhive.core.start_record import Accuracy
from fluxhive.core.values import Value

from .usage import UsagePoint


class GpuCounts(Value, frozen=True, kw_only=True, omit_defaults=False):
    """How the GPUs of all nodes in contact stand."""

    total: int = 0
    #: Healthy, on a node that takes work, and nothing of a task is on it.
    free: int = 0
    in_use: int = 0
    #: Faulty, dirty or not heard of.
    faulty: int = 0


class TaskCounts(Value, frozen=True, kw_only=True, omit_defaults=False):
    """How many tasks have not ended, by state; of arrays each member."""

    held: int = 0
    queued: int = 0
    active: int = 0


class EndCounts(Value, frozen=True, kw_only=True, omit_defaults=False):
    """How many tasks ended, by how; of arrays each member that ran."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class CauseCount(Value, frozen=True, kw_only=True):
    """How many tasks failed of one kind of outcome (``gpu-oom``)."""

    kind: str
    count: int


class Summary(Value, frozen=True, kw_only=True, omit_defaults=False):
    """What a person wants to know first."""

    now_ms: int
    gpus: GpuCounts
    counts: TaskCounts
    #: When the task was submitted that has been in line for longest; None: nobody is.
    oldest_wait_ms: int | None = None
    #: In the last 24 hours, to ten minutes.
    ended_24h: EndCounts = EndCounts()
    #: The same failures by what ended the last attempt, the most frequent first.
    failed_24h: tuple[CauseCount, ...] = ()
    #: How true estimates of starts have been lately.
    estimates: Accuracy = Accuracy()


class GpuPast(Value, frozen=True, kw_only=True):
    """How one GPU was used of late."""

    node_id: str
    uuid: str
    points: tuple[UsagePoint, ...] = ()


class GpuPasts(Value, frozen=True, kw_only=True):
    """``GET /gpus/history``: of every GPU, oldest first."""

    gpus: tuple[GpuPast, ...] = ()
