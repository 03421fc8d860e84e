"""What tasks took, added up over any number of them: rows are read one after the other, none kept.

Run in the store's reading threads (``Store.read``). The columns are counted in SQL; what stands in
their JSON is decoded here, the few fields that are needed, so that SQLite and PostgreSQL give the
same to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import msgspec
import sqlalchemy as sa

from fluxhive.core.outcome import GpuPeak
from fluxhive.core.task import FINAL_STATES, TaskState
from fluxhive.core.usage_sum import UsageSum, UsedPart, attempt_sum
from fluxhive.core.values import Ms, TaskId, Value

from .listing import IS_ARRAY, project_of
from .tables import attempts, tasks

#: Rows that are fetched at once.
BATCH = 1_000
_FINAL = sorted(state.value for state in FINAL_STATES)
_DAY_MS = 86_400_000


class UsageKey(Enum):
    """What tasks are put together by."""

    NAME = "name"
    PROJECT = "project"
    STATE = "state"
    #: Number of the day since 1970 on which they were submitted, where the asker lives.
    DAY = "day"


class UsageChoice(Value, frozen=True, kw_only=True):
    """Whose tasks, and how they are put together."""

    by: UsageKey
    #: Those that have not ended, and those that ended at or after this time; the time before it
    #: does not count.
    since_ms: Ms
    now_ms: Ms
    #: Ignored where an array is chosen.
    owner: str
    array_id: TaskId | None = None
    #: How far the asker's day begins before that of UTC.
    utc_offset_ms: Ms = 0


class _Held(msgspec.Struct):
    gpus: tuple[msgspec.Raw, ...] = ()


class _Facts(msgspec.Struct):
    cpu_ms: Ms = 0
    gpu_peaks: tuple[GpuPeak, ...] = ()


class _Member(msgspec.Struct):
    reservation: _Held
    facts: _Facts | None = None


class _Rest(msgspec.Struct):
    """What is needed of the column ``rest`` of an attempt (rows.py)."""

    reservation: _Held
    reserved_at_ms: Ms
    gang: tuple[_Member, ...] = ()


_rest = msgspec.json.Decoder(_Rest).decode
_facts = msgspec.json.Decoder(_Facts).decode


def usage_sums(connection: sa.Connection, chosen: UsageChoice) -> dict[str, UsageSum]:
    """The sums by key, in no order."""
    sums: dict[str, UsageSum] = {}
    key = _key(chosen).label("of")
    counts = (
        sa.select(key, tasks.c.state, sa.func.count().label("n"))
        .where(*_conditions(chosen))
        .group_by("of", tasks.c.state)
    )
    for row in connection.execute(counts):
        succeeded = row.n if row.state == TaskState.SUCCEEDED.value else 0
        failed = row.n if row.state == TaskState.FAILED.value else 0
        added = UsageSum(tasks=row.n, succeeded=succeeded, failed=failed)
        _add(sums, row.of, added)
    tried = (
        sa.select(key, attempts.c.ended_at_ms, attempts.c.facts, attempts.c.rest)
        .join(tasks, tasks.c.id == attempts.c.task_id)
        .where(*_conditions(chosen))
    )
    for row in connection.execution_options(yield_per=BATCH).execute(tried):
        rest = _rest(row.rest)
        took = attempt_sum(
            _parts(rest, row.facts),
            reserved_at_ms=rest.reserved_at_ms,
            ended_at_ms=row.ended_at_ms,
            since_ms=chosen.since_ms,
            now_ms=chosen.now_ms,
        )
        _add(sums, row.of, took)
    return sums


def _add(sums: dict[str, UsageSum], key: Any, added: UsageSum) -> None:
    name = str(key)
    sums[name] = sums.get(name, UsageSum()).plus(added)


def _parts(rest: _Rest, facts: str | None) -> Iterator[UsedPart]:
    if rest.gang:
        for member in rest.gang:
            yield _part(member.reservation, member.facts)
    else:
        yield _part(rest.reservation, None if facts is None else _facts(facts))


def _part(held: _Held, facts: _Facts | None) -> UsedPart:
    if facts is None:
        return UsedPart(len(held.gpus))
    return UsedPart(len(held.gpus), facts.cpu_ms, facts.gpu_peaks)


def _key(chosen: UsageChoice) -> sa.ColumnElement[Any]:
    if chosen.by is UsageKey.NAME:
        return tasks.c.name
    if chosen.by is UsageKey.STATE:
        return tasks.c.state
    if chosen.by is UsageKey.PROJECT:
        return project_of
    # In the text of the statement: PostgreSQL takes two parameters for two expressions.
    offset_ms: sa.ColumnClause[int] = sa.literal_column(str(chosen.utc_offset_ms), sa.BigInteger)
    day_ms: sa.ColumnClause[int] = sa.literal_column(str(_DAY_MS), sa.BigInteger)
    return (tasks.c.submitted_at_ms + offset_ms) // day_ms


def _conditions(chosen: UsageChoice) -> tuple[sa.ColumnElement[bool], ...]:
    """Members of arrays one by one, the arrays themselves not."""
    if chosen.array_id is not None:
        return (tasks.c.array_id == chosen.array_id,)
    is_live = tasks.c.state.not_in(_FINAL)
    return (
        tasks.c.owner == chosen.owner,
        sa.or_(is_live, tasks.c.ended_at_ms >= chosen.since_ms),
        ~IS_ARRAY,
    )
