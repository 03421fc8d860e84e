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


class AttemptUsageView(Value, frozen=True, kw_only=True):
    """What an attempt used of its GPUs over time."""

    attempt: str
    gpus: tuple[GpuUsage, ...] = ()
