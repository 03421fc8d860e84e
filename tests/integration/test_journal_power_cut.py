"""The power fails at any moment: what the agent had journalled before it said so is on its disk.

As test_power_cut.py does for the server. The check is checked with a journal that does not sync.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fluxhive.agent.journal import open_journal
from tests.helpers import power_cut
from tests.helpers.journal_scenario import KEPT

N_ATTEMPTS, N_IMAGES = 400, 300
RANK = {"preparing": 1, "running": 2, "exited": 3}
ROOT = Path(__file__).parents[2]


def check(tmp_path: Path, *, mutant: str = "", n_images: int = N_IMAGES) -> tuple[int, list[str]]:
    """How many promises were looked at, and which were broken."""
    disk, record = tmp_path / "disk", tmp_path / "record"
    disk.mkdir()
    env = power_cut.watched(power_cut.library(tmp_path), disk, record)
    module = "tests.helpers.journal_scenario"
    words = [
        sys.executable,
        "-m",
        module,
        str(disk),
        str(N_ATTEMPTS),
        *([mutant] if mutant else []),
    ]
    subprocess.run(words, env=env, check=True, cwd=ROOT)
    n_promises, broken = 0, []
    for image in power_cut.crash_images(power_cut.read_record(record), disk, n_images, seed=11):
        image.write(tmp_path / "image")
        last = {int(n): phase for n, phase in (line.split() for line in image.acknowledged)}
        journal = open_journal(tmp_path / "image" / "journal.db")
        found = {each.dispatch.channel: each.phase.value for each in journal.held.values()}
        said = {n for n, _ in journal.said}
        newest = max(last, default=0)
        for number, phase in last.items():
            n_promises += 1
            if number > newest - KEPT + 1 and RANK.get(found.get(number, ""), 0) < RANK[phase]:
                broken.append(f"cut {image.cut}: {number} was {phase}, is {found.get(number)}")
            if phase == "exited" and number > newest - KEPT + 1 and number not in said:
                broken.append(f"cut {image.cut}: the end of {number} is not said any more")
        if journal.last_n < max((n for n, phase in last.items() if phase == "exited"), default=0):
            broken.append(f"cut {image.cut}: numbers go back to {journal.last_n}")
        journal.close()
    return n_promises, broken


def test_nothing_that_the_agent_said_is_lost(tmp_path: Path) -> None:
    n_promises, broken = check(tmp_path)
    print(f"{N_IMAGES} images, {n_promises} promises, {len(broken)} broken")
    assert broken == []
    assert n_promises > 10_000


def test_a_journal_that_does_not_sync_is_caught(tmp_path: Path) -> None:
    _, broken = check(tmp_path, mutant="normal", n_images=60)
    assert broken
