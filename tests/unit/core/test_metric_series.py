"""Series of numbers: bounded, and exact in what people look for."""

from __future__ import annotations

from itertools import pairwise
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fluxhive.core import metric_series
from fluxhive.core.metric_series import BUCKETS_MAX, MetricSeries


def series(values: list[float]) -> MetricSeries:
    made = MetricSeries()
    for step, value in enumerate(values):
        made.add(value, step, 1_000 + step)
    return made


def test_a_short_series_is_told_value_by_value() -> None:
    course = series([3.0, 1.0, 2.0]).course(100)
    assert course.lasts == course.mins == course.maxs == (3.0, 1.0, 2.0)
    assert course.steps == (0, 1, 2)
    assert course.times_ms == (1_000, 1_001, 1_002)


@given(some.lists(some.floats(allow_nan=False), min_size=1), some.integers(1, 40))
def test_whatever_is_left_out_lies_within_the_band(values: list[float], points: int) -> None:
    """With few buckets, so that they are halved often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metric_series, "BUCKETS_MAX", 8)
        made = series(values)
        course = made.course(points)
    assert len(course.steps) <= max(points, 1)
    assert (made.n, made.last) == (len(values), values[-1])
    finite = [value for value in values if abs(value) != inf]
    assert made.n_not_finite == len(values) - len(finite)
    if finite:
        assert (made.min, made.max) == (min(finite), max(finite))
    begin = 0
    for step, low, high, last in zip(
        course.steps, course.mins, course.maxs, course.lasts, strict=True
    ):
        part = values[begin : step + 1]
        inside = [value for value in part if abs(value) != inf]
        assert last == part[-1]
        assert (low, high) == (min(inside), max(inside)) if inside else isnan(low) and isnan(high)
        begin = step + 1
    assert begin == len(values)


def test_buckets_are_of_one_size_but_the_last() -> None:
    steps = series([0.0] * (3 * BUCKETS_MAX + 1)).course(BUCKETS_MAX).steps
    assert len(steps) <= BUCKETS_MAX
    assert {after - before for before, after in pairwise(steps[:-1])} == {4}


def test_a_loss_that_becomes_nan_is_seen_as_such() -> None:
    made = series([2.0, 1.0, nan, nan])
    assert isnan(made.last)
    assert (made.min, made.max, made.n_not_finite) == (1.0, 2.0, 2)
