"""One node's attempts, from dispatch to verified end: the node's own machine.

Decides what is launched, signalled, killed, reported and forgotten here; the hands (agent) carry it
out. What follows what stands in executor_table.py, whether an attempt is taken on in admission.py,
its words in executor_words.py. Times are the node's boot clock, which runs on in a machine asleep.

Its laws (tests/properties/test_executor_machine.py): at most one ``Spawn`` for an attempt, ever; no
``Spawn`` after a stop; every accepted attempt ends in exactly one final word, which never changes;
a restored executor, once it has seen the same readings, behaves like the one it was made from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from msgspec.structs import replace

from . import executor_words as words
from .admission import problem_of
from .effects import (
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
from .events import (
    ContactRenewed,
    DiskChanged,
    DispatchReceived,
    ForgetReceived,
    NodeEvent,
    ProcessExited,
    ProcessStarted,
    ReadingTaken,
    SessionClosed,
    SessionOpened,
    StopReceived,
    TimePassed,
    WorkspaceFailed,
    WorkspaceReady,
)
from .executor_records import ExecutorRecords, NodeSettings, with_process
from .executor_table import OF_PROCESS, ON_HAPPENING, Happening, Move, cause_of, stand_of
from .gpu_trend import GpuTrend
from .judge import has_exited
from .node import HeldAttempt, HeldPhase
from .outcome import StopCause
from .reports import AttemptEnded, AttemptRefused, Report
from .values import AttemptId, GpuUuid, Ms, NodeId

if sys.version_info >= (3, 11):
    from typing import assert_never
else:
    from typing_extensions import assert_never


class Executor:
    """The machine. One per node; its four verbs are those of every machine of the core."""

    def __init__(
        self, *, node_id: NodeId | None = None, settings: NodeSettings | None = None
    ) -> None:
        """With ``node_id``, attempts that are reserved on another node are refused."""
        self._node_id = node_id
        self._settings = settings or NodeSettings()
        self._records = ExecutorRecords(memory_return_ms=self._settings.memory_return_ms)
        #: None: no connection, nothing that the server says counts.
        self._session: int | None = None
        self._stopped_in_session: dict[AttemptId, None] = {}
        self._contact_at_ms: Ms | None = None
        self._trend = GpuTrend()
        self._disk_problem = ""
        self._now_ms: Ms = 0
        self._saves: dict[AttemptId, SaveHeld] = {}
        self._effects: list[NodeEffect] = []

    @classmethod
    def restore(
        cls,
        held: Iterable[NodeAttempt],
        *,
        node_id: NodeId | None = None,
        settings: NodeSettings | None = None,
    ) -> Executor:
        """An executor that holds what a journal says.

        The shell then looks at each attempt that has not exited and hands in ``ProcessStarted`` or
        ``ProcessExited``, whatever its phase: one that was never launched is handed back. So is one
        that waits for its turn: it may have had it, where a power cut took the journal's last word.
        """
        executor = cls(node_id=node_id, settings=settings)
        for attempt in held:
            executor._records.remember(attempt.dispatch.attempt_id, attempt.dispatch.epoch)
            executor._records.put(attempt)
        executor._records.forget_rows()
        return executor

    # ── views ─────────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> tuple[NodeAttempt, ...]:
        """All that has to survive the agent."""
        return tuple(self._records.attempts.values())

    def attempts(self) -> tuple[NodeAttempt, ...]:
        """The attempts that have not exited."""
        return tuple(self._records.attempts[attempt_id] for attempt_id in self._records.live)

    def waiting(self) -> tuple[AttemptId, ...]:
        """Those that are ready and whose turn has not come."""
        return self._records.waiting()

    def attempt(self, attempt_id: AttemptId) -> NodeAttempt | None:
        """One attempt, exited or not; None when it is not (or no longer) here."""
        return self._records.attempts.get(attempt_id)

    def held(self) -> tuple[HeldAttempt, ...]:
        """What this node says in its hello."""
        return self._records.held()

    def gpu_holders(self) -> dict[GpuUuid, tuple[AttemptId, ...]]:
        """By GPU: the attempts that may have processes on it. For the GPU monitor."""
        return self._records.gpu_holders()

    def next_wakeup(self) -> Ms | None:
        """When ``TimePassed`` should be handed in; None: not before something else happens."""
        return self._records.next_due(self._contact_at_ms)

    # ── the only way in ───────────────────────────────────────────────────────────────────────

    def handle(self, event: NodeEvent, now_ms: Ms) -> list[NodeEffect]:
        """What follows from the event: saves first. Never raises on what others send."""
        self._now_ms = now_ms
        self._saves, self._effects = {}, []
        match event:
            case SessionOpened():
                self._session = event.session
                self._stopped_in_session.clear()
            case SessionClosed():
                self._session = None
            case ContactRenewed():
                self._contact_renewed(event)
            case DispatchReceived():
                self._dispatch_received(event)
            case StopReceived():
                self._stop_received(event)
            case ForgetReceived():
                if event.session == self._session:
                    for attempt_id in event.attempt_ids:
                        self._happened(Happening.FORGET_RECEIVED, attempt_id)
            case WorkspaceReady() | WorkspaceFailed() | ProcessStarted() | ProcessExited():
                self._happened(OF_PROCESS[type(event)], event.attempt_id, event)
            case ReadingTaken():
                self._reading_taken(event)
            case DiskChanged():
                self._disk_problem = event.problem
            case TimePassed():
                for attempt_id, happening in self._records.due_by(now_ms, self._contact_at_ms):
                    self._happened(happening, attempt_id)
            case _:
                assert_never(event)
        return [*self._saves.values(), *self._effects]

    def _happened(
        self, happening: Happening, attempt_id: AttemptId, event: NodeEvent | None = None
    ) -> None:
        """Looks the move up and makes it."""
        attempt = self._records.attempts.get(attempt_id)
        move = ON_HAPPENING[happening][stand_of(attempt)]
        if attempt is None:
            if isinstance(event, DispatchReceived):
                self._admit(event)
            elif isinstance(event, StopReceived):
                self._say_not_here(event)
            else:
                assert move is Move.NOTHING
            return
        match move:
            case Move.SAY_ACCEPTED:
                self._say(words.accepted(attempt))
            case Move.SAY_STARTED:
                self._say(words.started(attempt, self._now_ms))
            case Move.SAY_FINAL:
                assert attempt.final is not None
                self._say(attempt.final)
            case Move.LAUNCH:
                self._launch(attempt)
            case Move.WITHDRAW:
                self._stop(attempt, cause_of(happening, event), phase=HeldPhase.PREPARING)
            case Move.STOP:
                cause = cause_of(happening, event)
                self._stop(attempt, cause, phase=HeldPhase.STOPPING)
                self._effects.append(Signal(attempt_id=attempt_id, cause=cause))
            case Move.STOP_AGAIN:
                # After a reconnect the server repeats every stop: the grace runs on all the same.
                if attempt_id in self._stopped_in_session:
                    self._kill(attempt)
            case Move.KILL:
                self._kill(attempt)
            case Move.CONCLUDE:
                self._conclude(attempt)
            case Move.END_WITHDRAWN:
                self._finish(attempt, words.withdrawn(attempt))
            case Move.WITHDRAW_AND_END:
                stopped = replace(attempt, stop_cause=cause_of(happening, event))
                self._finish(stopped, words.withdrawn(stopped))
            case Move.GIVE_UP_TURN:
                self._finish(attempt, words.turn_missed(attempt))
            case Move.DISCARD:
                self._records.discard(attempt_id)
                self._effects.append(Discard(attempt_id=attempt_id))
            case _:
                self._happened_to_process(move, attempt, event)

    def _happened_to_process(
        self, move: Move, attempt: NodeAttempt, event: NodeEvent | None
    ) -> None:
        """The moves that depend on what the workspace or the supervisor said."""
        match event:
            case WorkspaceFailed() if move is Move.NOT_LAUNCHED:
                self._finish(attempt, words.not_launched(attempt, event))
            case ProcessStarted() if move is Move.RUN:
                running = replace(with_process(attempt, event), phase=HeldPhase.RUNNING)
                self._put(running)
                self._say(words.started(running, self._now_ms))
            case ProcessStarted() if move is Move.SIGNAL:
                self._signal(attempt, event)
            case ProcessExited() if move is Move.HAND_BACK:
                self._hand_back(attempt, event)
            case ProcessExited() if move is Move.CLEAR:
                self._clear(attempt, event)
            case ProcessExited() if move is Move.CLEAR_AGAIN:
                self._clear_again(attempt, event)
            case _:
                assert move is Move.NOTHING, f"{move} came without its event"

    # ── what the server wants ─────────────────────────────────────────────────────────────────

    def _dispatch_received(self, event: DispatchReceived) -> None:
        if event.session != self._session:
            return
        attempt_id = event.attempt_id
        known = self._records.attempts.get(attempt_id)
        if known is None and event.epoch <= self._records.newest_epoch(attempt_id):
            return  # forgotten: the server has its end, or was told that it is not here
        # What is here is answered, also beside a later one that a restored server does not know.
        if known is not None and event.epoch != known.dispatch.epoch:
            return
        self._happened(Happening.DISPATCH_RECEIVED, attempt_id, event)

    def _admit(self, event: DispatchReceived) -> None:
        problem = problem_of(
            event,
            node_id=self._node_id,
            contact=(self._now_ms, self._contact_at_ms, self._settings.contact_max_age_ms),
            disk_problem=self._disk_problem,
            earlier_id=self._records.live_beside(event.attempt_id),
            gpus=self._trend.latest,
            others=self.attempts() if event.reservation.gpus else (),
        )
        self._records.remember(event.attempt_id, event.epoch)
        waits_for = self._records.turn_after(event.after)
        attempt = NodeAttempt(dispatch=event, phase=HeldPhase.PREPARING, waits_for=waits_for)
        if problem is not None:
            self._finish(attempt, words.refused(attempt, problem))
            return
        self._put(attempt)
        self._say(words.accepted(attempt))
        if event.failover_ms is not None and self._contact_at_ms is not None:
            self._effects.append(WriteContact(contact_at_ms=self._contact_at_ms))
        self._effects.append(PrepareWorkspace(attempt_id=event.attempt_id))

    def _stop_received(self, event: StopReceived) -> None:
        if event.session != self._session:
            return
        attempt_id = event.attempt_id
        known = self._records.attempts.get(attempt_id)
        if known is not None and known.dispatch.epoch != event.epoch:
            return
        self._happened(Happening.STOP_RECEIVED, attempt_id, event)
        if attempt_id in self._records.live:
            self._stopped_in_session[attempt_id] = None

    def _say_not_here(self, event: StopReceived) -> None:
        # A dispatch that comes after its own stop starts nothing.
        self._records.remember(event.attempt_id, event.epoch)
        self._say(words.not_here(event))

    def _launch(self, attempt: NodeAttempt) -> None:
        attempt_id = attempt.dispatch.attempt_id
        if attempt.waits_for is not None:
            by_ms = self._now_ms + attempt.dispatch.turn_ms
            self._put(replace(attempt, is_ready=True, turn_by_ms=by_ms))
        elif self._records.is_lease_over(attempt_id, self._now_ms, self._contact_at_ms):
            # A paused agent learns of both at once: by now it may run elsewhere.
            late = replace(attempt, stop_cause=StopCause.LEASE)
            self._finish(late, words.withdrawn(late))
        else:
            self._put(replace(attempt, phase=HeldPhase.LAUNCHING))
            self._effects.append(Spawn(attempt_id=attempt_id))

    # ── stopping ──────────────────────────────────────────────────────────────────────────────

    def _stop(self, attempt: NodeAttempt, cause: StopCause, *, phase: HeldPhase) -> None:
        self._put(replace(attempt, phase=phase, stop_cause=cause, stopping_at_ms=self._now_ms))

    def _signal(self, attempt: NodeAttempt, event: ProcessStarted) -> None:
        """It started after the stop, or was found again by a new agent."""
        assert attempt.stop_cause is not None
        attempt_id = attempt.dispatch.attempt_id
        if attempt.pid is None:
            self._put(with_process(attempt, event))
        self._effects.append(Signal(attempt_id=attempt_id, cause=attempt.stop_cause))
        if attempt.kill_sent:
            self._effects.append(KillTree(attempt_id=attempt_id))

    def _kill(self, attempt: NodeAttempt) -> None:
        if not attempt.kill_sent:
            self._put(replace(attempt, kill_sent=True))
        self._effects.append(KillTree(attempt_id=attempt.dispatch.attempt_id))

    # ── ends ──────────────────────────────────────────────────────────────────────────────────

    def _hand_back(self, attempt: NodeAttempt, event: ProcessExited) -> None:
        """It was not launched, as far as the journal knows; after a power cut that is not far."""
        if has_exited(event.facts):
            self._clear(attempt, event)
        else:
            self._finish(attempt, words.never_ran(attempt, event))

    def _clear(self, attempt: NodeAttempt, event: ProcessExited) -> None:
        facts = event.facts
        if facts.exec_error == words.NEVER_STARTED and attempt.stop_cause is None:
            self._finish(attempt, words.never_ran(attempt, event))
            return
        clearing = replace(attempt, exited=event, exited_at_ms=self._now_ms)
        holds_memory = bool(attempt.dispatch.reservation.gpus) and facts.exec_error is None
        if holds_memory and not event.rebooted and not facts.unkillable:
            self._put(clearing)
        else:
            self._conclude(clearing)

    def _clear_again(self, attempt: NodeAttempt, event: ProcessExited) -> None:
        """A new agent found it over, as the one before had; the machine may have been restarted."""
        if event.rebooted:
            self._conclude(attempt)
        elif (attempt.exited_at_ms or 0) > self._now_ms:
            self._put(replace(attempt, exited_at_ms=self._now_ms))

    def _conclude(self, attempt: NodeAttempt) -> None:
        """All is known that will be: name the end and say it."""
        self._finish(attempt, words.final_word(attempt, self._trend, self._records.attempts))

    def _finish(self, attempt: NodeAttempt, final: AttemptEnded | AttemptRefused) -> None:
        assert attempt.final is None, f"a second final word about {final.attempt_id}"
        # The word holds the facts: they need not stand in the journal twice.
        self._put(replace(attempt, phase=HeldPhase.EXITED, exited=None, final=final))
        self._stopped_in_session.pop(final.attempt_id, None)
        self._say(final)
        waits_for = self._records.turn_after(attempt.waits_for)
        for follower in self._records.followers(final.attempt_id):
            # Whoever never had its turn leaves its place in the row, any other the room it had.
            self._put(replace(follower, waits_for=waits_for))
            if waits_for is None:
                self._happened(Happening.TURN_CAME, follower.dispatch.attempt_id)

    # ── readings and contact ──────────────────────────────────────────────────────────────────

    def _reading_taken(self, event: ReadingTaken) -> None:
        gpus = self._trend.note(event.gpus, self._now_ms)
        for attempt_id, happening in self._records.by_due():
            if happening is Happening.MEMORY_WAIT_OVER:
                attempt = self._records.attempts[attempt_id]
                if words.memory_is_back(attempt, gpus):
                    self._happened(Happening.MEMORY_RETURNED, attempt_id)

    def _contact_renewed(self, event: ContactRenewed) -> None:
        # It only grows, and an answer cannot come before its question.
        if event.sent_at_ms > self._now_ms:
            return
        if self._contact_at_ms is None or event.sent_at_ms > self._contact_at_ms:
            self._contact_at_ms = event.sent_at_ms
            if self._records.leased:
                self._effects.append(WriteContact(contact_at_ms=event.sent_at_ms))

    # ── writing down and saying ───────────────────────────────────────────────────────────────

    def _put(self, attempt: NodeAttempt) -> None:
        """The only place that changes an attempt."""
        self._records.put(attempt)
        self._saves[attempt.dispatch.attempt_id] = SaveHeld(held=attempt)

    def _say(self, report: Report) -> None:
        self._effects.append(Say(report=report))
