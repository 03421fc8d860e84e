"""The socket that the server listens on: bound before anything else, or a message that helps."""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

from fluxhive.config import ServerOptions
from fluxhive.core.errors import Conflict, InputError

_ASK_S = 1.0


def check_exposure(options: ServerOptions) -> None:
    """Raises ``InputError`` for plain HTTP beyond this machine, unless a person wants that."""
    if (options.tls_cert is None) != (options.tls_key is None):
        raise InputError(
            "`--tls-cert` and `--tls-key` belong together",
            field="--tls-cert" if options.tls_cert is None else "--tls-key",
            hint="give both, or none for plain HTTP on this machine",
        )
    if options.tls_cert is not None and options.tls_key is not None:
        _check_certificate(options.tls_cert, options.tls_key)
    elif not is_loopback(options.host) and not options.insecure_http:
        raise InputError(
            f"plain HTTP on `{options.host}` would show passwords and tokens to the network",
            field="--host",
            value=options.host,
            hint="give `--tls-cert` and `--tls-key`, or `--insecure-http` where nobody listens",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(options: ServerOptions) -> socket.socket:
    """The bound socket. Raises ``Conflict``, naming who has the port; ``InputError``."""
    try:
        found = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise InputError(
            f"no address of this machine: `{options.host}` ({error.strerror or error})",
            field="--host",
            value=options.host,
            hint="127.0.0.1 for this machine alone, 0.0.0.0 for every network",
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _unbound(options, error) from error
    return listener


def url_of(options: ServerOptions, listener: socket.socket) -> str:
    """The address at which people of this machine find the server."""
    scheme = "http" if options.tls_cert is None else "https"
    host, port = listener.getsockname()[:2]
    try:
        is_any = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        is_any = False
    if is_any:
        # A certificate names the host, not the loopback address.
        host = "127.0.0.1" if scheme == "http" else socket.getfqdn()
    elif options.host == "localhost" or (scheme == "https" and not is_loopback(options.host)):
        host = options.host
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _unbound(options: ServerOptions, error: OSError) -> Conflict | InputError:
    port = options.port
    if error.errno == errno.EADDRINUSE:
        url = f"http://{'127.0.0.1' if options.host == '0.0.0.0' else options.host}:{port}"
        if _is_fluxhive(url):
            return Conflict(
                f"already running at {url}", hint="use it, or start this one with `--port`"
            )
        return Conflict(
            f"port {port} is in use by another program", hint="choose another with `--port`"
        )
    if error.errno == errno.EACCES:
        return Conflict(
            f"port {port} is not for ordinary users", hint="choose one above 1023 with `--port`"
        )
    return InputError(
        f"cannot listen on `{options.host}`: {error.strerror}",
        field="--host",
        value=options.host,
        hint="127.0.0.1 for this machine alone, 0.0.0.0 for every network",
    )


def _is_fluxhive(url: str) -> bool:
    # Proxies of the environment are not for an address of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/api/v1/health", timeout=_ASK_S) as answer:
            return "server_id" in json.loads(answer.read(4096))
    except (OSError, ValueError, TypeError, urllib.error.URLError):
        return False


def _check_certificate(certificate: str, key: str) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        missing = next((path for path in (certificate, key) if not Path(path).is_file()), None)
        reason = f"no such file: `{missing}`" if missing else (error.strerror or str(error))
        raise InputError(
            f"certificate and key cannot be used: {reason}",
            field="--tls-cert",
            value=certificate,
            hint="both must be PEM files that belong together, the key without a password",
        ) from error
