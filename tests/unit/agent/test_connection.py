"""The agent's connection against a server that a test plays, over a real WebSocket on loopback.

No real server and no agent: what is tested is dialling, the session, and what ends it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from fluxhive.agent import connection as module
from fluxhive.agent.connection import Connection
from fluxhive.agent.dialling import websocket_url
from fluxhive.agent.log_stream import Piece, Read
from fluxhive.agent.logs import LogTailer
from fluxhive.core.errors import AuthError, Conflict
from fluxhive.core.node import Inventory
from fluxhive.core.outcome import StopCause
from fluxhive.core.reports import AttemptAccepted
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import (
    AgentMessage,
    Goodbye,
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
from fluxhive.protocol.wire import SUBPROTOCOL, agent_codec, decode_log, server_codec

ATTEMPT = AttemptId("t-jrt6.1")
WELCOME = Welcome(session=3, heartbeat_ms=200, server_version="1")


class Peer:
    """A runner that notes what it is told."""

    def __init__(self) -> None:
        self.tokens_asked: list[bool] = []
        self.sessions: list[int] = []
        self.messages: list[ServerMessage] = []
        self.n_disconnected = 0
        self.news = anyio.Event()

    async def credentials(self, *, again: bool) -> str:
        self.tokens_asked.append(again)
        return "fh_n_new" if again else "fh_n_old"

    def hello(self) -> Hello:
        inventory = Inventory(cpus=1, memory_mib=1)
        return Hello(incarnation=1, agent_version="1", label="here", inventory=inventory)

    def welcomed(self, welcome: Welcome) -> None:
        self.sessions.append(welcome.session)

    def received(self, messages: list[tuple[int, ServerMessage]], connection_number: int) -> None:
        self.messages += [message for _, message in messages]
        self.news.set()
        self.news = anyio.Event()

    def disconnected(self) -> None:
        self.n_disconnected += 1

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(sent_at_ms=module.time.monotonic_ns() // 1_000_000)


class Played:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.link = Link(agent_codec())
        self.waiting: list[AgentMessage] = []

    async def next(self) -> AgentMessage:
        """The next message; log frames are passed over."""
        while not self.waiting:
            frame = await self.socket.recv()
            if isinstance(frame, str):
                for n, message in self.link.receive(frame):
                    self.link.committed(n)
                    self.waiting.append(message)
        return self.waiting.pop(0)

    async def say(self, message: ServerMessage, *, numbered: bool = True) -> None:
        if numbered:
            self.link.send(message)
        else:
            self.link.send_unnumbered(message)
        for frame in self.link.frames():
            await self.socket.send(frame)


Script = Callable[[Played], Awaitable[None]]


@asynccontextmanager
async def played_server(
    script: Script, refuse: Callable[[str], int | None] = lambda token: None
) -> AsyncIterator[str]:
    """A server on a free port that plays the script on each connection."""

    async def handle(socket: ServerConnection) -> None:
        await script(Played(socket))

    def process_request(socket: ServerConnection, request: Request) -> Response | None:
        status = refuse(request.headers["Authorization"].removeprefix("Bearer "))
        return None if status is None else socket.respond(HTTPStatus(status), "no")

    async with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        process_request=process_request,
    ) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S_MIN", 0.01)
    monkeypatch.setattr(module, "BACKOFF_S_MAX", 0.02)


def connect(url: str, peer: Peer, logs: LogTailer | None = None) -> Connection:
    return Connection(url, Link(server_codec()), logs or LogTailer(), peer)


def test_the_address_of_the_socket_follows_the_servers_address() -> None:
    assert websocket_url("http://hive:8001") == "ws://hive:8001/api/v1/agent"
    assert websocket_url("https://lab.example/hive/") == "wss://lab.example/hive/api/v1/agent"


def test_a_session_begins_with_hello_and_carries_messages_both_ways() -> None:
    async def story() -> None:
        peer, said = Peer(), []

        async def script(server: Played) -> None:
            hello = await server.next()
            assert isinstance(hello, Hello)
            await server.say(WELCOME)
            stop = Stop(session=3, attempt_id=ATTEMPT, epoch=1, cause=StopCause.CANCEL)
            await server.say(stop)
            while True:
                said.append(await server.next())
                if isinstance(said[-1], AttemptAccepted):
                    await server.say(HeartbeatAck(sent_at_ms=0), numbered=False)

        async with played_server(script) as url, anyio.create_task_group() as group:
            connection = connect(url, peer)
            group.start_soon(connection.run)
            while not any(isinstance(message, Stop) for message in peer.messages):
                await peer.news.wait()
            connection._link.send(AttemptAccepted(attempt_id=ATTEMPT, epoch=1))
            connection.wake()
            while not any(isinstance(message, HeartbeatAck) for message in peer.messages):
                await peer.news.wait()
            group.cancel_scope.cancel()
        assert peer.sessions == [3]
        assert any(isinstance(message, AttemptAccepted) for message in said)

    anyio.run(story)


def test_what_was_not_acknowledged_is_said_again_in_the_next_session() -> None:
    async def story() -> None:
        peer, heard = Peer(), []
        done = anyio.Event()

        async def script(server: Played) -> None:
            await server.next()
            await server.say(WELCOME)
            while True:
                message = await server.next()
                if isinstance(message, AttemptAccepted):
                    heard.append(message)
                    if len(heard) == 2:
                        done.set()
                        await server.socket.wait_closed()
                    return  # the connection is cut before it is acknowledged

        async with played_server(script) as url, anyio.create_task_group() as group:
            connection = connect(url, peer)
            connection._link.send(AttemptAccepted(attempt_id=ATTEMPT, epoch=1))
            group.start_soon(connection.run)
            await done.wait()
            group.cancel_scope.cancel()
        assert len(heard) == 2
        assert peer.n_disconnected >= 1

    anyio.run(story)


def test_a_line_that_does_not_answer_heartbeats_is_cut_and_dialled_again() -> None:
    async def story() -> None:
        peer, n_dialled = Peer(), 0
        twice = anyio.Event()

        async def script(server: Played) -> None:
            nonlocal n_dialled
            n_dialled += 1
            if n_dialled == 2:
                twice.set()
            await server.next()
            await server.say(WELCOME)
            while True:  # heartbeats arrive and are never answered: half-open
                await server.next()

        async with played_server(script) as url, anyio.create_task_group() as group:
            group.start_soon(connect(url, peer).run)
            with anyio.fail_after(20):
                await twice.wait()
            group.cancel_scope.cancel()

    anyio.run(story)


def test_a_loop_that_hung_itself_does_not_take_its_line_for_dead() -> None:
    """Goal: a slow call in the agent costs no session. Method: the loop hangs for longer than a
    line may be silent; whoever played the server has answered every heartbeat that came."""

    async def story() -> int:
        peer, n_after = Peer(), 0
        enough = anyio.Event()

        async def script(server: Played) -> None:
            nonlocal n_after
            await server.next()
            await server.say(WELCOME)
            while True:
                heartbeat = await server.next()
                assert isinstance(heartbeat, Heartbeat)
                await server.say(HeartbeatAck(sent_at_ms=heartbeat.sent_at_ms), numbered=False)
                n_after += 1
                if n_after == 2:
                    # In the agent's loop, which is this one, too.
                    module.time.sleep(WELCOME.heartbeat_ms * module.HEARTBEATS_MISSED * 2 / 1000)
                elif n_after == 8:
                    enough.set()

        async with played_server(script) as url, anyio.create_task_group() as group:
            group.start_soon(connect(url, peer).run)
            with anyio.fail_after(20):
                await enough.wait()
            group.cancel_scope.cancel()
        return len(peer.sessions)

    assert anyio.run(story) == 1


def test_a_refused_token_is_renewed_once() -> None:
    async def story() -> None:
        peer = Peer()
        welcomed = anyio.Event()

        async def script(server: Played) -> None:
            await server.next()
            await server.say(WELCOME)
            welcomed.set()
            await server.socket.wait_closed()

        def refuse(token: str) -> int | None:
            return 401 if token == "fh_n_old" else None

        async with played_server(script, refuse) as url, anyio.create_task_group() as group:
            group.start_soon(connect(url, peer).run)
            await welcomed.wait()
            group.cancel_scope.cancel()
        assert peer.tokens_asked == [False, True]

    anyio.run(story)


def test_a_node_that_is_refused_with_a_new_token_too_gives_up() -> None:
    async def story() -> None:
        async def script(server: Played) -> None:
            raise AssertionError("never reached")

        async with played_server(script, lambda _: 403) as url:
            with pytest.raises(AuthError, match="refuses this node"):
                await connect(url, Peer()).run()

    anyio.run(story)


def test_a_node_turned_away_for_good_says_why_and_stops() -> None:
    async def story() -> None:
        async def script(server: Played) -> None:
            await server.next()
            turned = Turned(reason="GPU-1 is also on node n-7", hint="stop the other agent")
            await server.say(turned, numbered=False)

        async with played_server(script) as url:
            with pytest.raises(Conflict, match="GPU-1 is also on node n-7") as caught:
                await connect(url, Peer()).run()
        assert caught.value.hint == "stop the other agent"

    anyio.run(story)


@pytest.mark.parametrize("nonsense", ["{", '{"messages": 5}', "[" * 100_000, "\x00"])
def test_nonsense_from_the_server_ends_the_session_and_not_the_agent(nonsense: str) -> None:
    async def story() -> None:
        peer, n_dialled = Peer(), 0
        again = anyio.Event()

        async def script(server: Played) -> None:
            nonlocal n_dialled
            n_dialled += 1
            await server.next()
            await server.say(WELCOME)
            if n_dialled == 1:
                await server.socket.send(nonsense)
            else:
                again.set()
            await server.socket.wait_closed()

        async with played_server(script) as url, anyio.create_task_group() as group:
            group.start_soon(connect(url, peer).run)
            await again.wait()
            group.cancel_scope.cancel()

    anyio.run(story)


def test_output_goes_out_in_frames_behind_control_messages(tmp_path: Path) -> None:
    out = b"line\n" * 200_000
    (tmp_path / "stdout").write_bytes(out)

    async def story() -> bytes:
        peer, got = Peer(), bytearray()
        whole = anyio.Event()

        async def script(server: Played) -> None:
            await server.next()
            marks = [LogUpTo(channel=7, stream=n, received=0, durable=0) for n in (0, 1)]
            await server.say(replace(WELCOME, log_marks=tuple(marks)))
            while True:
                frame = await server.socket.recv()
                if isinstance(frame, str):
                    server.link.receive(frame)
                    continue
                chunk = decode_log(frame)
                got[chunk.offset : chunk.offset + len(chunk.data)] = chunk.data
                mark = LogUpTo(channel=7, stream=0, received=len(got), durable=0)
                await server.say(mark, numbered=False)
                if len(got) == len(out):
                    whole.set()

        async with played_server(script) as url, anyio.create_task_group() as group:
            logs = LogTailer()
            logs.follow(ATTEMPT, 7, str(tmp_path))
            logs.end(ATTEMPT, len(out), 0)
            group.start_soon(connect(url, peer, logs).run)
            with anyio.fail_after(20):
                await whole.wait()
            group.cancel_scope.cancel()
        return bytes(got)

    assert anyio.run(story) == out


def test_a_goodbye_is_the_last_word() -> None:
    async def story() -> None:
        peer, heard = Peer(), []
        parted = anyio.Event()

        async def script(server: Played) -> None:
            await server.next()
            await server.say(WELCOME)
            while not (heard and isinstance(heard[-1], Goodbye)):
                heard.append(await server.next())
            parted.set()

        async with played_server(script) as url, anyio.create_task_group() as group:
            connection = connect(url, peer)
            group.start_soon(connection.run)
            while not peer.sessions:
                await peer.news.wait()
            connection._link.send(AttemptAccepted(attempt_id=ATTEMPT, epoch=1))
            await connection.say_goodbye("stopped")
            await parted.wait()
        assert isinstance(heard[-2], AttemptAccepted)
        assert heard[-1] == Goodbye(reason="stopped")

    anyio.run(story)


def test_trouble_of_one_kind_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        peer = Peer()
        connection = connect("http://127.0.0.1:9", peer)
        with anyio.move_on_after(1.0):
            await connection.run()
        assert len(peer.tokens_asked) > 3

    anyio.run(story)
    assert len([record for record in caplog.records if record.msg == "no server"]) == 1


def told_of(url: str, caplog: pytest.LogCaptureFixture, ca_file: str | None = None) -> str:
    """Why an agent that tries again and again finds no server, said once."""
    peer = Peer()

    async def story() -> None:
        connection = Connection(url, Link(server_codec()), LogTailer(), peer, ca_file=ca_file)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(connection.run)
                while len(peer.tokens_asked) < 3:  # noqa: ASYNC110  it has tried so often
                    await anyio.sleep(0.01)
                group.cancel_scope.cancel()

    anyio.run(story)
    (said,) = [record for record in caplog.records if record.msg == "no server"]
    return str(said.__dict__["reason"])


def test_a_name_that_nobody_knows_is_said_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*args: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    said = told_of("http://hive.example:8001", caplog)
    assert "hive.example:8001" in said
    assert "name or service not known" in said


@pytest.mark.parametrize(
    ("is_known", "why"), [(False, "self-signed certificate"), (True, "not valid for '127.0.0.1'")]
)
def test_a_certificate_that_is_not_trusted_is_said_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_known: bool, why: str
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(
        (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            "-subj /CN=elsewhere -addext subjectAltName=DNS:elsewhere "
            f"-keyout {key} -out {certificate}"
        ).split(),
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("no openssl here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(line, server_side=True):
                pass

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    try:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        said = told_of(url, caplog, str(certificate) if is_known else None)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
    assert said.startswith("no trusted connection to wss://127.0.0.1")
    assert why in said


def test_a_disk_that_hangs_costs_neither_heartbeats_nor_the_next_session(tmp_path: Path) -> None:
    (tmp_path / "stdout").write_bytes(b"hello")
    (tmp_path / "stderr").touch()
    disk = threading.Event()

    class Hanging(LogTailer):
        n_reads = 0

        def read(self, pieces: Iterable[Piece], *, compress: bool) -> list[Read]:
            Hanging.n_reads += 1
            disk.wait(60)
            return super().read(pieces, compress=compress)

    async def story() -> bytes:
        got = bytearray()
        came = anyio.Event()
        n_connections = 0

        async def script(server: Played) -> None:
            nonlocal n_connections
            n_connections += 1
            await server.next()
            mark = LogUpTo(channel=7, stream=0, received=0, durable=0)
            await server.say(replace(WELCOME, log_marks=(mark,)))
            for _ in range(4):
                assert isinstance(await server.next(), Heartbeat)
                await server.say(HeartbeatAck(sent_at_ms=2**50), numbered=False)
            assert Hanging.n_reads == 1
            if n_connections == 1:
                return  # the line breaks while the disk hangs
            disk.set()
            while not got:
                frame = await server.socket.recv()
                if isinstance(frame, bytes):
                    got.extend(decode_log(frame).data)
            came.set()
            await server.socket.wait_closed()

        async with played_server(script) as url, anyio.create_task_group() as group:
            logs = Hanging()
            logs.follow(ATTEMPT, 7, str(tmp_path))
            logs.end(ATTEMPT, 5, 0)
            group.start_soon(connect(url, Peer(), logs).run)
            with anyio.fail_after(20):
                await came.wait()
            group.cancel_scope.cancel()
        return bytes(got)

    try:
        assert anyio.run(story) == b"hello"
    finally:
        disk.set()
