"""``/api/v1/tasks/{task}/metrics``: the numbers that a task reports of itself."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import Query
from starlette.responses import Response

from fluxhive.core.metric_series import BUCKETS_MAX
from fluxhive.protocol.metrics import MetricsView
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.log_choice import check_rank
from fluxhive.server.lookup import attempt_of, check_single, find_task

from .logs import AttemptName, Rank
from .tasks import OfCaller, OfServices, TaskName

router = new_router()

POINTS_DEFAULT = 1_000

Names = Annotated[list[str] | None, Query(description="Only these; absent: all.")]


@route(router, "GET", "/tasks/{task}/metrics", gives=MetricsView)
async def show_metrics(
    task: TaskName,
    caller: OfCaller,
    services: OfServices,
    attempt: AttemptName = None,
    rank: Rank = 0,
    name: Names = None,
    points: Annotated[int, Query(ge=1, le=BUCKETS_MAX)] = POINTS_DEFAULT,
) -> Response:
    """Show the numbers that a task reports of itself (`fluxhive.log`), each name a series.

    Of the newest attempt unless one is named; of a gang, one member's. A series longer than
    `points` is told in buckets of consecutive values: least, largest and last of each.
    """
    found = check_single(await find_task(services.hive, task, caller.username))
    check_rank(found.task, rank)
    if not found.attempts and attempt is None:
        return answer(MetricsView(attempt=None, rank=rank, complete=found.task.state.is_final))
    chosen = found.attempts[-1] if attempt is None else attempt_of(found, attempt)
    await services.hive.logs.load([chosen])
    read = partial(services.metrics.view, chosen, rank, names=name or (), points=points)
    return answer(await anyio.to_thread.run_sync(read, limiter=services.log_readers))
