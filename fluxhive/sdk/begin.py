"""When a task may start, as people write it: `18:00`, `+2h`, `2026-12-24T08:00`; after which.

A time without a zone is of the time zone of this machine; the server is told one that needs none.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

from fluxhive.core.dependency import Dependency, EndWanted
from fluxhive.core.errors import InputError
from fluxhive.core.request import parse_duration_ms
from fluxhive.core.values import TaskId

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
#: So long ago is a slip of the clock, not a mistake.
_SLACK_MS = 60_000
_ENDS = [end.value for end in EndWanted]


def parse_time_ms(text: str, *, field: str = "--begin") -> int | None:
    """The time in milliseconds since 1970; None for `now`. Raises ``InputError``."""
    text = text.strip()
    now_ms = int(time.time() * 1000)
    if text == "now":
        return None
    if text.startswith("+"):
        return now_ms + parse_duration_ms(text[1:], field=field)
    clock = _CLOCK.fullmatch(text)
    at = _next(clock, now_ms) if clock is not None else _date(text, field)
    at_ms = int(at.timestamp() * 1000)
    if at_ms < now_ms - _SLACK_MS:
        raise InputError(
            f"`{field}` lies in the past: `{text}`",
            field=field,
            value=text,
            hint="give a time that is still to come, or `now`",
        )
    return at_ms


def parse_dependency(text: str) -> Dependency:
    """`t-7f3k`, `t-7f3k:any`. Raises ``InputError``."""
    name, colon, end = text.rpartition(":")
    if not colon:
        name, end = text, EndWanted.OK.value
    if end not in _ENDS or not name:
        raise InputError(
            f"`--after` is not a task and how it ends: `{text}`",
            field="--after",
            value=text,
            hint="write it as `t-7f3k`, `t-7f3k:any` or `t-7f3k:fail`",
        )
    return Dependency(task_id=TaskId(name), end=EndWanted(end))


def show_time(at_ms: int) -> str:
    """A time in this machine's zone, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(at_ms / 1000))


def _next(clock: re.Match[str], now_ms: int) -> datetime:
    """Today at that time, or tomorrow when it is over."""
    now = datetime.fromtimestamp(now_ms / 1000).astimezone()
    hour, minute, second = (int(part or 0) for part in clock.groups())
    day = now.replace(tzinfo=None, hour=hour, minute=minute, second=second, microsecond=0)
    # Made aware only then: between the two a clock may be put forward or back.
    at = day.astimezone()
    return at if at > now else (day + timedelta(days=1)).astimezone()


def _date(text: str, field: str) -> datetime:
    # Python 3.10 does not read the `Z` of UTC.
    plain = text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text
    try:
        at = datetime.fromisoformat(plain)
        return at if at.tzinfo is not None else at.astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"`{field}` is not a time: `{text}`",
            field=field,
            value=text,
            hint="write it as `18:00`, `+2h`, `2026-12-24T08:00` or `now`",
        ) from error
