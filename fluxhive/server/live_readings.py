"""What a node that is connected said last, in memory alone: a heartbeat replaces the one before."""

from __future__ import annotations

from fluxhive.core.health import NodeHealth
from fluxhive.core.node import GpuReport
from fluxhive.core.values import Ms, Value
from fluxhive.protocol.agent import Heartbeat


class LiveReadings(Value, frozen=True, kw_only=True):
    """The newest heartbeat of a node that is connected."""

    gpus: tuple[GpuReport, ...] = ()
    cpu_percent: int | None = None
    memory_used_mib: int | None = None
    #: Why it takes nothing new; empty: it does.
    problem: str = ""
    #: The node's boot clock when it was sent.
    sent_at_ms: Ms = 0
    #: How far the node's clock is ahead of ours; None: not known.
    clock_offset_ms: int | None = None
    #: The newest look that was told, and when, in Unix time; None: none was in this session.
    health: NodeHealth | None = None
    health_at_ms: Ms | None = None


def newer(
    before: LiveReadings | None, heartbeat: Heartbeat, clock_offset_ms: int | None, now_ms: Ms
) -> LiveReadings:
    """What is known after a heartbeat; of what it does not carry, what was known."""
    health, health_at_ms = heartbeat.health, now_ms
    if health is None and before is not None and before.health is not None:
        health, health_at_ms = before.health, before.health_at_ms or now_ms
    return LiveReadings(
        gpus=heartbeat.gpus,
        cpu_percent=heartbeat.cpu_percent,
        memory_used_mib=heartbeat.memory_used_mib,
        problem=heartbeat.problem,
        sent_at_ms=heartbeat.sent_at_ms,
        clock_offset_ms=clock_offset_ms,
        health=health,
        health_at_ms=None if health is None else health_at_ms,
    )
