"""One agent's journal, used in order while the n-th call on its files fails; run as a process.

``python -m tests.helpers.nth_journal DIRECTORY CONTROL`` tries each n with each errno, and prints
one line for each: n, errno, what was acknowledged and what the journal has afterwards, as JSON.
Only a process of its own can be preloaded.
"""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

from fluxhive.agent.journal import Entry, JournalUnavailable, open_journal
from fluxhive.core.effects import NodeAttempt
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.events import DispatchReceived
from fluxhive.core.node import HeldPhase
from fluxhive.core.request import Reservation
from fluxhive.core.values import AttemptId, NodeId, TaskId
from tests.helpers.nth_call import put

N_ENTRIES = 4
N_MAX = 400


def held(number: int, phase: HeldPhase) -> dict[AttemptId, NodeAttempt]:
    """One attempt in some phase."""
    attempt_id = AttemptId(f"t-{number}.1")
    dispatch = DispatchReceived(
        session=1,
        attempt_id=attempt_id,
        task_id=TaskId(f"t-{number}"),
        epoch=1,
        channel=number,
        reservation=Reservation(node_id=NodeId("n1")),
        grace_ms=1,
    )
    return {attempt_id: NodeAttempt(dispatch=dispatch, phase=phase)}


def use(directory: Path) -> list[str]:
    """Intents and ends, one after the other; what was acknowledged. Goes on after a refusal."""
    acknowledged: list[str] = []
    try:
        journal = open_journal(directory / "journal.db")
    except FluxhiveError:
        return acknowledged
    for number in range(1, N_ENTRIES + 1):
        for phase in (HeldPhase.PREPARING, HeldPhase.EXITED):
            n = 2 * number - (phase is HeldPhase.PREPARING)
            entry = Entry(held=held(number, phase), said=[(n, b"report %d" % n)])
            try:
                journal.write(entry)
            except JournalUnavailable:
                continue
            acknowledged.append(f"{number} {phase.value}")
    journal.close()
    return acknowledged


def found(directory: Path) -> dict[str, object]:
    """What a next agent reads."""
    journal = open_journal(directory / "journal.db")
    phases = {record.dispatch.channel: record.phase.value for record in journal.held.values()}
    said = [n for n, _ in journal.said]
    is_anew = journal.was_absent
    journal.close()
    return {"held": phases, "said": said, "is_anew": is_anew}


def main(directory: Path, control: Path) -> None:
    """Until a run has fewer calls than n."""
    for error in (errno.ENOSPC, errno.EIO):
        for n in range(1, N_MAX):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            put(control, n, error)
            acknowledged = use(directory)
            n_calls = int.from_bytes(control.read_bytes()[:4], sys.byteorder)
            put(control, 0, 0)
            case = {"n": n, "errno": error, "acknowledged": acknowledged, **found(directory)}
            sys.stdout.write(json.dumps(case) + "\n")
            if n_calls < n:
                break


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
