"""One agent per state directory: a lock held for life, which also says who holds it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from fluxhive.core.errors import Conflict

from . import file_lock
from .positioned import write_at

_PID_BYTES = 32
_OPEN = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def holder(directory: Path) -> int | None:
    """The agent that holds the directory now; None when none does, or it cannot be told."""
    path = directory / "agent.lock"
    try:
        if not file_lock.is_held(path):
            return None
        text = _pid_in(path)
    except OSError:
        return None
    return int(text) if text.isdigit() else None


class StateLock:
    """Held from construction to the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Raises ``Conflict`` when another agent holds the directory."""
        path = directory / "agent.lock"
        self._fd = os.open(path, _OPEN, 0o600)
        if not file_lock.take(self._fd):
            os.close(self._fd)
            raise Conflict(
                f"an agent runs already with the state directory `{directory}`: process "
                f"{_pid_in(path) or 'unknown'}",
                hint="stop it first; for a second agent on this machine give this one its own "
                "FLOWHIVE_STATE_DIR and label",
            )
        # Of one length, in place: on a full disk an agent that is started again needs no room.
        with contextlib.suppress(OSError):  # none is known, then; who holds the lock is not moved
            write_at(self._fd, f"{os.getpid():<{_PID_BYTES - 1}}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next one in; the end of the process does it too."""
        os.close(self._fd)


def _pid_in(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(_PID_BYTES).decode("ascii", "replace").strip()
