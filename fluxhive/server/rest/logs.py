"""``/api/v1/tasks/{task}/logs``: what tasks print, by offset, and live."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import Query
from msgspec.structs import replace
from starlette.responses import Response

from fluxhive.core import progress
from fluxhive.core.errors import InputError, NotFound
from fluxhive.core.spec_check import MAX_NODES
from fluxhive.core.task import Attempt, AttemptState
from fluxhive.core.torchrun import PROCESSES_MAX
from fluxhive.protocol.rest import LogGapView, LogStreamView
from fluxhive.protocol.wire import STDERR, STDOUT, STREAM_NAMES
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.event_stream import EventStream
from fluxhive.server.follow import Follow
from fluxhive.server.log_choice import Places, choose
from fluxhive.server.lookup import attempt_of, check_single, find_task
from fluxhive.server.problems import Malformed
from fluxhive.server.services import Services

from .tasks import INTEGER_MAX, OfCaller, OfServices, TaskName

router = new_router()

READ_BYTES_MAX = 8 * 1024 * 1024
READ_BYTES_DEFAULT = 1024 * 1024
#: Gaps that one answer's header names.
GAPS_TOLD_MAX = 50
#: How long a reader waits for the rest of an attempt that is over.
REST_S = 10.0

AttemptName = Annotated[str | None, Query(description="Number or id of an attempt.")]
Rank = Annotated[int, Query(ge=0, le=MAX_NODES, description="Member of a gang.")]
Process = Annotated[
    int | None,
    Query(ge=0, le=MAX_NODES * PROCESSES_MAX, description="One process, by its rank among all."),
]
_PLACE = re.compile(r"(\d{1,7})\.(stdout|stderr):(\d{1,18})")
Offset = Annotated[int, Query(ge=0, le=INTEGER_MAX)]


@route(router, "GET", "/tasks/{task}/logs", gives=list[LogStreamView])
async def list_logs(
    task: TaskName, caller: OfCaller, services: OfServices, attempt: AttemptName = None
) -> Response:
    """List the streams of a task's output, of all attempts unless one is named."""
    found = check_single(await find_task(services.hive, task, caller.username))
    attempts = found.attempts if attempt is None else [attempt_of(found, attempt)]
    logs = services.hive.logs
    await logs.load(attempts)
    views = []
    for each in attempts:
        choice = choose(found.task, each, None, None)
        for view in logs.streams(each):
            n = view.process
            rank = None if n is None else view.rank * choice.n_per_node + n
            views.append(replace(view, process=rank))
    return answer(views)


@route(router, "GET", "/tasks/{task}/logs/follow", gives="text/event-stream")
async def follow_logs(
    task: TaskName,
    caller: OfCaller,
    services: OfServices,
    attempt: AttemptName = None,
    stdout: Offset = 0,
    stderr: Offset = 0,
    rank: Rank = 0,
    process: Process = None,
    processes: Annotated[str, Query(max_length=8192, description="`3.stderr:120,…`")] = "",
    wait: Annotated[bool, Query(description="For what is still to come, to the end.")] = True,
) -> Response:
    """Follow a task's output as server-sent events: `log` (LogEvent), at last `end` (LogEnd).

    All attempts in order until the task is over; with `attempt` that one alone, from these
    offsets. To go on after a lost connection, ask again with the attempt and offsets of what came.
    Of a gang, one member's output, that of its processes among it, or with `process` one
    process's alone. `processes` names the offsets of what single processes wrote.
    """
    found = check_single(await find_task(services.hive, task, caller.username))
    only = None if attempt is None else attempt_of(found, attempt)
    last = only or (found.attempts[-1] if found.attempts else None)
    choose(found.task, last, rank, process)
    places: Places = {(None, STDOUT): stdout, (None, STDERR): stderr, **_places(processes)}
    events = Follow(services, caller, found, rank, process, waits=wait).stream(only, places)
    return EventStream(events, services, caller.token_id)


@route(router, "GET", "/tasks/{task}/logs/{stream}", gives="application/octet-stream")
async def read_log(
    task: TaskName,
    stream: str,
    caller: OfCaller,
    services: OfServices,
    attempt: AttemptName = None,
    offset: Annotated[int | None, Query(ge=0, le=INTEGER_MAX)] = None,
    limit: Annotated[int | None, Query(ge=1, le=READ_BYTES_MAX)] = None,
    tail_bytes: Annotated[int | None, Query(ge=0, le=READ_BYTES_MAX)] = None,
    rank: Rank = 0,
    process: Process = None,
    fold: Annotated[bool, Query(description="Progress bars as they stood last.")] = False,
) -> Response:
    """Read bytes of one stream, of the newest attempt unless one is named. Of a gang, one member's.

    `stdout` or `stderr`; `metrics` is what a task wrote to $FLUXHIVE_METRICS, and `result` to
    $FLUXHIVE_RESULT: bytes of its own, which nobody here reads.

    From `offset` on at most `limit` bytes, or the last `tail_bytes`. The headers `X-Log-Offset`,
    `X-Log-Size` and `X-Log-Complete` say where they begin, how much is stored, and whether that is
    all there will be; `X-Log-Gaps` names what is missing of these bytes (`3-9, 20-25`, behind the
    last one each), which reads as zeros. With `fold` each line is as it stood last, for people;
    then read on from `X-Log-Next`. Where processes have output of their own, `process` reads that
    of one of them, and without it there is what their launcher wrote.
    """
    if stream not in STREAM_NAMES:
        raise NotFound(
            f"there is no stream `{stream[:100]}`",
            hint="a task has `stdout` and `stderr`, and may have `metrics` and `result`",
        )
    if tail_bytes is not None and (offset is not None or limit is not None):
        raise InputError(
            "tail_bytes: excludes `offset` and `limit`", field="tail_bytes", value=tail_bytes
        )
    found = check_single(await find_task(services.hive, task, caller.username))
    if not found.attempts and attempt is None:
        choose(found.task, None, rank, process)
        return _bytes(b"", 0, 0, is_complete=found.task.state.is_final)
    chosen = found.attempts[-1] if attempt is None else attempt_of(found, attempt)
    logs = services.hive.logs
    await logs.load([chosen])
    choice = choose(found.task, chosen, rank, process)
    rank, number = choice.rank or 0, STREAM_NAMES.index(stream)
    await _until_whole(services, chosen, rank)
    number = choice.number(number) if number in (STDOUT, STDERR) else number
    size = logs.size(chosen.id, number, rank=rank)
    start = max(0, size - tail_bytes) if tail_bytes is not None else offset or 0
    if start > size:
        raise _beyond(chosen, stream, start, size)
    n_bytes = tail_bytes if tail_bytes is not None else limit or READ_BYTES_DEFAULT
    data = await anyio.to_thread.run_sync(
        partial(logs.read, chosen.id, number, start, min(n_bytes, size - start), rank=rank),
        limiter=services.log_readers,
    )
    is_complete = logs.is_whole(chosen, number, rank=rank)
    gaps = logs.gaps(chosen.id, number, rank=rank)
    return _bytes(data, start, size, is_complete=is_complete, gaps=gaps, folded=fold)


def _places(text: str) -> Places:
    """What a follower has of single processes."""
    found: Places = {}
    for part in filter(None, text.split(",")):
        match = _PLACE.fullmatch(part)
        if match is None:
            raise InputError(
                f"processes: not an offset of a process: `{part[:100]}`",
                field="processes",
                value=part[:100],
                hint="write `3.stdout:120,3.stderr:0`: rank, stream, bytes that are there",
            )
        found[int(match[1]), STREAM_NAMES.index(match[2])] = int(match[3])
    return found


async def _until_whole(services: Services, attempt: Attempt, rank: int) -> None:
    """An attempt is over before its last output is here: waits a while for that.

    So that what a person reads after `fluxhive wait` is all there is.
    """
    hive, member = services.hive, attempt.members[rank]
    if member.state is not AttemptState.ENDED or member.facts is None:
        return
    with anyio.move_on_after(REST_S):
        while hive.sessions.is_connected(member.node_id):
            numbers = hive.logs.numbers(attempt.id, rank)
            if all(hive.logs.is_whole(attempt, n, rank=rank) for n in numbers):
                return
            sizes = {n: hive.logs.size(attempt.id, n, rank=rank) for n in numbers}
            await hive.logs.wait_for_more(attempt.id, sizes, rank=rank)


def _bytes(
    data: bytes,
    offset: int,
    size: int,
    *,
    is_complete: bool,
    gaps: Iterable[LogGapView] = (),
    folded: bool = False,
) -> Response:
    end = offset + len(data)
    here = [gap for gap in gaps if offset <= gap.end and gap.start <= end]
    headers = {
        "X-Log-Gaps": ", ".join(f"{gap.start}-{gap.end}" for gap in here[:GAPS_TOLD_MAX]),
        "X-Log-Offset": str(offset),
        "X-Log-Size": str(size),
        "X-Log-Next": str(end),
        "X-Log-Complete": "true" if is_complete else "false",
        # Output is anything: a browser keeps it as a file and never shows it as a page.
        "Content-Disposition": "attachment",
    }
    if folded:
        data = progress.fold(data)
    return Response(data, headers=headers, media_type="application/octet-stream")


def _beyond(attempt: Attempt, stream: str, offset: int, size: int) -> Malformed:
    return Malformed(
        f"offset: {offset} is beyond the end: {stream} of {attempt.id} has {size} bytes",
        status=416,
        field="offset",
        value=offset,
        hint=f"read from {size} on for what is still to come",
    )
