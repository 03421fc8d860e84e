"""The numbers that a task reports of itself: a line of its file, and what the server answers."""

from __future__ import annotations

from fluxhive.core.values import Ms, Value

from .rest import LogGapView


class MetricLine(Value, frozen=True, kw_only=True):
    """A line of ``$FLUXHIVE_METRICS``: JSON, ended by a line feed."""

    values: dict[str, float | str]
    """By name; JSON has no word for what is not finite: ``nan``, ``inf`` and ``-inf`` are texts."""
    step: int | None = None
    """None: the next one of each series, counted from 0."""
    time_ms: Ms = 0
    """Wall clock of the node."""


class MetricSeriesView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """All values of one name. The columns are of one length, in order of arrival.

    Where ``n`` is larger than that, each entry stands for as many consecutive values: their least,
    largest and last, with the last one's step and time. None: not a finite number.
    """

    name: str
    n: int
    n_not_finite: int
    min: float | None
    max: float | None
    last: float | None
    last_step: int
    last_time_ms: Ms
    steps: tuple[int, ...]
    times_ms: tuple[Ms, ...]
    mins: tuple[float | None, ...]
    maxs: tuple[float | None, ...]
    lasts: tuple[float | None, ...]


class MetricsView(Value, frozen=True, kw_only=True, omit_defaults=False):
    """What one attempt reported, the series in the order in which they first came."""

    attempt: str | None
    """None: there was none yet."""
    rank: int = 0
    complete: bool = False
    """Whether nothing more can come."""
    n_lines: int = 0
    n_bad: int = 0
    """Values and lines that could not be read, or were of more names than are kept."""
    gaps: tuple[LogGapView, ...] = ()
    series: tuple[MetricSeriesView, ...] = ()
