"""The web application: routes, pages, and the layers around them.

From the outside in: ``Shell`` (limits, headers, failures), ``Gate`` (who is asking), ``Packing``,
``Direct`` (the short way to a route), routes. What they work with is in ``app.state.services``;
app.py puts it there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from fluxhive import __version__
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.values import NodeId

from . import openapi
from .accounts import Accounts
from .auth import Auth
from .blobs import BlobStore
from .browser import BrowserSessions
from .code import CodeStore
from .dashboard import add_dashboard
from .direct import Direct
from .feed import Feed
from .gate import API, Gate
from .hive import Hive
from .live import Live
from .log_lines import LineReader
from .packing import Packing
from .pages import add_pages
from .problems import on_bad_parameters, on_error
from .rest import (
    agents,
    blobs,
    bookings,
    bulk,
    changes,
    code_files,
    health,
    live,
    log_lines,
    logs,
    metrics,
    node_health,
    nodes,
    people,
    quotas,
    secrets,
    summary,
    task_list,
    tasks,
    usage,
    why,
)
from .secrets import Secrets
from .services import LongAnswers, Services
from .shell import Shell
from .tally import Tally, ended_since
from .task_metrics import TaskMetrics

#: Readers of output that may block at the same time; further ones wait.
LOG_READERS = 8


def create_app(services: Services | None = None) -> FastAPI:
    """The application; without services it can describe itself and nothing else."""
    app = FastAPI(
        title="FlowHive",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    rooms = (
        why,
        summary,
        task_list,
        bulk,
        tasks,
        changes,
        live,
        log_lines,
        logs,
        metrics,
        node_health,
        nodes,
        people,
        quotas,
        bookings,
        secrets,
        blobs,
        code_files,
        usage,
        agents,
        health,
    )
    for room in rooms:
        app.include_router(room.router, prefix=API)
    add_pages(app)
    add_dashboard(app)
    app.add_exception_handler(FluxhiveError, on_error)
    app.add_exception_handler(RequestValidationError, on_bad_parameters)
    # The one added last is outermost.
    app.add_middleware(Direct, routers=[room.router for room in rooms], prefix=API)
    app.add_middleware(Packing)
    app.add_middleware(Gate)
    app.add_middleware(Shell)
    made: dict[str, Any] = {}

    def describe() -> dict[str, Any]:
        if not made:
            made.update(openapi.document(app))
        return made

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's documented way
    return app


@asynccontextmanager
async def open_services(hive: Hive) -> AsyncIterator[Services]:
    """All that the routes work with, over a hive that is open; what must run runs."""
    auth = Auth(hive.store, hive.clock)
    await auth.load()
    feed = Feed(hive)
    limiter = anyio.CapacityLimiter(LOG_READERS)
    kept = Secrets(hive.store, hive.clock)
    code = CodeStore(BlobStore(hive.directory / "blobs"), hive.brain)
    tally = Tally(hive.brain, hive.clock)
    tally.load(await hive.store.read(partial(ended_since, since_ms=tally.since_ms())))
    accounts = Accounts(auth)
    services = Services(
        hive,
        auth,
        accounts,
        BrowserSessions(auth, accounts),
        feed,
        tally,
        LineReader(),
        Live(hive, tally),
        LongAnswers(),
        limiter,
        kept,
        code,
        TaskMetrics(hive.logs),
    )

    def revoked(token_id: str, node_id: str | None) -> None:
        services.answers.end(token_id)
        if node_id is not None:
            hive.sessions.close_node(NodeId(node_id), "the node's token was revoked")

    auth.on_revoked = revoked
    async with anyio.create_task_group() as group:
        group.start_soon(auth.run)
        group.start_soon(feed.run)
        group.start_soon(code.run)
        try:
            yield services
        finally:
            services.answers.stop()
            group.cancel_scope.cancel()
