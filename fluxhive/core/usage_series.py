"""Use over time, bounded: a point each second for ten minutes, each ten seconds for a day, each
five minutes for thirty days.

A point covers a slot of its tier: the mean and the highest of what was read in it. Closed slots of
one tier make those of the next, so a reading costs one addition. Where they are kept is the shell's
business (server/usage.py).
"""

from __future__ import annotations

from .values import Mib, Value


class Tier(Value, frozen=True, kw_only=True):
    """How finely, and for how long."""

    step_s: int
    keep_s: int
    #: So much of it is stored together.
    chunk_s: int


TIERS = (
    Tier(step_s=1, keep_s=600, chunk_s=60),
    Tier(step_s=10, keep_s=86_400, chunk_s=1_800),
    Tier(step_s=300, keep_s=30 * 86_400, chunk_s=28_800),
)
_STEPS_S = tuple(tier.step_s for tier in TIERS)
#: Largest answer: more points than a screen has columns help nobody.
POINTS_MAX = 2_000


class Point(Value, frozen=True):
    """One slot. ``at_s`` is its beginning, in seconds of hive time.

    Made once for each reading of each GPU, so that its fields may be given by place.
    """

    at_s: int
    used_mib: Mib
    peak_mib: Mib
    utilization_percent: int | None = None


class _Slot:
    """A slot that is still being filled; empty while ``n`` is 0."""

    __slots__ = ("at_s", "n", "n_percent", "peak_mib", "sum_mib", "sum_percent")

    def __init__(self, at_s: int = -1) -> None:
        self.begin(at_s)

    def begin(self, at_s: int) -> None:
        """Empty, and of another time."""
        self.at_s = at_s
        self.n = self.sum_mib = self.peak_mib = self.n_percent = self.sum_percent = 0

    def add(self, used_mib: Mib, peak_mib: Mib, percent: int | None) -> None:
        self.n += 1
        self.sum_mib += used_mib
        if peak_mib > self.peak_mib:
            self.peak_mib = peak_mib
        if percent is not None:
            self.n_percent += 1
            self.sum_percent += percent

    def point(self) -> Point:
        n, n_percent = self.n, self.n_percent
        percent = self.sum_percent // n_percent if n_percent else None
        return Point(self.at_s, self.sum_mib // n, self.peak_mib, percent)


class Series:
    """One series as it grows. ``taken`` gives what has closed since, to be stored."""

    __slots__ = ("_closed", "_open", "newest_s")

    def __init__(self) -> None:
        self._open = [_Slot() for _ in TIERS]
        self._closed: list[list[Point]] = [[] for _ in TIERS]
        #: When the newest reading was taken.
        self.newest_s = 0

    def add(self, at_s: int, used_mib: Mib, percent: int | None) -> None:
        """Take a reading; what is older than the newest comes too late."""
        if at_s < self.newest_s:
            return
        self.newest_s = at_s
        # The finest tier has a slot for each second.
        slot = self._open[0]
        if slot.at_s != at_s:
            if slot.n:
                self._close(0)
            slot.at_s = at_s
        slot.add(used_mib, used_mib, percent)

    def taken(self) -> list[list[Point]]:
        """Points closed since the last call, by tier."""
        closed, self._closed = self._closed, [[] for _ in TIERS]
        return closed

    def end(self) -> None:
        """Nothing more comes: what is open is closed as it stands."""
        for tier in range(len(TIERS)):
            self._close(tier)

    def pending(self) -> list[list[Point]]:
        """What is not taken yet, by tier, open slots included."""
        return [
            [*closed, *([slot.point()] if slot.n else [])]
            for closed, slot in zip(self._closed, self._open, strict=True)
        ]

    def _add(self, tier: int, at_s: int, used: Mib, peak: Mib, percent: int | None) -> None:
        begin_s = at_s - at_s % _STEPS_S[tier]
        slot = self._open[tier]
        if slot.at_s != begin_s:
            if slot.n:
                self._close(tier)
            slot.at_s = begin_s
        slot.add(used, peak, percent)

    def _close(self, tier: int) -> None:
        slot = self._open[tier]
        if not slot.n:
            return
        point = slot.point()
        slot.begin(slot.at_s)
        self._closed[tier].append(point)
        if tier + 1 < len(_STEPS_S):
            self._add(
                tier + 1, point.at_s, point.used_mib, point.peak_mib, point.utilization_percent
            )


def stitch(tiers: list[list[Point]], *, from_s: int, to_s: int, step_s: int = 1) -> list[Point]:
    """One line of all tiers: the finest where there is one, no two points for one time.

    At least ``step_s`` apart, and so far that there are ``POINTS_MAX`` at most.
    """
    line: list[Point] = []
    until_s = to_s
    for tier, points in zip(TIERS, tiers, strict=True):
        inside = [p for p in points if from_s <= p.at_s and p.at_s + tier.step_s <= until_s]
        # A slot that a restart cut in two has two points.
        chosen = _coarser(sorted(inside, key=lambda point: point.at_s), tier.step_s)
        line = chosen + line
        if chosen:
            until_s = min(until_s, chosen[0].at_s)
    step_s = max(step_s, 1)
    if line:
        span_s = line[-1].at_s - line[0].at_s + 1
        step_s = max(step_s, -(-span_s // POINTS_MAX))
    return line if step_s == 1 else _coarser(line, step_s)


def _coarser(line: list[Point], step_s: int) -> list[Point]:
    slots: dict[int, _Slot] = {}
    for point in line:
        begin_s = point.at_s - point.at_s % step_s
        slot = slots.get(begin_s)
        if slot is None:
            slot = slots[begin_s] = _Slot(begin_s)
        slot.add(point.used_mib, point.peak_mib, point.utilization_percent)
    return [slot.point() for slot in slots.values()]
