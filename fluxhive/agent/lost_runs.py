"""Run directories that were deleted while their attempts run, made again from what shims hold open.

A shim keeps the files of its attempt open to the end; a file that was deleted lives on in there and
is reached through ``/proc``. By the path that such a file had, an agent knows the shims of its own
state directory from those of any other agent of this user. Called once, before the agent looks at
its run directories; what it finds afterwards is adopted like everything else.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from fluxhive.core.errors import Conflict

from . import proctree
from .output_files import FOLDER

log = logging.getLogger(__name__)

_DELETED = " (deleted)"
_LOCK = "shim.lock"
#: What is written once is copied. The rest is linked: the shim holds or writes it yet.
_COPIED = ("spec.json", "started")
_LINKED = (_LOCK, ".exit.tmp", "exit")
#: What the program and all that it started hold open: read through one of them (log_file.py).
_OUTPUT = ("stdout", "stderr")
_OF_PROCESS = (".stdout", ".stderr")


def make_again(state_dir: Path, runs: str) -> list[str]:
    """Makes lost run directories below ``runs`` again; the names of those.

    Raises ``Conflict`` while the agent that had this state directory before it was deleted lives:
    it still hears of its shims, and two would answer for one attempt.
    """
    made: list[str] = []
    printing: dict[str, str] = {}
    runs = os.path.realpath(runs)  # as /proc names it, whatever links lead there
    agent_lock = f"{os.path.realpath(state_dir)}/agent.lock{_DELETED}"
    for pid, files in _processes_with_deleted_files():
        if agent_lock in files:
            raise Conflict(
                f"the state directory `{state_dir}` was deleted under an agent that still runs: "
                f"process {pid}",
                hint=f"stop it first, its tasks run on and are taken up: kill {pid}",
            )
        for path, link in files.items():
            folder, _, file = path.removesuffix(_DELETED).rpartition("/")
            if _is_output(runs, folder, file):
                printing.setdefault(f"{folder}/{file}", link)
        names = {_attempt_below(runs, path) for path in files} - {None}
        for name in sorted(filter(None, names)):
            if _make(f"{runs}/{name}", pid, files):
                log.error("run directory was deleted, made again", extra={"dir": name})
                made.append(name)
    for path, link in printing.items():
        with contextlib.suppress(OSError):  # there is one, or its run directory is not made again
            if os.path.basename(os.path.dirname(path)) == FOLDER:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(os.path.dirname(path), 0o700)
            os.symlink(link, path)
    return made


def keep_exit(directory: str) -> bool:
    """Makes an exit record that only a shim holds a file of its own. False: it has to stay."""
    path, copy = f"{directory}/exit", f"{directory}/exit.copy"
    if os.path.islink(path):
        try:
            _copy(path, copy, durable=True)
            os.replace(copy, path)
        except OSError as error:
            log.error("exit not kept", extra={"path": path, "reason": error.strerror})
            return False
    return True


def _processes_with_deleted_files() -> Iterator[tuple[int, dict[str, str]]]:
    """This user's processes that hold deleted files open: path it had → path to reach it by."""
    if not os.path.isdir("/proc/self/fd"):
        return
    user, namespace = os.getuid(), os.stat("/proc/self/ns/mnt").st_ino
    for pid in sorted(proctree.all_pids()):
        files: dict[str, str] = {}
        # What ends meanwhile, or is not ours to look at, has nothing for us.
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid != user:
                continue
            # In a container the same path is another directory.
            if os.stat(f"/proc/{pid}/ns/mnt").st_ino != namespace:
                continue
            for number in os.listdir(f"/proc/{pid}/fd"):
                link = f"/proc/{pid}/fd/{number}"
                with contextlib.suppress(OSError):
                    if (path := os.readlink(link)).endswith(_DELETED):
                        files[path] = link
        if files:
            yield pid, files


def _is_output(runs: str, folder: str, file: str) -> bool:
    """Whether a file is what an attempt prints to, or one of its processes."""
    above, _, last = folder.rpartition("/")
    if last != FOLDER:
        return file in _OUTPUT and above == runs
    return file.endswith(_OF_PROCESS) and os.path.dirname(above) == runs


def _attempt_below(runs: str, path: str) -> str | None:
    """The attempt whose shim holds this file, as its lock or what else it keeps."""
    folder, _, file = path.removesuffix(_DELETED).rpartition("/")
    above, _, name = folder.rpartition("/")
    return name if above == runs and file in (*_COPIED, *_LINKED) else None


def _make(directory: str, pid: int, files: dict[str, str]) -> bool:
    """Whether anything was missing. What is there already is left as it is."""
    is_new = False
    os.makedirs(directory, mode=0o700, exist_ok=True)
    # The lock last: with it, the directory reads as one in which an attempt runs.
    for file in (*_COPIED, *reversed(_LINKED)):
        source = files.get(f"{directory}/{file}{_DELETED}")
        target = f"{directory}/{file}"
        if source is None or os.path.lexists(target):
            continue
        try:
            # A shim that has yet to write its start does so where only it can.
            if file in _COPIED and Path(source).read_bytes().strip():
                _copy(source, target)
            else:
                os.symlink(source, target)
        except OSError as error:
            reason = f"process {pid}: {error.strerror}"
            log.error("deleted file cannot be had", extra={"path": target, "reason": reason})
            continue
        is_new = True
    # It ended after its directory was gone: the record is whole and never got its name.
    with contextlib.suppress(OSError):  # none, or the shim gives it its name this moment
        if Path(f"{directory}/.exit.tmp").read_bytes().strip():
            os.rename(f"{directory}/.exit.tmp", f"{directory}/exit")
    return is_new


def _copy(source: str, target: str, *, durable: bool = False) -> None:
    content = Path(source).read_bytes()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        file.write(content)
        if durable:
            os.fsync(descriptor)
