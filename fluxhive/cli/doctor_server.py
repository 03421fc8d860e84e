"""What `fluxhive doctor` asks about the way to the server, and about the server's clock."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from fluxhive import __version__, config
from fluxhive.cli.doctor_finding import Finding, note, ok, problem, warning
from fluxhive.core.errors import FluxhiveError
from fluxhive.http_sender import proxy_for
from fluxhive.protocol.rest import Health, Me
from fluxhive.transport import Transport, Whole

SKEW_WARN_S = 5.0
"""Times are for display alone; nobody wonders about a few seconds."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def look(settings: config.Settings) -> Iterator[Finding]:
    """Whether the server answers, who it is, and what lies in between."""
    url = settings.control_base_url
    proxy = proxy_for(url)
    if proxy is not None:
        yield note(
            "proxy",
            f"a proxy is used for {url}",
            f"without it: add {urlsplit(url).hostname} to NO_PROXY",
        )
    transport = Transport(url, token=settings.token, ca_file=settings.ca_file, sleep=lambda _: None)
    try:
        before_s = time.time()
        answer = transport.whole("GET", "/api/v1/health")
        took_s = time.time() - before_s
        health = msgspec.json.decode(answer.body, type=Health)
    except FluxhiveError as error:
        yield problem("server", error.text, error.hint or f"start it, or correct the address {url}")
        yield from port(url)
        return
    except msgspec.MsgspecError:
        yield problem(
            "server", f"what answers at {url} is no FlowHive server", "correct the address"
        )
        return
    yield server(url, health)
    yield from between(answer, before_s + took_s / 2, took_s)
    yield login(transport, settings)


def server(url: str, health: Health) -> Finding:
    """What the server says of itself."""
    text = f"{url}, version {health.version}"
    if health.status != "ok":
        return problem("server", f"{text}, is {health.status}: {health.problem}", "see its log")
    if health.version != __version__:
        return note("server", f"{text}; here is {__version__}")
    return ok("server", text)


def between(answer: Whole, at_s: float, took_s: float) -> Iterator[Finding]:
    """The clocks of both ends, and a proxy that shows itself (RFC 9110 §7.6.3)."""
    via = answer.headers.get("via")
    if via:
        yield note(
            "proxy",
            f"a proxy stands between here and the server: {via}",
            "it must pass WebSockets, and must not close them for being idle under 30 s",
        )
    try:
        theirs_s = parsedate_to_datetime(answer.headers.get("date", "")).timestamp() + 0.5
    except (TypeError, ValueError):
        return
    skew_s = at_s - theirs_s
    if abs(skew_s) > SKEW_WARN_S + took_s:
        ahead = "ahead of" if skew_s > 0 else "behind"
        yield warning(
            "clock",
            f"this clock is {abs(skew_s):.0f} s {ahead} the server's: times of output look wrong",
            "let both follow one clock: chrony, systemd-timesyncd",
        )
    else:
        yield ok("clock", "agrees with the server's")


def login(transport: Transport, settings: config.Settings) -> Finding:
    """Whether the server knows who this is."""
    if settings.token is None:
        return note("login", "not logged in here", "fluxhive login")
    try:
        me = transport.call("GET", "/api/v1/auth/me", Me)
    except FluxhiveError as error:
        return problem("login", error.text, error.hint or "fluxhive login")
    return ok("login", f"{me.username}, {me.role.value}")


def port(url: str) -> Iterator[Finding]:
    """Somebody else on the port where a server of this machine should be."""
    parts = urlsplit(url)
    if parts.hostname not in LOOPBACK or parts.port is None:
        return
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", parts.port))
        except OSError:
            yield warning(
                "port",
                f"port {parts.port} is taken by something that is no FlowHive server",
                "fluxhive up --port PORT, or stop the other one",
            )
        else:
            yield note(
                "port", f"nobody listens on port {parts.port}", "fluxhive up starts a server"
            )
