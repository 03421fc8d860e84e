"""Folding of progress bars: each line as it stood last, and nothing else is touched."""

from __future__ import annotations

import pytest

from fluxhive.core.progress import fold


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"epoch 1\n", b"epoch 1\n"),
        (b"10%\r50%\r100%\ndone\n", b"100%\ndone\n"),
        (b"\r10%\r50%", b"50%"),
        (b"50%\r", b"50%"),
        (b"windows\r\nlines\r\n", b"windows\nlines\n"),
        (b"\r\r\r\n", b"\n"),
        (b"", b""),
        (b"\xff 1\r\xff 2\n", b"\xff 2\n"),
    ],
)
def test_each_line_is_as_it_stood_last(written: bytes, shown: bytes) -> None:
    assert fold(written) == shown
    assert fold(written.decode("latin-1")) == shown.decode("latin-1")
