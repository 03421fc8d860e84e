"""Archives of code on this node: fetched once, verified, kept up to a bound, each copied fresh.

An archive is on its way as ``<sha256>.part``, from whose end the next piece is fetched whatever
happened in between, and complete as ``<sha256>``. The longest unused go when there are too many;
one that is being unpacked is held and stays. An attempt works in its own copy and needs the archive
no more once it has that. Everything here blocks and may be called from several threads.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fluxhive.core.code import CodeSnapshot, is_sha256
from fluxhive.core.errors import InternalError, RemoteError, Unreachable
from fluxhive.core.values import AttemptId

from .unpack import unpack

log = logging.getLogger(__name__)

CACHE_BYTES_MAX = 4 * 1024 * 1024 * 1024
PIECE_BYTES = 1 << 20
#: So long nothing may come before the attempt is handed back.
STALLED_S = 600.0
PAUSE_S = 1.0
_HASH_BYTES = 1 << 20

#: Bytes of the code of an attempt's task from an offset on, at most so many.
Fetch = Callable[[AttemptId, int, int], bytes]


class NotWanted(Exception):
    """The attempt was stopped while its code was on the way."""


class CodeCache:
    """See the module's docstring."""

    def __init__(
        self,
        directory: str,
        fetch: Fetch,
        *,
        bytes_max: int = CACHE_BYTES_MAX,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._directory = directory
        self._fetch = fetch
        self._bytes_max = bytes_max
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.Lock()
        #: Archives that threads hold, and the lock under which each is fetched.
        self._held: dict[str, int] = {}
        self._locks: dict[str, threading.Lock] = {}

    def copy(
        self,
        code: CodeSnapshot,
        attempt_id: AttemptId,
        target: str,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Makes ``target`` with a fresh copy of the code, fetched first where it is not here.

        Raises ``NotWanted``, ``BadArchive``, ``OSError``, and what the last fetch raised.
        """
        if not is_sha256(code.sha256):
            raise InternalError(f"not the name of an archive: {code.sha256[:100]!r}")
        with self._hold(code.sha256):
            path = self._have(code, attempt_id, is_wanted)
            with open(path, "rb") as archive:
                unpack(archive, target, code)
        self._evict()

    @contextmanager
    def _hold(self, sha256: str) -> Iterator[None]:
        with self._lock:
            self._held[sha256] = self._held.get(sha256, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._held[sha256] -= 1
                if not self._held[sha256]:
                    del self._held[sha256]
                    self._locks.pop(sha256, None)

    def _have(
        self, code: CodeSnapshot, attempt_id: AttemptId, is_wanted: Callable[[], bool]
    ) -> str:
        """The path of the verified archive. One thread fetches it, others wait."""
        path = f"{self._directory}/{code.sha256}"
        with self._lock:
            lock = self._locks.setdefault(code.sha256, threading.Lock())
        with lock:
            if _touch(path):
                return path
            self._fetch_all(code, attempt_id, is_wanted)
            _verify(f"{path}.part", code.sha256)
            os.rename(f"{path}.part", path)
        log.info("code fetched", extra={"sha256": code.sha256, "n_bytes": code.n_bytes})
        return path

    def _fetch_all(
        self, code: CodeSnapshot, attempt_id: AttemptId, is_wanted: Callable[[], bool]
    ) -> None:
        last_progress_s = self._clock()
        part = f"{self._directory}/{code.sha256}.part"
        with open(part, "ab", opener=_private, buffering=0) as file:
            offset = file.seek(0, os.SEEK_END)
            while offset < code.n_bytes:
                if not is_wanted():
                    raise NotWanted
                limit = min(PIECE_BYTES, code.n_bytes - offset)
                try:
                    piece = self._fetch(attempt_id, offset, limit)
                except (Unreachable, RemoteError):
                    if self._clock() - last_progress_s > STALLED_S:
                        raise
                    self._sleep(PAUSE_S)
                    continue
                if not piece or len(piece) > limit:
                    raise RemoteError("the server has less of the code than was said")
                _write_all(file.fileno(), piece)
                offset, last_progress_s = offset + len(piece), self._clock()

    def _evict(self) -> None:
        """The longest unused first, until the bound holds; never one that somebody holds."""
        with self._lock:
            found = []
            for name in os.listdir(self._directory):
                stat = os.stat(f"{self._directory}/{name}")
                found.append((stat.st_mtime_ns, name, stat.st_size))
            total = sum(size for _, _, size in found)
            for _, name, size in sorted(found):
                if total <= self._bytes_max:
                    return
                if name.removesuffix(".part") not in self._held:
                    os.unlink(f"{self._directory}/{name}")
                    total -= size


def _verify(path: str, sha256: str) -> None:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_HASH_BYTES):
            digest.update(piece)
    if digest.hexdigest() != sha256:
        os.unlink(path)
        raise RemoteError("the code that came does not have its hash")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0), 0o600)


def _touch(path: str) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
