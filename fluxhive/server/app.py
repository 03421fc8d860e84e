"""The control server as a process: opens the hive, listens, and stops in order.

``main`` is what ``fluxhive server`` calls. What it serves is web.py's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

import anyio
import uvicorn

from fluxhive import collector, diagnostics, places
from fluxhive.config import ServerOptions
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.policy import POLICIES
from fluxhive.protocol.wire import FRAME_BYTES_MAX

from .first_start import local_administrator
from .frame_door import connection_class
from .hive import open_hive
from .listening import bind, check_exposure, url_of
from .pages import welcome_link
from .retention import Retention
from .web import create_app, open_services

log = logging.getLogger(__name__)

#: From the signal until connections that do not close are cut; long answers end at once.
GRACEFUL_S = 2
KEEP_ALIVE_S = 75
BACKLOG = 512


def main(options: ServerOptions) -> int:
    """Runs the server until SIGTERM or SIGINT; 0 after a clean end.

    Raises ``FluxhiveError`` for what a person can repair: the port, the state directory, the
    certificate. Logging is set up by the caller.
    """
    check_exposure(options)
    listener = bind(options)
    try:
        use_uvloop = _has_uvloop()
        anyio.run(_serve, options, listener, backend_options={"use_uvloop": use_uvloop})
    except FluxhiveError:
        raise
    except BaseException as error:
        # A task group wraps what a person should hear.
        cause = diagnostics.first_cause(error)
        if isinstance(cause, FluxhiveError):
            raise cause from error
        raise
    finally:
        listener.close()
    return 0


async def _serve(options: ServerOptions, listener: socket.socket) -> None:
    directory = Path(options.state_dir)
    quota_bytes = round(options.log_quota_gib * 1024**3)
    async with (
        open_hive(
            directory,
            log_quota_bytes=quota_bytes,
            retention=Retention(
                tasks_days=options.keep_tasks_days,
                logs_days=options.keep_logs_days,
                logs_bytes=round(options.keep_logs_gib * 1024**3),
            ),
            settings=HiveSettings(preemption=options.preemption, policy=POLICIES[options.policy]),
            gpu_reading_ms=round(options.gpu_reading_s * 1000),
        ) as hive,
        open_services(hive) as services,
    ):
        url = url_of(options, listener)
        administrator = await local_administrator(services, directory)
        config = uvicorn.Config(
            create_app(services),
            http=_http(),
            ws=connection_class(),
            ws_max_size=FRAME_BYTES_MAX,
            ws_per_message_deflate=False,
            # Heartbeats find a dead line; the protocol's own pings would be a second way.
            ws_ping_interval=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACEFUL_S,
            ssl_certfile=options.tls_cert,
            ssl_keyfile=options.tls_key,
        )

        def begun() -> None:
            _note_up(directory, url, hive.id)
            log.info("server listens", extra={"url": url, "state": directory})
            if administrator.code is not None:
                _say_link(url, administrator.username, administrator.code)

        server = _Server(config, begun=begun, stopping=services.answers.stop)
        collector.settle()
        try:
            await server.serve(sockets=[listener])
        finally:
            _forget_up(directory)
        log.info("server stopped")


class _Server(uvicorn.Server):
    """Uvicorn with our signals: it stops once, in order, and leaves the exit code to us."""

    def __init__(
        self, config: uvicorn.Config, *, begun: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._begun = begun
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Before uvicorn waits for connections: long answers would keep theirs open.
        self._stopping()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Ends on the first signal; uvicorn would raise it once more after the end."""
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


def _note_up(directory: Path, url: str, server_id: str) -> None:
    """Writes up.json, which the commands of this machine read; only for the usual place."""
    if _is_usual(directory):
        places.write_up(places.Up(url=url, server_pid=os.getpid(), server_id=server_id))


def _forget_up(directory: Path) -> None:
    noted = places.read_up() if _is_usual(directory) else None
    if noted is not None and noted.server_pid == os.getpid():
        places.forget_up()


def _is_usual(directory: Path) -> bool:
    return directory.absolute() == (places.state_root() / "server").absolute()


def _say_link(url: str, username: str, code: str) -> None:
    """To the terminal or the server's own log file (0600), once; never through logging."""
    sys.stderr.write(
        f"\nTo log in with a browser as {username}, open this link once, within seven days:\n"
        f"  {welcome_link(url, code)}\n\n"
    )
    sys.stderr.flush()


def _http() -> type[asyncio.Protocol] | Literal["h11"]:
    try:
        from .http_protocol import LimitedHttp
    except ImportError:  # no httptools on this Python
        return "h11"
    return LimitedHttp


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401  # faster where there is one; not on every system
    except ImportError:
        return False
    return True
