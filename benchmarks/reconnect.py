"""A thousand agents dial again after the server was killed: how long until all are back.

One process plays the agents with the pauses of the real one (1 to 2 s, doubled up to 6) and its
heartbeat of 2 s, while the API is asked without a break. Prints the time from the new server's
first answer until the last agent is welcome, the API's latency meanwhile, and the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from own_hive import COMMAND, heading
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.node import Inventory
from fluxhive.protocol.agent import Heartbeat, Hello, ServerMessage, Welcome
from fluxhive.protocol.link import Link
from fluxhive.protocol.rest import NodeCredentials, NodeRegistration, TaskPage
from fluxhive.protocol.wire import SUBPROTOCOL, encode_envelope, encode_message, server_codec
from fluxhive.transport import Transport

#: A pause is up to twice as long, so that a thousand agents do not dial at once.
BACKOFF_S_MIN, BACKOFF_S_MAX = 1.0, 3.0
HEARTBEAT_S = 2.0


class Server:
    """A server that is killed and started again on the same port and state."""

    def __init__(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        self.home = home
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = {**os.environ, "FLOWHIVE_STATE_DIR": str(self.home / "state"), "HOME": str(self.home)}
        env["FLOWHIVE_CONFIG"] = str(self.home / "config.toml")
        command = [*COMMAND, "server", "--port", str(self.port), "--log-level", "warning"]
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(FluxhiveError):
                Transport(self.url, sleep=lambda s: None).fetch("GET", "/api/v1/health")
                return
            time.sleep(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def transport(self) -> Transport:
        token = (self.home / "state" / "server" / "admin-token").read_text().strip()
        return Transport(self.url, token=token)

    def node_tokens(self, n_nodes: int) -> list[str]:
        transport = self.transport()
        tokens = []
        for n in range(n_nodes):
            asked = NodeRegistration(label=f"gpu-{n}", machine_id=f"m-{n}", hostname=f"gpu-{n}")
            given = transport.call("POST", "/api/v1/nodes", NodeCredentials, body=asked)
            tokens.append(given.token)
        return tokens

    def rss_mib(self) -> float:
        assert self.process is not None
        return float(psutil.Process(self.process.pid).memory_info().rss / 2**20)


class Agent:
    """One agent as the server sees it."""

    def __init__(self, url: str, number: int, token: str) -> None:
        self.url = url.replace("http", "ws") + "/api/v1/agent"
        self.number = number
        self.token = token
        self.welcome_at_s = 0.0

    def inventory(self) -> Inventory:
        return Inventory(cpus=8, memory_mib=65_536)

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(sent_at_ms=time.monotonic_ns() // 1_000_000)

    def hears(self, link: Link[ServerMessage], message: ServerMessage) -> None:
        """Something was said to it; what it answers is queued on the link."""

    async def run(self) -> None:
        pause_s = BACKOFF_S_MIN
        incarnation = 1
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                await self._connect(incarnation)
                pause_s = BACKOFF_S_MIN
            if self.welcome_at_s:
                pause_s, self.welcome_at_s = BACKOFF_S_MIN, 0.0
            await asyncio.sleep(pause_s * random.uniform(1.0, 2.0))
            pause_s = min(pause_s * 2, BACKOFF_S_MAX)

    async def _connect(self, incarnation: int) -> None:
        link = Link(server_codec())
        async with connect(
            self.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers={"Authorization": f"Bearer {self.token}"},
            compression=None,
            ping_interval=None,
            proxy=None,
            open_timeout=10,
            close_timeout=1,
        ) as dialled:
            hello = Hello(
                incarnation=incarnation,
                agent_version="benchmark",
                label=f"gpu-{self.number}",
                inventory=self.inventory(),
            )
            await dialled.send(encode_envelope(0, [(0, encode_message(hello))]))
            beat_s = 0.0
            while True:
                if self.welcome_at_s and time.monotonic() >= beat_s:
                    beat_s = time.monotonic() + HEARTBEAT_S
                    await dialled.send(encode_envelope(0, [(0, encode_message(self.heartbeat()))]))
                with contextlib.suppress(asyncio.TimeoutError):
                    frame = await asyncio.wait_for(dialled.recv(), HEARTBEAT_S)
                    for _, message in link.receive(frame):
                        if isinstance(message, Welcome):
                            self.welcome_at_s = time.monotonic()
                        self.hears(link, message)
                    for text in link.frames():
                        await dialled.send(text)


def ask(server: Server, latencies_ms: list[float], until_s: float) -> None:
    """Asks the API without a break; what it takes goes onto the list."""
    transport = server.transport()
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        transport.call("GET", "/api/v1/tasks", TaskPage, query={"limit": 10})
        latencies_ms.append((time.monotonic() - began_s) * 1000)


async def until_all(agents: list[Agent], since_s: float, limit_s: float = 60.0) -> float:
    """Seconds until every agent was welcome after this time."""
    while any(agent.welcome_at_s < since_s for agent in agents):
        if time.monotonic() - since_s > limit_s:
            n_back = sum(agent.welcome_at_s >= since_s for agent in agents)
            raise SystemExit(f"only {n_back} of {len(agents)} were back after {limit_s:.0f} s")
        await asyncio.sleep(0.05)
    return max(agent.welcome_at_s for agent in agents) - since_s


async def measure(server: Server, agents: list[Agent], rounds: int) -> list[dict[str, float]]:
    tasks = [asyncio.get_running_loop().create_task(agent.run()) for agent in agents]
    first_s = await until_all(agents, time.monotonic(), 120.0)
    print(f"  {len(agents)} agents connected in {first_s:.1f} s")
    results = []
    for _ in range(rounds):
        await asyncio.sleep(3)
        server.kill()
        await asyncio.to_thread(server.start)
        up_s = time.monotonic()
        latencies_ms: list[float] = []
        asking = asyncio.get_running_loop().run_in_executor(
            None, ask, server, latencies_ms, up_s + 15.0
        )
        back_s = await until_all(agents, up_s)
        await asking
        cuts = statistics.quantiles(latencies_ms, n=100)
        result = {
            "back_s": back_s,
            "api_p50_ms": cuts[49],
            "api_p99_ms": cuts[98],
            "rss_mib": server.rss_mib(),
        }
        results.append(result)
        print("  " + json.dumps({key: round(value, 1) for key, value in result.items()}))
    for task in tasks:
        task.cancel()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    heading("reconnect")
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        server.start()
        try:
            tokens = server.node_tokens(options.agents)
            agents = [Agent(server.url, n, token) for n, token in enumerate(tokens)]
            results = asyncio.run(measure(server, agents, options.rounds))
        finally:
            server.kill()
    worst = {key: max(result[key] for result in results) for key in results[0]}
    is_good = worst["back_s"] <= 15 and worst["api_p99_ms"] <= 1_000 and worst["rss_mib"] <= 400
    print(f"  worst of {options.rounds}: {json.dumps({k: round(v, 1) for k, v in worst.items()})}")
    print("  goal (15 s, 1000 ms, 400 MiB): " + ("reached" if is_good else "missed"))
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
