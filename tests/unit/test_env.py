"""Every variable stands in env.py, and the page about them is what env.py says."""

from __future__ import annotations

import re
from pathlib import Path

from fluxhive import env

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\bFLOWHIVE_[A-Z][A-Z_]*\b")


def test_the_reference_page_is_current() -> None:
    page = ROOT / "docs" / "reference" / "environment.md"
    assert page.read_text() == env.reference_page(), (
        "write it again: python -m fluxhive.env > docs/reference/environment.md"
    )


def test_every_variable_that_the_package_names_is_declared() -> None:
    declared = {variable.name for variable in env.ALL}
    named = {
        (name, path.name)
        for path in (ROOT / "fluxhive").rglob("*.py")
        for name in NAMED.findall(path.read_text())
    }
    assert {(name, file) for name, file in named if name not in declared} == set()


def test_a_variable_set_to_nothing_counts_as_not_set() -> None:
    assert env.get(env.LABEL, {"FLOWHIVE_LABEL": ""}) is None
    assert env.get(env.LABEL, {"FLOWHIVE_LABEL": "a"}) == "a"
