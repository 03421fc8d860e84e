"""What attempts took, checked by hand."""

from __future__ import annotations

from fluxhive.core.outcome import GpuPeak
from fluxhive.core.usage_sum import UsageSum, UsedPart, attempt_sum
from fluxhive.core.values import GpuUuid

HOUR_MS = 3_600_000


def ran(*parts: UsedPart, until_h: int | None = 2, since_h: int = 0, now_h: int = 9) -> UsageSum:
    """An attempt that was placed at hour 0."""
    return attempt_sum(
        parts or (UsedPart(1),),
        reserved_at_ms=0,
        ended_at_ms=None if until_h is None else until_h * HOUR_MS,
        since_ms=since_h * HOUR_MS,
        now_ms=now_h * HOUR_MS,
    )


def busy(hours: int, percent: int | None) -> UsageSum:
    peak = GpuPeak(uuid=GpuUuid("GPU-1"), peak_mib=hours, utilization_percent=percent)
    return ran(UsedPart(1, cpu_ms=HOUR_MS, gpu_peaks=(peak,)), until_h=hours)


def test_time_outside_of_what_was_asked_for_does_not_count() -> None:
    assert [ran(since_h=hour).gpu_ms // HOUR_MS for hour in range(4)] == [2, 1, 0, 0]


def test_one_that_runs_counts_until_now() -> None:
    assert ran(until_h=None, now_h=5).gpu_ms == 5 * HOUR_MS


def test_each_gpu_of_each_node_counts() -> None:
    assert ran(UsedPart(4), UsedPart(3)).gpu_ms == 14 * HOUR_MS
    assert ran(UsedPart(0, cpu_ms=7)) == UsageSum(cpu_ms=7)


def test_how_busy_is_weighed_by_time() -> None:
    total = busy(3, 90).plus(busy(1, 10)).plus(busy(5, None))
    assert total.busy_percent_ms // total.known_ms == 70
    assert (total.peak_mib, total.cpu_ms) == (5, 3 * HOUR_MS)
