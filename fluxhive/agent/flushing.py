"""What may only happen once the journal is on the disk itself, in order: a part of the hands.

A step is written to the journal at once, which is safe from the end of this process; what the
server will rely on waits here until it is safe from a power cut, too. Steps go on meanwhile, and
all that waits shares one flush.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import anyio

from fluxhive.core.effects import NodeAttempt, NodeEffect
from fluxhive.core.events import NodeEvent
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import Launch

from .disk_thread import DiskThread
from .journal import JournalUnavailable
from .ports import JournalPort, Rooms

log = logging.getLogger(__name__)

#: A flush that failed is tried again this much later.
FLUSH_AGAIN_S = 1.0


class Batch(NamedTuple):
    """What follows a step, in this order."""

    #: Written for the shims first, also where nothing can be journalled; None: nothing is.
    contact_at_ms: int | None
    must_flush: bool
    #: Workspaces that are made in the same worker thread, after the flush.
    quick: Sequence[tuple[NodeAttempt, Launch]]
    #: Carried out at last, and what goes back to whoever handed the events in.
    effects: Sequence[NodeEffect]
    mark: object


class Flusher:
    """See the module's docstring. Belongs to the loop's thread."""

    def __init__(
        self,
        rooms: Rooms,
        journal: JournalPort | None,
        *,
        put: Callable[[NodeEvent], None],
        carry_out: Callable[[Sequence[NodeEffect], Mapping[AttemptId, Launch], object], None],
    ) -> None:
        self._rooms = rooms
        self._journal = journal
        self._put = put
        self._carry_out = carry_out
        #: Told why nothing can be flushed; empty: it can.
        self.on_flushed: Callable[[str], None] = lambda problem: None
        self._batches: deque[Batch] = deque()
        self._disk = DiskThread("journal")
        self._is_under_way = self._is_over = False
        self._broken: asyncio.Future[None] | None = None
        self._is_held = False
        self._freed = anyio.Event()

    def add(self, batch: Batch) -> None:
        """Carries a batch out: at once where it waits for nothing, else after those before it."""
        waits = batch.must_flush or batch.quick or batch.contact_at_ms is not None
        if waits or self._batches:
            self._batches.append(batch)
            if not self._is_under_way:
                self._begin()
        else:
            self._finish(batch)

    async def run(self) -> None:
        """Until cancelled; then nothing more is carried out. Raises what that raises."""
        # Nobody waits for each flush anew: its end is called back, which costs half as much.
        self._broken = asyncio.get_running_loop().create_future()
        try:
            await self._broken
        finally:
            self._is_over = True

    async def free(self) -> None:
        """Returns when the journal can be written without waiting for the disk."""
        while self._is_held:
            await self._freed.wait()

    def close(self) -> None:
        """After ``run``: waits for the flush under way."""
        self._disk.close()

    def _begin(self) -> None:
        self._is_under_way = True
        batches = list(self._batches)
        done: list[NodeEvent] = []
        must_flush = any(batch.must_flush for batch in batches)
        journal = self._journal if must_flush else None
        # Decided once: a step that is written from here on may make it time for a long one, and
        # goes on beside this one.
        is_long = journal is not None and journal.is_flush_long
        if is_long:
            self._is_held, self._freed = True, anyio.Event()
        flush = None if journal is None else partial(journal.flush, is_long=is_long)
        work = partial(self._work, batches, flush, done)
        self._disk.begin(work, partial(self._ended, batches, done, must_flush))

    def _ended(
        self,
        batches: Sequence[Batch],
        done: Sequence[NodeEvent],
        must_flush: bool,
        problem: str | None,
        error: BaseException | None,
    ) -> None:
        self._is_held = False
        self._freed.set()
        if self._is_over:
            return
        try:
            if error is not None:
                raise error
            self._follow_up(batches, done, must_flush, problem or "")
        except Exception as broken:  # supervisor: whoever awaits ``run`` gets it
            if self._broken is not None and not self._broken.done():
                self._broken.set_exception(broken)

    def _follow_up(
        self, batches: Sequence[Batch], done: Sequence[NodeEvent], must_flush: bool, problem: str
    ) -> None:
        for event in done:
            self._put(event)
        if must_flush:
            self.on_flushed(problem)
        if problem:
            asyncio.get_running_loop().call_later(FLUSH_AGAIN_S, self._begin_again)
            return
        for batch in batches:
            # Taken out one by one: what is added meanwhile comes after all of them.
            self._finish(batch)
            self._batches.popleft()
        self._is_under_way = False
        if self._batches:
            self._begin()

    def _begin_again(self) -> None:
        if not self._is_over:
            self._begin()

    def _work(
        self,
        batches: Sequence[Batch],
        flush: Callable[[], None] | None,
        done: list[NodeEvent],
    ) -> str:
        """Contact, flush, workspaces; why it could not be flushed, or empty. Blocks."""
        contacts = [each.contact_at_ms for each in batches if each.contact_at_ms is not None]
        if contacts:
            # Before anything that reads it starts.
            self._rooms.write_contact(max(contacts))
        try:
            if flush is not None:
                flush()
        except JournalUnavailable as error:
            return str(error)
        for batch in batches:
            for attempt, launch in batch.quick:
                done.append(self._rooms.prepare(attempt, launch))
        return ""

    def _finish(self, batch: Batch) -> None:
        prepared = {attempt.dispatch.attempt_id: launch for attempt, launch in batch.quick}
        self._carry_out(batch.effects, prepared, batch.mark)
