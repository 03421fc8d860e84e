"""One agent per state directory: a lock held for life, which also says who holds it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from fluxhive.core.errors import Conflict

_PID_BYTES = 32


def holder(directory: Path) -> int | None:
    """The agent that holds the directory now; None when none does, or it cannot be told."""
    import fcntl  # not on Windows, where the agent cannot run yet

    try:
        descriptor = os.open(directory / "agent.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, _PID_BYTES, 0).strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


class StateLock:
    """Held from construction to the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Raises ``Conflict`` when another agent holds the directory."""
        import fcntl  # not on Windows, where the agent cannot run yet

        path = directory / "agent.lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = (
                os.pread(self._fd, _PID_BYTES, 0).decode("ascii", "replace").strip() or "unknown"
            )
            os.close(self._fd)
            raise Conflict(
                f"an agent runs already with the state directory `{directory}`: process {holder}",
                hint="stop it first; for a second agent on this machine give this one its own "
                "FLOWHIVE_STATE_DIR and label",
            ) from None
        # Of one length, in place: on a full disk an agent that is started again needs no room.
        with contextlib.suppress(OSError):  # none is known, then; who holds the lock is not moved
            os.pwrite(self._fd, f"{os.getpid():<{_PID_BYTES - 1}}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next one in; the end of the process does it too."""
        os.close(self._fd)
