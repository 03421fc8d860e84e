"""Lengths of time as sentences say them."""

from __future__ import annotations

import pytest

from fluxhive.core.request import say_ms, say_range_ms

S, MIN, H = 1000, 60_000, 3_600_000


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0.0 s"),
        (420, "0.4 s"),
        (9_949, "9.9 s"),
        (9_950, "10 s"),
        (28_900, "29 s"),
        (59_499, "59 s"),
        (59_500, "1 min"),
        (14 * MIN, "14 min"),
        (59 * MIN + 30 * S, "1 h"),
        (2 * H + 5 * MIN, "2 h 5 min"),
        (47 * H + 59 * MIN, "47 h 59 min"),
        (48 * H, "2 days"),
        (76 * H, "3 days 4 h"),
    ],
)
def test_a_length_is_never_like_a_time_of_day(duration_ms: int, text: str) -> None:
    assert say_ms(duration_ms) == text


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "text"),
    [
        (14 * MIN, 20 * MIN, "14 to 20 min"),
        (50 * S, 2 * MIN, "50 s to 2 min"),
        (5 * MIN, 5 * MIN + 300, "5 min"),
        (2 * H, 3 * H, "2 to 3 h"),
        (37 * S, 24 * MIN, "37 s to 24 min"),
        (2 * H, 3 * H + 5 * MIN, "2 h to 3 h 5 min"),
        (50 * H, 72 * H, "2 days 2 h to 3 days"),
    ],
)
def test_a_range_names_its_unit_once_where_both_ends_share_it(
    from_ms: int, to_ms: int, text: str
) -> None:
    assert say_range_ms(from_ms, to_ms) == text
