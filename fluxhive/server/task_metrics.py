"""The numbers that tasks report of themselves: read from their streams as they grow, and summed up.

The stream is the truth and is kept as output is; what was made of it is memory only, made again
from the stream after a restart. Blocks; called in worker threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Container
from math import isfinite

import msgspec

from fluxhive.core.metric_series import NAME_CHARS_MAX, SERIES_MAX, MetricSeries
from fluxhive.core.task import Attempt
from fluxhive.core.values import AttemptId
from fluxhive.protocol.metrics import MetricLine, MetricSeriesView, MetricsView
from fluxhive.protocol.wire import METRICS

from .log_writer import EXTRA_BYTES_MAX
from .logs import LogStore

#: Series that are kept in memory, at 80 KiB each.
SERIES_KEPT_MAX = 1_000
LINE_BYTES_MAX = 256 * 1024
_READ_BYTES = 1 << 20
_TEXTS = ("nan", "inf", "-inf")
_STEP_MAX = 2**53


class TaskMetrics:
    """See the module's docstring."""

    def __init__(self, logs: LogStore) -> None:
        self._logs = logs
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[AttemptId, int], _Reading] = OrderedDict()

    def view(
        self, attempt: Attempt, rank: int, *, names: Container[str], points: int
    ) -> MetricsView:
        """What a part of an attempt reported until now; of these names, of all if there are none.

        The attempt's streams are loaded before.
        """
        is_complete = self._logs.is_whole(attempt, METRICS, rank=rank)
        with self._lock:
            reading = self._read(attempt.id, rank)
            series = tuple(
                _view(name, each, points)
                for name, each in reading.series.items()
                if not names or name in names
            )
            return MetricsView(
                attempt=attempt.id,
                rank=rank,
                complete=is_complete,
                n_lines=reading.n_lines,
                n_bad=reading.n_bad,
                gaps=self._logs.gaps(attempt.id, METRICS, rank=rank),
                series=series,
            )

    def _read(self, attempt_id: AttemptId, rank: int) -> _Reading:
        key = attempt_id, rank
        # What is beyond that was not kept, and reads as zeros.
        size = min(self._logs.size(attempt_id, METRICS, rank=rank), EXTRA_BYTES_MAX)
        reading = self._known.get(key)
        if reading is None or reading.offset > size:  # the disk lost what it had taken
            reading = self._known[key] = _Reading()
        self._known.move_to_end(key)
        while reading.offset < size:
            limit = min(_READ_BYTES, size - reading.offset)
            data = self._logs.read(attempt_id, METRICS, reading.offset, limit, rank=rank)
            if not data:
                break
            reading.take(data)
        n_kept = sum(len(each.series) for each in self._known.values())
        while n_kept > SERIES_KEPT_MAX and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            n_kept -= len(oldest.series)
        return reading


class _Reading:
    """How far a stream was read, and what was in it."""

    def __init__(self) -> None:
        self.offset = self.n_lines = self.n_bad = 0
        self.series: dict[str, MetricSeries] = {}
        self._rest = b""
        self._decoder = msgspec.json.Decoder(MetricLine)

    def take(self, data: bytes) -> None:
        """The next bytes of the stream; a line counts once it has its end."""
        self.offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            self._rest = b"-"  # no JSON, whatever its end is
        for text in lines:
            if not text.strip(b"\0 \r"):
                continue  # where bytes are missing, they read as zeros
            self.n_lines += 1
            try:
                line = self._decoder.decode(text.lstrip(b"\0"))
            except (msgspec.DecodeError, RecursionError):
                self.n_bad += 1
                continue
            for name, value in line.values.items():
                self._add(name, value, line)

    def _add(self, name: str, value: float | str, line: MetricLine) -> None:
        series = self.series.get(name)
        step = (0 if series is None else series.n) if line.step is None else line.step
        is_number = not isinstance(value, str) or value in _TEXTS
        if not is_number or abs(step) > _STEP_MAX or not 0 <= line.time_ms <= _STEP_MAX:
            self.n_bad += 1
            return
        if series is None:
            if len(self.series) >= SERIES_MAX or len(name) > NAME_CHARS_MAX:
                self.n_bad += 1
                return
            series = self.series[name] = MetricSeries()
        series.add(float(value), step, line.time_ms)


def _view(name: str, series: MetricSeries, points: int) -> MetricSeriesView:
    course = series.course(points)
    return MetricSeriesView(
        name=name,
        n=series.n,
        n_not_finite=series.n_not_finite,
        min=_finite(series.min),
        max=_finite(series.max),
        last=_finite(series.last),
        last_step=series.last_step,
        last_time_ms=series.last_time_ms,
        steps=course.steps,
        times_ms=course.times_ms,
        mins=tuple([_finite(value) for value in course.mins]),
        maxs=tuple([_finite(value) for value in course.maxs]),
        lasts=tuple([_finite(value) for value in course.lasts]),
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
