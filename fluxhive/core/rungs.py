"""Entries kept in order under whole numbers (rungs), walked upward from any of them.

A bit for each rung that has entries finds the next one at once; within a rung they are sorted.
Several such ladders are walked as one. Used by room_index.py.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from typing import Any, TypeAlias

#: Begins with what it is sorted by, which no other entry has alike.
Entry: TypeAlias = tuple[Any, ...]


class Rungs:
    """Sorted entries by rung, and a bit for each rung that has some."""

    __slots__ = ("mask", "rows")

    def __init__(self) -> None:
        self.mask = 0
        self.rows: dict[int, list[Entry]] = {}

    def add(self, rung: int, entry: Entry) -> None:
        """Put an entry in its place."""
        rows = self.rows.get(rung)
        if rows:
            # Nodes are filled one after the other: mostly it goes to the end.
            if rows[-1] < entry:
                rows.append(entry)
            else:
                insort(rows, entry)
        else:
            self.rows[rung] = [entry]
            self.mask |= 1 << rung

    def first(self, start: int, least: int) -> tuple[int, Entry] | None:
        """The first entry from a rung on that begins with ``least`` or more, and its rung."""
        mask = self.mask >> start << start
        while mask:
            bit = mask & -mask
            rung = bit.bit_length() - 1
            rows = self.rows[rung]
            entry = rows[0]
            if entry[0] >= least:
                return rung, entry
            if rows[-1][0] >= least:
                return rung, rows[bisect_left(rows, (least,))]
            mask ^= bit
        return None

    def remove(self, rung: int, entry: Entry) -> None:
        """Take an entry out; it must be there."""
        rows = self.rows[rung]
        # Mostly it is the first that goes: the best is what is taken.
        del rows[0 if rows[0] is entry else bisect_left(rows, entry)]
        if not rows:
            self.mask ^= 1 << rung


def upward(many: list[Rungs], start: int, least: int | None = None) -> Iterator[Entry]:
    """Entries from a rung on, each rung in order; those that begin with ``least`` or more."""
    mask = 0
    for rungs in many:
        mask |= rungs.mask
    mask = mask >> start << start
    while mask:
        bit = mask & -mask
        mask ^= bit
        rung = bit.bit_length() - 1
        if len(many) == 1:
            only = many[0].rows[rung]
            first = 0 if least is None or only[0][0] >= least else bisect_left(only, (least,))
            yield from islice(only, first, None) if first else only
        else:
            rows = [rungs.rows[rung] for rungs in many if rungs.mask & bit]
            starts = [0 if least is None else bisect_left(each, (least,)) for each in rows]
            yield from merge(*map(islice, rows, starts, [None] * len(rows)))
