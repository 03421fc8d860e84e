"""``/api/v1/tasks/{task}/logs/lines``, ``/search``: what tasks print, by line, for people."""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Annotated, NamedTuple

import anyio.to_thread
from fastapi import Query
from starlette.responses import Response

from fluxhive.core.spec_check import MAX_NODES
from fluxhive.core.task import Attempt
from fluxhive.protocol.log_view import LogHits, LogLines
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.log_choice import LogChoice, choose, is_over, n_apart, parts_of
from fluxhive.server.log_lines import HITS_MAX, LINES_MAX, AttemptLines
from fluxhive.server.lookup import attempt_of, check_single, find_task
from fluxhive.server.services import Services

from .logs import AttemptName, Process
from .tasks import INTEGER_MAX, OfCaller, OfServices, TaskName

router = new_router()


class OutputStream(Enum):
    """What a program prints to."""

    STDOUT = "stdout"
    STDERR = "stderr"


OneStream = Annotated[OutputStream | None, Query(description="One alone; absent: both.")]
OneRank = Annotated[
    int | None, Query(ge=0, le=MAX_NODES, description="Member of a gang; absent: all of them.")
]
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
    rank: OneRank = None,
    process: Process = None,
    first: First = 0,
    n: Annotated[int, Query(ge=1, le=LINES_MAX)] = 200,
    unfold: Annotated[bool, Query(description="All states of progress bars.")] = False,
) -> Response:
    """Read lines by number, from 0 on, of the newest attempt unless one is named.

    Of one stream, or of both in the order of their times; of all members of a gang and all their
    processes, or one alone. A negative `from` counts from the end.
    A progress bar is shown as it stood last. Of a line 16 KiB are shown, and of an answer 4 MiB.
    While a large log is counted for the first time `counted` is false: ask again.
    """
    view = await _view(services, caller, task, attempt, rank, process)
    if view is None:
        return answer(LogLines(attempt="", first=0, total=0))
    name = None if stream is None else stream.value
    begin, total, counted, found = await anyio.to_thread.run_sync(
        partial(view.lines.lines, name, first, n, unfold=unfold), limiter=services.log_readers
    )
    return answer(
        LogLines(
            attempt=view.attempt.id,
            first=begin,
            total=total,
            counted=counted,
            complete=counted and is_over(services.hive.logs, view.attempt, view.choice),
            processes=n_apart(services.hive.logs, view.attempt, view.choice),
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
    rank: OneRank = None,
    process: Process = None,
    first: First = 0,
    limit: Annotated[int, Query(ge=1, le=HITS_MAX)] = 500,
    case: Annotated[bool, Query(description="As it is written.")] = False,
) -> Response:
    """Search a text in the lines, from one on: those that hold it, and where to search on from.

    Letters other than a to z are found as they are written only. One answer takes a part of a
    second: a large log needs several.
    """
    view = await _view(services, caller, task, attempt, rank, process)
    if view is None:
        return answer(LogHits())
    name = None if stream is None else stream.value
    search = partial(view.lines.search, name, q, first=max(0, first), limit=limit, case=case)
    return answer(await anyio.to_thread.run_sync(search, limiter=services.log_readers))


class _View(NamedTuple):
    """What was asked for, and its lines."""

    attempt: Attempt
    choice: LogChoice
    lines: AttemptLines


async def _view(
    services: Services,
    caller: Caller,
    task: str,
    attempt: str | None,
    rank: int | None,
    process: int | None,
) -> _View | None:
    """What is meant; None: nothing ran yet."""
    found = check_single(await find_task(services.hive, task, caller.username))
    if not found.attempts and attempt is None:
        choose(found.task, None, rank, process)
        return None
    chosen = found.attempts[-1] if attempt is None else attempt_of(found, attempt)
    logs = services.hive.logs
    await logs.load([chosen])
    choice = choose(found.task, chosen, rank, process)
    lines = services.lines.of(chosen.id, choice, tuple(parts_of(logs, chosen, choice)))
    return _View(chosen, choice, lines)
