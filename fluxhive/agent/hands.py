"""Carries out what a node's executor decides: one step is events in, one commit, effects out.

The executor decides, the hands do. Everything of a step is journalled in one transaction before
anything else of it happens. What starts or ends a process follows at once; what the server will
rely on follows when the transaction is safe from a power cut (flushing.py). Used by the runner,
with a journal and a server to tell, and by ``LocalHive``, with neither. All methods belong to the
loop's thread; what may wait for a disk (flushes, run directories) runs in worker threads.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import anyio
import anyio.abc
import anyio.to_thread

from fluxhive.core.effects import (
    Discard,
    KillTree,
    NodeAttempt,
    NodeEffect,
    PrepareWorkspace,
    SaveHeld,
    Say,
    Signal,
    Spawn,
    WriteContact,
)
from fluxhive.core.events import (
    DiskChanged,
    NodeEvent,
    TimePassed,
)
from fluxhive.core.executor import Executor
from fluxhive.core.node import HeldPhase
from fluxhive.core.reports import AttemptStarted, Report
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import Launch

from .bell import Bell
from .flushing import Batch, Flusher
from .journal import Entry, JournalUnavailable
from .ports import JournalPort, Out, Processes, Rooms
from .preparation import Preparation
from .step_parts import StepParts

log = logging.getLogger(__name__)

T = TypeVar("T")

#: A transaction that failed is tried again this much later.
COMMIT_AGAIN_S = 1.0
#: What nobody waits for (that a process started, that an attempt is forgotten) waits this long
#: for company: most of it then shares a transaction and a frame with what comes next.
LAZY_S = 0.02
#: Run directories are removed in batches, this long after the first of a batch.
DISCARD_S = 0.2
#: The journal names them for so much longer: a power cut brings back what a disk had not removed
#: for good (ext4 and XFS write such changes within 30 s), and the next agent must know it again.
NAMED_MS = 60_000


class Hands:
    """The loop around one executor."""

    def __init__(
        self,
        executor: Executor,
        *,
        rooms: Rooms,
        processes: Processes,
        out: Out,
        clock: Callable[[], int],
        journal: JournalPort | None = None,
    ) -> None:
        self.executor = executor
        self._rooms = rooms
        self._processes = processes
        self._out = out
        self._clock = clock
        self._journal = journal
        #: What each attempt is, as it was saved last.
        self.attempts: dict[AttemptId, NodeAttempt] = {
            attempt.dispatch.attempt_id: attempt for attempt in executor.snapshot()
        }
        #: Called after the step that took a batch of events is stored, with what came with it.
        self.on_committed: Callable[[object], None] = lambda mark: None
        self._launches: dict[AttemptId, Launch] = {}
        self._inbox: list[NodeEvent] = []
        self._mark: object = None
        self._bell = Bell()
        #: Effects that wait for company, or for a journal that can be written again.
        self._waiting: list[NodeEffect] = []
        self._lazy_at_ms: int | None = None
        #: Why the journal takes nothing; empty: it does.
        self.disk_problem = ""
        self._room_problem = ""
        self._ended = anyio.Event()
        self._discarded: list[AttemptId] = []
        #: From when on the journal need not name so many any more; which could not be removed.
        self._removed: deque[tuple[int, int, Sequence[AttemptId]]] = deque()
        self._has_discarded = anyio.Event()
        self._group: anyio.abc.TaskGroup | None = None
        self._flush_problem = ""
        self._flusher = Flusher(rooms, journal, put=self.put, carry_out=self._follow_up)
        self._flusher.on_flushed = self._flushed
        self._room_threads = anyio.CapacityLimiter(4)
        self._preparation = Preparation(rooms, self.attempts, self.put, self._room_threads)

    def put(self, *events: NodeEvent, mark: object = None) -> None:
        """Hands events in; ``mark`` comes back by ``on_committed`` once they are stored."""
        self._inbox += events
        if mark is not None:
            self._mark = mark
        self._bell.ring()

    def note_room(self, problem: str) -> None:
        """Why nothing new may be started although the journal can be written; empty: it may."""
        self._room_problem = problem
        self.put(DiskChanged(problem=self._journal_said() or problem))

    def launch(self, attempt_id: AttemptId, launch: Launch) -> None:
        """What to start, for the dispatch that is handed in next."""
        self._launches[attempt_id] = launch

    def note_removed(self, n_attempts: int, still_there: Sequence[AttemptId]) -> None:
        """Run directories of so many forgotten attempts were removed, but for these: told to the
        journal with what comes, and tried again."""
        if self._journal is not None and n_attempts:
            self._removed.append((self._clock() + NAMED_MS, n_attempts, still_there))

    async def run(self) -> None:
        """Takes steps until cancelled."""
        async with anyio.create_task_group() as self._group:
            self._group.start_soon(self._discard, name="discard")
            self._group.start_soon(self._flusher.run, name="flush")
            while True:
                await self._wait()
                await self._flusher.free()
                self._step()

    def close(self) -> None:
        """After ``run``: waits for the flush under way."""
        self._flusher.close()

    async def all_ended(self) -> None:
        """Returns when no attempt of this node has a process any more."""
        while self.executor.attempts():
            self._ended = anyio.Event()
            await self._ended.wait()

    async def _wait(self) -> None:
        if self._inbox:
            return
        due = [at for at in (self.executor.next_wakeup(), self._lazy_at_ms) if at is not None]
        await self._bell.wait((min(due) - self._clock()) / 1000 if due else None)

    def _step(self) -> None:
        events, self._inbox = self._inbox, []
        effects: list[NodeEffect] = []
        now_ms = self._clock()
        for event in events:
            effects += self.executor.handle(event, now_ms)
        due_ms = self.executor.next_wakeup()
        if due_ms is not None and due_ms <= now_ms:
            effects += self.executor.handle(TimePassed(), now_ms)
        if self._launches:
            self._drop_unused_launches(effects)
        is_due = self._lazy_at_ms is not None and self._lazy_at_ms <= now_ms
        if not is_due and all(_is_lazy(effect) for effect in effects):
            if effects or self._waiting or self._mark is not None:
                self._waiting += effects
                self._lazy_at_ms = self._lazy_at_ms or now_ms + round(LAZY_S * 1000)
            return
        effects = self._waiting + effects
        mark, self._mark = self._mark, None
        self._waiting, self._lazy_at_ms = [], None
        step = StepParts(effects)
        self.attempts.update(step.held)
        entry = self._entry(step)
        problem = self._append(entry)
        self._say_disk(problem)
        if not problem:
            must_flush = entry is not None and entry.durable
            # What starts was accepted, and that flushed, before its workspace was made.
            self._carry_out(step.now, {})
            quick = self._quick(step.prepared)
            self._flusher.add(Batch(step.contact_at_ms, must_flush, quick, step.later, mark))
            self._ended.set()
        else:
            # Told nothing, started nothing; but what must end can be ended without a journal.
            self._carry_out([e for e in step.now if not isinstance(e, Spawn)], {})
            self._flusher.add(Batch(step.contact_at_ms, False, (), (), None))
            done_already = Signal | KillTree | WriteContact
            self._waiting = [e for e in effects if not isinstance(e, done_already)]
            self._lazy_at_ms = self._clock() + round(COMMIT_AGAIN_S * 1000)
            self._mark = mark if self._mark is None else self._mark

    def _quick(self, attempt_ids: Iterable[AttemptId]) -> list[tuple[NodeAttempt, Launch]]:
        """Workspaces that are made along with the transaction, in the same worker thread."""
        quick: list[tuple[NodeAttempt, Launch]] = []
        for attempt_id in attempt_ids:
            launch, attempt = self._launches.get(attempt_id), self.attempts[attempt_id]
            # For a cap it is looked at what the task's interpreter has installed.
            has_cap = attempt.dispatch.gpu_cap_mib is not None
            if launch is not None and not has_cap and self._rooms.is_quick(launch):
                quick.append((attempt, launch))
        return quick

    # ── journal ───────────────────────────────────────────────────────────────────────────────

    def _entry(self, step: StepParts) -> Entry | None:
        """What of a step belongs into the journal; None: nothing."""
        if self._journal is None or not (step.held or step.dropped or step.reports):
            return None
        n_removed, still_there = self._nameless()
        return Entry(
            held=step.held,
            dropped=[*still_there, *step.dropped],
            n_removed=n_removed,
            said=self._out.number(step.reports),
            acknowledged=self._out.acknowledged(),
            # What the server will rely on has to survive a power cut; the rest is on the disk
            # with the next one that does.
            durable=not all(isinstance(report, AttemptStarted) for report in step.reports),
        )

    def _nameless(self) -> tuple[int, list[AttemptId]]:
        """How many were removed long enough ago, and which of them are there all the same."""
        now_ms, n_removed = self._clock(), 0
        still_there: list[AttemptId] = []
        for at_ms, n_attempts, kept in self._removed:
            if at_ms > now_ms:
                break
            n_removed += n_attempts
            still_there += kept
        return n_removed, still_there

    def _named(self, entry: Entry) -> None:
        """The entry is written, with what ``_nameless`` gave."""
        n_removed = entry.n_removed
        while n_removed > 0:
            _, n_attempts, still_there = self._removed.popleft()
            n_removed -= n_attempts
            self._remove(still_there)

    def _append(self, entry: Entry | None) -> str:
        """Writes to the page cache; why that could not be done, or empty."""
        if entry is None or self._journal is None:
            return ""
        try:
            self._journal.append(entry)
        except JournalUnavailable as error:
            return str(error)
        self._named(entry)
        self._out.keep(entry.said)
        return ""

    def _follow_up(
        self, effects: Sequence[NodeEffect], prepared: Mapping[AttemptId, Launch], mark: object
    ) -> None:
        """The rest of a step, once its turn has come."""
        self._carry_out(effects, prepared)
        self.on_committed(mark)

    def _flushed(self, problem: str) -> None:
        if problem != self._flush_problem:
            self._flush_problem = problem
            self._say_disk(problem)

    def _say_disk(self, problem: str) -> None:
        problem = problem or self._flush_problem
        if bool(problem) != bool(self.disk_problem):
            if problem:
                log.error("journal cannot be written", extra={"reason": problem})
            else:
                log.info("journal can be written again")
            self.disk_problem = problem
            self.put(DiskChanged(problem=self._journal_said() or self._room_problem))
        self.disk_problem = problem

    def _journal_said(self) -> str:
        problem = self.disk_problem
        return f"the agent's journal cannot be written: {problem}" if problem else ""

    # ── effects ───────────────────────────────────────────────────────────────────────────────

    def _carry_out(
        self, effects: Iterable[NodeEffect], prepared: Mapping[AttemptId, Launch]
    ) -> None:
        prepare: list[tuple[NodeAttempt, Launch | None]] = []
        spawn: list[AttemptId] = []
        reports: list[Report] = []
        discard: list[AttemptId] = []
        for effect in effects:
            match effect:
                case Say():
                    reports.append(effect.report)
                case PrepareWorkspace():
                    if effect.attempt_id not in prepared:
                        launch = self._launches.get(effect.attempt_id)
                        prepare.append((self.attempts[effect.attempt_id], launch))
                case Spawn():
                    spawn.append(effect.attempt_id)
                case Discard():
                    discard.append(effect.attempt_id)
                case Signal():
                    self._processes.stop(self.attempts[effect.attempt_id], effect.cause)
                case KillTree():
                    self._processes.kill(self.attempts[effect.attempt_id])
                case SaveHeld() | WriteContact():
                    pass  # done by the commit
        if spawn:
            self._processes.start(spawn)
        if reports:
            self._out.send(reports)
        if prepare:
            assert self._group is not None
            self._preparation.start(self._group, prepare)
        if discard:
            for attempt_id in discard:
                self.attempts.pop(attempt_id, None)
                self._launches.pop(attempt_id, None)
                self._processes.forget(attempt_id)
            self._remove(discard)

    def _remove(self, attempt_ids: Sequence[AttemptId]) -> None:
        if attempt_ids:
            self._discarded += attempt_ids
            self._has_discarded.set()

    async def _discard(self) -> None:
        """Removes run directories, many at a time: nobody waits for it."""
        while True:
            await self._has_discarded.wait()
            await anyio.sleep(DISCARD_S)
            batch, self._discarded = self._discarded, []
            self._has_discarded = anyio.Event()
            still_there = await anyio.to_thread.run_sync(
                self._rooms.discard, batch, limiter=self._room_threads, abandon_on_cancel=True
            )
            self.note_removed(len(batch), still_there)

    def _drop_unused_launches(self, effects: Iterable[NodeEffect]) -> None:
        """A dispatch that was refused or repeated needs no launch."""
        wanted = {e.attempt_id for e in effects if isinstance(e, PrepareWorkspace)}
        self._launches = {k: v for k, v in self._launches.items() if k in wanted}


def _is_lazy(effect: NodeEffect) -> bool:
    """Whether nobody waits for it."""
    if isinstance(effect, SaveHeld):
        return effect.held.phase is HeldPhase.RUNNING
    return isinstance(effect, Discard) or (
        isinstance(effect, Say) and isinstance(effect.report, AttemptStarted)
    )
