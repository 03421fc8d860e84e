"""``/api/v1/nodes``: machines, their registration, and what people change about them."""

from __future__ import annotations

from typing import Annotated, NoReturn

import sqlalchemy as sa
from fastapi import Depends, Path
from starlette.responses import Response

from fluxhive.core.errors import AuthError, Conflict, InputError
from fluxhive.core.events import (
    HiveEvent,
    NodeAccepted,
    NodeDrained,
    NodeGivenUp,
    NodeRemoved,
    UnknownEnded,
)
from fluxhive.core.node import Node, NodeState
from fluxhive.core.queueing_check import MAX_TIME_MS
from fluxhive.protocol.rest import (
    NodeChange,
    NodeCredentials,
    NodePage,
    NodeRegistration,
    NodeView,
)
from fluxhive.server.auth import Caller, check_administrator
from fluxhive.server.bridge import answer, body_of, new_router, route
from fluxhive.server.lookup import find_node
from fluxhive.server.services import Services
from fluxhive.server.store import people
from fluxhive.server.views import Views

from .tasks import OfCaller, OfServices

router = new_router()

#: Attempts that a refusal names.
ATTEMPTS_SHOWN_MAX = 10
#: A reason for a drain is a sentence.
REASON_MAX = 200

NodeName = Annotated[str, Path(description="Id or label.")]


@route(router, "GET", "/nodes", gives=NodePage)
async def list_nodes(caller: OfCaller, services: OfServices) -> Response:
    """List all nodes with their GPUs, newest readings and reservations."""
    views = Views(services.hive)
    nodes = services.hive.brain.manager.nodes()
    return answer(NodePage(items=tuple(views.node(node) for node in nodes)))


@route(router, "GET", "/nodes/{node}", gives=NodeView)
async def show_node(node: NodeName, caller: OfCaller, services: OfServices) -> Response:
    """Show a node."""
    return answer(Views(services.hive).node(find_node(services.hive, node)))


@route(router, "PATCH", "/nodes/{node}", takes=NodeChange, gives=NodeView)
async def change_node(
    node: NodeName,
    change: Annotated[NodeChange, Depends(body_of(NodeChange))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Change a node; what is absent stays.

    `draining`: it takes no new attempts (its owner or an administrator), with `drain_reason` for
    others to read and `drain_until_ms`, when it takes tasks again by itself. `accepted`: it serves
    everybody, not its owner alone (an administrator); this is not taken back.
    """
    found = find_node(services.hive, node)
    _check_drain(change, services.hive.clock.now_ms())
    if change.accepted is False:
        raise InputError(
            "accepted: cannot be taken back",
            field="accepted",
            value=False,
            hint="drain the node instead: `draining`",
        )
    if change.accepted:
        check_administrator(caller)
        await _accept(services, caller, found)
    if change.draining is not None:
        _check_owner(services, caller, found)
        event: HiveEvent = NodeDrained(
            node_id=found.id,
            on=change.draining,
            by=caller.username,
            reason=change.drain_reason.strip(),
            until_ms=change.drain_until_ms,
        )
        await services.hive.brain.handle(event)
    return answer(Views(services.hive).node(find_node(services.hive, found.id)))


@route(router, "POST", "/nodes/{node}/give-up", gives=NodeView)
async def give_node_up(node: NodeName, caller: OfCaller, services: OfServices) -> Response:
    """Give a node up: say that its machine is off.

    Its attempts end as `node-lost`, and their tasks may start elsewhere at once. Were the machine
    still running, so would they, and a task could run twice at the same time: nobody but a person
    who knows may say this. A node in contact is refused (409). A given-up node that comes back is
    told to stop what was given elsewhere. For its owner or an administrator.
    """
    found = find_node(services.hive, node)
    _check_owner(services, caller, found)
    await services.hive.brain.handle(NodeGivenUp(node_id=found.id, by=caller.username))
    now = find_node(services.hive, found.id)
    if now.state is not NodeState.LOST:
        raise Conflict(
            f"{found.label} is in contact: it is not off",
            hint=f"to empty it: fluxhive node drain {found.label}, then cancel what runs there",
        )
    return answer(Views(services.hive).node(now))


@route(router, "POST", "/nodes/{node}/end-unknown", gives=NodeView)
async def end_unknown(node: NodeName, caller: OfCaller, services: OfServices) -> Response:
    """End what a node holds and this server does not know, as after a backup was restored.

    What runs of it is stopped, with its grace; its output is dropped with it. Until somebody says
    so it runs on. For an administrator.
    """
    check_administrator(caller)
    found = find_node(services.hive, node)
    await services.hive.brain.handle(UnknownEnded(node_id=found.id, by=caller.username))
    return answer(Views(services.hive).node(find_node(services.hive, found.id)))


@route(router, "DELETE", "/nodes/{node}", gives=NodeView)
async def remove_node(node: NodeName, caller: OfCaller, services: OfServices) -> Response:
    """Remove a node that is gone for good from the list, and revoke its token.

    What ran there stays in the history. Refused (409) while the node is in contact or holds
    attempts that have not ended. For its owner or an administrator.
    """
    found = find_node(services.hive, node)
    _check_owner(services, caller, found)
    view = Views(services.hive).node(found)
    manager = services.hive.brain.manager

    def drop_token(db: sa.Connection) -> None:
        if manager.node(found.id) is None:  # in the step that this is stored with
            people.delete_node_token(db, found.id)

    event = NodeRemoved(node_id=found.id, by=caller.username)
    await services.hive.brain.handle(event, extra=drop_token)
    if manager.node(found.id) is not None:
        _say_why_it_stays(Views(services.hive).node(find_node(services.hive, found.id)))
    services.auth.drop_node(found.id)
    return answer(view)


def _say_why_it_stays(node: NodeView) -> NoReturn:
    if node.attempts:
        shown = ", ".join(node.attempts[:ATTEMPTS_SHOWN_MAX])
        raise Conflict(
            f"{node.label} holds attempts that have not ended: {shown}",
            hint=f"if its machine is off, say so first: fluxhive node give-up {node.label}",
        )
    raise Conflict(f"{node.label} is in contact", hint="stop its agent first")


def _check_drain(change: NodeChange, now_ms: int) -> None:
    if len(change.drain_reason) > REASON_MAX:
        raise InputError(
            f"drain_reason: longer than {REASON_MAX} characters",
            field="drain_reason",
            value=change.drain_reason[:REASON_MAX],
            hint="say it shorter",
        )
    until_ms = change.drain_until_ms
    if until_ms is not None and not now_ms < until_ms <= MAX_TIME_MS:
        raise InputError(
            f"drain_until_ms: not a time to come: {until_ms}",
            field="drain_until_ms",
            value=until_ms,
            hint="milliseconds since 1970, later than now",
        )
    if (until_ms is not None or change.drain_reason) and not change.draining:
        raise InputError(
            "drain_until_ms, drain_reason: belong to a drain",
            field="draining",
            value=change.draining,
            hint="say `draining: true` with them",
        )


async def _accept(services: Services, caller: Caller, node: Node) -> None:
    event = NodeAccepted(node_id=node.id, by=caller.username)
    if node.id not in services.auth.nodes:
        await services.hive.brain.handle(event)
        return
    token, store = services.accounts.accepted(node.id)
    await services.hive.brain.handle(event, extra=store)
    services.auth.keep_node(token)


def _check_owner(services: Services, caller: Caller, node: Node) -> None:
    token = services.auth.nodes.get(node.id)
    if not caller.is_administrator and (token is None or token.owner != caller.username):
        raise AuthError(
            f"{node.label} is not your node",
            hint="only its owner or an administrator may change it",
            forbidden=True,
        )


@route(router, "POST", "/nodes", takes=NodeRegistration, gives=NodeCredentials, status=201)
async def register_node(
    registration: Annotated[NodeRegistration, Depends(body_of(NodeRegistration))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Register a machine: exchange a person's token for a node's own, shown this once.

    A machine that was here before gets its id again. The node of an administrator serves
    everybody, another user's its owner alone until it is accepted. Its agent then connects by
    WebSocket at `/api/v1/agent` (docs/protocol.md).
    """
    sessions = services.hive.sessions
    given, replaced = await services.accounts.register_node(
        caller, registration, is_connected=sessions.is_connected
    )
    if replaced is not None:
        sessions.close_node(given.node_id, "the node was registered again")  # type: ignore[arg-type]
    return answer(given, status=201)
