"""``/api/v1/agent``: where agents connect. Only node tokens open it (gate.py)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from msgspec.structs import replace
from starlette.responses import Response
from starlette.websockets import WebSocket

from fluxhive.core.errors import NotFound
from fluxhive.core.task import Task
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import Launch, LaunchSecret
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.hello import NodeIdentity
from fluxhive.server.services import Services, services_of

from .tasks import INTEGER_MAX, OfCaller, OfServices

router = new_router()

#: Most of a task's code in one answer.
CODE_PIECE_MAX = 4 << 20


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
    task = _task_of_node(attempt, caller, services)
    launch = services.hive.sessions.launch(AttemptId(attempt))
    assert launch is not None, "its attempt has not ended"
    if task.spec.secrets:
        values = await services.secrets.values(task.owner, task.spec.secrets)
        wanted = task.spec.secrets.items()
        given = (LaunchSecret(name=name, form=form, value=values[name]) for name, form in wanted)
        launch = replace(launch, secrets=tuple(given))
    return answer(launch)


@route(router, "GET", "/agent/code/{attempt}", gives="application/octet-stream")
async def read_code(
    attempt: str,
    caller: OfCaller,
    services: OfServices,
    offset: Annotated[int, Query(ge=0, le=INTEGER_MAX)] = 0,
    limit: Annotated[int, Query(ge=1, le=CODE_PIECE_MAX)] = CODE_PIECE_MAX,
) -> Response:
    """Read a piece of the code of an attempt's task (node tokens only).

    By the attempt's own node and until the attempt has ended; nothing beyond the end.
    """
    task = _task_of_node(attempt, caller, services)
    data = await services.code.read(task, offset, limit)
    return Response(data, media_type="application/octet-stream")


def _task_of_node(attempt: str, caller: Caller, services: Services) -> Task:
    """The task of an attempt that this node holds and that has not ended."""
    manager = services.hive.brain.manager
    found = manager.attempt(AttemptId(attempt))
    task = None if found is None else manager.task(found.task_id)
    mine = caller.node is not None and found is not None and found.member_on(caller.node.node_id)
    if task is None or found is None or found.outcome is not None or not mine:
        raise NotFound(f"this node has no attempt `{attempt[:100]}` to start")
    return task
