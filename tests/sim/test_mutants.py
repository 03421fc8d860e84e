"""A simulator that does not notice a broken protocol proves nothing about a whole one."""

from __future__ import annotations

import pytest

from .histories import play
from .mutants import MUTANTS

#: Each mutant is caught within so many seeds, most of them within ten.
SEEDS = range(1, 400)


@pytest.mark.parametrize("name", MUTANTS)
def test_this_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    world = {
        "has_mistakes": "by_mistake" in name,
        "hears_late": "session_number" in name,
        "goes_back": "backup" in name,
    }
    for seed in SEEDS:
        if play(seed, **world).broken:
            return
    pytest.fail(f"{len(SEEDS)} histories did not notice: {name}")
