"""One agent's connection at the server's end: frames in, frames out, bounded on both sides.

The reader never waits for the disk: heartbeats are answered at once, reports go to the brain and
are acknowledged when it has stored them, output goes to the log writer. So frames are taken where
they come in and answered where they are taken (frame_door.py). Where a peer does not take what is
said, a writer sends what waits, and cuts it off in the end, so that nobody else ever waits for it.
Which sessions there are, and what they are told, is sessions.py's business.
"""

from __future__ import annotations

import asyncio
import logging
import time

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from fluxhive.core.events import HiveEvent, NodeReported, NodeSaid
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptRefused, AttemptStarted
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import AttemptId, NodeId
from fluxhive.protocol.agent import (
    AgentMessage,
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    LogGap,
    LogUpTo,
    ServerMessage,
)
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import FRAME_BYTES_MAX, Codec, WireError

from . import close_codes
from .brain import Brain
from .frame_door import door_of
from .log_writer import AttemptLogs, mark
from .logs import LogStore
from .node_checks import BadNode, ForeignAttempt, check
from .node_clock import NodeClock
from .registry import Registry
from .store.failures import StoreUnavailable

log = logging.getLogger(__name__)

#: Bytes that may wait to be sent to one node.
OUTBOX_BYTES_MAX = 32 * 1024 * 1024
#: Reports of one node that may wait to be stored.
REPORTS_MAX = 50_000
#: One frame must be taken within this time.
WRITE_S = 30.0
CLOSE_S = 2.0
#: Marks of logs are gathered for so long, or until so much of a stream has come: a node has at most
#: 2 MiB under way, and would wait for its mark with most of them.
MARKS_DELAY_S, MARKS_BYTES = 0.010, 512 * 1024
#: A node that keeps sending beyond the mark is told again after this time.
REFUSE_AGAIN_S = 1.0
FRAMES_AT_ONCE = 16
#: A close reason has at most 123 bytes (RFC 6455 §5.5).
_REASON_BYTES = 123


class Session:
    """See the module's docstring. A ``LogSource`` for the log writer."""

    def __init__(
        self,
        websocket: WebSocket,
        node_id: NodeId,
        codec: Codec[AgentMessage],
        brain: Brain,
        logs: LogStore,
        registry: Registry,
    ) -> None:
        self.node_id = node_id
        self.backlog_bytes = 0
        #: Number of the session; 0 before it was given one.
        self.number = 0
        #: False once it is closed: nothing it says counts any more.
        self.is_open = True
        #: Set by the welcome or the turning away.
        self.greeted = anyio.Event()
        self.last_heard_s = time.monotonic()
        self.clock = NodeClock()
        #: Which start of an agent speaks; empty: an older one that does not say.
        self.life = ""
        #: Attempts that the node held when it said hello.
        self.held: tuple[AttemptId, ...] = ()
        #: Which members of these attempts the node is.
        self.ranks: dict[AttemptId, int] = {}
        self._websocket = websocket
        self._brain = brain
        self._logs = logs
        self._registry = registry
        self._link: Link[AgentMessage] = Link(codec)
        self._scope = anyio.CancelScope()
        #: None: all goes by ASGI.
        self._door = door_of(websocket.scope)
        self._flush_due = False
        #: The writer has frames in its hands: nothing goes past it.
        self._is_writing = False
        self._wake = anyio.Event()
        self._outbox_bytes = 0
        self._n_unstored = 0
        self._marks: dict[tuple[int, int], tuple[LogUpTo, bool]] = {}
        self._told: dict[tuple[int, int], tuple[LogUpTo, float]] = {}
        self._marks_due = False
        self._reported: NodeReported | None = None
        self._is_reporting = False
        self.close_code = close_codes.GOODBYE
        self.close_reason = ""

    @property
    def peer_address(self) -> str:
        """Where the server sees the node; empty when it cannot tell."""
        client = self._websocket.client
        return "" if client is None else client.host

    # ── saying ────────────────────────────────────────────────────────────────────────────────

    def say(self, message: ServerMessage) -> None:
        """Queues a numbered message."""
        self._queued(len(self._link.send(message)[1]))

    def say_encoded(self, body: bytes) -> None:
        """The same for a message that is encoded already."""
        self._link.send_encoded(body)
        self._queued(len(body))

    def say_unnumbered(self, message: ServerMessage) -> None:
        """Queues a message ahead of the others that nobody acknowledges."""
        self._link.send_unnumbered(message)
        self._queued(128)

    def close(self, code: int, reason: str) -> None:
        """Ends the session; what was queued before may still go out."""
        if self.is_open:
            self.is_open = False
            self.close_code, self.close_reason = code, reason
            self._scope.cancel()

    def _queued(self, n_bytes: int) -> None:
        self._outbox_bytes += n_bytes
        if self._outbox_bytes > OUTBOX_BYTES_MAX or self._link.is_full:
            self.close(close_codes.SLOW, "too much waits for this node: it does not keep up")
        self._send_soon()

    def _send_soon(self) -> None:
        """What is said in one turn of the loop goes out together."""
        if self._door is None or self._is_writing:
            self._wake.set()
        elif not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Sends what waits, as far as the peer takes it; the rest is the writer's."""
        self._flush_due = False
        door = self._door
        while door is not None and door.is_open and not self._is_writing:
            frames = self._link.frames(most=1)
            if not frames:
                self._outbox_bytes = 0
                return
            door.write(frames[0])
        self._wake.set()

    # ── running ───────────────────────────────────────────────────────────────────────────────

    async def hello(self) -> Hello:
        """The first message. Raises ``WireError``, ``BadNode`` or ``WebSocketDisconnect``."""
        frame = await self._receive()
        if not isinstance(frame, str):
            raise WireError("a hello comes first, as text")
        messages = self._link.receive(frame)
        n, hello = messages[0] if len(messages) == 1 else (0, None)
        if not isinstance(hello, Hello):
            raise WireError("a hello comes first, alone in its frame")
        check(hello, self.node_id, self._brain.manager)
        self._link.committed(n)
        self.held = tuple(claim.attempt_id for claim in hello.held)
        self.life = hello.life
        return hello

    async def run(self) -> None:
        """Reads and writes until closed from either side."""
        with self._scope:
            if not self.is_open:
                return
            async with anyio.create_task_group() as group:
                group.start_soon(self._write)
                if self._door is not None:
                    self._door.taker = self._take_now
                try:
                    while self.is_open:
                        self._take(await self._receive())
                except WebSocketDisconnect as error:
                    self.close(
                        close_codes.GOODBYE, f"the node closed the connection ({error.code})"
                    )

    async def finish(self) -> None:
        """Sends what is queued and the close frame, as far as the peer takes them."""
        self._is_writing = True
        with anyio.move_on_after(CLOSE_S, shield=True):
            try:
                for frame in self._link.frames(most=FRAMES_AT_ONCE):
                    await self._websocket.send_text(frame)
                reason = self.close_reason.encode()[:_REASON_BYTES].decode(errors="ignore")
                await self._websocket.close(self.close_code, reason)
            except (RuntimeError, WebSocketDisconnect):
                return  # The other side was faster.

    def forbid(self, reason: str) -> None:
        """Closes for an attempt to touch what is another node's: an audit line."""
        log.warning("node refused", extra={"audit": True, "node": self.node_id, "reason": reason})
        self.close(close_codes.FORBIDDEN, reason)

    async def _write(self) -> None:
        while True:
            frames = self._link.frames(most=FRAMES_AT_ONCE)
            if not frames:
                self._outbox_bytes = 0
                self._is_writing = False
                self._wake = anyio.Event()
                await self._wake.wait()
                continue
            self._is_writing = True
            for frame in frames:
                self._outbox_bytes = max(0, self._outbox_bytes - len(frame))
                with anyio.move_on_after(WRITE_S) as scope:
                    try:
                        await self._websocket.send_text(frame)
                    except (RuntimeError, WebSocketDisconnect):
                        return  # The reader hears of it, too, and closes.
                if scope.cancelled_caught:
                    self.close(close_codes.SLOW, f"a frame was not taken within {WRITE_S:.0f} s")
                    return

    def _take_now(self, frame: str | bytes) -> None:
        """A frame that came by the door."""
        if self.is_open:
            self._flush_due = True
            try:
                self._take(frame)
            finally:
                self._flush()

    def _take(self, frame: str | bytes) -> None:
        self.last_heard_s = time.monotonic()
        try:
            if isinstance(frame, bytes):
                self._take_log(frame)
            else:
                self._take_messages(self._link.receive(frame))
        except ForeignAttempt as error:
            self.forbid(str(error))
        except (WireError, BadNode) as error:
            self.close(close_codes.PROTOCOL, str(error))

    async def _receive(self) -> str | bytes:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006), message.get("reason"))
        frame: str | bytes | None = message.get("text")
        if frame is None:
            frame = message.get("bytes") or b""
        if len(frame) > FRAME_BYTES_MAX:
            raise WireError(f"a frame above {FRAME_BYTES_MAX} bytes")
        return frame

    # ── what the node says ────────────────────────────────────────────────────────────────────

    def _take_messages(self, messages: list[tuple[int, AgentMessage]]) -> None:
        manager: TaskManager = self._brain.manager
        events: list[HiveEvent] = []
        last_n = 0
        for n, message in messages:
            check(message, self.node_id, manager)
            last_n = max(last_n, n)
            match message:
                case Heartbeat():
                    self.say_unnumbered(HeartbeatAck(sent_at_ms=message.sent_at_ms))
                    self._heartbeat(message)
                case AttemptAccepted() | AttemptRefused() | AttemptStarted() | AttemptEnded():
                    if isinstance(message, AttemptEnded):
                        self._registry.ended(self, message)
                    events.append(
                        NodeSaid(node_id=self.node_id, session=self.number, report=message)
                    )
                case LogGap():
                    self._take_log(message)
                case Goodbye():
                    self.close(close_codes.GOODBYE, f"goodbye: {message.reason}")
                case Hello():
                    raise BadNode("a second hello on one connection")
        if events:
            self._post(events, last_n)
        else:
            self._stored(last_n)

    def _post(self, events: list[HiveEvent], last_n: int) -> None:
        self._n_unstored += len(events)
        if self._n_unstored > REPORTS_MAX:
            self.close(close_codes.SLOW, "too many reports wait to be stored")
            return

        def done(error: Exception | None) -> None:
            self._n_unstored -= len(events)
            # Put aside for good: acknowledged, or it would come again for ever. Not stored for
            # now: not acknowledged; this session is closed once the store works again.
            if error is None or not isinstance(error, StoreUnavailable):
                self._stored(last_n)

        self._brain.post(events, done)

    def _stored(self, n: int) -> None:
        self._link.committed(n)
        self._send_soon()

    def _heartbeat(self, heartbeat: Heartbeat) -> None:
        self._registry.heard(self, heartbeat)
        report = NodeReported(node_id=self.node_id, session=self.number, gpus=heartbeat.gpus)
        if not self._is_reporting and self._brain.heartbeats.takes(report):
            return
        self._reported = report
        if not self._is_reporting:
            self._report(None)

    def _report(self, _error: Exception | None) -> None:
        """Tells the brain the newest reading; while it is busy only the newest is kept."""
        news, self._reported = self._reported, None
        self._is_reporting = news is not None and self.is_open and not self._brain.problem
        if self._is_reporting and news is not None:
            self._brain.post((news,), self._report)

    # ── output ────────────────────────────────────────────────────────────────────────────────

    def _take_log(self, frame: bytes | LogGap) -> None:
        if not self._logs.offer(self, frame):
            self.close(close_codes.SLOW, "more output than the server has answered for")

    def log_arrived(self, where: AttemptLogs, stream: int, *, refused: bool) -> None:
        """Bytes were written, or a frame was refused: the node goes back to the mark."""
        if not self.is_open:
            return
        key = (where.channel, stream)
        earlier = self._marks.get(key)
        refused = refused or (earlier is not None and earlier[1])
        newest = mark(where, stream)
        self._marks[key] = newest, refused
        told, _ = self._told.get(key, (None, 0.0))
        if newest.received - (0 if told is None else told.received) >= MARKS_BYTES:
            self._send_marks()
        elif not self._marks_due:
            self._marks_due = True
            asyncio.get_running_loop().call_later(MARKS_DELAY_S, self._gathered)

    def log_broke(self, problem: str, *, foreign: bool) -> None:
        """What came is no log frame, or one of another node's attempt."""
        if foreign:
            self.forbid(problem)
        else:
            self.close(close_codes.PROTOCOL, problem)

    def forget_mark(self, channel: int, stream: int) -> None:
        """Nothing more is said about this stream."""
        self._told.pop((channel, stream), None)
        self._marks.pop((channel, stream), None)

    def _gathered(self) -> None:
        self._marks_due = False
        self._send_marks()

    def _send_marks(self) -> None:
        """A mark that brings news lets the node go on; the same one again sends it back to there.

        So a refusal is the mark said once more after it brought its news, and no mark is ever
        repeated without need.
        """
        marks, self._marks = self._marks, {}
        if not self.is_open:
            return
        now_s = time.monotonic()
        for key, (up_to, refused) in marks.items():
            told, refused_s = self._told.get(key, (None, 0.0))
            is_news = told != up_to
            if is_news:
                self.say_unnumbered(up_to)
                refused_s = 0.0 if told is None or told.received != up_to.received else refused_s
            if refused and now_s - refused_s >= REFUSE_AGAIN_S:
                self.say_unnumbered(up_to)
                refused_s = now_s
            self._told[key] = up_to, refused_s
