"""``/api/v1/health``, ``/ready``, ``/events``: how the server is, and what changes."""

from __future__ import annotations

from starlette.responses import Response

from fluxhive import __version__
from fluxhive.core.errors import Unreachable
from fluxhive.protocol.rest import Health
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.event_stream import EventStream
from fluxhive.server.services import Services

from .tasks import OfCaller, OfServices

router = new_router()


@route(router, "GET", "/health", gives=Health, is_open=True)
async def show_health(services: OfServices) -> Response:
    """Say that the server lives, and whether something is wrong with it."""
    return answer(_health(services))


@route(router, "GET", "/ready", gives=Health, is_open=True)
async def show_readiness(services: OfServices) -> Response:
    """Say that the server takes requests: 503 while it cannot store anything."""
    problem = services.hive.problem
    if problem:
        raise Unreachable(f"not ready: {problem}", hint="it tries again by itself")
    return answer(_health(services))


@route(router, "GET", "/events", gives="text/event-stream")
async def follow_events(caller: OfCaller, services: OfServices) -> Response:
    """Follow what changes as server-sent events.

    `task-changed`, `node-changed`, `readings-changed`, and `lagged` for a reader that was too slow
    and has to read the lists again; `alive` when nothing changes. Nothing is repeated after a lost
    connection.
    """
    if services.feed.is_full:
        raise Unreachable("too many readers follow the events", hint="try again later")
    return EventStream(services.feed.stream(caller), services, caller.token_id)


def _health(services: Services) -> Health:
    problem = services.hive.problem
    return Health(
        status="degraded" if problem else "ok",
        version=__version__,
        server_id=services.hive.id,
        problem=problem,
    )
