"""The agent's end of its connection, simulated: dials, says hello, beats, dials again.

The link is the real one. Follows agent/connection.py: what it does with time and with a line that
breaks, not how it writes to sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fluxhive.core.capability import CAPABILITIES
from fluxhive.core.events import ContactRenewed, NodeEvent, SessionClosed, SessionOpened
from fluxhive.core.node import GpuReport, Journal
from fluxhive.core.values import Ms
from fluxhive.protocol.agent import Dispatch, Heartbeat, HeartbeatAck, Hello, Turned, Welcome
from fluxhive.protocol.dispatching import node_event
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import (
    decode_envelope,
    encode_envelope,
    encode_message,
    server_codec,
)

from .network import DOWN, UP, Connection
from .output import SEND_EVERY_MS, WORDS, Pump

if TYPE_CHECKING:
    from .agent_life import AgentLife

DIAL_MS, WELCOME_MS = 10_000, 20_000
BACKOFF_MS_MIN, BACKOFF_MS_MAX = 1_000, 10_000
HEARTBEATS_MISSED = 3
#: In worlds that hear late: how long something in between keeps what nobody waits for any more.
LATE_MS = (0, 3_000, 20_000)


class AgentLine:
    """Keeps a session with the server for as long as its agent lives."""

    def __init__(self, life: AgentLife, incarnation: int) -> None:
        self._life = life
        self._node = life.node
        self._incarnation = incarnation
        journal = life.node.journal
        self.link = Link(server_codec(), last_n=journal.last_n, unacknowledged=journal.said)
        self.gpus: tuple[GpuReport, ...] = ()
        self._connection: Connection | None = None
        self._output = Pump(life, self)
        self._is_open = False
        #: Counts connections: what is answered for an earlier one is not acknowledged.
        self._number = 0
        self._backoff_ms = BACKOFF_MS_MIN
        self._hello_sent_at_ms: Ms = 0
        self._answered_at_ms: Ms = 0

    # ── dialling ──────────────────────────────────────────────────────────────────────────────

    def dial(self) -> None:
        """Tries to reach the server."""
        node, line = self._node, self._node.line
        self._number += 1
        if line.is_blocked[UP] or line.is_blocked[DOWN]:
            self._later(DIAL_MS, self._lost, self._number)
        elif not node.world.server.is_up:
            self._lost(self._number)
        else:
            self._later(line.delay_ms() + line.delay_ms(), self._greet, self._number)

    def _greet(self, number: int) -> None:
        node, line = self._node, self._node.line
        blocked = line.is_blocked[UP] or line.is_blocked[DOWN]
        if blocked or not node.world.server.is_up:
            self._lost(number)
            return
        connection = self._connection = line.connect()
        end = connection.ends[DOWN]

        def on_frame(frame: str) -> None:
            node.awake(self._life, self._receive, number, frame)

        def on_close() -> None:
            node.awake(self._life, self._lost, number)

        def on_late(frame: str) -> None:
            delay_ms = node.chance.choice(LATE_MS)
            node.agenda.after(delay_ms, node.awake, self._life, self._hear_late, frame)

        end.on_frame, end.on_close = on_frame, on_close
        if node.world.hears_late:
            end.on_late = on_late
        node.world.server.accept(node, connection)
        self.link.resumed()
        self._hello_sent_at_ms = node.boot_ms()
        if node.blocks_hello_ms:
            line.block(UP)
            node.agenda.after(node.blocks_hello_ms, line.open)
            node.blocks_hello_ms = 0
        hello = self._hello()
        self._output.begin(claim.attempt_id for claim in hello.held)
        body = encode_message(hello)
        connection.send(UP, encode_envelope(0, [(0, body)]))
        self._later(WELCOME_MS, self._not_welcomed, number)

    def _hello(self) -> Hello:
        life, node = self._life, self._node
        return Hello(
            incarnation=self._incarnation,
            agent_version="simulated",
            label=str(node.id),
            boot_id=f"{node.id}-{node.boot}",
            capabilities=CAPABILITIES,
            inventory=node.inventory(),
            held=tuple(life.executor.held()),
            journal=Journal.REBUILT if life.was_absent else Journal.INTACT,
            journal_id=node.journal.id,
            sent_at_ms=self._hello_sent_at_ms,
        )

    def _not_welcomed(self, number: int) -> None:
        if number == self._number and not self._is_open:
            self._lost(number)

    def hang_up(self) -> None:
        """The process is gone: the kernel still sends what it was given, and then the close."""
        if self._connection is not None:
            self._connection.close(DOWN)
            self._connection = None
        self._is_open = False

    def _lost(self, number: int) -> None:
        if number != self._number:
            return
        was_open = self._is_open
        self.hang_up()
        self._number += 1
        if was_open:
            self._life.put(SessionClosed())
        pause_ms = round(self._backoff_ms * (1 + self._life.chance.random()))
        self._backoff_ms = min(self._backoff_ms * 2, BACKOFF_MS_MAX)
        self._later(pause_ms, self.dial)

    # ── a session ─────────────────────────────────────────────────────────────────────────────

    def _receive(self, number: int, frame: str) -> None:
        if number != self._number:
            return
        if frame.startswith(WORDS):
            self._output.heard(frame)
            return
        node, messages = self._node, self.link.receive(frame)
        events: list[NodeEvent] = []
        highest = 0
        for n, message in messages:
            highest = max(highest, n)
            if isinstance(message, Turned):
                self._lost(number)
                return
            if isinstance(message, Welcome):
                self._welcomed(message, number)
                events.append(SessionOpened(session=message.session))
                events.append(ContactRenewed(sent_at_ms=self._hello_sent_at_ms))
                continue
            if isinstance(message, HeartbeatAck):
                self._answered_at_ms = max(self._answered_at_ms, message.sent_at_ms)
            if isinstance(message, Dispatch) and node.at_dispatch is not None:
                node.agenda.after(node.chance.choice((5, 30, 150, 300)), node.at_dispatch)
                node.at_dispatch = None
            event = node_event(message)
            if event is not None:
                events.append(event)
        if events:
            self._life.put(*events, mark=(highest, number) if highest else None)

    def _hear_late(self, frame: str) -> None:
        """What came on a connection that is over is handed on like news of today."""
        if frame.startswith(WORDS):
            return
        for item in decode_envelope(frame).messages:
            message = server_codec().decode(item.body)
            event = None if message is None else node_event(message)
            if event is not None:
                self._life.world.sometimes("a word of an old connection was heard")
                self._life.put(event)

    def _welcomed(self, welcome: Welcome, number: int) -> None:
        self._is_open = True
        self._answered_at_ms = self._node.boot_ms()
        self._backoff_ms = BACKOFF_MS_MIN
        self._beat(number, welcome.heartbeat_ms)
        self._send_output(number)
        self.flush()

    def _beat(self, number: int, every_ms: Ms) -> None:
        if number != self._number:
            return
        limit_ms = HEARTBEATS_MISSED * every_ms + every_ms // 2
        if self._node.boot_ms() - self._answered_at_ms > limit_ms:
            self._life.world.sometimes("an agent hung up on a silent server")
            self._lost(number)
            return
        beat = Heartbeat(
            sent_at_ms=self._node.boot_ms(), gpus=self.gpus, problem=self._life.disk_problem
        )
        self.link.send_unnumbered(beat)
        self.flush()
        self._later(every_ms, self._beat, number, every_ms)

    def _send_output(self, number: int) -> None:
        if number == self._number:
            self._output.send()
            self._later(SEND_EVERY_MS, self._send_output, number)

    def send_frame(self, frame: str) -> None:
        """A frame that is no message."""
        if self._connection is not None:
            self._connection.send(UP, frame)

    def committed(self, n: int, number: int) -> None:
        """Everything up to ``n`` of that connection is stored; it is acknowledged."""
        if number == self._number:
            self.link.committed(n)

    def flush(self) -> None:
        """Sends what waits, when there is a session."""
        if self._is_open and self._connection is not None:
            for frame in self.link.frames():
                self._connection.send(UP, frame)

    def _later(self, delay_ms: Ms, action: Callable[..., None], *arguments: object) -> None:
        node = self._node
        node.at_boot(node.boot_ms() + delay_ms, node.awake, self._life, action, *arguments)
