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
from fluxhive.protocol.wire import STREAM_NAMES

from .auth import Caller
from .logs import LogStore
from .lookup import Found, attempt_of, find_tasks
from .services import Services
from .sse import HEARTBEAT_S, comment, event_bytes
from .views import Views

#: Bytes that one round reads; each piece of them is one event.
ROUND_BYTES = 256 * 1024
#: A program that prints a line at a time is told in bunches of this length.
GATHER_S = 0.020
#: The node of an attempt that is over says no more: what is here is all, after this time.
PATIENCE_S = 30.0

Offsets = tuple[int, int]


class Follow:
    """One reader of one task's output."""

    def __init__(self, services: Services, caller: Caller, found: Found, rank: int = 0) -> None:
        self._services = services
        self._caller = caller
        self._found = found
        self._rank = rank

    async def stream(self, only: Attempt | None, offsets: Offsets) -> AsyncGenerator[bytes, None]:
        """Events ``log`` and at last ``end``: of one attempt, or of all until the task is over."""
        yield comment("output follows")
        if only is not None:
            async for data in self._one(only.id, offsets):
                yield data
        else:
            n_done = 0
            while True:
                attempts = self._found.attempts
                if len(attempts) > n_done:
                    async for data in self._one(attempts[n_done].id, offsets):
                        yield data
                    n_done += 1
                    offsets = (0, 0)
                elif self._found.task.state.is_final:
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

    async def _one(self, attempt_id: AttemptId, offsets: Offsets) -> AsyncGenerator[bytes, None]:
        logs, rank = self._services.hive.logs, self._rank
        await logs.load([self._attempt(attempt_id)])
        gaps = _Gaps(logs, attempt_id, offsets, rank)
        quiet_since_s = anyio.current_time()
        while True:
            pieces = await anyio.to_thread.run_sync(
                partial(logs.pieces, attempt_id, offsets, ROUND_BYTES, rank=rank),
                limiter=self._services.log_readers,
            )
            if pieces:
                at = list(offsets)
                events = []
                for piece in pieces:
                    at[piece.stream] = piece.offset + len(piece.data)
                    if not piece.data:  # it goes on behind a gap
                        events += gaps.news((at[0], at[1]))
                        continue
                    event = LogEvent(
                        attempt=attempt_id,
                        rank=rank,
                        stream=STREAM_NAMES[piece.stream],
                        offset=piece.offset,
                        time_ms=piece.time_ms,
                        data=base64.b64encode(piece.data).decode(),
                    )
                    events.append(event_bytes("log", event))
                offsets = (at[0], at[1])
                told = b"".join([*events, *gaps.news(offsets)])
                has_caught_up = sum(len(piece.data) for piece in pieces) < ROUND_BYTES
                # A reader may let this wait for long: it is not kept three times meanwhile.
                pieces, events = [], []
                yield told
                quiet_since_s = anyio.current_time()
                if has_caught_up:
                    await anyio.sleep(GATHER_S)
                continue
            if news := gaps.news(offsets):
                yield b"".join(news)
            await self._look()
            if self._is_over(attempt_id, anyio.current_time() - quiet_since_s):
                sizes = (logs.size(attempt_id, n, rank=rank) for n in range(len(offsets)))
                if all(size <= at for size, at in zip(sizes, offsets, strict=True)):
                    return
                continue  # Something came between reading and looking.
            with anyio.move_on_after(HEARTBEAT_S) as scope:
                await logs.wait_for_more(attempt_id, offsets, rank=rank)
            if scope.cancelled_caught:
                yield comment("still here")

    def _attempt(self, attempt_id: AttemptId) -> Attempt:
        return attempt_of(self._found, attempt_id)

    def _is_over(self, attempt_id: AttemptId, quiet_s: float) -> bool:
        """Whether nothing more comes of this attempt, everything here having been told."""
        attempt = self._attempt(attempt_id)
        if self._rank >= len(attempt.members):
            return True
        member = attempt.members[self._rank]
        if member.state is not AttemptState.ENDED:
            return False
        if member.facts is None:
            return True  # Nobody knows how much there was.
        hive = self._services.hive
        if all(view.complete for view in hive.logs.streams(attempt, rank=self._rank)):
            return True
        # Its node knows of more than it sent, and is gone.
        return quiet_s > PATIENCE_S and not hive.sessions.is_connected(member.node_id)


class _Gaps:
    """What is missing of one attempt's output, each told once when its place is reached."""

    def __init__(self, logs: LogStore, attempt_id: AttemptId, offsets: Offsets, rank: int) -> None:
        self._logs = logs
        self._rank = rank
        self._attempt_id = attempt_id
        self._begun_at = offsets
        self._told: set[tuple[int, int]] = set()

    def news(self, offsets: Offsets) -> list[bytes]:
        """Events for what was reached by now and not told before."""
        events = []
        for number, offset in enumerate(offsets):
            for gap in self._logs.gaps(self._attempt_id, number, rank=self._rank):
                key = number, gap.start
                is_ahead = gap.end > offset
                if key in self._told or is_ahead or gap.end < self._begun_at[number]:
                    continue
                if gap.start < gap.end == self._begun_at[number]:
                    continue  # The reader began behind it.
                self._told.add(key)
                event = LogEvent(
                    attempt=self._attempt_id,
                    rank=self._rank,
                    stream=STREAM_NAMES[number],
                    offset=gap.end,
                    time_ms=0,
                    data="",
                    gap=gap,
                )
                events.append(event_bytes("log", event))
        return events
