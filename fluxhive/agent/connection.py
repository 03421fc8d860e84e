"""The agent's end of its one connection: dials, says hello, keeps the link going, dials again.

Bytes in and out of ``protocol.link``; what the messages mean is the runner's business (``Peer``).
Control messages go ahead of output, and a connection that does not answer heartbeats is cut. Only
what a person must repair ends ``run``: everything else is said once and tried again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import anyio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from fluxhive.core.errors import AuthError, Conflict, FluxhiveError, InputError
from fluxhive.diagnostics import first_cause
from fluxhive.protocol.agent import (
    Goodbye,
    Heartbeat,
    HeartbeatAck,
    Hello,
    LogGap,
    LogUpTo,
    ServerMessage,
    Turned,
    Welcome,
)
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import (
    CAPABILITY_ZSTD_LOGS,
    WireError,
    encode_envelope,
    encode_message,
    streams_taken,
)

from .bell import Bell
from .dialling import CLOSE_S, Lost, Refused, closed_reason, dial, websocket_url
from .disk_thread import DiskThread
from .logs import LogTailer

log = logging.getLogger(__name__)

WELCOME_S = 20.0
GOODBYE_S = 5.0
#: A pause is up to twice as long, so that a thousand agents do not dial at once.
BACKOFF_S_MIN, BACKOFF_S_MAX = 1.0, 3.0
#: Unanswered for so many intervals (and a little), the connection is taken for dead.
HEARTBEATS_MISSED = 3
HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX = 200, 5_000
CONTROL_FRAMES_AT_ONCE = 8
#: How long an acknowledgement waits for a message to go along with.
GATHER_S = 0.01


class Peer(Protocol):
    """What the connection asks of the runner. Nothing here may block."""

    async def credentials(self, *, again: bool) -> str:
        """The node's token; ``again``: the one given before was refused."""

    def hello(self) -> Hello:
        """How the node presents itself now."""

    def welcomed(self, welcome: Welcome) -> None:
        """A session began."""

    def received(self, messages: list[tuple[int, ServerMessage]], connection_number: int) -> None:
        """Messages of the session; ``Connection.committed`` answers for their numbers."""

    def disconnected(self) -> None:
        """The session is over."""

    def heartbeat(self) -> Heartbeat:
        """How the node is now."""


class _Finished(Exception):
    """The goodbye is said."""


class Connection:
    """Keeps a session with the server for as long as the agent lives."""

    def __init__(
        self,
        url: str,
        link: Link[ServerMessage],
        logs: LogTailer,
        peer: Peer,
        *,
        ca_file: str | None = None,
        heartbeat_ms: int = 2_000,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._url = websocket_url(url)
        self._link = link
        self._logs = logs
        self._peer = peer
        self._ca_file = ca_file
        self._heartbeat_ms = heartbeat_ms
        self._clock = clock
        self._number = self._answered_at_ms = self._n_refused = 0
        self._bell, self._has_output = Bell(), Bell()
        self._disk = DiskThread("output")
        self._flushing = anyio.Lock(fast_acquire=True)
        self._is_gathering = False
        self._trouble = ""
        self._backoff_s = BACKOFF_S_MIN
        self._goodbye: str | None = None
        self._gone = anyio.Event()
        self._zstd = False
        self.is_open = False
        logs.on_ready = self._has_output.ring
        logs.on_flag = self._say_unnumbered

    def wake(self) -> None:
        """There is something to send."""
        self._bell.ring()

    def _say_unnumbered(self, message: LogGap | Heartbeat) -> None:
        self._link.send_unnumbered(message)
        self.wake()

    def wake_soon(self) -> None:
        """There is something to send that nobody waits for: it goes with what comes next."""
        if not self._is_gathering:
            self._is_gathering = True
            asyncio.get_running_loop().call_later(GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._is_gathering = False
        self.wake()

    def committed(self, n: int, connection_number: int) -> None:
        """Everything up to ``n`` of that connection is stored; it is acknowledged."""
        if n and connection_number == self._number:
            self._link.committed(n)
            self.wake_soon()

    async def say_goodbye(self, reason: str) -> None:
        """Sends what waits and closes; returns when that is done or takes too long."""
        self._goodbye = reason
        self.wake()
        with anyio.move_on_after(GOODBYE_S):
            if self.is_open:
                await self._gone.wait()

    async def run(self) -> None:
        """Returns after a goodbye. Raises ``FluxhiveError`` for what only a person can repair."""
        while self._goodbye is None:
            try:
                await self._connect(await self._peer.credentials(again=self._n_refused > 0))
            except _Finished:
                break
            except Refused as error:
                self._n_refused += 1
                if self._n_refused > 1:
                    raise AuthError(
                        f"the server refuses this node: {error}",
                        hint="an administrator may have removed it: see `fluxhive nodes`",
                    ) from error
                log.warning("node token refused, registering again", extra={"reason": str(error)})
                continue
            except FluxhiveError as error:
                if isinstance(error, AuthError | InputError | Conflict):
                    raise
                self._say_trouble(error.text, error.hint)
            except Lost as error:
                self._say_trouble(str(error), error.hint or None)
            except Exception:  # supervisor: a bug in one session must not end the node
                log.exception("session failed")
            await self._pause()
        self._gone.set()

    async def _pause(self) -> None:
        await anyio.sleep(self._backoff_s * random.uniform(1.0, 2.0))
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_S_MAX)

    def _say_trouble(self, reason: str, hint: str | None) -> None:
        """Once for each kind of trouble, not once for each try."""
        if reason != self._trouble:
            said = {"reason": reason, "next": "trying again until it answers"}
            log.warning("no server", extra=said | ({"hint": hint} if hint else {}))
            self._trouble = reason

    # ── one connection ────────────────────────────────────────────────────────────────────────

    async def _connect(self, token: str) -> None:
        socket = await dial(self._url, token, ca_file=self._ca_file)
        try:
            await self._greet(socket)
            await self._session(socket)
        except ConnectionClosed as error:
            raise Lost(closed_reason(error)) from error
        except WireError as error:
            raise Lost(f"the server sent what is not our protocol: {error}") from error
        except TimeoutError as error:
            raise Lost("the server does not answer the hello") from error
        finally:
            self.is_open = False
            self._number += 1
            self._logs.pause()
            self._peer.disconnected()
            with anyio.move_on_after(CLOSE_S, shield=True):
                await socket.close()

    async def _greet(self, socket: ClientConnection) -> None:
        self._link.resumed()
        hello = self._peer.hello()
        said_at_s = time.monotonic()
        await socket.send(encode_envelope(0, [(0, encode_message(hello))]))
        with anyio.fail_after(WELCOME_S):
            messages = self._link.receive(await socket.recv(decode=False))
            while not messages:
                messages = self._link.receive(await socket.recv(decode=False))
        first = messages[0][1]
        if isinstance(first, Turned):
            if first.try_again:
                raise Lost(f"the server turned this node away: {first.reason}", hint=first.hint)
            raise Conflict(first.reason, hint=first.hint or None)
        if not isinstance(first, Welcome):
            raise Lost(f"the server began with {type(first).__name__} instead of a welcome")
        self._begin(first, time.monotonic() - said_at_s)
        self._peer.received(messages, self._number)

    def _begin(self, welcome: Welcome, way_s: float) -> None:
        self.is_open = True
        self._heartbeat_ms = max(
            HEARTBEAT_MS_MIN, min(welcome.heartbeat_ms or self._heartbeat_ms, HEARTBEAT_MS_MAX)
        )
        self._answered_at_ms = self._clock()
        self._zstd = CAPABILITY_ZSTD_LOGS in welcome.capabilities
        self._logs.n_taken = streams_taken(welcome.capabilities)
        self._logs.resume(welcome.log_marks, way_s=way_s, only_marked=True)
        self._peer.welcomed(welcome)
        self._backoff_s = BACKOFF_S_MIN
        self._n_refused = 0
        log.info(
            "connected" if not self._trouble else "connected again",
            extra={"url": self._url, "session": welcome.session, "server": welcome.server_version},
        )
        self._trouble = ""

    async def _session(self, socket: ClientConnection) -> None:
        try:
            async with anyio.create_task_group() as group:
                for part in (self._read, self._write, self._ship, self._beat):
                    group.start_soon(part, socket)
        except BaseException as error:
            if isinstance(cause := first_cause(error), Exception) and cause is not error:
                raise cause from error
            raise

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            messages = self._link.receive(await socket.recv(decode=False))
            kept: list[tuple[int, ServerMessage]] = []
            for n, message in messages:
                if isinstance(message, LogUpTo):
                    self._logs.up_to(message)
                    continue
                if isinstance(message, HeartbeatAck):
                    self._answered_at_ms = max(self._answered_at_ms, message.sent_at_ms)
                elif isinstance(message, Turned):
                    raise Lost(f"the server turned this node away: {message.reason}")
                kept.append((n, message))
            if kept:
                self._peer.received(kept, self._number)

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            while await self._flush(socket):
                pass
            if self._goodbye is not None:
                goodbye = encode_message(Goodbye(reason=self._goodbye))
                await socket.send(encode_envelope(0, [(0, goodbye)]))
                raise _Finished
            await self._bell.wait()

    async def _flush(self, socket: ClientConnection) -> int:
        """Sends what waits of control messages, in order; how many frames that were."""
        if not self._link.has_frames and not self._flushing.locked():
            return 0
        async with self._flushing:
            frames = self._link.frames(most=CONTROL_FRAMES_AT_ONCE)
            for frame in frames:
                await socket.send(frame)
            return len(frames)

    async def _ship(self, socket: ClientConnection) -> None:
        """Sends output, at the disk's pace: one that hangs costs no heartbeat."""
        # An earlier session's read may still be under way, of files that ``plan`` would close.
        await self._disk.run(lambda: None)
        while True:
            while self._logs.has_work:
                await self._send_logs(socket)
            await self._has_output.wait()

    async def _send_logs(self, socket: ClientConnection) -> None:
        compress = self._zstd and self._logs.window.is_slow
        pieces = self._logs.plan()
        reads = self._logs.read_at_once(pieces)
        if reads is None:
            reads = await self._disk.run(partial(self._logs.read, pieces, compress=compress))
        self._logs.sent(reads)
        for each in reads:
            if each.frame is not None:
                await socket.send(each.frame)
            if each.gap is not None:
                self._link.send_unnumbered(each.gap)
            await self._flush(socket)

    async def _beat(self, socket: ClientConnection) -> None:
        limit_ms = HEARTBEATS_MISSED * self._heartbeat_ms + self._heartbeat_ms // 2
        while True:
            self._say_unnumbered(self._peer.heartbeat())
            due_ms = self._clock() + self._heartbeat_ms
            await anyio.sleep(self._heartbeat_ms / 1000)
            # What this loop is late by is not the line's: nothing was asked meanwhile.
            self._answered_at_ms += max(0, self._clock() - due_ms)
            if self._clock() - self._answered_at_ms > limit_ms:
                socket.transport.abort()
                raise Lost(f"{HEARTBEATS_MISSED} heartbeats without an answer")
