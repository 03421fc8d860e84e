"""What the routes work with, handed to each request through the application's state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import anyio
from starlette.requests import HTTPConnection

from .accounts import Accounts
from .auth import Auth
from .browser import BrowserSessions
from .code import CodeStore
from .feed import Feed
from .hive import Hive
from .live import Live
from .log_lines import LineReader
from .secrets import Secrets
from .tally import Tally
from .task_metrics import TaskMetrics


class LongAnswers:
    """Answers that stay open: they end when their token does, and when the server stops."""

    def __init__(self) -> None:
        self._open: dict[anyio.CancelScope, str] = {}
        self._is_stopping = False

    @contextmanager
    def scope(self, token_id: str) -> Iterator[anyio.CancelScope]:
        """A scope that is cancelled when the answer has to end."""
        with anyio.CancelScope() as scope:
            self._open[scope] = token_id
            if self._is_stopping:
                scope.cancel()
            try:
                yield scope
            finally:
                del self._open[scope]

    def end(self, token_id: str) -> None:
        """Ends what a token holds open."""
        for scope, of in list(self._open.items()):
            if of == token_id:
                scope.cancel()

    def stop(self) -> None:
        """Ends everything, also what begins from now on."""
        self._is_stopping = True
        for scope in list(self._open):
            scope.cancel()


class Services(NamedTuple):
    """All of them."""

    hive: Hive
    auth: Auth
    accounts: Accounts
    browsers: BrowserSessions
    feed: Feed
    tally: Tally
    lines: LineReader
    live: Live
    answers: LongAnswers
    #: Threads that read output for people at the same time.
    log_readers: anyio.CapacityLimiter
    secrets: Secrets
    code: CodeStore
    metrics: TaskMetrics


def services_of(request: HTTPConnection) -> Services:
    """The services of the application that answers."""
    found: Services = request.app.state.services
    return found


async def given_services(request: HTTPConnection) -> Services:
    """The same as a dependency of the routes; FastAPI calls plain functions in another thread."""
    return services_of(request)
