"""A whole server in this process: real store, real routes, asked by httpx or over a real socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import uvicorn
from fastapi import FastAPI

from fluxhive.protocol.rest import InvitationAnswer, NewUser, NodeRegistration, Role, TokenRequest
from fluxhive.server.auth import Caller
from fluxhive.server.first_start import local_administrator
from fluxhive.server.frame_door import FrameDoor
from fluxhive.server.hive import Hive, open_hive
from fluxhive.server.services import Services
from fluxhive.server.web import create_app, open_services

API = "/api/v1"
PASSWORD = "correct horse battery"


class RestHive(NamedTuple):
    """The server, its administrator's client, and how to get others."""

    app: FastAPI
    services: Services
    #: As the administrator; paths begin below /api/v1.
    admin: httpx.AsyncClient
    administrator: str
    directory: Path

    @property
    def hive(self) -> Hive:
        return self.services.hive

    def client(self, token: str | None) -> httpx.AsyncClient:
        """A client with this token; None: with none."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=("192.0.2.7", 4000)),
            base_url=f"http://hive.test{API}",
            headers=headers,
        )

    async def user(self, username: str, role: Role = Role.MEMBER) -> httpx.AsyncClient:
        """A client of a new user, whose password is PASSWORD."""
        _, code, _ = await self.services.accounts.invite(NewUser(username=username, role=role))
        answer = InvitationAnswer(code=code, password=PASSWORD)
        grant = await self.services.accounts.answer_invitation(answer, "192.0.2.7")
        return self.client(grant.token)

    async def token(self, username: str, **fields: Any) -> str:
        """A token of a user who exists."""
        grant = await self.services.auth.issue(username, TokenRequest(name="test", **fields))
        return grant.token

    async def node_token(self, label: str = "gpu-a", owner: httpx.AsyncClient | None = None) -> str:
        """A registered node's token."""
        asked = NodeRegistration(label=label, machine_id=f"machine-{label}")
        answer = await (owner or self.admin).post("/nodes", json=plain(asked))
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["token"]
        return token

    def caller(self, token: str) -> Caller:
        """Who a token belongs to."""
        return self.services.auth.caller_of(f"Bearer {token}")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listens on loopback: for agents, and for answers that stay open. Gives the address."""
        # With the protocol named, asyncio turns Nagle's delay off, as for the real server's socket.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            self.app,
            ws=FrameDoor,
            ws_max_size=1024 * 1024,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
            log_level="error",
            lifespan="off",
        )
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as group:
            group.start_soon(server._serve, [listener])
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(0.01)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                self.hive.sessions.close_all("the server is stopping")
                self.services.answers.stop()
                server.should_exit = True


@asynccontextmanager
async def rest_hive(directory: Path) -> AsyncIterator[RestHive]:
    """A server as its first start leaves it."""
    async with open_hive(directory) as hive, open_services(hive) as services:
        administrator = await local_administrator(services, directory)
        app = create_app(services)
        token = (directory / "admin-token").read_text().strip()
        bare = RestHive(app, services, httpx.AsyncClient(), administrator.username, directory)
        async with bare.client(token) as admin:
            yield bare._replace(admin=admin)


def agent_url(address: str) -> str:
    """Where agents dial."""
    return f"{address.replace('http', 'ws', 1)}{API}/agent"


def plain(body: object) -> Any:
    """A Struct as plain JSON values."""
    import msgspec

    return msgspec.to_builtins(body)
