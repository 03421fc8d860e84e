"""Use over time, of an attempt's GPUs and of a node's GPU, for curves; what tasks took, in sums."""

from __future__ import annotations

import datetime
from functools import partial
from typing import Annotated

from fastapi import Path, Query
from starlette.responses import Response

from fluxhive.core.errors import NotFound
from fluxhive.core.ids import task_of
from fluxhive.core.usage_series import TIERS, Point
from fluxhive.core.usage_sum import UsageSum
from fluxhive.core.values import AttemptId, GpuUuid
from fluxhive.protocol.usage import (
    AttemptUsageView,
    GpuUsage,
    HostPoint,
    HostUsage,
    UsagePoint,
    UsageRow,
    UsageSums,
)
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.lookup import attempt_of, find_node, find_task
from fluxhive.server.store.usage_sums import UsageChoice, UsageKey, usage_sums

from .nodes import NodeName
from .tasks import INTEGER_MAX, OfCaller, OfServices

router = new_router()

#: Most rows of sums in one answer; all of them are in its total.
ROWS_MAX = 10_000

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
    found = attempt_of(
        await find_task(services.hive, task_of(AttemptId(attempt)), caller.username), attempt
    )
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


@route(router, "GET", "/usage", gives=UsageSums)
async def show_usage(
    caller: OfCaller,
    services: OfServices,
    since_ms: Annotated[
        int, Query(ge=0, le=INTEGER_MAX, description="What was before this time does not count.")
    ] = 0,
    by: Annotated[UsageKey, Query(description="One row each.")] = UsageKey.NAME,
    array: Annotated[str | None, Query(description="Only of this array, of whomever.")] = None,
    utc_offset_min: Annotated[
        int, Query(ge=-1_440, le=1_440, description="Where days begin, for `by=day`.")
    ] = 0,
) -> Response:
    """Add up what your own tasks took, of any number of them; members of arrays one by one."""
    chosen = UsageChoice(
        by=by,
        since_ms=since_ms,
        now_ms=services.hive.clock.now_ms(),
        owner=caller.username,
        array_id=None
        if array is None
        else (await find_task(services.hive, array, caller.username)).task.id,
        utc_offset_ms=utc_offset_min * 60_000,
    )
    sums = await services.hive.store.read(partial(usage_sums, chosen=chosen))
    rows = sorted(sums.items(), key=lambda row: (-row[1].gpu_ms, -row[1].cpu_ms, row[0]))
    total = UsageSum()
    for each in sums.values():
        total = total.plus(each)
    shown = tuple(_row(_named(key, by), each) for key, each in rows[:ROWS_MAX])
    return answer(UsageSums(rows=shown, total=_row("", total)))


def _named(key: str, by: UsageKey) -> str:
    if by is not UsageKey.DAY:
        return key
    return str(datetime.date(1970, 1, 1) + datetime.timedelta(days=int(key)))


def _row(key: str, of: UsageSum) -> UsageRow:
    return UsageRow(
        key=key,
        tasks=of.tasks,
        succeeded=of.succeeded,
        failed=of.failed,
        gpu_ms=of.gpu_ms,
        cpu_ms=of.cpu_ms,
        known_ms=of.known_ms,
        busy_percent=of.busy_percent_ms // of.known_ms if of.known_ms else None,
        peak_gpu_memory_mib=of.peak_mib,
    )


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
