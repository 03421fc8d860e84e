"""``/api/v1/agent``: where agents connect. Only node tokens open it (gate.py)."""

from __future__ import annotations

from msgspec.structs import replace
from starlette.responses import Response
from starlette.websockets import WebSocket

from fluxhive.core.errors import NotFound
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import Launch, LaunchSecret
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.hello import NodeIdentity
from fluxhive.server.services import services_of

from .tasks import OfCaller, OfServices

router = new_router()


@router.websocket("/agent")
async def agent(websocket: WebSocket) -> None:
    """The connection of an agent, from accept to close."""
    caller: Caller = websocket.state.caller
    assert caller.node is not None, "the gate lets only node tokens in here"
    node = NodeIdentity(
        node_id=caller.node.node_id,
        owner=caller.node.owner,
        only_for=caller.node.only_for,
        machine_id=caller.node.machine_id,
    )
    await services_of(websocket).hive.sessions.serve(websocket, node)


@route(router, "GET", "/agent/launches/{attempt}", gives=Launch)
async def show_launch(attempt: str, caller: OfCaller, services: OfServices) -> Response:
    """Fetch what to start for an attempt whose frame did not bring it (node tokens only).

    That is too large for a frame, or has secrets: they are in no other answer and no message.
    """
    found = services.hive.brain.manager.attempt(AttemptId(attempt))
    launch = services.hive.sessions.launch(AttemptId(attempt))
    mine = caller.node is not None and found is not None and found.member_on(caller.node.node_id)
    if launch is None or not mine:
        raise NotFound(f"this node has no attempt `{attempt[:100]}` to start")
    assert found is not None, "the node holds it"
    task = services.hive.brain.manager.task(found.task_id)
    if task is not None and task.spec.secrets:
        values = await services.secrets.values(task.owner, task.spec.secrets)
        wanted = task.spec.secrets.items()
        given = (LaunchSecret(name=name, form=form, value=values[name]) for name, form in wanted)
        launch = replace(launch, secrets=tuple(given))
    return answer(launch)
