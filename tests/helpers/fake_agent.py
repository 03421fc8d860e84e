"""An agent without a node: speaks the protocol over a real WebSocket, and badly when told to.

By default it runs every dispatched attempt at once: accepted, started, its output shipped from the
server's mark on, ended. ``answers=False`` makes it say nothing by itself; then a test says what it
wants with ``say``, ``send_text`` and ``send_log``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from fluxhive.core.capability import CAPABILITIES
from fluxhive.core.node import HeldAttempt, HeldPhase, Inventory
from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptStarted
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import (
    AgentMessage,
    Dispatch,
    Forget,
    Heartbeat,
    HeartbeatAck,
    Hello,
    LogUpTo,
    ServerMessage,
    Stop,
    Turned,
    Welcome,
)
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import (
    FRAME_BYTES_MAX,
    SUBPROTOCOL,
    LogChunk,
    encode_envelope,
    encode_log,
    encode_message,
    server_codec,
)

CHUNK_BYTES = 64 * 1024
FAILED = Outcome(kind=OutcomeKind.FAILURE, exit_code=1)
SUCCEEDED = Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)

Output = tuple[bytes, bytes]


@dataclass
class FakeRun:
    """One attempt on the fake node."""

    dispatch: Dispatch
    output: Output = (b"", b"")
    ended: AttemptEnded | None = None
    sent: list[int] = field(default_factory=lambda: [0, 0])


class FakeAgent:
    """See the module's docstring. State lives over connections, as a real agent's does."""

    def __init__(
        self,
        url: str,
        node: str = "n-1",
        *,
        label: str | None = None,
        inventory: Inventory | None = None,
        incarnation: int = 1,
        answers: bool = True,
        output: Callable[[Dispatch], Output] = lambda _dispatch: (b"", b""),
        outcome: Callable[[Dispatch], Outcome] = lambda _dispatch: SUCCEEDED,
    ) -> None:
        self.url = url
        self.node = node
        self.label = label or node
        self.inventory = inventory or Inventory(cpus=8, memory_mib=65_536)
        self.incarnation = incarnation
        self.answers = answers
        self.output = output
        self.outcome = outcome
        #: Pause after each log frame, for tests that want to meet it in mid stream.
        self.pause_s = 0.0
        self.runs: dict[AttemptId, FakeRun] = {}
        self.link: Link[ServerMessage] = Link(server_codec())
        #: Everything the server said, in order.
        self.heard: list[ServerMessage] = []
        self.welcome: Welcome | None = None
        self.turned: Turned | None = None
        #: Close code and reason, once the server has closed.
        self.closed: tuple[int, str] | None = None
        self._socket: ClientConnection | None = None
        self._changed = anyio.Event()
        self._dirty = anyio.Event()

    # ── connection ────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def dialled(self, *, subprotocol: str = SUBPROTOCOL) -> AsyncIterator[ClientConnection]:
        """A bare connection: nothing is said or read."""
        async with connect(
            self.url,
            subprotocols=[Subprotocol(subprotocol)],
            additional_headers={"Authorization": f"Bearer {self.node}"},
            compression=None,
            max_size=FRAME_BYTES_MAX,
            ping_interval=None,
            proxy=None,
            close_timeout=1,
        ) as socket:
            self._socket = socket
            yield socket

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[FakeAgent]:
        """Says hello, waits for the answer, then works until left."""
        self.welcome = self.turned = self.closed = None
        self.link.resumed()
        async with self.dialled() as socket:
            await socket.send(encode_envelope(0, [(0, encode_message(self.hello()))]))
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, socket)
                await self.until(lambda: self.welcome or self.turned or self.closed)
                group.start_soon(self._write, socket, group)
                yield self
                group.cancel_scope.cancel()

    def hello(self) -> Hello:
        """How it presents itself."""
        held = tuple(
            HeldAttempt(
                attempt_id=attempt_id,
                epoch=run.dispatch.epoch,
                phase=HeldPhase.EXITED if run.ended else HeldPhase.RUNNING,
            )
            for attempt_id, run in self.runs.items()
        )
        return Hello(
            incarnation=self.incarnation,
            agent_version="1.0",
            label=self.label,
            boot_id="boot-1",
            capabilities=CAPABILITIES,
            inventory=self.inventory,
            held=held,
        )

    async def until(self, claim: Callable[[], object], *, timeout_s: float = 20.0) -> None:
        """Waits until something the server said makes the claim true."""
        with anyio.fail_after(timeout_s):
            while not claim():
                await self.changed()

    async def changed(self) -> None:
        """Waits for the next thing the server says, over connections too."""
        await self._changed.wait()

    def all(self, kind: type) -> list:
        """Messages of one kind, in the order in which they came."""
        return [message for message in self.heard if isinstance(message, kind)]

    # ── saying ────────────────────────────────────────────────────────────────────────────────

    def say(self, message: AgentMessage) -> None:
        """Sends a numbered message."""
        self.link.send(message)
        self._dirty.set()

    def beat(self, sent_at_ms: int, **fields: object) -> None:
        """Sends a heartbeat."""
        self.link.send_unnumbered(Heartbeat(sent_at_ms=sent_at_ms, **fields))  # type: ignore[arg-type]
        self._dirty.set()

    async def send(self, frame: str | bytes) -> None:
        """Sends a frame as it is."""
        assert self._socket is not None
        await self._socket.send(frame)

    async def send_log(
        self, channel: int, data: bytes, *, offset: int = 0, stream: int = 0, time_ms: int = 1_000
    ) -> None:
        """Sends a log frame."""
        chunk = LogChunk(channel=channel, stream=stream, offset=offset, time_ms=time_ms, data=data)
        await self.send(encode_log(chunk))

    def report(self, dispatch: Dispatch, *, output: Output = (b"", b"")) -> None:
        """Accepts, starts and ends an attempt in one breath."""
        attempt_id, epoch = dispatch.attempt_id, dispatch.epoch
        run = self.runs[attempt_id] = FakeRun(dispatch, output)
        run.ended = AttemptEnded(
            attempt_id=attempt_id,
            epoch=epoch,
            outcome=self.outcome(dispatch),
            facts=ExitFacts(exit_code=0, stdout_bytes=len(output[0]), stderr_bytes=len(output[1])),
        )
        self.say(AttemptAccepted(attempt_id=attempt_id, epoch=epoch))
        self.say(AttemptStarted(attempt_id=attempt_id, epoch=epoch, pid=4242))
        self.say(run.ended)

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                for n, message in self.link.receive(await socket.recv()):
                    self._hear(message)
                    self.link.committed(n)
                self._dirty.set()
                self._tell()
        except ConnectionClosed as error:
            close = error.rcvd
            self.closed = (close.code, close.reason) if close else (1006, "")
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _hear(self, message: ServerMessage) -> None:
        self.heard.append(message)
        match message:
            case Welcome():
                self.welcome = message
                for mark in message.log_marks:
                    self._mark(mark)
            case Turned():
                self.turned = message
            case LogUpTo():
                self._mark(message)
            case Forget():
                for attempt_id in message.attempt_ids:
                    self.runs.pop(attempt_id, None)
            case Dispatch() if self.answers:
                known = self.runs.get(message.attempt_id)
                if known is not None and known.ended is not None:
                    self.say(known.ended)
                else:
                    self.report(message, output=self.output(message))
            case Stop() if self.answers:
                known = self.runs.get(message.attempt_id)
                if known is None or known.ended is None:
                    stopped = Outcome(kind=OutcomeKind.CANCELLED)
                    self.say(
                        AttemptEnded(
                            attempt_id=message.attempt_id, epoch=message.epoch, outcome=stopped
                        )
                    )
            case HeartbeatAck() | Dispatch() | Stop():
                pass

    def _mark(self, mark: LogUpTo) -> None:
        for run in self.runs.values():
            if run.dispatch.channel == mark.channel:
                run.sent[mark.stream] = mark.received
                self._dirty.set()

    async def _write(self, socket: ClientConnection, group: TaskGroup) -> None:
        while True:
            self._dirty = anyio.Event()
            try:
                for frame in self.link.frames():
                    await socket.send(frame)
                for run in list(self.runs.values()):
                    await self._ship(socket, run)
            except ConnectionClosed:
                return
            await self._dirty.wait()

    async def _ship(self, socket: ClientConnection, run: FakeRun) -> None:
        for stream, data in enumerate(run.output):
            while run.sent[stream] < len(data):
                offset = run.sent[stream]
                chunk = LogChunk(
                    channel=run.dispatch.channel,
                    stream=stream,
                    offset=offset,
                    time_ms=1_000 + offset,
                    data=data[offset : offset + CHUNK_BYTES],
                )
                run.sent[stream] += len(chunk.data)
                await socket.send(encode_log(chunk))
                if self.pause_s:
                    await anyio.sleep(self.pause_s)
