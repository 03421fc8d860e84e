"""Carries out what the core decides: one inbox, one owner, stored before anything is sent.

A step takes all that waits, hands it to the ``TaskManager``, stores all saves in one transaction,
and only then publishes, tells the nodes and answers the callers. Nobody else calls
``manager.handle``; everybody may read ``manager``'s views.

When the store fails, callers hear so, nothing is sent, and the core is rebuilt from the store once
that works again. When a law of the core breaks, the journal is kept, the core is rebuilt and the
event is tried once more; if it breaks again it is put into quarantine and the hive goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import sqlalchemy as sa
from msgspec.structs import replace

from fluxhive.core.effects import (
    HIVE_SAVES,
    Dispatch,
    Forget,
    HiveEffect,
    Publish,
    Stop,
    TurnAway,
    Welcome,
)
from fluxhive.core.errors import InternalError, QuotaExceeded
from fluxhive.core.events import HiveEvent, TimePassed
from fluxhive.core.hive_settings import DEFAULT_SETTINGS, HiveSettings
from fluxhive.core.task import Task, TaskSpec
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import TaskId

from .advice import Advice
from .brain_journal import BrainJournal
from .clock import HiveClock
from .heartbeats import Heartbeats
from .quarantine import TIME, Quarantine, event_key, set_aside
from .store.failures import StoreUnavailable
from .store.queries import Loaded
from .store.store import Extra, Store
from .submissions import NewTasks, Submission, Submissions, store_submission
from .waiting_quota import check_waiting

log = logging.getLogger(__name__)

#: Most entries that wait; more are turned away.
INBOX_MAX = 50_000
#: A step hands events to the core for so long, then commits: heartbeats must get their turn.
SLICE_S = 0.010
#: Journal lines that wait for a step that stores something anyway.
JOURNAL_LINES_MAX = 200
#: How often a store that failed is tried.
STORE_RETRY_S = 1.0
#: Pause before the next step after time itself broke a law.
BROKEN_TIME_S = 1.0

NodeEffect = Welcome | TurnAway | Dispatch | Stop | Forget
Done = Callable[[Exception | None], None]


class _Entry:
    """Events that are stored together, and who waits for it."""

    __slots__ = ("done", "events", "extra")

    def __init__(
        self, events: Sequence[HiveEvent], done: Done | None = None, extra: Extra | None = None
    ) -> None:
        self.events = events
        self.done = done
        self.extra = extra

    def answer(self, error: Exception | None) -> None:
        """Tells whoever waits."""
        if self.done is not None:
            self.done(error)


class Brain:
    """See the module's docstring. ``take_up`` first, then ``run`` while the server lives."""

    def __init__(
        self,
        store: Store,
        clock: HiveClock,
        journal: BrainJournal,
        *,
        settings: HiveSettings = DEFAULT_SETTINGS,
    ) -> None:
        self.settings = settings
        self.manager = TaskManager(settings=settings)
        self._store = store
        self._clock = clock
        self._journal = journal
        self._inbox: deque[_Entry] = deque()
        self._news = asyncio.Event()
        #: Those without news; the others are posted.
        self.heartbeats = Heartbeats(lambda: self.manager, self._news.set)
        self._next_number = 0
        #: Submissions on their way to the hive, by their first task.
        self._coming: dict[TaskId, NewTasks] = {}
        self._store_problem: StoreUnavailable | None = None
        self._submissions = Submissions(store)
        self._quarantine = Quarantine()
        #: What is said and decides nothing; outlooks are asked for here.
        self.advice = Advice()
        self._not_before_s = 0.0
        self._publish_to: list[Callable[[list[Publish]], None]] = []
        #: Carries out what goes to nodes; set by Sessions. Must not block or raise.
        self.deliver: Callable[[list[NodeEffect]], None] = lambda _effects: None
        #: Called when the core was rebuilt: every node must say hello again.
        self.on_rebuilt: Callable[[str], None] = lambda _reason: None

    def on_publish(self, callback: Callable[[list[Publish]], None]) -> None:
        """Calls back with the changes of each step, after they are stored. Must not block."""
        self._publish_to.append(callback)

    @property
    def problem(self) -> str:
        """Why nothing new is accepted; empty when it is."""
        return self._store_problem.problem if self._store_problem is not None else ""

    # ── the way in ────────────────────────────────────────────────────────────────────────────

    def post(
        self, events: Sequence[HiveEvent], done: Done | None = None, extra: Extra | None = None
    ) -> None:
        """Puts events in; ``done`` is called after the commit, with the error if there is one."""
        entry = _Entry(events, done, extra)
        if self._store_problem is not None:
            entry.answer(self._store_problem)
        elif len(self._inbox) >= INBOX_MAX:
            entry.answer(StoreUnavailable("too much waits to be stored"))
        else:
            self._inbox.append(entry)
            self._news.set()

    async def handle(self, *events: HiveEvent, extra: Extra | None = None) -> None:
        """Puts events in and returns once they and ``extra`` are stored and carried out.

        Raises ``StoreUnavailable``; ``InternalError`` when the events had to be put aside.
        """
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if waiting.done():
                return
            if error is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(error)

        self.post(events, done, extra)
        await waiting

    async def submit(
        self,
        specs: Sequence[TaskSpec],
        owner: str,
        idempotency_key: str | None = None,
        body_hash: str = "",
        *,
        held_by: str | None = None,
        settled: Collection[TaskId] = (),
    ) -> list[Task]:
        """New tasks, stored: all of them or none. A known key gives the tasks it got before.

        The specs must have been checked; ``settled`` names the tasks they come after that have
        ended as wanted. Raises ``Conflict`` for a key with another body.
        """
        wanted = Submission(owner=owner, key=idempotency_key or "", body_hash=body_hash)
        new = NewTasks(specs=specs, owner=owner, held_by=held_by, settled=settled)
        if idempotency_key is None:
            return await self._submit_new(new, None)
        return await self._submissions.once(wanted, lambda: self._submit_new(new, wanted))

    async def submitted_before(self, submission: Submission) -> list[Task] | None:
        """What a key got before; None: it is new. Raises ``Conflict`` like ``submit``."""
        return await self._submissions.earlier(submission)

    def _submit_new(
        self, new: NewTasks, submission: Submission | None
    ) -> asyncio.Future[list[Task]]:
        promise: asyncio.Future[list[Task]] = asyncio.get_running_loop().create_future()
        try:
            check_waiting(self.manager, self._coming, new)
        except QuotaExceeded as error:
            promise.set_exception(error)
            return promise
        events = new.events(self._next_number)
        self._next_number = new.next_number(self._next_number)
        ids = tuple(event.task_id for event in events)
        extra: Extra | None = None
        if submission is not None:
            full = replace(submission, task_ids=ids)
            extra = partial(store_submission, submission=full, now_ms=self._clock.now_ms())
        self._coming[ids[0]] = new

        def done(error: Exception | None) -> None:
            self._coming.pop(ids[0], None)
            if promise.done():
                return
            if error is not None:
                promise.set_exception(error)
            else:
                found = (self.manager.task(each) for each in ids)
                promise.set_result([task for task in found if task is not None])

        self.post(events, done, extra)
        return promise

    # ── the owner ─────────────────────────────────────────────────────────────────────────────

    async def load(self) -> None:
        """Takes the hive up as the store has it."""
        self.take_up(await self._store.load())

    def take_up(self, loaded: Loaded) -> None:
        """Goes on from this. Raises ``InternalError`` when a law does not hold in it."""
        self._next_number = max(self._next_number, loaded.next_number)
        now_ms = self._clock.now_ms()
        try:
            self.manager = TaskManager.restore(loaded.snapshot(), now_ms, settings=self.settings)
        except AssertionError as error:
            raise InternalError(
                f"what is stored breaks a law of the core: {error}",
                hint="keep the state directory and report this; start from a backup",
            ) from error

    async def run(self) -> None:
        """Works through the inbox and the timers until cancelled."""
        try:
            while True:
                await self._wait()
                await self._step()
        finally:
            self._journal.close()
            self._refuse_all(StoreUnavailable("the server is stopping"))

    async def _wait(self) -> None:
        """Until something waits or is due."""
        pause_s = self._not_before_s - time.monotonic()
        if pause_s > 0:
            await anyio.sleep(pause_s)
        self._news.clear()
        if self._inbox:
            return
        wakeup_ms = self.manager.next_wakeup()
        if wakeup_ms is None:
            await self._news.wait()
            return
        left_ms = wakeup_ms - self._clock.now_ms()
        if left_ms > 0:
            with anyio.move_on_after(left_ms / 1000):
                await self._news.wait()

    async def _step(self) -> None:
        taken: list[_Entry] = []
        effects: list[HiveEffect] = []
        broken: tuple[_Entry, Exception] | None = None
        self._inbox.extendleft(_Entry((heard,)) for heard in self.heartbeats.gathered())
        if not self._inbox:
            self._inbox.append(_Entry((TimePassed(),)))
        began_s = time.monotonic()
        while self._inbox and time.monotonic() - began_s < SLICE_S:
            entry = self._inbox.popleft()
            held = self._quarantine.holds(entry.events)
            if held is not None:
                log.warning("event in quarantine skipped", extra={"event": held})
                entry.answer(set_aside(held))
                continue
            try:
                effects += await self._think(entry)
            except Exception as error:  # the core's supervisor: a law broke, or worse
                broken = entry, error
                break
            taken.append(entry)
        if not await self._store_step(taken, effects):
            if broken is not None:
                broken[0].answer(self._store_problem)
            await self._recover_store()
            return
        self._carry_out(effects)
        for entry in taken:
            entry.answer(None)
        if broken is not None:
            await self._recover_core(*broken)

    async def _think(self, entry: _Entry) -> list[HiveEffect]:
        """What the core makes of an entry; a long one lets others run in between."""
        effects: list[HiveEffect] = []
        began_s = time.monotonic()
        for event in entry.events:
            now_ms = self._clock.now_ms()
            self._journal.note(event, now_ms)
            effects += self.manager.handle(event, now_ms)
            effects += self.advice.go_on(self.manager, event)
            if time.monotonic() - began_s > SLICE_S:
                await anyio.lowlevel.checkpoint()
                began_s = time.monotonic()
        return effects

    async def _store_step(self, taken: list[_Entry], effects: list[HiveEffect]) -> bool:
        """Commits a step; False when the store failed and its callers have heard so."""
        saves = [e for e in effects if isinstance(e, HIVE_SAVES)]
        extras = [entry.extra for entry in taken if entry.extra is not None]
        if not saves and not extras and self._journal.n_waiting < JOURNAL_LINES_MAX:
            return True
        lines = self._journal.take()

        def extra(connection: sa.Connection) -> None:
            self._journal.write(lines)
            for each in extras:
                each(connection)

        try:
            with anyio.CancelScope(shield=True):
                await self._store.apply(saves, extra, now_ms=self._clock.now_ms())
        except Exception as error:  # whatever it is, nothing of this step is stored
            if not isinstance(error, StoreUnavailable):
                log.exception("step not stored")
                error = StoreUnavailable(f"a write was refused: {error}")
            self._store_problem = error
            for entry in taken:
                entry.answer(error)
            return False
        return True

    def _carry_out(self, effects: list[HiveEffect]) -> None:
        published: list[Publish] = []
        to_nodes: list[NodeEffect] = []
        for effect in effects:
            if isinstance(effect, Publish):
                published.append(effect)
            elif not isinstance(effect, HIVE_SAVES):
                to_nodes.append(effect)
        try:
            if to_nodes:
                self.deliver(to_nodes)
            if published:
                for callback in self._publish_to:
                    callback(published)
        except Exception:  # supervisor: what listens must not stop the hive
            log.exception("effects not carried out", extra={"effects": len(effects)})

    # ── when it goes wrong ────────────────────────────────────────────────────────────────────

    async def _recover_store(self) -> None:
        """Refuses everything until the store works, then takes up what it holds."""
        assert self._store_problem is not None
        log.error("hive degraded", extra={"problem": self._store_problem.problem})
        while True:
            self._refuse_all(self._store_problem)
            try:
                await self._store.apply((), now_ms=self._clock.now_ms())
                await self.load()
                break
            except StoreUnavailable as error:
                self._store_problem = error
            await anyio.sleep(STORE_RETRY_S)
        self._store_problem = None
        log.info("hive works again")
        self.on_rebuilt("the server's store failed and works again")

    async def _recover_core(self, entry: _Entry, error: Exception) -> None:
        """Keeps the journal, rebuilds the core, tries once more, then quarantine."""
        key = event_key(entry.events)
        is_final = self._quarantine.note(key)
        story = f"{key}: {type(error).__name__}: {error}"
        kept = await anyio.to_thread.run_sync(self._journal.keep, story)
        log.error("a law of the core broke", exc_info=error, extra={"event": key, "journal": kept})
        if not is_final:
            self._inbox.appendleft(entry)
        try:
            await self.load()
        except StoreUnavailable as unavailable:
            self._store_problem = unavailable
            await self._recover_store()
        else:
            self.on_rebuilt("the server's core was rebuilt")
        if is_final:
            log.error("event put into quarantine", extra={"event": key})
            entry.answer(set_aside(key))
            if key == TIME:
                self._not_before_s = time.monotonic() + BROKEN_TIME_S

    def _refuse_all(self, error: StoreUnavailable) -> None:
        while self._inbox:
            self._inbox.popleft().answer(error)
