"""GPU-hours of a week by user and project, for those that have a limit of them.

A week begins on Monday, 0:00 UTC. A task counts from its placement to its end, a shared GPU for
each task on it, as with running GPUs. Counted in integers, from when the limit was set; in between
a meter follows from time alone, and while the server is down what ran on counts. Used by quota.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from .policy import DAY_MS, HOUR_MS
from .values import Ms, Value

WEEK_MS: Ms = 7 * DAY_MS
#: The first Monday was three days before the first week of the count was over.
_MONDAY_MS: Ms = 3 * DAY_MS


class GpuHours(Value, frozen=True, kw_only=True):
    """What one user or project has used of the week, as the store keeps it."""

    #: ``user`` or ``project``, and whose.
    scope: str
    name: str
    #: GPUs times milliseconds in the week of ``at_ms``, up to then.
    used_ms: int = 0
    #: GPUs in use since.
    gpus: int = 0
    at_ms: Ms = 0

    def used_at(self, now_ms: Ms) -> int:
        """GPUs times milliseconds in the week of this time."""
        began_ms = begin_of_week(now_ms)
        if self.at_ms < began_ms:
            return self.gpus * (now_ms - began_ms)
        return self.used_ms + self.gpus * (now_ms - self.at_ms)

    def moved_to(self, now_ms: Ms, gpus: int) -> GpuHours:
        """The same, with so many GPUs in use from now on."""
        return replace(self, used_ms=self.used_at(now_ms), gpus=gpus, at_ms=now_ms)

    def next_change_ms(self, now_ms: Ms, limit_hours: int) -> Ms | None:
        """When the limit is reached, or is new again; None: neither comes by itself."""
        left = limit_hours * HOUR_MS - self.used_at(now_ms)
        next_week_ms = begin_of_week(now_ms) + WEEK_MS
        if left > 0 and not self.gpus:
            return None
        return next_week_ms if left <= 0 else min(next_week_ms, now_ms - (-left // self.gpus))


def begin_of_week(now_ms: Ms) -> Ms:
    """Monday, 0:00 UTC."""
    return (now_ms + _MONDAY_MS) // WEEK_MS * WEEK_MS - _MONDAY_MS
