"""Server and agent as processes of this machine: started, found again, and ended.

They run in sessions of their own, so that the terminal's Ctrl-C reaches only the command that
watches them, and in our state directory, so that no file of the current directory is imported.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fluxhive import env, places
from fluxhive.cli import messages
from fluxhive.core.errors import FluxhiveError, RemoteError
from fluxhive.protocol.rest import Health
from fluxhive.sdk.calls import Calls
from fluxhive.transport import Transport

LOG_BYTES_MAX = 10 << 20
"""A larger log is put aside as `.1` at the next start."""
LOG_TAIL_BYTES = 2000
STOP_S = 15.0
"""From the polite signal to the kill; a clean end takes well under a second."""
POLL_S = 0.05


def start(words: list[str], log: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts `fluxhive WORDS` in a session of its own with its output in the log file."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(log.suffix + ".1"))
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "fluxhive.cli.fluxhive", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env=_environment(variables),
            start_new_session=True,
        )


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Our environment with relative paths made absolute, since the directory is another one."""
    made = dict(os.environ)
    made[env.STATE_DIR.name] = str(places.state_root())
    made[env.CONFIG.name] = str(places.config_path().absolute())
    searched = [part for part in made.get("PYTHONPATH", "").split(os.pathsep) if part]
    if searched:
        made["PYTHONPATH"] = os.pathsep.join(os.path.abspath(part) for part in searched)
    return {**made, **variables}


def health(url: str) -> Health | None:
    """What the FlowHive server at that address says of itself; None when none answers there."""
    with Calls(transport=Transport(url, sleep=lambda _: None)) as client:
        try:
            return client.health()
        except FluxhiveError:
            return None


def ours(up: places.Up) -> bool:
    """Whether the server that was noted answers, and is that one."""
    found = health(up.url)
    return found is not None and (not up.server_id or found.server_id == up.server_id)


def is_alive(pid: int | None, verb: str) -> bool:
    """Whether that process runs `fluxhive VERB`; numbers are given again to others."""
    if pid is None:
        return False
    import psutil  # needed by no other command

    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        return (
            process.status() != psutil.STATUS_ZOMBIE
            and verb in words
            and any("fluxhive" in word for word in words)
        )
    except psutil.Error:
        return False


def stop(pid: int | None, verb: str) -> None:
    """Ends the process politely, then not; returns when it has ended."""
    if pid is None or not is_alive(pid, verb):
        return
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_S
    while is_alive(pid, verb):
        if time.monotonic() > until:
            messages.warn(f"`fluxhive {verb}` (process {pid}) does not end; it is killed")
            os.kill(pid, signal.SIGKILL)
            until = float("inf")
        time.sleep(POLL_S)


def ended_early(name: str, process: subprocess.Popen[bytes], log: Path) -> RemoteError:
    """The error for a process that ended before it was ready, with its last words."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        tail = file.read().decode("utf-8", "replace").strip()
    return RemoteError(
        f"the {name} ended with code {process.returncode} before it was ready:\n\n{tail}",
        hint=f"all it said: {log}",
    )
