"""The laws are worth what they catch: each bug planted here must break one within a few stories.

Goal: show that a clean run of the random hive means something. Method: one mistake at a time is
put into the brain; random stories are told until a law breaks. Without a planted bug the same
stories are clean.
"""

from __future__ import annotations

import pytest

from tests.helpers import planted_gang_bugs as _gangs  # noqa: F401  (puts its bugs on the list)
from tests.helpers import planted_queue_bugs as _queue  # noqa: F401
from tests.helpers import planted_version_bugs as _versions  # noqa: F401
from tests.helpers.planted_bugs import BUGS
from tests.helpers.random_story import random_story

#: Stories told before a bug counts as missed; the slowest of them needs about a fifth of it.
SEEDS = 60
#: Stories told of the brain as it is, and those beyond that once broke a law.
CLEAN_SEEDS = 150
ONCE_BROKEN = (
    213,
    279,
    361,
    460,
    494,
    601,
    656,
    825,
    1081,
    1178,
    3255,
    3550,
    4265,
    7109,
    9250,
    18129,
)


@pytest.mark.parametrize("name", sorted(BUGS))
def test_a_planted_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[name](monkeypatch)
    told = next((seed for seed in range(SEEDS) if not _is_clean(seed)), None)
    claim = name.replace("_", " ")
    assert told is not None, f"{SEEDS} stories were told and nobody noticed that {claim}"


def test_without_a_planted_bug_these_stories_and_more_are_clean() -> None:
    for seed in (*range(CLEAN_SEEDS), *ONCE_BROKEN):
        random_story(seed)


def _is_clean(seed: int) -> bool:
    try:
        random_story(seed)
    except AssertionError:
        return False
    return True
