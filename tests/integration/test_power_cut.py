"""The power fails at any moment: what the server had acknowledged is on its disk.

Goal: no acknowledged submission, end, key or byte of output is missing. Method: every write and
fsync of a server under load is recorded; disks are made from the record as they may be found after
a power cut (tests/helpers/power_cut.py); each is looked at. The check itself is checked with two
mistakes planted. A thousand images: `python -m tests.helpers.power_scenario images --images 1000`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.power_scenario import MUTANTS, check_images, record


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    changes = record(tmp_path, n_tasks=24)
    n_promises, broken = check_images(tmp_path, changes, n_images=80, seed=7)
    assert broken == []
    assert n_promises > 500


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_server_that_acknowledges_too_early_is_caught(tmp_path: Path, mutant: str) -> None:
    changes = record(tmp_path, n_tasks=24, mutant=mutant)
    _, broken = check_images(tmp_path, changes, n_images=120, seed=7)
    assert broken
