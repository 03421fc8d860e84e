"""Use over time, told to a series: how points of a finer tier make those of the next."""

from __future__ import annotations

from fluxhive.core.usage_series import POINTS_MAX, TIERS, Point, Series, stitch

BEGIN_S = 1_200_000
FOR_EVER = 2**40


def all_of(series: Series) -> list[list[Point]]:
    series.end()
    return series.taken()


def test_readings_of_a_second_are_one_point_with_their_mean_and_peak() -> None:
    series = Series()
    series.add(BEGIN_S, 100, 10)
    series.add(BEGIN_S, 300, 30)
    fine, *_ = all_of(series)
    assert fine == [Point(at_s=BEGIN_S, used_mib=200, peak_mib=300, utilization_percent=20)]


def test_a_peak_of_one_second_is_the_peak_of_five_minutes() -> None:
    series = Series()
    for second in range(600):
        series.add(BEGIN_S + second, 9_000 if second == 77 else 1_000, None)
    fine, tens, minutes = all_of(series)
    assert (len(fine), len(tens), len(minutes)) == (600, 60, 2)
    assert [point.peak_mib for point in minutes] == [9_000, 1_000]
    assert minutes[0].used_mib == 1_026  # 299 of 1,000 and one of 9,000
    assert minutes[0].utilization_percent is None


def test_what_comes_too_late_changes_nothing() -> None:
    series = Series()
    series.add(BEGIN_S + 5, 100, None)
    series.add(BEGIN_S, 900, None)
    fine, *_ = all_of(series)
    assert [point.at_s for point in fine] == [BEGIN_S + 5]


def test_what_is_pending_shows_before_it_is_stored() -> None:
    series = Series()
    series.add(BEGIN_S, 100, None)
    assert [len(points) for points in series.pending()] == [1, 0, 0]
    series.add(BEGIN_S + 1, 100, None)
    assert [len(points) for points in series.pending()] == [2, 1, 0]


def test_a_line_takes_the_finest_there_is_for_each_time() -> None:
    series = Series()
    for second in range(1_200):
        series.add(BEGIN_S + second, second, None)
    fine, tens, minutes = all_of(series)
    line = stitch([fine[600:], tens[30:], minutes], from_s=0, to_s=FOR_EVER)
    assert [point.at_s - BEGIN_S for point in line] == [0, *range(300, 600, 10), *range(600, 1_200)]


def test_a_line_keeps_within_the_times_that_are_asked_for() -> None:
    points = [Point(at_s=at_s, used_mib=1, peak_mib=1) for at_s in range(100)]
    line = stitch([points, [], []], from_s=10, to_s=20)
    assert [point.at_s for point in line] == list(range(10, 20))


def test_a_long_line_is_made_coarser_and_no_peak_is_lost() -> None:
    points = [Point(at_s=at_s, used_mib=1, peak_mib=at_s) for at_s in range(0, 300_000, 10)]
    line = stitch([[], points, []], from_s=0, to_s=FOR_EVER)
    assert len(line) <= POINTS_MAX
    assert line[-1].peak_mib == 299_990
    assert len(stitch([[], points, []], from_s=0, to_s=FOR_EVER, step_s=3_600)) == 84


def test_a_slot_that_was_cut_in_two_is_one_again() -> None:
    halves = [
        Point(at_s=300, used_mib=100, peak_mib=900), Point(at_s=300, used_mib=300, peak_mib=400)
    ]  # fmt: skip
    (point,) = stitch([[], [], halves], from_s=0, to_s=FOR_EVER)
    assert (point.used_mib, point.peak_mib) == (200, 900)


def test_the_tiers_are_those_that_are_promised() -> None:
    assert [(tier.step_s, tier.keep_s) for tier in TIERS] == [
        (1, 600), (10, 86_400), (300, 30 * 86_400)
    ]  # fmt: skip
