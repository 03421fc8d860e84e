"""Holes by macOS's rules, as far as numbers go; Linux's own are punched in test_logs.py."""

from __future__ import annotations

import struct

import pytest

from fluxhive.agent.holes import macos_order


@pytest.mark.parametrize(
    ("start", "end", "hole"),
    [
        (0, 8192, (0, 8192)),
        (0, 10_000, (0, 8192)),
        # Its block was left by the hole before, which ended within it.
        (10_000, 20_000, (8192, 8192)),
        (4096, 8191, None),
        (100, 200, None),
    ],
)
def test_macos_gives_back_whole_blocks_and_never_one_that_is_needed(
    start: int, end: int, hole: tuple[int, int] | None
) -> None:
    order = macos_order(start, end, block_bytes=4096)
    assert order == (None if hole is None else struct.pack("=IIqq", 0, 0, *hole))
