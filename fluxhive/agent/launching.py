"""What is looked for on this node before an attempt starts, and why it may be given back.

Parts of the workspace, which calls them in worker threads; each raises ``Unprepared`` with a
sentence for people.
"""

from __future__ import annotations

import errno
import os
import socket

from fluxhive.core.events import DispatchReceived
from fluxhive.core.interpreter import PythonFound, not_found, parse_python
from fluxhive.core.torchrun import port_taken

from .interpreters import dangling, find_python


class Unprepared(Exception):
    """The attempt cannot be started here; carries one sentence."""

    def __init__(self, detail: str, *, elsewhere: bool = False, for_now: bool = False) -> None:
        super().__init__(detail)
        self.for_now = for_now
        self.detail = detail
        self.elsewhere = elsewhere


def venv_bin_of(venv: str) -> str | None:
    """Where the environment's programs are; None when it is not on this node."""
    path = f"{venv}/bin"
    return path if os.path.isdir(path) else None


def python_of(named: str, home: str, label: str) -> PythonFound:
    """The interpreter that a task names, on the node of this label."""
    choice = parse_python(named)
    found = find_python(choice, home=home, env=os.environ)
    if found is None:
        gone = dangling(choice)
        detail = not_found(choice, label)
        if gone is not None:
            detail = f"{named} on node {label} is made for {gone}, which does not exist"
        raise Unprepared(detail, elsewhere=True)
    return found


def check_in_code(cwd: str, code_dir: str) -> None:
    """The working directory must be there, where it is one of the code."""
    if not os.path.isdir(cwd) and cwd.startswith(f"{code_dir}/"):
        below = cwd.removeprefix(f"{code_dir}/")
        raise Unprepared(
            f"there is no directory `{below}` in its code; name one that is there with `--workdir`"
        )


def write_new(path: str, content: str) -> None:
    """A file that nobody else can read, not for a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content.encode())


def check_port(dispatch: DispatchReceived) -> None:
    """The members' port must be free here: rank 0 will listen on every address of the node."""
    assert dispatch.rendezvous is not None
    address = ("", dispatch.rendezvous.port)
    try:
        socket.create_server(address, backlog=1).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise Unprepared(port_taken(dispatch)) from error
