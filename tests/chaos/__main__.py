"""``./dev chaos``: a hive of real processes under faults, and a tally of what was not kept.

``--short`` takes five minutes; without it, 10,000 faults over 10 agents in about an hour. With
``--jobs N`` so many hives run side by side and share the faults. The last line is the tally, and
the exit code is 1 when anything in it is not zero.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from .faults import Faults
from .people import People
from .processes import Processes
from .report import Figures
from .side_by_side import run_side_by_side
from .tally import Checker, wait_for_the_rest

#: After the last fault: the longest failover, its fence, pauses between attempts, a busy machine.
HEAL_S = 240.0


def arguments() -> argparse.Namespace:
    """What the command was told."""
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="five minutes, as in CI")
    parser.add_argument("--faults", type=int, help="how many (10,000; with --short 600)")
    parser.add_argument("--minutes", type=float, help="spread over so long (60; with --short 4)")
    parser.add_argument("--agents", type=int, default=10, help="of each hive (10)")
    parser.add_argument("--jobs", type=int, default=1, help="hives side by side (1)")
    parser.add_argument("--seed", type=int, help="of the order of faults; processes have their own")
    parser.add_argument("--keep", metavar="DIR", help="keep homes, logs and witnesses there")
    parser.add_argument("--json", metavar="FILE", help="write the tally there, too")
    told = parser.parse_args()
    told.faults = told.faults or (600 if told.short else 10_000)
    told.minutes = told.minutes or (4.0 if told.short else 60.0)
    told.seed = random.randrange(1_000_000) if told.seed is None else told.seed
    return told


def main() -> int:
    """Runs it."""
    told = arguments()
    keep = Path(told.keep).absolute() if told.keep else None
    if told.jobs > 1:
        figures = run_side_by_side(
            jobs=told.jobs,
            faults=told.faults,
            minutes=told.minutes,
            agents=told.agents,
            seed=told.seed,
            keep=keep,
        )
    else:
        figures = run_one(told, keep)
    if told.json:
        figures.write(Path(told.json))
    return figures.say()


def run_one(told: argparse.Namespace, keep: Path | None) -> Figures:
    """One hive."""
    home = keep or Path(tempfile.mkdtemp(prefix="fluxhive-chaos-")).absolute()
    home.mkdir(parents=True, exist_ok=True)
    witnesses = home / "witnesses"
    witnesses.mkdir()
    print(f"chaos: seed {told.seed}, {told.faults} faults over {told.agents} agents in {home}")
    began_s = time.monotonic()
    processes = Processes(home, told.agents, told.seed)
    try:
        faults = Faults(processes, told.seed)
        people = People(processes, witnesses, most=4 * told.agents, seed=told.seed)
        checker = Checker(people, faults, witnesses, processes.transport())
        people.start()
        _break(faults, checker, told.faults, told.minutes * 60)
        # The server first: whoever submits waits for it.
        faults.undo_due(everything=True)
        people.stop()
        print("chaos: the last fault is undone; everything has to end now", flush=True)
        wait_for_the_rest(checker, faults, HEAL_S)
        tally = checker.conclude()
    finally:
        processes.close()
        if keep is None:
            shutil.rmtree(home, ignore_errors=True)
    return Figures(
        seeds=[told.seed],
        hives=1,
        agents=told.agents,
        seconds=round(time.monotonic() - began_s, 1),
        faults=faults.counts,
        agents_started_again=faults.n_gave_up,
        tally=tally,
    )


def _break(faults: Faults, checker: Checker, n_faults: int, seconds: float) -> None:
    """Makes the faults at an even pace while another thread checks what has ended."""
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.5):
            checker.look()

    looking = threading.Thread(target=look, name="checker")
    looking.start()
    began_s = said_s = time.monotonic()
    n_told = 0
    try:
        while faults.n < n_faults:
            faults.undo_due()
            if time.monotonic() - began_s >= faults.n / n_faults * seconds:
                faults.make_one()
            else:
                time.sleep(0.02)
            if time.monotonic() - said_s > 60:
                said_s = time.monotonic()
                tally = checker.tally
                news = tally.problems[n_told:]
                n_told += len(news)
                told = f"chaos: {faults.n} faults, {tally.tasks} tasks checked, {n_told} problems"
                print(told, *news, sep="\n  ", flush=True)
    finally:
        is_over.set()
        looking.join()


if __name__ == "__main__":
    sys.exit(main())
