"""A node's executor under any events in any order: late, repeated, crossed, cut short.

Goal: the laws of the node's machine hold whatever comes. Method: rules hand in every event with any
attempt ever named, living or dead; the agent is killed and restored at any moment; from time to
time a twin is restored from the journal and has to ask for the same from then on.
"""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
    ContactRenewed,
    DiskChanged,
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
from fluxhive.core.executor import Executor
from fluxhive.core.executor_table import Stand, stand_of
from fluxhive.core.node import GpuReport, HeldPhase
from fluxhive.core.outcome import ExitFacts, StopCause
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptRefused, Report
from fluxhive.core.values import AttemptId
from tests.helpers.factories import gpu
from tests.helpers.node_story import dispatch_of

TASKS, TRIES = 2, 4
ATTEMPTS = [f"t{task}.{number}" for task in range(TASKS) for number in range(1, TRIES + 1)]
attempt_ids = st.sampled_from(ATTEMPTS)


class Step(NamedTuple):
    """One thing that happens, with all that any of them may need."""

    what: str
    pick: int
    #: True: a message of the session before.
    is_old: bool
    is_so: bool
    facts: ExitFacts
    cause: StopCause
    gpus: dict[str, str | int]
    limits: tuple[str | None, str | None]
    age_ms: int


#: What a step may be: methods of ``NodeMachine``.
#: The natural way is taken often, so that everything else is met late in a life, too.
WHAT = [
    *["goes_on"] * 10,
    *["dispatch"] * 4,
    "stop",
    "stop",
    "forget",
    "workspace_ready",
    "workspace_failed",
    "process_started",
    "process_exited",
    "wait",
    "wait",
    "contact",
    "contact",
    "reading",
    "disk",
    "reconnect",
]
WAITS_MS = [0, 1, 900, 4_000, 21_000]
GPUS: list[dict[str, str | int]] = [{}, {"A": "20G"}, {"A": "60G"}, {"A": "80G", "B": "80G"}]


def some_step(random: Random) -> Step:
    """Drawn from a seed, not from Hypothesis: it gets further into lives for the same time."""
    return Step(
        what=random.choice(WHAT),
        pick=random.randrange(3 * len(ATTEMPTS)),
        is_old=random.random() < 0.1,
        is_so=random.random() < 0.5,
        facts=ExitFacts(
            exit_code=random.choice([None, 0, 1]),
            signal=random.choice([None, 9]),
            exec_error=random.choice([None, None, "ENOENT", "ECANCELED"]),
            stopped_by=random.choice([None, None, *StopCause]),
            unkillable=random.choice([(), (), (7,)]),
        ),
        cause=random.choice(list(StopCause)),
        gpus=random.choice(GPUS),
        limits=(random.choice([None, "5s"]), random.choice([None, "20s"])),
        age_ms=random.choice(WAITS_MS),
    )


class NodeMachine(RuleBasedStateMachine):
    """One node, its journal, and a server that may say anything."""

    @initialize()
    def begin(self) -> None:
        self.executor = Executor()
        self.twin: Executor | None = None
        #: What the saves of all steps leave; a new agent has nothing else.
        self.journal: dict[AttemptId, NodeAttempt] = {}
        self.now_ms = 1_000_000
        self.session = 0
        self.gpus: tuple[GpuReport, ...] = (gpu("A", 0), gpu("B", 1))
        self.disk_problem = ""
        self.contact_at_ms: int | None = None
        #: What must stay true over every restart of the agent.
        self.spawned: set[AttemptId] = set()
        self.stopped: set[AttemptId] = set()
        self.accepted: set[AttemptId] = set()
        self.finals: dict[AttemptId, Report] = {}
        self.forgotten: set[AttemptId] = set()
        #: By task: the newest attempt that the server knew to be over when an agent began.
        self.over: dict[str, int] = {}
        self.connect()
        self.contact_at_ms = self.now_ms
        self.happens(ContactRenewed(sent_at_ms=self.now_ms))
        self.happens(ReadingTaken(gpus=self.gpus))

    def named(self, pick: int) -> str:
        """Any attempt, known or not; a living one two times in three, if there is one."""
        live = [attempt.dispatch.attempt_id for attempt in self.executor.attempts()]
        if pick < 2 * len(ATTEMPTS) and live:
            return live[pick % len(live)]
        return ATTEMPTS[pick % len(ATTEMPTS)]

    # ── handing in ────────────────────────────────────────────────────────────────────────────

    def happens(self, event: NodeEvent) -> list[NodeEffect]:
        effects = self.executor.handle(event, self.now_ms)
        if self.twin is not None:
            assert self.twin.handle(event, self.now_ms) == effects, "a restored twin differs"
        self.check(effects)
        return effects

    def check(self, effects: list[NodeEffect]) -> None:
        kinds = [isinstance(effect, SaveHeld) for effect in effects]
        assert kinds == sorted(kinds, reverse=True), "saves come before all else"
        for effect in effects:
            match effect:
                case Spawn():
                    assert effect.attempt_id not in self.spawned, "started twice"
                    assert effect.attempt_id not in self.stopped, "started after a stop"
                    self.spawned.add(effect.attempt_id)
                case Say(report=AttemptAccepted() as report):
                    assert report.attempt_id not in self.finals, "accepted after its end"
                    self.accepted.add(report.attempt_id)
                case Say(report=AttemptEnded() | AttemptRefused() as report):
                    self.check_final(report)
                case SaveHeld():
                    self.journal[effect.held.dispatch.attempt_id] = effect.held
                case Discard():
                    del self.journal[effect.attempt_id]
                    assert effect.attempt_id in self.finals, "dropped without a final word"
                    self.forgotten.add(effect.attempt_id)
                case Signal() | KillTree():
                    assert self.executor.attempt(effect.attempt_id) is not None
                case PrepareWorkspace():
                    assert effect.attempt_id not in self.stopped
                case WriteContact() | Say():
                    pass

    def check_final(self, report: AttemptEnded | AttemptRefused) -> None:
        attempt_id = report.attempt_id
        if self.executor.attempt(attempt_id) is None:
            return  # a stop of what is not here: the answer is no word about an attempt of ours
        if isinstance(report, AttemptRefused):
            started = attempt_id in self.spawned and report.permanent_here
            assert not started, "refused for this node after it was started"
        assert self.finals.setdefault(attempt_id, report) == report, "the final word changed"

    # ── the server ────────────────────────────────────────────────────────────────────────────

    def connect(self) -> None:
        self.session += 1
        self.happens(SessionOpened(session=self.session))

    def reconnect(self, attempt: AttemptId, step: Step) -> None:
        self.happens(SessionClosed())
        if step.is_so:
            self.dispatch(attempt, step)
        self.connect()

    @rule(seed=st.integers(0, 2**32), n_steps=st.integers(1, 60))
    def things_happen(self, seed: int, n_steps: int) -> None:
        random = Random(seed)
        for _ in range(n_steps):
            step = some_step(random)
            attempt = AttemptId(self.named(step.pick))
            getattr(self, step.what)(attempt, step)

    def contact(self, attempt: AttemptId, step: Step) -> None:
        sent_at_ms = self.now_ms - step.age_ms
        self.contact_at_ms = max(self.contact_at_ms or 0, sent_at_ms)
        self.happens(ContactRenewed(sent_at_ms=sent_at_ms))

    def dispatch(self, attempt: AttemptId, step: Step) -> None:
        task, _, number = attempt.rpartition(".")
        if int(number) <= self.over.get(task, 0):
            return  # the server has its end: a session that began since does not send it again
        time_limit, failover = step.limits
        event = dispatch_of(
            attempt,
            session=self.session - step.is_old,
            gpus=step.gpus,
            exclusive=len(step.gpus) > 1,
            grace="3s",
            time_limit=time_limit,
            failover=failover,
            after=ATTEMPTS[step.pick % len(ATTEMPTS)] if step.pick % 3 == 0 else None,
        )
        effects = self.happens(event)
        assert not (step.is_old and effects), "a dispatch of an old session counted"

    def stop(self, attempt: AttemptId, step: Step) -> None:
        session, epoch = self.session - step.is_old, int(attempt.rpartition(".")[2])
        event = StopReceived(session=session, attempt_id=attempt, epoch=epoch, cause=step.cause)
        was_here = self.executor.attempt(attempt) is not None
        if self.happens(event) and not was_here:
            self.stopped.add(attempt)
            self.forgotten.add(attempt)
        self.note_stops()

    def forget(self, attempt: AttemptId, step: Step) -> None:
        session = self.session - step.is_old
        self.happens(ForgetReceived(session=session, attempt_ids=(attempt,)))

    # ── the machine ───────────────────────────────────────────────────────────────────────────

    def workspace_ready(self, attempt: AttemptId, step: Step) -> None:
        self.happens(WorkspaceReady(attempt_id=attempt))

    def workspace_failed(self, attempt: AttemptId, step: Step) -> None:
        event = WorkspaceFailed(attempt_id=attempt, detail="gone", elsewhere=step.is_so)
        self.happens(event)

    def process_started(self, attempt: AttemptId, step: Step) -> None:
        self.happens(ProcessStarted(attempt_id=attempt, pid=7, started_at_ms=self.now_ms))

    def process_exited(self, attempt: AttemptId, step: Step) -> None:
        lost = step.is_so
        event = ProcessExited(attempt_id=attempt, facts=step.facts, supervisor_lost=lost)
        self.happens(event)

    def goes_on(self, attempt: AttemptId, step: Step) -> None:
        """What usually comes next for this attempt."""
        match stand_of(self.executor.attempt(attempt)):
            case Stand.UNKNOWN:
                self.contact(attempt, step._replace(age_ms=0))
                self.dispatch(attempt, step)
            case Stand.PREPARING | Stand.WITHDRAWN:
                self.workspace_ready(attempt, step)
            case Stand.WAITING:
                self.goes_on(self.first_of_row(attempt), step)
            case Stand.LAUNCHING:
                self.process_started(attempt, step)
            case Stand.RUNNING | Stand.STOPPING:
                self.process_exited(attempt, step._replace(facts=ExitFacts(exit_code=0)))
            case Stand.CLEARING:
                self.reads(gpu("A", 0))
            case Stand.EXITED:
                self.forget(attempt, step)

    def first_of_row(self, attempt: AttemptId) -> AttemptId:
        """Whose end it waits for, or who that one waits for."""
        known = self.executor.attempt(attempt)
        assert known is not None
        return attempt if known.waits_for is None else self.first_of_row(known.waits_for)

    def wait(self, attempt: AttemptId, step: Step) -> None:
        end_ms = self.now_ms + step.age_ms
        while (due_ms := self.executor.next_wakeup()) is not None and due_ms <= end_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self.happens(TimePassed())
            after_ms = self.executor.next_wakeup()
            assert after_ms is None or after_ms > self.now_ms, "a wakeup that does not move on"
        self.now_ms = end_ms
        self.note_stops()

    def note_stops(self) -> None:
        for attempt in self.executor.snapshot():
            if attempt.stop_cause is not None:
                self.stopped.add(attempt.dispatch.attempt_id)

    def reading(self, attempt: AttemptId, step: Step) -> None:
        state = ["healthy", "dirty", "faulty"][step.pick % 3]
        uses: dict[str, str | int] = {attempt: "3G"} if step.is_so else {}
        self.reads(gpu("A", 0, state=state, uses=uses, stale=step.is_old))

    def reads(self, card: GpuReport) -> None:
        self.gpus = (card, gpu("B", 1))
        self.happens(ReadingTaken(gpus=self.gpus))

    def disk(self, attempt: AttemptId, step: Step) -> None:
        self.disk_problem = "the disk is full" if step.is_old else ""
        self.happens(DiskChanged(problem=self.disk_problem))

    # ── the agent ─────────────────────────────────────────────────────────────────────────────

    @rule()
    def agent_restarts(self) -> None:
        self.executor = Executor.restore(self.journal.values())
        self.twin = None
        self.contact_at_ms = None
        self.note_what_is_over()
        self.catch_up()

    @rule()
    def twin_is_restored(self) -> None:
        self.twin = Executor.restore(self.executor.snapshot())
        # The readings of the last seconds are in no journal: what a new agent says of a GPU around
        # an end rests on its own.
        self.twin._trend = deepcopy(self.executor._trend)
        self.note_what_is_over()
        self.twin.handle(SessionOpened(session=self.session), self.now_ms)
        self.catch_up()

    def note_what_is_over(self) -> None:
        for attempt in self.forgotten:
            task, _, number = attempt.rpartition(".")
            self.over[task] = max(int(number), self.over.get(task, 0))

    def catch_up(self) -> None:
        """What a new agent hears first: a session, contact, a reading, the disk."""
        if self.twin is not None and self.contact_at_ms is not None:
            # What the executor has and the journal does not: the contact of before.
            self.twin.handle(ContactRenewed(sent_at_ms=self.contact_at_ms), self.now_ms)
        self.session += 1
        for event in (
            SessionOpened(session=self.session),
            ReadingTaken(gpus=self.gpus),
            DiskChanged(problem=self.disk_problem),
        ):
            self.happens(event)

    # ── the laws that need no event ───────────────────────────────────────────────────────────

    @invariant()
    def what_has_exited_has_its_word_and_nothing_else_has(self) -> None:
        for attempt in self.executor.snapshot():
            has_exited = attempt.phase is HeldPhase.EXITED
            assert (attempt.final is not None) is has_exited
            if has_exited:
                assert self.finals[attempt.dispatch.attempt_id] == attempt.final

    @invariant()
    def the_journal_has_all(self) -> None:
        snapshot = self.executor.snapshot()
        assert self.journal == {attempt.dispatch.attempt_id: attempt for attempt in snapshot}

    @invariant()
    def whoever_waits_its_turn_waits_for_one_that_lives(self) -> None:
        live = {attempt.dispatch.attempt_id for attempt in self.executor.attempts()}
        for attempt in self.executor.attempts():
            assert attempt.waits_for is None or attempt.waits_for in live
            assert attempt.waits_for is None or attempt.dispatch.attempt_id not in self.spawned

    @invariant()
    def two_attempts_of_a_task_are_never_here_at_once(self) -> None:
        live = [attempt.dispatch.task_id for attempt in self.executor.attempts()]
        assert len(live) == len(set(live))

    def teardown(self) -> None:
        """Every accepted attempt ends, once nothing new comes."""
        if not hasattr(self, "executor"):
            return
        self.session += 1
        self.happens(SessionOpened(session=self.session))
        for attempt in self.executor.attempts():
            attempt_id = attempt.dispatch.attempt_id
            self.happens(WorkspaceFailed(attempt_id=attempt_id, detail="over"))
            self.happens(ProcessExited(attempt_id=attempt_id, facts=ExitFacts(exit_code=0)))
        self.now_ms += 60_000
        self.happens(TimePassed())
        assert self.executor.attempts() == ()
        assert self.accepted <= set(self.finals) | self.forgotten


NodeMachine.TestCase.settings = settings(max_examples=400, stateful_step_count=20, deadline=None)
TestNodeMachine = NodeMachine.TestCase
