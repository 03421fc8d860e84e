"""Mistakes about agents of older versions to put into the brain (test_planted_bugs.py)."""

from __future__ import annotations

import pytest

from fluxhive.core import node_contact, placement

from .planted_bugs import bug

Patch = pytest.MonkeyPatch


def _nothing(words: tuple[str, ...], has: tuple[str, ...]) -> tuple[str, ...]:
    return ()


@bug
def an_agent_that_is_too_old_is_given_the_task(patch: Patch) -> None:
    patch.setattr(placement, "missing", _nothing)


@bug
def what_was_placed_reaches_an_older_agent_that_came_in_its_place(patch: Patch) -> None:
    patch.setattr(node_contact, "missing", _nothing)
