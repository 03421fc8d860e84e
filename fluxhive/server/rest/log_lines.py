"""``/api/v1/tasks/{task}/logs/lines``, ``/search``: what tasks print, by line, for people."""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import Query
from starlette.responses import Response

from fluxhive.core.task import Attempt
from fluxhive.protocol.log_view import LogHits, LogLines
from fluxhive.protocol.wire import STREAM_NAMES
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.log_lines import HITS_MAX, LINES_MAX, AttemptLines
from fluxhive.server.lookup import attempt_of, check_single, find_task
from fluxhive.server.services import Services

from .logs import AttemptName, Rank, check_rank
from .tasks import INTEGER_MAX, OfCaller, OfServices, TaskName

router = new_router()


class OutputStream(Enum):
    """What a program prints to."""

    STDOUT = "stdout"
    STDERR = "stderr"


OneStream = Annotated[OutputStream | None, Query(description="One alone; absent: both.")]
First = Annotated[
    int, Query(alias="from", ge=-INTEGER_MAX, le=INTEGER_MAX, description="Number of a line.")
]


@route(router, "GET", "/tasks/{task}/logs/lines", gives=LogLines)
async def read_log_lines(
    task: TaskName,
    caller: OfCaller,
    services: OfServices,
    attempt: AttemptName = None,
    stream: OneStream = None,
    rank: Rank = 0,
    first: First = 0,
    n: Annotated[int, Query(ge=1, le=LINES_MAX)] = 200,
    unfold: Annotated[bool, Query(description="All states of progress bars.")] = False,
) -> Response:
    """Read lines by number, from 0 on, of the newest attempt unless one is named.

    Of one stream, or of both in the order of their times; a negative `from` counts from the end.
    A progress bar is shown as it stood last. Of a line 16 KiB are shown, and of an answer 4 MiB.
    While a large log is counted for the first time `counted` is false: ask again.
    """
    chosen, lines = await _lines_of(services, caller, task, attempt, rank)
    if chosen is None or lines is None:
        return answer(LogLines(attempt="", first=0, total=0))
    number = None if stream is None else STREAM_NAMES.index(stream.value)
    views = services.hive.logs.streams(chosen, rank=rank)
    wanted = [view for view in views if stream is None or view.stream == stream.value]
    begin, total, counted, found = await anyio.to_thread.run_sync(
        partial(lines.lines, number, first, n, unfold=unfold), limiter=services.log_readers
    )
    return answer(
        LogLines(
            attempt=chosen.id,
            first=begin,
            total=total,
            counted=counted,
            complete=counted and bool(wanted) and all(view.complete for view in wanted),
            lines=tuple(found),
        )
    )


@route(router, "GET", "/tasks/{task}/logs/search", gives=LogHits)
async def search_log(
    task: TaskName,
    caller: OfCaller,
    services: OfServices,
    q: Annotated[str, Query(min_length=1, max_length=200, description="The text looked for.")],
    attempt: AttemptName = None,
    stream: OneStream = None,
    rank: Rank = 0,
    first: First = 0,
    limit: Annotated[int, Query(ge=1, le=HITS_MAX)] = 500,
    case: Annotated[bool, Query(description="As it is written.")] = False,
) -> Response:
    """Search a text in the lines, from one on: those that hold it, and where to search on from.

    Letters other than a to z are found as they are written only. One answer takes a part of a
    second: a large log needs several.
    """
    chosen, lines = await _lines_of(services, caller, task, attempt, rank)
    if chosen is None or lines is None:
        return answer(LogHits())
    number = None if stream is None else STREAM_NAMES.index(stream.value)
    hits = await anyio.to_thread.run_sync(
        partial(lines.search, number, q, first=max(0, first), limit=limit, case=case),
        limiter=services.log_readers,
    )
    return answer(hits)


async def _lines_of(
    services: Services, caller: Caller, task: str, attempt: str | None, rank: int
) -> tuple[Attempt | None, AttemptLines | None]:
    """The attempt that is meant and its lines; None: nothing ran yet."""
    found = check_single(await find_task(services.hive, task, caller.username))
    check_rank(found.task, rank)
    if not found.attempts and attempt is None:
        return None, None
    chosen = found.attempts[-1] if attempt is None else attempt_of(found, attempt)
    await services.hive.logs.load([chosen])
    return chosen, services.lines.of(chosen.id, rank)
