"""Has workspaces made in worker threads: quick ones together, those that are fetched for alone.

A part of the hands; what it puts are ``WorkspaceReady`` and ``WorkspaceFailed``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread

from fluxhive.core.effects import NodeAttempt
from fluxhive.core.events import NodeEvent, WorkspaceFailed
from fluxhive.core.node import HeldPhase
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import Launch

from .ports import Rooms

#: A workspace that is not ready after this time never will be (a dead network file system) …
PREPARE_S = 30.0
#: … where nothing has to be fetched first: code may be large and the line slow.
FETCH_S = 3600.0
#: Workspaces that are fetched for at the same time; none waits behind another's.
FETCHES = 8

Work = tuple[NodeAttempt, Launch | None]


class Preparation:
    """See the module's docstring. Belongs to the loop's thread."""

    def __init__(
        self,
        rooms: Rooms,
        attempts: Mapping[AttemptId, NodeAttempt],
        put: Callable[[NodeEvent], None],
        threads: anyio.CapacityLimiter,
    ) -> None:
        """``attempts``: what each attempt is, as it was saved last."""
        self._rooms = rooms
        self._attempts = attempts
        self._put = put
        self._threads = threads
        self._fetch_threads = anyio.CapacityLimiter(FETCHES)

    def start(self, group: anyio.abc.TaskGroup, work: Sequence[Work]) -> None:
        """Begins with these."""
        slow = [each for each in work if self._rooms.is_slow(each[1])]
        for each in slow:
            group.start_soon(self._prepare_slowly, *each)
        if len(slow) < len(work):
            group.start_soon(self._prepare, [each for each in work if each not in slow])

    async def _prepare(self, work: list[Work]) -> None:
        done: list[NodeEvent] = []
        with anyio.move_on_after(PREPARE_S):
            await anyio.to_thread.run_sync(
                partial(_prepare_all, self._rooms, work, done),
                abandon_on_cancel=True,
                limiter=self._threads,
            )
        answers = list(done)
        for answer in answers:
            self._put(answer)
        detail = f"the workspace was not ready after {PREPARE_S:.0f} s: the disk does not answer"
        for attempt, _ in work[len(answers) :]:
            self._put(_late(attempt, detail))

    async def _prepare_slowly(self, attempt: NodeAttempt, launch: Launch | None) -> None:
        """One alone, which is given up as soon as its attempt is stopped."""
        answer: NodeEvent | None = None
        with anyio.move_on_after(FETCH_S):
            answer = await anyio.to_thread.run_sync(
                self._rooms.prepare,
                attempt,
                launch,
                partial(self._is_wanted, attempt.dispatch.attempt_id),
                abandon_on_cancel=True,
                limiter=self._fetch_threads,
            )
        late = f"its code did not come within {FETCH_S / 60:.0f} min"
        self._put(_late(attempt, late) if answer is None else answer)

    def _is_wanted(self, attempt_id: AttemptId) -> bool:
        """Asked by worker threads, between two pieces."""
        attempt = self._attempts.get(attempt_id)
        return (
            attempt is not None
            and attempt.phase is HeldPhase.PREPARING
            and attempt.stop_cause is None
        )


def _late(attempt: NodeAttempt, detail: str) -> WorkspaceFailed:
    return WorkspaceFailed(attempt_id=attempt.dispatch.attempt_id, detail=detail, elsewhere=True)


def _prepare_all(rooms: Rooms, work: list[Work], done: list[NodeEvent]) -> None:
    for attempt, launch in work:
        done.append(rooms.prepare(attempt, launch))
