"""An agent's journal under load that writes down what it has acknowledged; run as a process.

``python -m tests.helpers.journal_scenario DIRECTORY N [normal]``: its disk is recorded
(power_cut.py) and looked at after a power cut at any moment. With ``normal`` it makes a mistake on
purpose: no fsync before it acknowledges.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fluxhive.agent import journal as journal_module
from fluxhive.agent.journal import Entry, open_journal
from fluxhive.core.node import HeldPhase
from tests.helpers.nth_journal import held
from tests.helpers.power_cut import ACKNOWLEDGED

#: Ends are forgotten again after so many more.
KEPT = 8


def main(directory: Path, n: int, mutant: str) -> None:
    """Intent, running and end of each attempt; now and then the oldest is forgotten."""
    if mutant == "normal":
        journal_module._flush = lambda descriptor: None
    journal = open_journal(directory / "journal.db")
    told = os.open(directory / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in range(1, n + 1):
        for phase in (HeldPhase.PREPARING, HeldPhase.RUNNING, HeldPhase.EXITED):
            # That it runs is not worth an fsync: the run directory says so, too.
            is_durable = phase is not HeldPhase.RUNNING
            said = [(number, b"end %d" % number)] if phase is HeldPhase.EXITED else []
            dropped = list(held(number - KEPT, phase)) if said and number > KEPT else []
            journal.write(
                Entry(
                    held=held(number, phase),
                    said=said,
                    dropped=dropped,
                    acknowledged=number - KEPT if dropped else 0,
                    durable=is_durable,
                )
            )
            if is_durable:
                os.write(told, f"{number} {phase.value}\n".encode())
    journal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
