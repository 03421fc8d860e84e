"""What an earlier life of the agent left behind: its journal, and beside it its run directories.

They are two witnesses that lie apart. A journal names each attempt for as long as its run directory
exists, also one that is forgotten; so a run directory that is not named says that the journal is
not whole. A log that was cut short at a record, or a copy put back, reads as an older whole one,
and nothing else tells. What lies in such a directory is taken up, whether it runs or has ended: it
may be all that is left of an exit and of output that the server does not have yet.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Container
from pathlib import Path

import msgspec

from fluxhive.core.effects import NodeAttempt
from fluxhive.core.errors import InternalError
from fluxhive.core.events import DispatchReceived
from fluxhive.core.node import HeldPhase
from fluxhive.core.values import AttemptId

from .journal import Journal, begin_anew, open_journal
from .run_directory import RunPhase, inspect_run, read_spec

log = logging.getLogger(__name__)


def take_up(path: Path, runs: str) -> tuple[Journal, dict[AttemptId, NodeAttempt]]:
    """The journal to go on with, and all attempts that it and the run directories tell of.

    The last dispatched comes first: who waits for a turn is looked for before it may get one.
    Raises ``Conflict`` when a newer agent wrote the journal or the disk cannot be used.
    """
    journal = open_journal(path)
    known = {*journal.held, *journal.forgotten}
    found = recover(runs, known)
    missing = sorted({*found, *_running_besides(runs, known)})
    if missing and not journal.was_absent:
        journal = begin_anew(journal, path, missing=missing)
    held = journal.take_up(found)
    return journal, dict(sorted(held.items(), key=_channel, reverse=True))


def recover(runs: str, known: Container[AttemptId]) -> dict[AttemptId, NodeAttempt]:
    """What the run directories say about attempts that the journal does not name."""
    found: dict[AttemptId, NodeAttempt] = {}
    for name in sorted(os.listdir(runs)):
        if AttemptId(name) in known:
            continue
        try:
            spec = read_spec(f"{runs}/{name}")
            dispatch = msgspec.convert(spec.dispatch, DispatchReceived)
        except (InternalError, msgspec.ValidationError) as error:
            log.error("run directory cannot be read", extra={"dir": name, "reason": str(error)})
            continue
        found[dispatch.attempt_id] = NodeAttempt(dispatch=dispatch, phase=HeldPhase.LAUNCHING)
    return found


def is_spent(directory: str) -> bool:
    """Whether nothing can have run in a directory that nobody knows, or it was being removed.

    Its spec is the first that is written and the first that goes. A spec that cannot be read proves
    nothing: whoever looks for lost output will want what lies beside it.
    """
    try:
        return not Path(directory, "spec.json").read_bytes().strip()
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _running_besides(runs: str, known: Container[AttemptId]) -> list[AttemptId]:
    """Run directories that are not known and in which an attempt runs."""
    names = map(AttemptId, sorted(os.listdir(runs)))
    others = [name for name in names if name not in known]
    return [name for name in others if inspect_run(f"{runs}/{name}").phase is RunPhase.RUNNING]


def _channel(item: tuple[AttemptId, NodeAttempt]) -> int:
    return item[1].dispatch.channel
