"""Follows a task's output for one reader, who says where it was and gets every byte from there.

No cursor is kept: each event carries its attempt, stream and offset, and a reader that lost the
line asks again from what it has.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from functools import partial

import anyio
import anyio.to_thread

from fluxhive.core.task import Attempt, AttemptState
from fluxhive.core.values import AttemptId
from fluxhive.protocol.rest import LogEnd, LogEvent, TaskView
from fluxhive.protocol.wire import stream_name

from .auth import Caller
from .log_choice import LogChoice, Places, choose, is_over, offsets_of
from .log_pieces import LogPiece, newest_pieces, pieces
from .log_stream import LogStream
from .logs import LogStore
from .lookup import Found, attempt_of, find_tasks
from .services import Services
from .sse import HEARTBEAT_S, comment, event_bytes
from .views import Views

#: Bytes that one round reads; each piece of them is one event.
ROUND_BYTES = 256 * 1024
#: What comes after a quiet time is told at once. What follows closely is told in bunches, each
#: twice as long as the one before, up to the last of these.
QUIET_S, GATHER_S_MIN, GATHER_S_MAX = 0.010, 0.001, 0.020
#: The node of an attempt that is over says no more: what is here is all, after this time.
PATIENCE_S = 30.0

#: Where to go on with each stream, by its number; where none is named, at its beginning.
Offsets = dict[int, int]


class Follow:
    """One reader of one task's output."""

    def __init__(
        self,
        services: Services,
        caller: Caller,
        found: Found,
        rank: int,
        process: int | None,
        *,
        waits: bool = True,
    ) -> None:
        """``waits``: for what is still to come; else it ends with what is here."""
        self._waits = waits
        self._services = services
        self._caller = caller
        self._found = found
        self._rank = rank
        self._process = process

    async def stream(self, only: Attempt | None, places: Places) -> AsyncGenerator[bytes, None]:
        """Events ``log`` and at last ``end``: of one attempt, or of all until the task is over.

        ``places``: what the reader has of the first of them.
        """
        yield comment("output follows")
        if only is not None:
            async for data in self._one(only.id, places):
                yield data
        else:
            n_done = 0
            while True:
                attempts = self._found.attempts
                if len(attempts) > n_done:
                    async for data in self._one(attempts[n_done].id, places):
                        yield data
                    n_done += 1
                    places = {}
                elif self._found.task.state.is_final or not self._waits:
                    break
                elif not await self._next_change(n_done):
                    yield comment("still here")
        yield event_bytes("end", LogEnd(task=self._view()))

    def _view(self) -> TaskView:
        return Views(self._services.hive).task(self._found, self._caller, is_single=True)

    async def _look(self) -> None:
        """The task as it is now."""
        (self._found,) = await find_tasks(self._services.hive, [self._found.task.id])

    async def _next_change(self, n_attempts: int) -> bool:
        """Until the task has changed; False after a quiet time."""
        with self._services.feed.watch(self._found.task.id) as changed:
            await self._look()
            if len(self._found.attempts) > n_attempts or self._found.task.state.is_final:
                return True
            with anyio.move_on_after(HEARTBEAT_S) as scope:
                await changed.wait()
        await self._look()
        return not scope.cancelled_caught

    # ── one attempt ───────────────────────────────────────────────────────────────────────────

    async def _one(self, attempt_id: AttemptId, places: Places) -> AsyncGenerator[bytes, None]:
        logs, attempt = self._services.hive.logs, self._attempt(attempt_id)
        await logs.load([attempt])
        choice = choose(self._found.task, attempt, self._rank, self._process)
        rank = choice.rank or 0
        offsets = offsets_of(choice, places)
        gaps = _Gaps(logs, attempt_id, offsets, choice)
        told_s, gather_s = anyio.current_time(), 0.0
        while True:
            if found := await self._news(attempt_id, choice, offsets):
                events = []
                for piece in found:
                    offsets[piece.stream] = piece.offset + len(piece.data)
                    if not piece.data:  # it goes on behind a gap
                        events += gaps.news(offsets)
                        continue
                    event = LogEvent(
                        attempt=attempt_id,
                        rank=rank,
                        process=choice.process_rank(rank, piece.stream),
                        stream=stream_name(piece.stream),
                        offset=piece.offset,
                        time_ms=piece.time_ms,
                        data=base64.b64encode(piece.data).decode(),
                    )
                    events.append(event_bytes("log", event))
                told = b"".join([*events, *gaps.news(offsets)])
                has_caught_up = sum(len(piece.data) for piece in found) < ROUND_BYTES
                # A reader may let this wait for long: it is not kept three times meanwhile.
                found, events = [], []
                gather_s = _gathering_s(gather_s, anyio.current_time() - told_s)
                yield told
                told_s = anyio.current_time()
                if has_caught_up:
                    await anyio.sleep(gather_s)
                continue
            if news := gaps.news(offsets):
                yield b"".join(news)
            if not self._waits:
                return
            await self._look()
            if self._is_over(attempt_id, choice, anyio.current_time() - told_s):
                if all(now <= offsets.get(n, 0) for n, now in self._sizes(attempt_id, choice)):
                    return
                continue  # Something came between reading and looking.
            with anyio.move_on_after(HEARTBEAT_S) as scope:
                sizes = {n: offsets.get(n, 0) for n in choice.numbers()}
                await logs.wait_for_more(attempt_id, sizes, rank=rank)
            if scope.cancelled_caught:
                yield comment("still here")

    async def _news(
        self, attempt_id: AttemptId, choice: LogChoice, offsets: Offsets
    ) -> list[LogPiece]:
        """What the reader does not have; a thread reads it where it is not in memory."""
        newest = newest_pieces(self._streams(attempt_id, choice), offsets)
        if newest is not None:
            return newest
        return await anyio.to_thread.run_sync(
            partial(self._pieces, attempt_id, choice, offsets), limiter=self._services.log_readers
        )

    def _attempt(self, attempt_id: AttemptId) -> Attempt:
        return attempt_of(self._found, attempt_id)

    def _streams(self, attempt_id: AttemptId, choice: LogChoice) -> list[tuple[int, LogStream]]:
        where = self._services.hive.logs.part(attempt_id, choice.rank or 0)
        known = [] if where is None else where.all_streams()
        return [(number, stream) for number, stream in known if choice.is_of(number)]

    def _sizes(self, attempt_id: AttemptId, choice: LogChoice) -> list[tuple[int, int]]:
        return [(number, it.received) for number, it in self._streams(attempt_id, choice)]

    def _pieces(self, attempt_id: AttemptId, choice: LogChoice, offsets: Offsets) -> list[LogPiece]:
        return pieces(self._streams(attempt_id, choice), offsets, ROUND_BYTES)

    def _is_over(self, attempt_id: AttemptId, choice: LogChoice, quiet_s: float) -> bool:
        """Whether nothing more comes of this attempt, everything here having been told."""
        attempt = self._attempt(attempt_id)
        rank = choice.rank or 0
        if rank >= len(attempt.members):
            return True
        member = attempt.members[rank]
        if member.state is not AttemptState.ENDED:
            return False
        if member.facts is None:
            return True  # Nobody knows how much there was.
        hive = self._services.hive
        if is_over(hive.logs, attempt, choice):
            return True
        # Its node knows of more than it sent, and is gone.
        return quiet_s > PATIENCE_S and not hive.sessions.is_connected(member.node_id)


def _gathering_s(before_s: float, quiet_s: float) -> float:
    """How long the next bunch is gathered, after so long a quiet."""
    if quiet_s - before_s >= QUIET_S:
        return 0.0
    return min(max(before_s * 2, GATHER_S_MIN), GATHER_S_MAX)


class _Gaps:
    """What is missing of one attempt's output, each told once when its place is reached."""

    def __init__(
        self, logs: LogStore, attempt_id: AttemptId, offsets: Offsets, choice: LogChoice
    ) -> None:
        self._logs = logs
        self._choice = choice
        self._attempt_id = attempt_id
        self._begun_at = dict(offsets)
        self._told: set[tuple[int, int]] = set()

    def news(self, offsets: Offsets) -> list[bytes]:
        """Events for what was reached by now and not told before."""
        events = []
        rank = self._choice.rank or 0
        for number in (*self._choice.pair(), *offsets.keys() - self._choice.pair()):
            begun_at = self._begun_at.get(number, 0)
            for gap in self._logs.gaps(self._attempt_id, number, rank=rank):
                key = number, gap.start
                is_ahead = gap.end > offsets.get(number, 0)
                if key in self._told or is_ahead or gap.end < begun_at:
                    continue
                if gap.start < gap.end == begun_at:
                    continue  # The reader began behind it.
                self._told.add(key)
                event = LogEvent(
                    attempt=self._attempt_id,
                    rank=rank,
                    process=self._choice.process_rank(rank, number),
                    stream=stream_name(number),
                    offset=gap.end,
                    time_ms=0,
                    data="",
                    gap=gap,
                )
                events.append(event_bytes("log", event))
        return events
