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
    for seed in SEEDS:
        has_mistakes, hears_late = "by_mistake" in name, "session_number" in name
        if play(seed, has_mistakes=has_mistakes, hears_late=hears_late).broken:
            return
    pytest.fail(f"{len(SEEDS)} histories did not notice: {name}")
