"""What the brain was told and when, one JSON line an event: enough to play an incident again.

Bounded: two files of at most ``FILE_BYTES``. Not a source of truth and not fsynced; the store is.
Events hold what people submitted, environment included, so the files are private (0600).
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import msgspec

from fluxhive.core.events import HiveEvent
from fluxhive.core.values import Ms

log = logging.getLogger(__name__)

FILE_BYTES = 16 * 1024 * 1024
#: Copies kept of the journal as it was when a law broke.
INCIDENTS_MAX = 5

_encode = msgspec.json.Encoder().encode


class BrainJournal:
    """Lines are collected by ``note`` and written by ``write``, which blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._file = -1
        self._size = 0
        self._problem = ""

    def note(self, event: HiveEvent, now_ms: Ms) -> None:
        """Remembers an event for the next ``write``."""
        self._lines.append(b'{"now_ms":%d,"event":%s}\n' % (now_ms, _encode(event)))

    def take(self) -> list[bytes]:
        """The lines since the last call, for ``write``."""
        lines, self._lines = self._lines, []
        return lines

    @property
    def n_waiting(self) -> int:
        """How many lines were not taken yet."""
        return len(self._lines)

    def write(self, lines: list[bytes]) -> None:
        """Appends; a disk that does not take it costs the journal and nothing else. One caller."""
        if not lines:
            return
        try:
            if self._file < 0 or self._size > FILE_BYTES:
                self._rotate()
            self._size += os.write(self._file, b"".join(lines))
            self._problem = ""
        except OSError as error:
            if not self._problem:
                log.warning("journal not written", extra={"error": str(error)})
            self._problem = str(error)

    def keep(self, story: str) -> Path | None:
        """Copies the journal aside, the story of what went wrong in front; the copy, if it worked.

        Blocks.
        """
        self.write(self.take())
        number = 1 + max((int(path.suffix[1:]) for path in self._incidents()), default=0)
        copy = self._path.with_name(f"incident.{number}")
        try:
            with open(os.open(copy, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
                out.write(_encode({"story": story}) + b"\n")
                for path in (self._older, self._path):
                    if path.exists():
                        with path.open("rb") as source:
                            shutil.copyfileobj(source, out)
            for old in sorted(self._incidents(), key=lambda p: int(p.suffix[1:]))[:-INCIDENTS_MAX]:
                old.unlink()
        except OSError as error:
            log.warning("journal not kept", extra={"error": str(error)})
            return None
        return copy

    def close(self) -> None:
        """Writes what waits."""
        self.write(self.take())
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def _older(self) -> Path:
        return self._path.with_name(self._path.name + ".1")

    def _incidents(self) -> list[Path]:
        found = self._path.parent.glob("incident.*")
        return [path for path in found if path.suffix[1:].isdecimal()]

    def _rotate(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            os.replace(self._path, self._older)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._file).st_size
