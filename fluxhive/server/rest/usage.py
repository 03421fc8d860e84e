"""Use over time: of an attempt's GPUs, of a node's GPU. For curves."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from starlette.responses import Response

from fluxhive.core.errors import NotFound
from fluxhive.core.ids import task_of
from fluxhive.core.usage_series import TIERS, Point
from fluxhive.core.values import AttemptId, GpuUuid
from fluxhive.protocol.usage import (
    AttemptUsageView,
    GpuUsage,
    HostPoint,
    HostUsage,
    UsagePoint,
)
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.lookup import attempt_of, find_node, find_task

from .nodes import NodeName
from .tasks import INTEGER_MAX, OfCaller, OfServices

router = new_router()

AttemptName = Annotated[str, Path(description="Id of an attempt, such as `t-7f3k.2`.")]
Uuid = Annotated[str, Path(description="UUID of a GPU.")]
From = Annotated[int, Query(ge=0, le=INTEGER_MAX, description="Not before this time.")]
To = Annotated[int, Query(ge=0, le=INTEGER_MAX, description="Before this time.")]
Step = Annotated[int, Query(ge=1, le=86_400, description="Seconds between two points, at least.")]


@route(router, "GET", "/attempts/{attempt}/usage", gives=AttemptUsageView)
async def show_attempt_usage(
    attempt: AttemptName,
    caller: OfCaller,
    services: OfServices,
    from_ms: From = 0,
    to_ms: To = INTEGER_MAX,
    step_s: Step = 1,
) -> Response:
    """Show what an attempt used of its GPUs and nodes over time; 2,000 points at most for each.

    `whole` of a GPU is what everybody used of it meanwhile: the difference is its neighbours'.
    """
    found = attempt_of(await find_task(services.hive, task_of(AttemptId(attempt))), attempt)
    store, step = services.hive.usage, {"step_s": step_s}
    span = {"from_s": from_ms // 1000, "to_s": to_ms // 1000}
    node_of = {
        share.uuid: member.node_id for member in found.members for share in member.reservation.gpus
    }
    gpus = []
    for uuid, points in (await store.of_attempt(found.id, **span, **step)).items():
        whole: list[Point] = []
        if points and uuid in node_of:
            same = {"from_s": points[0].at_s, "to_s": points[-1].at_s + TIERS[1].step_s}
            whole = await store.of_gpu(node_of[uuid], uuid, **same, **step)
        gpus.append(GpuUsage(uuid=uuid, points=points_view(points), whole=points_view(whole)))
    hosts = await store.host_of_attempt(found.id, **span, **step)
    return answer(
        AttemptUsageView(
            attempt=found.id,
            gpus=tuple(gpus),
            hosts=tuple(
                HostUsage(node_id=node_id, points=_host_view(memory, cpu))
                for node_id, (memory, cpu) in hosts.items()
            ),
        )
    )


@route(router, "GET", "/nodes/{node}/gpus/{uuid}/history", gives=GpuUsage)
async def show_gpu_history(
    node: NodeName,
    uuid: Uuid,
    caller: OfCaller,
    services: OfServices,
    from_ms: From = 0,
    to_ms: To = INTEGER_MAX,
    step_s: Step = 1,
) -> Response:
    """Show how a GPU was used over time, by whomever; 2,000 points at most."""
    found = find_node(services.hive, node)
    if all(gpu.uuid != uuid for gpu in found.inventory.gpus):
        raise NotFound(
            f"{found.label} has no GPU `{uuid[:200]}`", hint="list them: fluxhive gpus --json"
        )
    points = await services.hive.usage.of_gpu(
        found.id, GpuUuid(uuid), from_s=from_ms // 1000, to_s=to_ms // 1000, step_s=step_s
    )
    return answer(GpuUsage(uuid=uuid, points=points_view(points)))


def points_view(points: list[Point]) -> tuple[UsagePoint, ...]:
    """Points of a curve as people get them."""
    return tuple(
        UsagePoint(
            at_ms=point.at_s * 1000,
            used_mib=point.used_mib,
            peak_mib=point.peak_mib,
            utilization_percent=point.utilization_percent,
        )
        for point in points
    )


def _host_view(memory: list[Point], cpu: list[Point]) -> tuple[HostPoint, ...]:
    percents = {point.at_s: point.used_mib for point in cpu}
    return tuple(
        HostPoint(
            at_ms=point.at_s * 1000,
            memory_mib=point.used_mib,
            peak_mib=point.peak_mib,
            cpu_percent=percents.get(point.at_s),
        )
        for point in memory
    )
