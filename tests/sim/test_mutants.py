"""A simulator that does not notice a broken protocol proves nothing about a whole one."""

from __future__ import annotations

import pytest

from . import mutants_ahead  # noqa: F401  (puts its mutants on the list)
from .histories import play
from .mutants import MUTANTS

#: A claim, a law, or an index of the core that does not find what has to be there.
NOTICED = ("Violation", "AssertionError", "KeyError")
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
        for error, _ in play(seed, **world).broken.values():
            # A mutant that no longer fits what it was planted into would be caught for that alone.
            kind = error.partition(":")[0]
            assert kind in NOTICED, f"{name} does not run: {error}"
            return
    pytest.fail(f"{len(SEEDS)} histories did not notice: {name}")
