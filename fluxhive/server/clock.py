"""Hive time: the one clock of a server, in milliseconds.

At start the later of wall clock and last stored time, from then on the boot clock: it never runs
backwards, whatever is done to the wall clock, over restarts too. Nobody compares
it with the clock of another machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fluxhive.core.values import Ms


def wall_ms() -> Ms:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def boot_ms() -> Ms:
    """A clock that only grows; counts suspended time where the system has such a clock."""
    return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000


_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class HiveClock:
    """``now_ms()`` in hive time."""

    def __init__(
        self,
        last_stored_ms: Ms = 0,
        *,
        wall: Callable[[], Ms] = wall_ms,
        boot: Callable[[], Ms] = boot_ms,
    ) -> None:
        self._boot = boot
        self._offset_ms = max(wall(), last_stored_ms) - boot()

    def now_ms(self) -> Ms:
        """The time now; never below an earlier answer."""
        return self._boot() + self._offset_ms
