"""One identity, two agents: a state directory that was copied. The one that came first stays.

Without this the two would take turns, each cutting the other off, and neither would ever work.
Asked by sessions.py for each hello, before the brain hears of it.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from fluxhive.core.values import Value
from fluxhive.protocol.agent import Hello

log = logging.getLogger(__name__)

#: A line on which nothing was heard for so long may be dead: who dials then may be its heir. Two
#: heartbeats of the slowest rate, and a little.
HEARD_S = 11.0
_REMEDY = (
    "stop one of the two; on the machine that got the copy remove `node.json` from the agent's "
    "state directory, and it registers as a node of its own"
)


class Refusal(Value, frozen=True, kw_only=True):
    """Why a hello is not let in."""

    reason: str
    hint: str = _REMEDY
    #: True: it may be let in later, when the other one is gone.
    try_again: bool


class Line(Protocol):
    """The live session of a node, if there is one."""

    life: str
    is_open: bool
    last_heard_s: float


def refusal(hello: Hello, registered_machine: str, live: Line | None) -> Refusal | None:
    """Why this hello cannot be the node's, with an audit line; None: it can."""
    found = _judged(hello, registered_machine, live)
    if found is not None:
        log.warning(
            "identity used twice",
            extra={"audit": True, "label": hello.label, "reason": found.reason},
        )
    return found


def _judged(hello: Hello, registered_machine: str, live: Line | None) -> Refusal | None:
    """The same, unsaid.

    A restarted agent has another life too, but its old line was closed by its end, or is silent.
    """
    if registered_machine and hello.machine_id and hello.machine_id != registered_machine:
        return Refusal(
            reason=f"the identity of {hello.label} was given to another machine and copied here",
            try_again=False,
        )
    if live is None or not live.is_open or not live.life or not hello.life:
        return None
    if live.life == hello.life or time.monotonic() - live.last_heard_s > HEARD_S:
        return None
    return Refusal(
        reason=f"another agent is connected as {hello.label} with the same identity: its state "
        "directory was copied",
        try_again=True,
    )
