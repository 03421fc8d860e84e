"""``/api/v1/summary``, ``/gpus/history``: what the dashboard shows first."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from fluxhive.protocol.summary import GpuPast, GpuPasts, Summary
from fluxhive.server.bridge import answer, new_router, route

from .tasks import OfCaller, OfServices
from .usage import points_view

router = new_router()

#: Longest past and most points of one GPU in the answer about all of them.
MINUTES_MAX = 7 * 24 * 60
POINTS_MAX = 288


@route(router, "GET", "/summary", gives=Summary)
async def show_summary(caller: OfCaller, services: OfServices) -> Response:
    """Show the hive in one look: GPUs, tasks by state, the oldest wait, a day's failures."""
    return answer(services.tally.summary())


@route(router, "GET", "/gpus/history", gives=GpuPasts)
async def show_gpus_history(
    caller: OfCaller,
    services: OfServices,
    minutes: Annotated[int, Query(ge=1, le=MINUTES_MAX)] = 10,
    step_s: Annotated[int, Query(ge=1, le=86_400, description="Between two points.")] = 10,
) -> Response:
    """Show how each GPU of every node was used of late; 288 points at most of each."""
    step_s = max(step_s, minutes * 60 // POINTS_MAX)
    to_s = services.hive.clock.now_ms() // 1000 + 1
    nodes = services.hive.brain.manager.nodes()
    wanted = [(node.id, gpu.uuid) for node in nodes for gpu in node.inventory.gpus]
    pasts = await services.hive.usage.of_gpus(
        wanted, from_s=to_s - minutes * 60, to_s=to_s, step_s=step_s
    )
    return answer(
        GpuPasts(
            gpus=tuple(
                GpuPast(node_id=node_id, uuid=uuid, points=points_view(points))
                for (node_id, uuid), points in zip(wanted, pasts, strict=True)
            )
        )
    )
