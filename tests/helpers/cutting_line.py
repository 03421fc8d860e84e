"""A line to a server that can break off in the middle of a page, as when the server stops there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_AT_ONCE = 256


class CuttingLine:
    """Passes on what comes; of the answer to `GET /` no more than ``page_bytes``, once set."""

    def __init__(self, port: int) -> None:
        self.page_bytes: int | None = None
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=[near], daemon=True).start()

    def close(self) -> None:
        """No further connections; those that are open end with their browser."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _pass_on(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._server))
        left: list[int | None] = [None]

        def there() -> None:
            while data := near.recv(65536):
                left[0] = self.page_bytes if data.startswith(b"GET / ") else None
                far.sendall(data)

        def back() -> None:
            while data := far.recv(_AT_ONCE):
                if (n := left[0]) is not None:
                    data, left[0] = data[:n], n - len(data[:n])
                near.sendall(data)
                if left[0] == 0:
                    return

        def until_it_ends(way: Callable[[], None]) -> None:
            with suppress(OSError):  # the other side has gone
                way()
            for end in (near, far):
                end.close()

        threading.Thread(target=until_it_ends, args=[there], daemon=True).start()
        until_it_ends(back)


@contextmanager
def cutting_line(port: int) -> Iterator[CuttingLine]:
    """One to the server at this port."""
    line = CuttingLine(port)
    threading.Thread(target=line.serve, daemon=True).start()
    try:
        yield line
    finally:
        line.close()
