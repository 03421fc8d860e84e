"""The simulated server: the real brain behind a played store, the real links behind a played line.

Follows server/brain.py (one step is what waits, one commit, effects out), server/sessions.py and
server/session.py. It can be killed before or after any commit; then it goes on from what was
committed. Every event is held to the laws of the core, every commit to the witness.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fluxhive.core import effects
from fluxhive.core.effects import HiveEffect, SaveAttempt, SaveNode, SaveTask
from fluxhive.core.events import HiveEvent, NodeJoined, NodeLeft, NodeReported, NodeSaid, TimePassed
from fluxhive.core.invariants import check
from fluxhive.core.pieces import whole
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptRefused, AttemptStarted
from fluxhive.core.step_laws import StepLaws
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import AttemptId, Ms, NodeId
from fluxhive.protocol.agent import (
    AgentMessage,
    Forget,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    ServerMessage,
    Turned,
    Welcome,
)
from fluxhive.protocol.dispatching import dispatch_of, joined, launch_of, stop_of
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import agent_codec, decode_envelope

from .network import DOWN, UP, Connection
from .output import WORDS, SimOutput
from .store import SimStore

if TYPE_CHECKING:
    from .node_world import SimNode
    from .protocol_world import ProtocolWorld

SILENCE_MS = 15_000
#: Every law is checked in full after so many events.
FULL_CHECK_EVERY = 100

Done = Callable[[bool], None]


class SimSession:
    """One connection of a node at the server's end."""

    def __init__(self, server: SimServer, node: SimNode, connection: Connection) -> None:
        self._server = server
        self.node_id = node.id
        self.connection = connection
        self.link: Link[AgentMessage] = Link(agent_codec())
        self.number = 0
        #: What its hello named.
        self.held: tuple[AttemptId, ...] = ()
        self.is_open = True
        self.heard_at_ms = server.world.agenda.now_ms
        end = connection.ends[UP]
        end.on_frame, end.on_close = self._receive, self.close
        if server.world.hears_late:
            end.on_late = self._hear_late

    def say(self, message: ServerMessage) -> None:
        """A numbered message."""
        self.link.send(message)
        self.flush()

    def say_unnumbered(self, message: ServerMessage) -> None:
        """A message ahead of the others that nobody acknowledges."""
        self.link.send_unnumbered(message)
        self.flush()

    def flush(self) -> None:
        """Sends what waits."""
        if self.is_open:
            for frame in self.link.frames():
                self.connection.send(DOWN, frame)

    def close(self) -> None:
        """Over: nothing it says counts any more."""
        if self.is_open:
            self.is_open = False
            self.connection.close(UP)
            self._server.left(self)

    def _receive(self, frame: str) -> None:
        if not self.is_open:
            return
        self.heard_at_ms = self._server.world.agenda.now_ms
        if self._server.world.chance.random() < 0.01 and self.number:
            # The same frame twice: what TCP never does, and proxies may.
            self._server.world.sometimes("a repeated message was dropped", '"n":' in frame)
            self._server.agenda.after(5, self._receive, frame)
        if frame.startswith(WORDS):
            self._server.output.heard(self, frame)
            return
        reports: list[HiveEvent] = []
        last_n = 0
        for n, message in self.link.receive(frame):
            last_n = max(last_n, n)
            match message:
                case Hello():
                    self._server.greet(self, message)
                case Heartbeat():
                    self.say_unnumbered(HeartbeatAck(sent_at_ms=message.sent_at_ms))
                    reports.append(
                        NodeReported(node_id=self.node_id, session=self.number, gpus=message.gpus)
                    )
                case AttemptAccepted() | AttemptRefused() | AttemptStarted() | AttemptEnded():
                    if isinstance(message, AttemptEnded):
                        key = (message.attempt_id, self.node_id)
                        self._server.output.totals[key] = message.facts.stdout_bytes
                    reports.append(
                        NodeSaid(node_id=self.node_id, session=self.number, report=message)
                    )
                case Goodbye():
                    self.close()
                case _:
                    pass
        if reports:
            self._server.post(reports, lambda stored: self._stored(last_n, stored))

    def _hear_late(self, frame: str) -> None:
        """What came on a connection that is over is handed on like news of today."""
        if frame.startswith(WORDS):
            self._server.output.heard(self, frame)
            return
        for item in decode_envelope(frame).messages:
            message = agent_codec().decode(item.body)
            if isinstance(message, AttemptAccepted | AttemptStarted | AttemptEnded):
                said = NodeSaid(node_id=self.node_id, session=self.number, report=message)
                self._server.post([said])

    def _stored(self, n: int, stored: bool) -> None:
        if stored and n:
            self.link.committed(n)
            self.flush()


class SimServer:
    """See the module's docstring."""

    def __init__(self, world: ProtocolWorld) -> None:
        self.world = world
        self.agenda = world.agenda
        self.store = SimStore()
        self.output = SimOutput(world)
        self.manager = TaskManager()
        self.laws = StepLaws()
        self.is_up = True
        self.is_slow = False
        #: Set: the next commit is the last thing that it does (or does not do any more).
        self.dies_at_commit: str | None = None
        self._life = 1
        self._inbox: list[tuple[list[HiveEvent], Done]] = []
        self._is_stepping = False
        self._wakeup_ms: Ms | None = None
        self._live: dict[NodeId, SimSession] = {}
        self._greeting: dict[tuple[NodeId, int], SimSession] = {}
        self._sessions: dict[SimSession, None] = {}
        self._given: dict[NodeId, int] = {}
        self.n_events = 0

    @property
    def is_well(self) -> bool:
        """Whether nothing keeps it from doing its work at once."""
        return self.is_up and not self.is_slow

    # ── life ──────────────────────────────────────────────────────────────────────────────────

    def crash(self) -> None:
        """SIGKILL: what was committed is there, nothing else."""
        if not self.is_up:
            return
        self.is_up = False
        self._life += 1
        inbox, self._inbox = self._inbox, []
        for session in list(self._sessions):
            session.is_open = False
            session.connection.close(UP)
        self._sessions, self._live, self._greeting, self._given = {}, {}, {}, {}
        self.output.crash()
        for _, done in inbox:
            done(False)

    def start(self) -> None:
        """Goes on from the store."""
        if self.is_up:
            return
        self.is_up, self.is_slow, self.dies_at_commit = True, False, None
        self._is_stepping, self._wakeup_ms = False, None
        self.manager = TaskManager.restore(self.store.snapshot(), self.agenda.now_ms)
        self.laws = StepLaws.since(self.manager)
        self._watch_time()
        self._look(self._life)

    def begin(self) -> None:
        """The first start."""
        self._look(self._life)

    def _look(self, life: int) -> None:
        """Cuts dead lines."""
        if life == self._life:
            for session in list(self._live.values()):
                if session.heard_at_ms < self.agenda.now_ms - SILENCE_MS:
                    self.world.sometimes("the server hung up on a silent agent")
                    session.close()
            self.agenda.after(1_000, self._look, life)

    # ── the brain ─────────────────────────────────────────────────────────────────────────────

    def post(self, events: list[HiveEvent], done: Done = lambda stored: None) -> None:
        """Puts events in; ``done`` is called after the commit, or with False when it was lost."""
        if not self.is_up:
            done(False)
            return
        self._inbox.append((events, done))
        self._go_on()

    def _go_on(self) -> None:
        if not self._is_stepping:
            self._is_stepping = True
            slow = self.is_slow and self.world.chance.random() < 0.3
            delay_ms = self.world.chance.randrange(1, 4_000 if slow else 6)
            self.agenda.after(delay_ms, self._step, self._life)

    def _step(self, life: int) -> None:
        if life != self._life or not self.is_up:
            return
        self._is_stepping = False
        taken, self._inbox = self._inbox, []
        said: list[HiveEffect] = []
        for events, _ in taken:
            for event in events:
                said += self._think(event)
        due_ms = self.manager.next_wakeup()
        if due_ms is not None and due_ms <= self.agenda.now_ms:
            said += self._think(TimePassed())
        if self.dies_at_commit == "before":
            for _, done in taken:
                done(False)
            self.world.server_dies()
            return
        self._commit(said)
        if self.dies_at_commit == "after":
            self.world.sometimes("a commit that nobody was told of")
            for _, done in taken:
                done(False)
            self.world.server_dies()
            return
        self._carry_out(said)
        for _, done in taken:
            done(True)
        self._watch_time()

    def _think(self, event: HiveEvent) -> list[HiveEffect]:
        now_ms = self.agenda.now_ms
        said = self.manager.handle(event, now_ms) + whole(self.manager.trial(event))
        self.n_events += 1
        self.world.note_hive_event(event, said)
        if said:
            self.laws.after(self.manager, event, now_ms, said)
        check(self.manager, full=self.n_events % FULL_CHECK_EVERY == 0)
        return said

    def _commit(self, said: list[HiveEffect]) -> None:
        witness = self.world.witness
        for effect in said:
            if isinstance(effect, SaveTask):
                witness.stored_task(effect.task)
                self.store.tasks[effect.task.id] = effect.task
            elif isinstance(effect, SaveAttempt):
                witness.stored_attempt(effect.attempt)
                self.store.attempts[effect.attempt.id] = effect.attempt
            elif isinstance(effect, SaveNode):
                self.store.nodes[effect.node.id] = effect.node

    def _watch_time(self) -> None:
        due_ms = self.manager.next_wakeup()
        if due_ms is not None and (self._wakeup_ms is None or due_ms < self._wakeup_ms):
            self._wakeup_ms = due_ms
            self.agenda.at(due_ms, self._wake, self._life, due_ms)

    def _wake(self, life: int, due_ms: Ms) -> None:
        if life == self._life and self._wakeup_ms == due_ms:
            self._wakeup_ms = None
            self._go_on()

    # ── sessions ──────────────────────────────────────────────────────────────────────────────

    def accept(self, node: SimNode, connection: Connection) -> None:
        """A node has dialled."""
        session = SimSession(self, node, connection)
        self._sessions[session] = None

    def greet(self, session: SimSession, hello: Hello) -> None:
        """A hello has come."""
        if session.number:
            session.close()
            return
        known = self.manager.node(session.node_id)
        stored = 0 if known is None else known.session
        number = max(stored, self._given.get(session.node_id, 0)) + 1
        self._given[session.node_id] = session.number = number
        self._greeting[session.node_id, number] = session
        event: NodeJoined = joined(hello, session.node_id, number, None)
        session.held = tuple(claim.attempt_id for claim in hello.held)
        unknown = tuple(each for each in session.held if each not in self.store.attempts)
        self.post([replace(event, unknown=unknown)])

    def left(self, session: SimSession) -> None:
        """A connection is over."""
        self._sessions.pop(session, None)
        self._greeting.pop((session.node_id, session.number), None)
        if self._live.get(session.node_id) is session:
            del self._live[session.node_id]
        if session.number and self.is_up:
            left = NodeLeft(node_id=session.node_id, session=session.number, reason="it broke")
            self.post([left])

    # ── effects ───────────────────────────────────────────────────────────────────────────────

    def _carry_out(self, said: list[HiveEffect]) -> None:
        for effect in said:
            if isinstance(effect, effects.Welcome):
                self._welcome(effect)
            elif isinstance(effect, effects.TurnAway):
                self._turn_away(effect)
            elif isinstance(effect, effects.Forget):
                # It waits until the logs are on the disk; that wait is in memory alone.
                waits_ms = (200, 30_000) if self.world.goes_back else (0, 0, 200, 3_000)
                delay_ms = self.world.chance.choice(waits_ms)
                self.agenda.after(delay_ms, self._forget, effect, self._life)
            elif isinstance(effect, effects.Dispatch):
                session = self._session(effect.node_id, effect.session)
                if session is not None:
                    session.say(dispatch_of(effect, launch_of(effect.task)))
            elif isinstance(effect, effects.Stop):
                session = self._session(effect.node_id, effect.session)
                if session is not None:
                    session.say(stop_of(effect))

    def session_of(self, node_id: NodeId) -> SimSession | None:
        """The session of a node that is in contact."""
        return self._live.get(node_id)

    def _session(self, node_id: NodeId, number: int) -> SimSession | None:
        session = self._live.get(node_id)
        return session if session is not None and session.number == number else None

    def _welcome(self, effect: effects.Welcome) -> None:
        session = self._greeting.pop((effect.node_id, effect.session), None)
        older = self._live.get(effect.node_id)
        if older is not None and older.number < effect.session:
            self.world.sometimes("a newer connection took the place of an older one")
            older.close()
        if session is None or not session.is_open:
            return
        self._live[effect.node_id] = session
        heartbeat_ms = self.manager.hive.settings.heartbeat_ms
        session.say(
            Welcome(session=effect.session, heartbeat_ms=heartbeat_ms, server_version="simulated")
        )
        self.output.greet(session, session.held)

    def _turn_away(self, effect: effects.TurnAway) -> None:
        session = self._greeting.pop((effect.node_id, effect.session), None)
        session = session or self._session(effect.node_id, effect.session)
        if session is not None:
            session.say_unnumbered(Turned(reason=effect.reason, try_again=True))
            session.close()

    def _forget(self, effect: effects.Forget, life: int) -> None:
        session = self._session(effect.node_id, effect.session) if life == self._life else None
        if session is None:
            return
        if self.output.is_whole(effect.attempt_id, effect.node_id):
            session.say(Forget(session=session.number, attempt_ids=(effect.attempt_id,)))
        else:
            self.agenda.after(1_000, self._forget, effect, life)
