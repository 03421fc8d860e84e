"""One number for all that the brain does in twenty random stories; run under several Pythons."""

from __future__ import annotations

from hashlib import sha256

from tests.helpers.random_story import random_story


def digest() -> str:
    """The digest of every effect, in order.

    Of its text, not of its JSON: whether an empty tuple is left out there depends on whether the
    interpreter has one empty tuple or several.
    """
    total = sha256()
    for seed in range(20):
        for effect in random_story(seed).effects:
            total.update(repr(effect).encode())
    return total.hexdigest()
