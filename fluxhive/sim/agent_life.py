"""One life of an agent: the real executor and the real link between a played disk and line.

Follows agent/hands.py (one step is events in, one commit, effects out), agent/shims.py (what is
found of an earlier life) and agent/connection.py (dial, hello, heartbeats, dial again). The life
can end between any two of its actions, and the commit of a step may or may not have been done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

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
    ProcessExited,
    ProcessStarted,
    ReadingTaken,
    TimePassed,
    WorkspaceFailed,
    WorkspaceReady,
)
from fluxhive.core.executor import Executor
from fluxhive.core.executor_table import Stand, stand_of
from fluxhive.core.node import HeldPhase
from fluxhive.core.outcome import ExitFacts, StopCause
from fluxhive.core.reports import AttemptStarted
from fluxhive.core.values import AttemptId, Ms
from fluxhive.protocol.wire import encode_message

from .agent_line import AgentLine
from .runs import Run

if TYPE_CHECKING:
    from .node_world import SimNode

COMMIT_AGAIN_MS = 1_000
NEVER_STARTED = ExitFacts(exec_error="ECANCELED", launch_detail="the agent ended before")
#: Whether an agent without a journal looks into the run directories.
FINDS_RUNS = True
#: Whether it looks for the last dispatched first.
LAST_FIRST = True
Mark = tuple[int, int]


class AgentLife:
    """From the start of the agent to its end."""

    def __init__(self, node: SimNode, incarnation: int) -> None:
        self.node = node
        self.world = node.world
        self.agenda = node.agenda
        self.chance = node.chance
        if any(run.shim_lives and name not in node.journal.held for name, run in node.runs.items()):
            # What runs is not in it: it was begun anew and could not be written (agent/runner.py).
            self.world.sometimes("a journal did not know what ran", not node.journal_was_lost)
            node.lose_journal(keeps=True)
        held = dict(node.journal.held)
        #: As the real one: said in every hello of this life.
        self.was_absent, node.journal_was_lost = node.journal_was_lost, False
        if self.was_absent and FINDS_RUNS:
            for attempt_id, run in node.runs.items():
                if attempt_id not in held:
                    held[attempt_id] = NodeAttempt(dispatch=run.dispatch, phase=HeldPhase.LAUNCHING)
                    self.world.sometimes("an attempt was found again by its run directory")
            node.journal.append(held, [], [], 0)
            node.journal.flush()
        self.executor = Executor.restore(held.values(), node_id=node.id)
        self.line = AgentLine(self, incarnation)
        self._held = held
        self._inbox: list[NodeEvent] = []
        self._mark: Mark | None = None
        self._waiting: list[NodeEffect] = []
        #: Steps that are written and wait for a flush.
        self._unflushed: list[tuple[_Commit, list[NodeEffect], Mark | None]] = []
        self._is_stepping = False
        self._wakeup_ms: Ms | None = None
        self.disk_problem = ""
        #: As its executor has it; for who watches.
        self.session: int | None = None
        self.is_over = False

    def begin(self) -> None:
        """Takes up what the journal names, reads the GPUs, dials."""
        node = self.node
        for attempt_id in list(node.runs):
            if attempt_id not in self._held and not node.runs[attempt_id].is_alive:
                del node.runs[attempt_id]
        # The last dispatched first: who waits for a turn is looked for before it may get one.
        held = sorted(self._held.items(), key=lambda item: item[1].dispatch.channel)
        held = held[::-1] if LAST_FIRST else held
        for delay_ms, (attempt_id, attempt) in enumerate(held, 1):
            if attempt.phase is not HeldPhase.EXITED:
                self.world.sometimes("an attempt was taken up by a new agent")
                waits = stand_of(attempt) is Stand.WAITING
                self.world.sometimes("a new agent found what had waited for its turn", waits)
                self.agenda.after(delay_ms, node.awake, self, self._settle, attempt_id)
        self.read_gpus()
        self._soon(10, self.line.dial)

    def die(self) -> None:
        """Killed: nothing of this life happens any more."""
        self.is_over = True
        self.line.hang_up()

    # ── events ────────────────────────────────────────────────────────────────────────────────

    def put(self, *events: NodeEvent, mark: Mark | None = None) -> None:
        """Hands events in; what came with them is acknowledged once they are stored."""
        self._inbox += events
        self._mark = mark if mark is not None else self._mark
        self._go_on()

    def read_gpus(self) -> None:
        """One look at the GPUs."""
        reports = self.node.gpu_reports()
        self.line.gpus = reports
        if reports:
            self.put(ReadingTaken(gpus=reports))

    def note_start(self, run: Run) -> None:
        """A shim says that its program runs."""
        self.put(
            ProcessStarted(
                attempt_id=run.dispatch.attempt_id,
                pid=run.pid,
                started_at_ms=run.started_at_boot_ms,
            )
        )

    def note_end(self, run: Run) -> None:
        """A shim has written its record, or has died."""
        attempt_id = run.dispatch.attempt_id
        rebooted = run.boot != self.node.boot
        n_printed = run.n_printed()
        if run.facts is not None:
            facts = replace(run.facts, stdout_bytes=n_printed)
            self.put(ProcessExited(attempt_id=attempt_id, facts=facts))
        else:
            self.world.sometimes("an attempt lost its supervisor", not rebooted)
            self.put(
                ProcessExited(
                    attempt_id=attempt_id,
                    facts=ExitFacts(stdout_bytes=n_printed),
                    supervisor_lost=not rebooted,
                    rebooted=rebooted,
                )
            )

    def _settle(self, attempt_id: AttemptId) -> None:
        """Finds out from the run directory how an attempt stands, and says so."""
        run = self.node.runs.get(attempt_id)
        if run is None or run.claim("agent"):
            self.put(ProcessExited(attempt_id=attempt_id, facts=NEVER_STARTED))
        elif run.shim_lives:
            self.note_start(run)
        else:
            self.note_end(run)

    # ── one step ──────────────────────────────────────────────────────────────────────────────

    def _soon(self, most_ms: Ms, action: Callable[..., None], *arguments: object) -> None:
        delay_ms = self.chance.randrange(1, most_ms + 1)
        self.agenda.after(delay_ms, self.node.awake, self, action, *arguments)

    def _go_on(self) -> None:
        if not self._is_stepping:
            self._is_stepping = True
            self._soon(3, self._step)

    def _step(self) -> None:
        events, self._inbox = self._inbox, []
        mark, self._mark = self._mark, None
        now_ms = self.node.boot_ms()
        effects: list[NodeEffect] = []
        for event in events:
            self.world.notes_node_event(self, event)
            decided = self.executor.handle(event, now_ms)
            self.world.note_decision(self, decided)
            effects += decided
        due_ms = self.executor.next_wakeup()
        if due_ms is not None and due_ms <= now_ms:
            effects += self.executor.handle(TimePassed(), now_ms)
        effects = [*self._waiting, *effects]
        self._waiting = []
        self._is_stepping = False
        commit = self._commit_of(effects)
        if commit.is_needed and self.node.disk_is_full:
            self._step_later(effects, mark)
            return
        self._say_disk("")
        commit.append()
        # What starts or ends a process does not wait for the flush.
        self._carry_out([e for e in effects if isinstance(e, Spawn | Signal | KillTree)])
        rest: list[NodeEffect] = [
            e for e in effects if not isinstance(e, Spawn | Signal | KillTree)
        ]
        self._unflushed.append((commit, rest, mark))
        if len(self._unflushed) == 1:
            self._soon(2_000 if self.node.is_slow else 6, self._flush)
        if self._inbox or self._mark is not None:
            self._go_on()
        self._watch_time()

    def _step_later(self, effects: list[NodeEffect], mark: Mark | None) -> None:
        self.world.sometimes("a step waited for a full disk")
        self._say_disk("no space left")
        # What must end can be ended without a journal; the rest waits.
        self._carry_out([e for e in effects if isinstance(e, Signal | KillTree)])
        done = Signal | KillTree | WriteContact
        self._waiting = [e for e in effects if not isinstance(e, done)]
        self._mark = mark if self._mark is None else self._mark
        self._is_stepping = True
        self._soon(COMMIT_AGAIN_MS, self._step)

    def _flush(self) -> None:
        """All that was written so far is safe from a power cut, too: now it may be told."""
        steps, self._unflushed = self._unflushed, []
        if any(commit.durable for commit, _, _ in steps):
            self.node.journal.flush()
        for commit, effects, mark in steps:
            for _, body in commit.said:
                self.line.link.send_encoded(body)
            self._carry_out(effects)
            if mark is not None:
                self.line.committed(*mark)
        self.line.flush()

    def _commit_of(self, effects: list[NodeEffect]) -> _Commit:
        commit = _Commit(self)
        bodies: list[bytes] = []
        for effect in effects:
            if isinstance(effect, SaveHeld):
                commit.held[effect.held.dispatch.attempt_id] = effect.held
            elif isinstance(effect, Discard):
                commit.dropped.append(effect.attempt_id)
                commit.held.pop(effect.attempt_id, None)
            elif isinstance(effect, Say):
                bodies.append(encode_message(effect.report))
                commit.durable |= not isinstance(effect.report, AttemptStarted)
            elif isinstance(effect, WriteContact):
                self.node.contact_file_ms = effect.contact_at_ms
        link = self.line.link
        n_unsent = sum(len(earlier.said) for earlier, _, _ in self._unflushed)
        commit.said = list(enumerate(bodies, link.last_n + n_unsent + 1))
        commit.acknowledged = link.acknowledged
        return commit

    def _say_disk(self, problem: str) -> None:
        if problem != self.disk_problem:
            self.disk_problem = problem
            self._inbox.append(DiskChanged(problem=problem))

    def _watch_time(self) -> None:
        due_ms = self.executor.next_wakeup()
        if due_ms is not None and (self._wakeup_ms is None or due_ms < self._wakeup_ms):
            self._wakeup_ms = due_ms
            self.node.at_boot(due_ms, self.node.awake, self, self._wake, due_ms)

    def _wake(self, due_ms: Ms) -> None:
        if self._wakeup_ms == due_ms:
            self._wakeup_ms = None
            self._go_on()

    # ── effects ───────────────────────────────────────────────────────────────────────────────

    def _carry_out(self, effects: list[NodeEffect]) -> None:
        for effect in effects:
            match effect:
                case PrepareWorkspace():
                    self._soon(300, self._prepare, effect.attempt_id)
                case Spawn():
                    self._spawn(effect.attempt_id)
                case Signal():
                    self._reach(effect.attempt_id, kill=False)
                case KillTree():
                    self._reach(effect.attempt_id, kill=True)
                case Discard():
                    self.node.runs.pop(effect.attempt_id, None)
                case SaveHeld() | Say() | WriteContact():
                    pass  # done by the commit

    def _prepare(self, attempt_id: AttemptId) -> None:
        attempt = self.executor.attempt(attempt_id)
        if attempt is None:
            return
        if self.chance.random() < 0.01:
            failed = WorkspaceFailed(attempt_id=attempt_id, detail="missing", elsewhere=True)
            self.put(failed)
            return
        self.node.runs[attempt_id] = Run(self.node, attempt.dispatch)
        self.put(WorkspaceReady(attempt_id=attempt_id))

    def _spawn(self, attempt_id: AttemptId) -> None:
        self.world.note_spawn(self.node, attempt_id)
        run = self.node.runs[attempt_id]
        delay_ms = self.chance.randrange(1, 1_000 if self.node.is_slow else 20)
        if self.chance.random() < 0.5:
            # The launcher has it, whatever becomes of the agent.
            self.node.after(delay_ms, run.start)
        else:
            self.agenda.after(delay_ms, self.node.awake, self, run.start)

    def _reach(self, attempt_id: AttemptId, *, kill: bool) -> None:
        run = self.node.runs.get(attempt_id)
        if run is None or not run.shim_lives:
            self._soon(20, self._settle_if_open, attempt_id)
        elif kill:
            run.kill()
        else:
            # All that a shim knows is that it was asked.
            run.stop(StopCause.CANCEL)

    def _settle_if_open(self, attempt_id: AttemptId) -> None:
        attempt = self.executor.attempt(attempt_id)
        if attempt is not None and attempt.phase is not HeldPhase.EXITED:
            self._settle(attempt_id)


class _Commit:
    """What one step changes in the journal."""

    def __init__(self, life: AgentLife) -> None:
        self._journal = life.node.journal
        self.held: dict[AttemptId, NodeAttempt] = {}
        self.dropped: list[AttemptId] = []
        self.said: list[tuple[int, bytes]] = []
        self.acknowledged = 0
        self.durable = False

    @property
    def is_needed(self) -> bool:
        """Whether anything has to be written."""
        return bool(self.held or self.dropped or self.said)

    def append(self) -> None:
        """Into the journal, as a whole."""
        if self.is_needed:
            self._journal.append(self.held, self.dropped, self.said, self.acknowledged)
