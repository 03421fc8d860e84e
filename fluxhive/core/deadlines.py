"""When an attempt is looked at again because its time is over. Called as attempts change.

Not here: the fence of an attempt whose node is out of contact (node_contact.py), and what is done
when one of these is due (reactions to time in task_manager.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .gang import first_end_ms
from .task import Attempt
from .timers import TimerKind

if TYPE_CHECKING:
    from .hive_state import HiveState


def watch_time_limit(hive: HiveState, attempt: Attempt) -> None:
    """Wake up when a running attempt should long have been stopped by its node."""
    limit_ms = hive.spec_of(attempt).time_limit_ms
    if limit_ms is not None and attempt.started_at_ms is not None:
        at_ms = attempt.started_at_ms + limit_ms + hive.settings.time_limit_slack_ms
        hive.timers.set(TimerKind.TIME_LIMIT, attempt.id, at_ms)


def watch_linger(hive: HiveState, attempt: Attempt) -> None:
    """Wake up when the members that go on have had their time to finish."""
    at_ms = first_end_ms(attempt) + hive.settings.gang_linger_ms
    hive.timers.set(TimerKind.LINGER, attempt.id, at_ms)
