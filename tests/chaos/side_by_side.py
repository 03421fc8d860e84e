"""Several hives at once, each a chaos run of its own process: ``./dev chaos --jobs 8``.

They share nothing but the machine: each has a home, ports and disks of its own. Their faults are
parts of the whole, and so is their tally.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from .report import Figures


def run_side_by_side(
    *, jobs: int, faults: int, minutes: float, agents: int, seed: int, keep: Path | None
) -> Figures:
    """Runs them all; a hive that did not come to its end is a problem of its own."""
    total = Figures()
    with tempfile.TemporaryDirectory(prefix="fluxhive-chaos-") as folder:
        runs: list[tuple[int, Path, subprocess.Popen[str]]] = []
        for number in range(jobs):
            part = faults // jobs + (number < faults % jobs)
            path = Path(folder) / f"{number}.json"
            words = [sys.executable, "-m", "tests.chaos", "--json", str(path)]
            words += ["--faults", str(part), "--minutes", str(minutes)]
            words += ["--agents", str(agents), "--seed", str(seed + number)]
            if keep is not None:
                words += ["--keep", str(keep / str(number))]
            run = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            runs.append((number, path, run))
        told = [threading.Thread(target=_tell, args=(number, run)) for number, _, run in runs]
        for thread in told:
            thread.start()
        for thread in told:
            thread.join()
        for number, path, run in runs:
            run.wait()
            if path.exists():
                total.add(Figures.read(path))
            else:
                total.tally.note("other", 1, f"hive {number} ended with code {run.returncode}")
    return total


def _tell(number: int, run: subprocess.Popen[str]) -> None:
    """Its lines, with its number before each."""
    assert run.stdout is not None
    for line in run.stdout:
        print(f"{number}: {line.rstrip()}", flush=True)
