"""What users upload under its SHA-256: in pieces, resumed after any break, kept while it is needed.

Files are the whole truth, so that a crash in any moment leaves nothing to repair:
``blobs/<user>/<sha256>`` is complete and verified, ``….part`` is on its way and as long as what was
received of it. Each user's blobs are that user's alone: knowing a hash opens nothing. Everything
here blocks; it is called in one worker thread at a time, which is what keeps pieces apart.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from fluxhive.core.code import is_sha256
from fluxhive.core.errors import InputError, NotFound, QuotaExceeded, Unreachable
from fluxhive.protocol.rest import BlobView

log = logging.getLogger(__name__)

BLOB_BYTES_MAX = 512 * 1024 * 1024
#: All of one user's blobs together.
USER_BYTES_MAX = 10 * 1024 * 1024 * 1024
#: What no living task refers to is kept so long after its last use, for whoever submits it again.
KEEP_S = 24 * 3600.0
#: … and never less than this: it may have been uploaded for a task that is about to be submitted.
KEEP_AT_LEAST_S = 600.0
#: Other parts of the server need room on the same disk.
FREE_BYTES_MIN = 512 * 1024 * 1024
_HASH_BYTES = 1 << 20


class BlobStore:
    """See the module's docstring."""

    def __init__(
        self,
        root: Path,
        *,
        user_bytes_max: int = USER_BYTES_MAX,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._user_bytes_max = user_bytes_max
        self._clock = clock

    def look(self, owner: str, sha256: str) -> BlobView:
        """How much there is of a blob; a complete one counts as used now."""
        path = self._path(owner, sha256)
        if _touch(path, self._clock()):
            return BlobView(sha256=sha256, received=_size(path), complete=True)
        return BlobView(sha256=sha256, received=_size(_part(path)))

    def size(self, owner: str, sha256: str) -> int | None:
        """Bytes of a complete blob, which counts as used now; None: there is none."""
        view = self.look(owner, sha256)
        return view.received if view.complete else None

    def write(
        self,
        owner: str,
        sha256: str,
        *,
        offset: int,
        size: int,
        data: bytes,
        is_needed: Callable[[str], bool] = lambda _sha256: True,
    ) -> BlobView:
        """Takes a piece, and verifies the whole once it is there. Says where the next one begins.

        A piece that begins beyond what was received is not taken; what came before is not written
        again. ``is_needed`` says whether a living task refers to a blob of this user. Raises
        ``InputError`` for bytes that are not those of the hash, ``QuotaExceeded``.
        """
        view = self.look(owner, sha256)
        if view.complete or offset > view.received:
            return view
        _check_piece(offset, size, data)
        path = self._path(owner, sha256)
        if view.received == 0:
            self._make_room(owner, size, is_needed)
        piece = data[view.received - offset :]
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            received = _append(_part(path), view.received, piece)
            if received < size:
                return BlobView(sha256=sha256, received=received)
            self._complete(path, sha256)
        except OSError as error:
            log.error("blob not stored", extra={"reason": error.strerror})
            raise Unreachable(
                f"the server cannot store this now: {error.strerror}", hint="try again later"
            ) from error
        return BlobView(sha256=sha256, received=size, complete=True)

    def read(self, owner: str, sha256: str, offset: int, limit: int) -> bytes:
        """Bytes of a complete blob. Raises ``NotFound``."""
        with self.open(owner, sha256) as file:
            file.seek(offset)
            return file.read(limit)

    def open(self, owner: str, sha256: str) -> BinaryIO:
        """A complete blob, for reading; counts as used now. Raises ``NotFound``."""
        path = self._path(owner, sha256)
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise NotFound(f"there is no blob `{sha256}`") from error
        _touch(path, self._clock())
        return file

    def collect(self, is_needed: Callable[[str, str], bool]) -> int:
        """Removes what nobody needs any more; how many. ``is_needed`` gets user and hash."""
        n_removed = 0
        for folder in _entries(self._root):
            for path in _entries(folder):
                sha256 = path.name.removesuffix(".part")
                if self._age_s(path) < KEEP_S or is_needed(folder.name, sha256):
                    continue
                path.unlink(missing_ok=True)
                n_removed += 1
        return n_removed

    def _make_room(self, owner: str, size: int, is_needed: Callable[[str], bool]) -> None:
        """Within the user's quota and the disk's; the longest unused of that user goes first."""
        folder = self._folder(owner)
        paths = sorted(_entries(folder), key=self._age_s, reverse=True)
        used = sum(_size(path) for path in paths)
        for path in paths:
            if used + size <= self._user_bytes_max:
                break
            is_young = self._age_s(path) < KEEP_AT_LEAST_S
            if not is_young and not is_needed(path.name.removesuffix(".part")):
                used -= _size(path)
                path.unlink(missing_ok=True)
        if used + size > self._user_bytes_max:
            raise QuotaExceeded(
                f"your uploads have {used >> 20} MiB, and {size >> 20} MiB more would be above the "
                f"{self._user_bytes_max >> 20} MiB that a user may have",
                hint="wait for tasks that use them, or cancel some; make the code smaller",
            )
        free = _free_bytes(self._root)
        if free is not None and free - size < FREE_BYTES_MIN:
            raise Unreachable(
                "the server's disk has no room for this", hint="tell an administrator"
            )

    def _complete(self, path: Path, sha256: str) -> None:
        part = _part(path)
        digest = hashlib.sha256()
        with part.open("rb") as file:
            while piece := file.read(_HASH_BYTES):
                digest.update(piece)
            if digest.hexdigest() == sha256:
                os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            part.unlink()
            raise InputError(
                "the bytes that were received do not have this hash",
                field="sha256",
                value=sha256,
                hint="upload them again from the beginning",
            )
        _touch(part, self._clock())
        part.rename(path)
        _sync_directory(path.parent)

    def _age_s(self, path: Path) -> float:
        try:
            return self._clock() - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _folder(self, owner: str) -> Path:
        return self._root / folder_of(owner)

    def _path(self, owner: str, sha256: str) -> Path:
        if not is_sha256(sha256):
            raise InputError(
                "sha256: not a SHA-256 in hex",
                field="sha256",
                value=sha256[:100],
                hint="64 of the characters 0-9 and a-f",
            )
        return self._folder(owner) / sha256


def folder_of(owner: str) -> str:
    """The folder of a user: made of the name, whatever that holds."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def _check_piece(offset: int, size: int, data: bytes) -> None:
    if not 0 < size <= BLOB_BYTES_MAX:
        raise InputError(
            f"size: must be between 1 and {BLOB_BYTES_MAX}: {size}",
            field="size",
            value=size,
            hint="put large data where the nodes can read it",
        )
    if not data or offset + len(data) > size:
        raise InputError(
            f"the piece of {len(data)} bytes at {offset} does not lie within {size} bytes",
            field="offset",
            value=offset,
            hint="send the bytes from `offset` on, up to `size`",
        )


def _append(part: Path, offset: int, piece: bytes) -> int:
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(piece)
        while view:
            n_bytes = os.pwrite(descriptor, view, offset)
            offset, view = offset + n_bytes, view[n_bytes:]
    finally:
        os.close(descriptor)
    return offset


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _touch(path: Path, now_s: float) -> bool:
    try:
        os.utime(path, (now_s, now_s))
    except FileNotFoundError:
        return False
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _entries(folder: Path) -> Iterator[Path]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    for name in names:
        yield folder / name


def _free_bytes(path: Path) -> int | None:
    while not path.exists():
        path = path.parent
    found = os.statvfs(path) if hasattr(os, "statvfs") else None
    return None if found is None else found.f_bavail * found.f_frsize


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
