"""GPUs of a node, named by their indexes."""

from __future__ import annotations

import pytest

from fluxhive.core.request import show_indexes


@pytest.mark.parametrize(
    ("indexes", "text"),
    [
        ([3], "3"),
        ([0, 1], "0,1"),
        ([1, 0], "0,1"),
        ([0, 1, 2], "0-2"),
        ([*range(64)], "0-63"),
        ([0, 1, 2, 4, 6, 7], "0-2,4,6,7"),
    ],
)
def test_a_run_of_three_or_more_is_said_by_its_ends(indexes: list[int], text: str) -> None:
    assert show_indexes(indexes) == text
