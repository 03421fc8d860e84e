"""Which tasks a list shows: ids by filter, newest first. The records come from memory mostly."""

from __future__ import annotations

import sqlalchemy as sa

from fluxhive.core.task import FINAL_STATES, TaskState
from fluxhive.core.values import Ms, TaskId, Value

from .tables import tasks

_FINAL = sorted(state.value for state in FINAL_STATES)


class TaskChoice(Value, frozen=True, kw_only=True):
    """Which tasks; None and empty: no restriction."""

    states: tuple[TaskState, ...] = ()
    owner: str | None = None
    name: str | None = None
    #: Those that have not ended, and those that ended at or after this hive time.
    since_ms: Ms | None = None
    #: Members of this array that are tasks of their own. None: no members.
    array_id: TaskId | None = None
    #: Submitted before the task of this number (the cursor of a page).
    before_number: int | None = None


def page_of_ids(connection: sa.Connection, chosen: TaskChoice, limit: int) -> list[TaskId]:
    """Ids of at most ``limit`` tasks, newest first."""
    query = sa.select(tasks.c.id).order_by(tasks.c.number.desc()).limit(limit)
    query = query.where(
        tasks.c.array_id.is_(None)
        if chosen.array_id is None
        else tasks.c.array_id == chosen.array_id
    )
    if chosen.states:
        query = query.where(tasks.c.state.in_([state.value for state in chosen.states]))
    if chosen.owner is not None:
        query = query.where(tasks.c.owner == chosen.owner)
    if chosen.name is not None:
        query = query.where(tasks.c.name == chosen.name)
    if chosen.since_ms is not None:
        is_live = tasks.c.state.not_in(_FINAL)
        query = query.where(sa.or_(is_live, tasks.c.ended_at_ms >= chosen.since_ms))
    if chosen.before_number is not None:
        query = query.where(tasks.c.number < chosen.before_number)
    return [TaskId(row.id) for row in connection.execute(query)]
