"""One agent per state directory: a lock held for life, which also says who holds it."""

from __future__ import annotations

import os
from pathlib import Path

from fluxhive.core.errors import Conflict


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
        text = os.pread(descriptor, 32, 0).strip()
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
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise Conflict(
                f"an agent runs already with the state directory `{directory}`: process {holder}",
                hint="stop it first; for a second agent on this machine give this one its own "
                "FLOWHIVE_STATE_DIR and label",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next one in; the end of the process does it too."""
        os.close(self._fd)
