"""What attempts took of the hive, added up: GPU time held, CPU time, how busy the GPUs were.

Pure; the server reads the attempts (store/usage_sums.py), people ask with ``fluxhive usage``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .outcome import GpuPeak
from .values import Mib, Ms


class UsedPart(NamedTuple):
    """An attempt's part on one node: the GPUs that it holds there, and what is known of its end."""

    n_gpus: int
    cpu_ms: Ms = 0
    gpu_peaks: tuple[GpuPeak, ...] = ()


class UsageSum(NamedTuple):
    """What several tasks took together."""

    tasks: int = 0
    succeeded: int = 0
    failed: int = 0
    gpu_ms: Ms = 0
    cpu_ms: Ms = 0
    #: Utilization in percent times GPU time, and the GPU time for which it is known.
    busy_percent_ms: int = 0
    known_ms: Ms = 0
    peak_mib: Mib = 0

    def plus(self, other: UsageSum) -> UsageSum:
        """Both together."""
        added = UsageSum(*(one + two for one, two in zip(self, other, strict=True)))
        return added._replace(peak_mib=max(self.peak_mib, other.peak_mib))


def attempt_sum(
    parts: Iterable[UsedPart],
    *,
    reserved_at_ms: Ms,
    ended_at_ms: Ms | None,
    since_ms: Ms,
    now_ms: Ms,
) -> UsageSum:
    """What an attempt took from ``since_ms`` on; one that has not ended counts until now."""
    length_ms = max(
        0, (now_ms if ended_at_ms is None else ended_at_ms) - max(since_ms, reserved_at_ms)
    )
    total = UsageSum()
    for part in parts:
        known = [peak.utilization_percent for peak in part.gpu_peaks]
        percents = [each for each in known if each is not None]
        total = total.plus(
            UsageSum(
                gpu_ms=length_ms * part.n_gpus,
                cpu_ms=part.cpu_ms,
                busy_percent_ms=sum(percents) * length_ms,
                known_ms=len(percents) * length_ms,
                peak_mib=max((peak.peak_mib for peak in part.gpu_peaks), default=0),
            )
        )
    return total
