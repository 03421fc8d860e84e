"""Work that may be left and gone on with: so that whoever does it can do other things in between.

What decides nothing and takes long is written as ``Pieces``: it yields after each piece and returns
its answer at the end. The hive may have changed meanwhile. ``whole`` does all of it at once.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Pieces: TypeAlias = Generator[None, None, _T]


def whole(pieces: Pieces[_T]) -> _T:
    """The answer, with nothing done in between."""
    try:
        while True:
            next(pieces)
    except StopIteration as over:
        answer: _T = over.value
        return answer
