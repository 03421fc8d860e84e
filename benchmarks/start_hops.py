"""Notes when submissions pass each hop, inside server and agent: the other half of start_trace.py.

``install`` is called before anything else of a process (by a ``sitecustomize`` that start_trace.py
writes) and wraps the hops once the program is loaded. A note costs some 5 us.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

#: Where the notes go: one line each, nanoseconds, CPU nanoseconds of the process, its id, the hop.
VARIABLE = "FLUXHIVE_START_TRACE"


class Hop(NamedTuple):
    """A function, and what is noted when it is called and when it returns; empty: nothing is."""

    module: str
    owner: str
    name: str
    called: str
    returned: str

    @property
    def program(self) -> str:
        """What is imported in the process that this is a hop of."""
        is_agent = self.module.startswith("fluxhive.agent.")
        return "fluxhive.agent.runner" if is_agent else "fluxhive.server.brain"


HOPS = (
    Hop("fluxhive.server.http_protocol", "LimitedHttp", "data_received", "request is there", ""),
    Hop("fluxhive.server.gate", "", "_caller", "layers passed", "token known"),
    Hop("fluxhive.server.brain", "Brain", "post", "body decoded and checked", ""),
    Hop("fluxhive.core.task_manager", "TaskManager", "handle", "", "placed"),
    Hop("fluxhive.server.store.store", "Store", "_transact", "store's thread awake", "committed"),
    Hop("fluxhive.server.session", "Session", "say_encoded", "dispatch queued", ""),
    Hop("fluxhive.agent.runner", "Runner", "received", "dispatch is there", ""),
    Hop("fluxhive.agent.journal", "Journal", "append", "decided", "journalled"),
    Hop("fluxhive.agent.journal", "Journal", "flush", "disk's thread awake", "flushed"),
    Hop("fluxhive.agent.workspace", "Workspace", "prepare", "", "run directory made"),
    Hop("fluxhive.agent.shims", "Shims", "start", "journalled again", "launcher asked"),
)


def install() -> None:
    """Has the hops wrapped when the process begins its loop: then all is imported."""
    path = os.environ.get(VARIABLE)
    if path is None:
        return
    import anyio

    run = anyio.run

    def wrapped(*args: Any, **options: Any) -> Any:
        notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for hop in HOPS:
            if hop.program in sys.modules:
                module = importlib.import_module(hop.module)
                owner = getattr(module, hop.owner) if hop.owner else module
                setattr(owner, hop.name, _noting(getattr(owner, hop.name), hop, notes))
        return run(*args, **options)

    anyio.run = wrapped  # type: ignore[assignment]  # a stand-in for as long as the process lives


def _noting(function: Callable[..., Any], hop: Hop, notes: int) -> Callable[..., Any]:
    def note(what: str) -> None:
        if what:
            line = f"{time.monotonic_ns()} {time.process_time_ns()} {os.getpid()} {what}\n"
            os.write(notes, line.encode())

    @functools.wraps(function)
    def noting(*args: Any, **options: Any) -> Any:
        note(hop.called)
        try:
            return function(*args, **options)
        finally:
            note(hop.returned)

    return noting
