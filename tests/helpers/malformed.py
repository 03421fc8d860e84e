"""Messages that are none, by the thousand: what a server must survive from anybody.

    python -m tests.helpers.malformed --messages 100000 [--seed 1]

Starts a real server, throws HTTP requests, WebSocket frames and bytes at it, each made from a seed:
a corpus of known traps (deep JSON, NaN, lone surrogates, NUL, huge integers, wrong lengths) and
mutations of good messages. At the end the server must be the same process, answer, have logged no
unhandled exception, and hold no more than 50 MiB more than before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from fluxhive.protocol.rest import NodeCredentials, NodeRegistration
from fluxhive.protocol.wire import SUBPROTOCOL, LogChunk, encode_log
from fluxhive.transport import Transport
from tests.helpers.cli_hive import COMMAND, free_port, until

GROWTH_MIB_MAX = 50
GOLDEN = Path(__file__).parents[1] / "protocol" / "golden" / "v1"
#: Log lines that a person should never see.
UNHANDLED = re.compile(r"Traceback|unhandled|Exception in ASGI|a law of the core broke")

JSON_TRAPS = (
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"request": NaN}',
    b'{"request": {"gpus": 1e999}}',
    b'{"command": ["\\ud800"]}',
    b'{"command": ["a\\u0000b"]}',
    b'{"request": {"gpus": ' + b"9" * 5_000 + b"}}",
    b'{"request": {"gpus": 99999999999999999999999}}',
    b'{"command": ["a"], "command": ["b"]}',
    b"\xff\xfe{}",
    b'{"command": [' + b'"a",' * 50_000 + b'"a"]}',
    b"{" + b",".join(b'"k%d":1' % n for n in range(50_000)) + b"}",
    b"null",
    b"0",
    b"",
)
PATHS = (
    "/api/v1/tasks",
    "/api/v1/tasks/batch",
    "/api/v1/nodes",
    "/api/v1/auth/login",
    "/api/v1/tokens",
    "/api/v1/tasks/%00/logs/stdout",
    "/api/v1/tasks/..%2f..%2fetc/logs",
    "/api/v1/tasks/t-1?limit=-1&cursor=" + "x" * 300,
    "/api/v1/tasks?since_ms=99999999999999999999",
    "/" + "a" * 9_000,
)
METHODS = ("GET", "POST", "PATCH", "DELETE", "PUT", "BREW")


class Outcome(NamedTuple):
    """What became of the server."""

    n_messages: int
    is_alive: bool
    unhandled: list[str]
    growth_mib: float

    @property
    def is_good(self) -> bool:
        """Whether nothing happened."""
        return self.is_alive and not self.unhandled and self.growth_mib < GROWTH_MIB_MAX


def mutated(chance: random.Random, data: bytes) -> bytes:
    """The data with a few bytes changed, cut, doubled or put in."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del changed[at : at + chance.randrange(1, 20)]
            case 2:
                changed[at:at] = changed[at : at + 30]
            case 3:
                changed[at:at] = chance.choice((b"{", b"}", b'"', b"\0", b"1e9", b"null", b"[[["))
    return bytes(changed)


def raw_request(chance: random.Random, token: str) -> bytes:
    """One HTTP request, or what looks like one."""
    body = chance.choice(JSON_TRAPS)
    if chance.random() < 0.5:
        body = mutated(chance, b'{"command": ["true"], "request": {"gpus": 1}, "retry": 2}')
    length = len(body) if chance.random() < 0.8 else chance.choice((-1, 10**20, 0, 3))
    lines = [
        f"{chance.choice(METHODS)} {chance.choice(PATHS)} HTTP/1.1",
        "Host: x",
        f"Content-Length: {length}",
        "Content-Type: application/json",
        "Connection: close",
    ]
    if chance.random() < 0.7:
        lines.append(f"Authorization: Bearer {token}")
    if chance.random() < 0.1:
        lines.append("X-Long: " + "y" * chance.choice((10, 100_000)))
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return mutated(chance, request) if chance.random() < 0.2 else request


async def send_raw(port: int, data: bytes) -> None:
    """Sends bytes and reads a little of the answer."""
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            await asyncio.wait_for(writer.drain(), 2)
            await asyncio.wait_for(reader.read(256), 0.5)
        finally:
            writer.transport.abort()


async def send_frames(port: int, token: str, chance: random.Random, n_frames: int) -> int:
    """Frames of an agent that speaks badly; how many were sent before it was thrown out."""
    golden = [path.read_bytes() for path in sorted(GOLDEN.glob("*.json"))]
    good_log = encode_log(LogChunk(channel=1, stream=0, offset=0, time_ms=0, data=b"x" * 50))
    n_sent = 0
    with contextlib.suppress(OSError, WebSocketException, TimeoutError):
        async with connect(
            f"ws://127.0.0.1:{port}/api/v1/agent",
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            ping_interval=None,
            proxy=None,
            close_timeout=0.2,
        ) as dialled:
            if chance.random() < 0.7:
                hello = (GOLDEN / "hello.json").read_bytes()
                await dialled.send(b'{"messages": [{"body": %b}]}' % hello, text=True)
            for _ in range(n_frames):
                match chance.randrange(4):
                    case 0:
                        await dialled.send(mutated(chance, good_log))
                    case 1:
                        message = chance.choice(golden)
                        frame = b'{"ack": %d, "messages": [{"n": %d, "body": %b}]}' % (
                            chance.choice((0, -1, 10**30)),
                            chance.randrange(3),
                            mutated(chance, message),
                        )
                        await dialled.send(frame.decode("utf-8", "replace"))
                    case 2:
                        await dialled.send(chance.choice(JSON_TRAPS).decode("utf-8", "replace"))
                    case 3:
                        await dialled.send(bytes(chance.randrange(256) for _ in range(40)))
                n_sent += 1
    return n_sent


async def bombard(port: int, token: str, node_token: str, n_messages: int, seed: int) -> int:
    """Sends so many, some at a time."""
    chance = random.Random(seed)
    n_sent = 0
    while n_sent < n_messages:
        requests = [send_raw(port, raw_request(chance, token)) for _ in range(24)]
        agents = [send_frames(port, node_token, chance, 20) for _ in range(4)]
        _, *sent = await asyncio.gather(asyncio.gather(*requests), *agents)
        n_sent += len(requests) + sum(sent)
    return n_sent


def run(directory: Path, n_messages: int, seed: int) -> Outcome:
    """A server, the messages, and what became of it."""
    port = free_port()
    env = {**os.environ, "FLOWHIVE_STATE_DIR": str(directory), "HOME": str(directory)}
    env["FLOWHIVE_CONFIG"] = str(directory / "config.toml")
    with open(directory / "log", "wb") as said:
        process = subprocess.Popen(
            [*COMMAND, "server", "--port", str(port)], env=env, stdout=said, stderr=said
        )
    try:
        until(lambda: _answers(port), what="the server")
        token = (directory / "server" / "admin-token").read_text().strip()
        transport = Transport(f"http://127.0.0.1:{port}", token=token)
        asked = NodeRegistration(label="bad", machine_id="m-bad", hostname="bad")
        node = transport.call("POST", "/api/v1/nodes", NodeCredentials, body=asked)
        asyncio.run(bombard(port, token, node.token, min(1_000, n_messages), seed))
        before_mib = _rss_mib(process.pid)
        n_sent = asyncio.run(bombard(port, token, node.token, n_messages, seed + 1))
        is_alive = process.poll() is None and _answers(port)
        growth_mib = _rss_mib(process.pid) - before_mib if is_alive else 0.0
    finally:
        process.kill()
        process.wait()
    lines = (directory / "log").read_text(errors="replace").splitlines()
    unhandled = [line[:400] for line in lines if UNHANDLED.search(line)]
    return Outcome(n_sent, is_alive, unhandled, growth_mib)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as found:
            found.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return found.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _rss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return 0.0 if found is None else int(found[1]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description="malformed messages at a real server")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        outcome = run(Path(name), options.messages, options.seed)
    for line in outcome.unhandled[:10]:
        print(line)
    print(
        f"{outcome.n_messages} messages: alive {outcome.is_alive}, "
        f"{len(outcome.unhandled)} unhandled, memory {outcome.growth_mib:+.1f} MiB"
    )
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
