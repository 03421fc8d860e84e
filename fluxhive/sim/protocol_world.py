"""One history of a whole hive at protocol depth, decided by its seed.

First everything goes wrong that this seed enables (safety: nothing that must not happen happens);
then the world heals (liveness: every task ends, nothing stays reserved). ``run`` raises
``Violation`` or ``AssertionError``; ``story`` holds the last events before that.
"""

from __future__ import annotations

import random
from collections import Counter, deque

from fluxhive.core.effects import HiveEffect, NodeEffect, Publish, Spawn, TurnAway
from fluxhive.core.events import (
    DispatchReceived,
    HiveEvent,
    NodeDrained,
    NodeEvent,
    NodeJoined,
    NodeReported,
    NodeSaid,
    SessionClosed,
    SessionOpened,
    StopReceived,
    TimePassed,
)
from fluxhive.core.executor_table import Stand, stand_of
from fluxhive.core.node import GpuState, HeldPhase
from fluxhive.core.reports import AttemptEnded, AttemptRefused
from fluxhive.core.task import NEVER_AT_MS, AttemptState
from fluxhive.core.values import AttemptId, Ms, NodeId, TaskId

from .agenda import Agenda
from .agent_life import AgentLife
from .backup import Backups
from .faults import Faults
from .node_world import N_CPUS, SimNode
from .people import People
from .runs import Fate
from .server_world import SimServer
from .witness import Violation, Witness

#: How far clocks of nodes may be off, as is promised.
RATE_MAX = 1.05
N_NODES, N_TASKS, N_FAULTS = 4, 12, 60
FAULTS_MS = 400_000
#: After healing: pauses between attempts double up to five minutes, and a restart grants lengths.
HEALED_MS = 3 * 3_600_000
A_PERSON_LOOKS_MS = 60_000
#: So many looks in good contact, and a stray must be gone: hello, stop, grace, kill.
LOOK_MS, STRAY_LOOKS = 5_000, 9
STORY_LINES = 50


class ProtocolWorld:
    """See the module's docstring."""

    def __init__(
        self,
        seed: int,
        *,
        n_faults: int = N_FAULTS,
        n_tasks: int = N_TASKS,
        has_mistakes: bool = False,
        hears_late: bool = False,
        goes_back: bool = False,
    ) -> None:
        """With ``has_mistakes`` people also give machines up that are not off.

        With ``hears_late`` both ends go on reading from connections that they have replaced: the
        session that a message names is all that tells it from one of today. With ``goes_back`` the
        server is restored from a backup (backup.py).
        """
        self.seed = seed
        self.has_mistakes = has_mistakes
        self.hears_late = hears_late
        self.goes_back = goes_back
        self.agenda = Agenda(start_ms=1_000)
        self.chance = random.Random(seed)
        self.witness = Witness(N_CPUS)
        self.counters: Counter[str] = Counter()
        self.story: deque[str] = deque(maxlen=STORY_LINES)
        self.is_healed = False
        self._spawned: dict[tuple[NodeId, AttemptId], None] = {}
        #: What a node has heard that it is to end.
        self._stopped: dict[tuple[NodeId, AttemptId], None] = {}
        self.server = SimServer(self)
        self.nodes = [
            SimNode(self, number, rate=self.chance.uniform(1 / RATE_MAX, RATE_MAX), n_gpus=2)
            for number in range(N_NODES)
        ]
        for node in self.nodes:
            self.agenda.after(self.chance.randrange(1_000), node.start_agent)
        self.backups = Backups(self, seed)
        self.people = People(self, seed, n_tasks, FAULTS_MS)
        self.faults = Faults(self, seed)
        self.faults.plan(n_faults, FAULTS_MS)
        self.agenda.at(FAULTS_MS, self._heal)
        self.agenda.after(1_000, self.server.begin)
        #: By attempt that runs on by mistake: how long its node has been in good contact.
        self._looks: Counter[tuple[AttemptId, NodeId]] = Counter()
        if has_mistakes:
            self.agenda.after(LOOK_MS, self._look_for_strays)

    @property
    def now_ms(self) -> Ms:
        """Time of the world."""
        return self.agenda.now_ms

    def run(self) -> None:
        """Plays the whole history."""
        while self.agenda.step():
            if self.is_healed and self._is_over():
                break
            if self.now_ms > FAULTS_MS + HEALED_MS:
                break
        self.witness.conclude()
        self.server.output.conclude()
        self._nothing_is_left()

    # ── what parts of the world ask each other ────────────────────────────────────────────────

    def fate_of(self, task_id: TaskId) -> Fate:
        """What the next program of a task does."""
        return self.people.fate(task_id)

    def is_at_most_once(self, task_id: TaskId) -> bool:
        """As its author asked."""
        return self.people.specs[task_id].at_most_once

    def server_dies(self) -> None:
        """SIGKILL; somebody starts it again."""
        self.server.crash()
        self.agenda.after(self.chance.choice((50, 2_000, 20_000, 60_000)), self.server.start)

    def tell(self, text: str) -> None:
        """A line of the story."""
        self.story.append(f"{self.now_ms / 1000:9.3f} s  {text}")

    def sometimes(self, what: str, happened: bool = True, /) -> None:
        """Counts what every large enough set of histories must contain."""
        if happened:
            self.counters[what] += 1

    def note_spawn(self, node: SimNode, attempt_id: AttemptId) -> None:
        """An executor asks for a start: once for an attempt, ever."""
        if (node.id, attempt_id) in self._spawned:
            raise Violation(f"claim 1: {node.id} is asked to start {attempt_id} again")
        self._spawned[node.id, attempt_id] = None

    def note_decision(self, life: AgentLife, effects: list[NodeEffect]) -> None:
        """What an executor makes of an event, before any of it happens."""
        for effect in effects:
            if isinstance(effect, Spawn):
                if (life.node.id, effect.attempt_id) in self._stopped:
                    name = effect.attempt_id
                    raise Violation(f"claim 18: {life.node.id} starts {name} after a stop")
                known = life.executor.attempt(effect.attempt_id)
                if known is not None and known.dispatch.after is not None:
                    self.faults.at_turn(life.node)

    def notes_node_event(self, life: AgentLife, event: NodeEvent) -> None:
        """Just before an executor handles it."""
        if isinstance(event, SessionOpened):
            life.session = event.session
        elif isinstance(event, SessionClosed):
            life.session = None
        elif isinstance(event, DispatchReceived):
            known = life.executor.attempt(event.attempt_id)
            if event.session != life.session:
                self.counters["a dispatch of an old session was dropped"] += 1
            elif known is not None and known.phase is HeldPhase.EXITED:
                self.counters["a final word was said again"] += 1
            elif known is not None:
                self.counters["a dispatch came twice"] += 1
        elif isinstance(event, StopReceived):
            known = life.executor.attempt(event.attempt_id)
            if event.session == life.session:
                self._stopped[life.node.id, event.attempt_id] = None
                self.sometimes("a stop met nothing", known is None)
                waits = known is not None and stand_of(known) is Stand.WAITING
                self.sometimes("a stop met what waited for its turn", waits)
        if not isinstance(event, _QUIET):
            self.tell(f"{life.node.id}: {_short(event)}")

    def note_hive_event(self, event: HiveEvent, said: list[HiveEffect]) -> None:
        """Just after the brain handled it."""
        if isinstance(event, NodeSaid):
            self._note_report(event)
        elif isinstance(event, NodeJoined):
            stale = any(isinstance(e, TurnAway) and "later hello" in e.reason for e in said)
            self.sometimes("a stale snapshot was ignored", stale)
        for effect in said:
            if isinstance(effect, Publish) and effect.attempt_id is not None:
                self.sometimes("a turn came", effect.reason.startswith("its turn on"))
                self.sometimes("a place in a row was left", effect.reason.startswith("next after"))
        if not isinstance(event, NodeReported | TimePassed) or said:
            effects = ", ".join(_short(each) for each in said if "save" not in _tag(each))
            self.tell(f"server: {_short(event)} → {effects}")

    def _note_report(self, event: NodeSaid) -> None:
        report = event.report
        attempt = self.server.manager.attempt(report.attempt_id)
        if isinstance(report, AttemptRefused):
            if "last contact" in report.reason:
                self.counters["a late start was refused"] += 1
            self.counters["an attempt was handed back"] += 1
            self.sometimes("an attempt gave up its turn", "place it was to take" in report.reason)
        if attempt is None:
            return
        known = self.server.manager.node(event.node_id)
        if known is not None and known.session != event.session:
            self.counters["a report of an old session was dropped"] += 1
        elif isinstance(report, AttemptEnded) and attempt.late_report is not None:
            self.counters["an end came too late to count"] += 1

    # ── the end ───────────────────────────────────────────────────────────────────────────────

    def _heal(self) -> None:
        """No faults from here on, and what people did to the hive is taken back."""
        self.is_healed = True
        self.tell("healed")
        self.server.dies_at_commit = None
        self.server.is_slow = False
        self.server.start()
        for node in self.nodes:
            node.wake_up()
            node.line.open()
            node.disk_is_full = node.is_slow = node.gpus_are_stale = False
            node.gpu_states = [GpuState.HEALTHY] * len(node.gpu_states)
            node.power_on()
            node.start_agent()
            node.gpus_change()
            self.people.ask([NodeDrained(node_id=node.id, on=False, by="root")])
        for task_id in self.people.specs:
            self.people.release(task_id)
        self.agenda.after(A_PERSON_LOOKS_MS, self._a_person_looks)

    def _a_person_looks(self) -> None:
        """Where a journal was lost, an attempt that the node does not know may be running for ever:
        without a failover length only a person can say that it is not. Some cancel such tasks, the
        others restart the machine."""
        lost: dict[NodeId, list[TaskId]] = {}
        for attempt in self.server.manager.snapshot().attempts:
            for member in attempt.members:
                if member.state is not AttemptState.ENDED and member.fenced_at_ms == NEVER_AT_MS:
                    lost.setdefault(member.node_id, []).append(attempt.task_id)
        if self.seed % 2:
            for task_id in dict.fromkeys(name for names in lost.values() for name in names):
                self.counters["a person cancelled what a lost journal left"] += 1
                self.people.cancel(task_id)
            lost.clear()
        for node in self.nodes:
            if node.id in lost:
                self.counters["a person restarted a machine that had lost its journal"] += 1
                node.power_off()
                self.agenda.after(10_000, node.power_on)
        self.agenda.after(A_PERSON_LOOKS_MS, self._a_person_looks)

    def _look_for_strays(self) -> None:
        """Claim 5: what was given up by mistake is stopped once its node is heard again."""
        nodes = {node.id: node for node in self.nodes}
        seen = {(each.attempt_id, each.node_id) for each in self.witness.strays()}
        self._looks = Counter({key: n for key, n in self._looks.items() if key in seen})
        for key in seen:
            is_well = nodes[key[1]].is_well and self.server.is_well
            self._looks[key] = self._looks[key] + 1 if is_well else 0
            if self._looks[key] > STRAY_LOOKS:
                raise Violation(f"claim 5: {key[0]} runs on {key[1]} and nobody stops it")
        self.agenda.after(LOOK_MS, self._look_for_strays)

    def _is_over(self) -> bool:
        done = not self.witness.unfinished() and not self.witness.n_living
        done = done and all(
            node.agent is not None and not node.agent.executor.attempts() for node in self.nodes
        )
        return done and self.server.output.is_done() and not self._has_unheard_ends()

    def _has_unheard_ends(self) -> bool:
        """Whether the server has yet to hear of an end of what it did not know: no task waits for
        that word, but CPUs do."""
        records = self.server.manager.hive.nodes.values()
        claims = [claim for record in records for claim in record.unknown.values()]
        return any(claim.phase is not HeldPhase.EXITED for claim in claims)

    def _nothing_is_left(self) -> None:
        manager = self.server.manager
        for node in manager.nodes():
            reserved = manager.reserved_on(node.id)
            if reserved.cpus or any(gpu.reserved_mib for gpu in reserved.gpus):
                raise Violation(f"law 23: something is reserved on {node.id}: {reserved}")
        for attempt in manager.snapshot().attempts:
            if attempt.state is not AttemptState.ENDED:
                raise Violation(f"law 20: {attempt.id} has not ended")


_QUIET = tuple(
    kind
    for kind in NodeEvent.__args__
    if kind.__name__ in ("ContactRenewed", "ReadingTaken", "TimePassed", "DiskChanged")
)


_TOLD = ("task_id", "attempt_id", "node_id", "session", "epoch", "state", "cause", "reason")


def _tag(what: object) -> str:
    return type(what).__name__.lower()


def _short(what: object) -> str:
    """One event or effect, without what fills a screen."""
    parts = [type(what).__name__]
    for name in _TOLD:
        value = getattr(what, name, None)
        if value not in (None, ""):
            parts.append(str(getattr(value, "value", value)))
    if isinstance(what, NodeSaid):
        parts.append(_short(what.report))
    if isinstance(what, NodeJoined):
        held = " ".join(f"{h.attempt_id}/{h.epoch} {h.phase.value}" for h in what.held)
        parts.append(f"held: {held or 'nothing'} ({what.journal.value})")
    attempt = getattr(what, "attempt", None)
    if attempt is not None:
        parts.append(str(attempt.id))
    outcome = getattr(what, "outcome", None)
    if outcome is not None:
        parts.append(str(outcome.kind.value))
    return " ".join(parts)
