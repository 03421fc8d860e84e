"""Bytes at a place of a file, with the system's calls and without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fluxhive.agent import positioned


@pytest.mark.parametrize("has_calls", [True, False], ids=["posix", "as-on-windows"])
def test_a_place_is_read_and_written_wherever_the_file_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_calls: bool
) -> None:
    monkeypatch.setattr(positioned, "_HAS_CALLS", has_calls)
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        assert positioned.write_at(descriptor, b"0123456789", 0) == 10
        assert positioned.write_at(descriptor, b"xy", 4) == 2
        assert positioned.read_at(descriptor, 3, 3) == b"3xy"
        assert positioned.read_at(descriptor, 9, 8) == b"89"
    finally:
        os.close(descriptor)
