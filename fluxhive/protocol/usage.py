"""What the REST API answers about use over time: curves of GPU memory and utilization."""

from __future__ import annotations

from fluxhive.core.values import Value


class UsagePoint(Value, frozen=True, kw_only=True):
    """One point of a curve of use: what was read from ``at_ms`` on, until the next point."""

    at_ms: int
    #: Mean and highest GPU memory in use.
    used_mib: int
    peak_mib: int
    #: Mean utilization of the whole GPU; None: the card does not say.
    utilization_percent: int | None = None


class GpuUsage(Value, frozen=True, kw_only=True):
    """Use of one GPU over time, oldest first."""

    uuid: str
    points: tuple[UsagePoint, ...] = ()
    #: Of an attempt's GPU: the whole GPU over the same time, whoever used it.
    whole: tuple[UsagePoint, ...] = ()


class HostPoint(Value, frozen=True, kw_only=True):
    """One point of a curve: what an attempt took of its node from ``at_ms`` on."""

    at_ms: int
    #: Mean and highest resident memory of its processes together.
    memory_mib: int
    peak_mib: int
    #: Of one core; absent: not known.
    cpu_percent: int | None = None


class HostUsage(Value, frozen=True, kw_only=True):
    """What an attempt took of one of its nodes over time, oldest first."""

    node_id: str
    points: tuple[HostPoint, ...] = ()


class AttemptUsageView(Value, frozen=True, kw_only=True):
    """What an attempt used of its GPUs and of its nodes over time."""

    attempt: str
    gpus: tuple[GpuUsage, ...] = ()
    hosts: tuple[HostUsage, ...] = ()


class UsageRow(Value, frozen=True, kw_only=True):
    """What tasks took together; of attempts, from the time asked for until now."""

    #: Their name, project, state, or day as `2026-11-26`.
    key: str
    tasks: int = 0
    succeeded: int = 0
    failed: int = 0
    #: A shared GPU counts in full for each task on it.
    gpu_ms: int = 0
    cpu_ms: int = 0
    #: GPU time for which the utilization of the GPU is known, and the mean in it.
    known_ms: int = 0
    busy_percent: int | None = None
    peak_gpu_memory_mib: int = 0


class UsageSums(Value, frozen=True, kw_only=True):
    """What tasks took, by what they have in common: who held GPUs longest first."""

    rows: tuple[UsageRow, ...] = ()
    #: All together, those beyond the last row too.
    total: UsageRow
