"""Carries requests of `transport.py` out by urllib3, which is imported with the first of them.

Keeps connections, checks certificates, honours the proxy variables, and says in plain words why
there is no connection. Repeats nothing and follows no redirect: the transport decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fluxhive.core.errors import InputError, Unreachable
from fluxhive.transport import BY_PROXY, Answer, Broken, Request, Unsent

if TYPE_CHECKING:
    import urllib3

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
STREAM_TIMEOUT_S = 60.0
"""The server sends a sign of life every 15 s on a stream; four missed mean that it is gone."""
#: OpenSSL's words where the answer to its greeting is no TLS; they differ between versions.
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
STREAM_PIECE_BYTES = 1 << 16


class Urllib3Sender:
    """Sends by urllib3: keeps connections, checks certificates, honours the proxy variables."""

    def __init__(self, base_url: str, ca_file: str | None = None) -> None:
        self._base_url = base_url
        self._ca_file = ca_file
        self._pool: urllib3.PoolManager | None = None

    def send(self, request: Request) -> Answer:
        import urllib3.exceptions as trouble
        from urllib3 import Timeout

        read_s = STREAM_TIMEOUT_S if request.is_stream else READ_TIMEOUT_S
        try:
            response = self._open().request(
                request.method,
                request.url,
                body=request.body,
                headers=request.headers,
                preload_content=False,
                retries=False,
                redirect=False,
                timeout=Timeout(connect=CONNECT_TIMEOUT_S, read=read_s),
            )
        except trouble.SSLError as error:
            raise _untrusted(self._base_url, str(error)) from error
        except (trouble.NewConnectionError, trouble.ConnectTimeoutError) as error:
            raise Unsent(_reason(error)) from error
        except trouble.ProxyError as error:
            proxy = proxy_for(self._base_url)
            raise Unsent(f"{BY_PROXY} {proxy} failed: {_reason(error)}") from error
        except (trouble.HTTPError, OSError) as error:
            raise Broken(_reason(error)) from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, _pieces(response), response.close)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.clear()
            self._pool = None

    def _open(self) -> urllib3.PoolManager:
        if self._pool is None:
            import urllib3

            if self._ca_file is not None and not os.path.isfile(self._ca_file):
                raise InputError(
                    f"the file of certificates does not exist: `{self._ca_file}`",
                    field="tls.ca_file",
                    value=self._ca_file,
                    hint="correct it: fluxhive config tls.ca_file FILE",
                )
            proxy = proxy_for(self._base_url)
            # Without a file of certificates urllib3 loads the system's.
            self._pool = (
                urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=self._ca_file)
                if proxy is None
                else urllib3.ProxyManager(proxy, cert_reqs="CERT_REQUIRED", ca_certs=self._ca_file)
            )
        return self._pool


def _untrusted(url: str, why: str) -> Unreachable:
    """The error for a connection that TLS did not make."""
    if any(word in why for word in _NO_TLS):
        plain = url.replace("https://", "http://", 1)
        return Unreachable(
            f"{url} does not speak https",
            hint=f"is it a server with plain http? Then its address is {plain}",
        )
    return Unreachable(
        f"no trusted connection to {url}: {why}",
        hint="for a certificate of your own: fluxhive config tls.ca_file FILE",
    )


def _pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    import urllib3.exceptions as trouble

    while True:
        try:
            piece = response.read1(STREAM_PIECE_BYTES)
        except (trouble.HTTPError, OSError) as error:
            raise Broken(_reason(error)) from error
        if not piece:
            return
        yield piece


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for this address; never one for this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or host == "::1" or host.startswith("127."):
        return None
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies_environment, proxy_bypass

    proxies = getproxies_environment()
    if proxy_bypass(parts.netloc):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def _reason(error: BaseException) -> str:
    """What the system said, without urllib3's object names."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror.lower()
        if isinstance(inner, TimeoutError):
            return "timed out"
        inner = inner.__cause__ or inner.__context__
    text = str(error)
    if "Remote end closed connection" in text:  # http.client's words
        return "the other side closed it without an answer"
    return "timed out" if "timed out" in text else text.rpartition(": ")[2] or type(error).__name__
