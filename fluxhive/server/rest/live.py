"""``/api/v1/feed``: the dashboard's channel. Its messages are in docs/protocol.md."""

from __future__ import annotations

import anyio
from starlette.websockets import WebSocket

from fluxhive.server import live
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import new_router
from fluxhive.server.event_stream import TOKEN_CHECK_S
from fluxhive.server.services import services_of

router = new_router()


@router.websocket("/feed")
async def feed(websocket: WebSocket) -> None:
    """A page of the dashboard, until it goes, its session ends, or the server stops."""
    caller: Caller = websocket.state.caller
    services = services_of(websocket)
    with services.answers.scope(caller.token_id):
        async with anyio.create_task_group() as group:

            async def until_invalid() -> None:
                while True:
                    await anyio.sleep(TOKEN_CHECK_S)
                    if not services.auth.is_valid(caller.token_id):
                        break
                group.cancel_scope.cancel()

            group.start_soon(until_invalid)
            await live.serve(services.live, caller, websocket)
            group.cancel_scope.cancel()
