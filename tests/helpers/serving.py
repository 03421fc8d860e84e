"""A hive that listens: the server's rooms behind a real WebSocket, without accounts and REST."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.values import NodeId
from fluxhive.server.frame_door import FrameDoor
from fluxhive.server.hello import NodeIdentity
from fluxhive.server.hive import Hive, open_hive


class Serving(NamedTuple):
    """A hive and where agents reach it."""

    hive: Hive
    url: str


@asynccontextmanager
async def serving(
    directory: Path, *, settings: HiveSettings | None = None, port: int = 0, has_door: bool = True
) -> AsyncIterator[Serving]:
    """Opens the hive and listens on loopback; the bearer token is taken as the node's id.

    ``has_door=False``: as under another ASGI server than ours.
    """
    async with open_hive(directory, settings=settings or HiveSettings()) as hive:

        async def agent(websocket: WebSocket) -> None:
            node_id = websocket.headers["authorization"].removeprefix("Bearer ")
            await hive.sessions.serve(websocket, NodeIdentity(node_id=NodeId(node_id), owner="ann"))

        listener = socket.create_server(("127.0.0.1", port))
        app = Starlette(routes=[WebSocketRoute("/api/v1/agent", agent)])
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                ws=FrameDoor if has_door else "websockets-sansio",
                ws_max_size=1024 * 1024,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=2,
                log_level="warning",
                lifespan="off",
            )
        )
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        async with anyio.create_task_group() as group:
            group.start_soon(server._serve, [listener])
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(0.01)
            try:
                yield Serving(hive, f"ws://127.0.0.1:{listener.getsockname()[1]}/api/v1/agent")
            finally:
                hive.sessions.close_all("the server is stopping")
                server.should_exit = True
