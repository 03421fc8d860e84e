"""Numbers that a task reports of itself, one series for each name, bounded however many there are.

A series keeps its last value, its least and its largest exactly, and its course in at most
``BUCKETS_MAX`` buckets of consecutive values, each with its least, largest and last. When all are
full, two neighbours become one: every bucket stands for the same number of values, but the last.
Called by the server as lines come in (server/task_metrics.py).
"""

from __future__ import annotations

from array import array
from math import isfinite, nan
from typing import TypeAlias

from .values import Ms, Value

#: More than a screen has columns; even, so that neighbours pair up.
BUCKETS_MAX = 2048
#: Names of one attempt; more are a mistake, such as a name with the step in it.
SERIES_MAX = 200
NAME_CHARS_MAX = 200


class Course(Value, frozen=True, kw_only=True):
    """A series in columns, one entry a bucket; ``nan`` where no value of it is a number."""

    steps: tuple[int, ...]
    times_ms: tuple[Ms, ...]
    mins: tuple[float, ...]
    maxs: tuple[float, ...]
    lasts: tuple[float, ...]


_Columns: TypeAlias = "tuple[array[int], array[int], array[float], array[float], array[float]]"


class MetricSeries:
    """See the module's docstring."""

    __slots__ = (
        "_filled",
        "_lasts",
        "_maxs",
        "_mins",
        "_steps",
        "_times",
        "_width",
        "last",
        "last_step",
        "last_time_ms",
        "max",
        "min",
        "n",
        "n_not_finite",
    )

    def __init__(self) -> None:
        #: Values so far, and how many of them are not finite.
        self.n = self.n_not_finite = 0
        #: Of the finite ones; ``nan`` before there is one.
        self.min = self.max = nan
        self.last, self.last_step, self.last_time_ms = nan, 0, 0
        #: Values of a full bucket, and of the last one.
        self._width, self._filled = 1, 0
        self._steps, self._times = array("q"), array("q")
        self._mins, self._maxs, self._lasts = array("d"), array("d"), array("d")

    def add(self, value: float, step: int, time_ms: Ms) -> None:
        """Takes the next value; ``step`` may repeat or go back, as after a checkpoint."""
        self.n += 1
        self.last, self.last_step, self.last_time_ms = value, step, time_ms
        if isfinite(value):
            self.min = value if self.min != self.min else min(self.min, value)
            self.max = value if self.max != self.max else max(self.max, value)
        else:
            self.n_not_finite += 1
        if not self._steps or self._filled == self._width:
            self._open_bucket()
        self._filled += 1
        self._steps[-1], self._times[-1], self._lasts[-1] = step, time_ms, value
        if isfinite(value):
            self._mins[-1] = _least(self._mins[-1], value)
            self._maxs[-1] = -_least(-self._maxs[-1], -value)

    def course(self, points_max: int) -> Course:
        """In at most so many buckets."""
        columns = self._columns()
        while len(columns[0]) > points_max:
            columns = _halved(columns)
        steps, times, mins, maxs, lasts = columns
        return Course(
            steps=tuple(steps),
            times_ms=tuple(times),
            mins=tuple(mins),
            maxs=tuple(maxs),
            lasts=tuple(lasts),
        )

    def _open_bucket(self) -> None:
        if len(self._steps) == BUCKETS_MAX:
            halved = _halved(self._columns())
            self._steps, self._times, self._mins, self._maxs, self._lasts = halved
            self._width *= 2
        self._filled = 0
        for column in (self._steps, self._times):
            column.append(0)
        for values in (self._mins, self._maxs, self._lasts):
            values.append(nan)

    def _columns(self) -> _Columns:
        return self._steps, self._times, self._mins, self._maxs, self._lasts


def _halved(columns: _Columns) -> _Columns:
    """Each two neighbours as one; a last one without neighbour stays as it is."""
    steps, times, mins, maxs, lasts = columns
    n_odd = len(steps) % 2
    pairs = [(n, n + 1) for n in range(0, len(steps) - 1, 2)]
    last = slice(1, None, 2)
    ends = slice(len(steps) - n_odd, None)
    return (
        steps[last] + steps[ends],
        times[last] + times[ends],
        array("d", [_least(mins[a], mins[b]) for a, b in pairs]) + mins[ends],
        array("d", [-_least(-maxs[a], -maxs[b]) for a, b in pairs]) + maxs[ends],
        lasts[last] + lasts[ends],
    )


def _least(one: float, other: float) -> float:
    """The smaller one; ``nan`` only where both are."""
    if one != one:
        return other
    return one if other != other else min(one, other)
