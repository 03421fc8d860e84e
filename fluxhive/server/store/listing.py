"""Which tasks a list shows: ids by filter, in an order. The records come from memory mostly.

Run in the store's reading threads (``Store.read``): a filter that few tasks pass looks at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import sqlalchemy as sa

from fluxhive.core.task import FINAL_STATES, TaskState
from fluxhive.core.values import Ms, NodeId, TaskId, Value

from .tables import JsonText, attempts, tasks

_FINAL = sorted(state.value for state in FINAL_STATES)
_SPEC = sa.cast(tasks.c.spec, JsonText)
_REST = sa.cast(tasks.c.rest, JsonText)
_KIND = _REST["outcome"]["kind"].as_string()
project_of: sa.ColumnElement[str] = sa.func.coalesce(
    _REST["edited"]["project"].as_string(), _SPEC["project"].as_string(), tasks.c.owner
)
#: An array itself; its members are tasks of their own once they have left the queue.
IS_ARRAY = sa.and_(_SPEC["array"].as_string().is_not(None), tasks.c.array_id.is_(None))
#: The command's words with blanks between them. Never the environment: what is found in it would
#: tell others what it holds.
_COMMAND = sa.func.replace(_SPEC["command"].as_string(), '","', " ")


class TaskOrder(Enum):
    """What a list of tasks begins with."""

    NEWEST = "newest"
    OLDEST = "oldest"
    #: Those that ended last; what has not ended is left out.
    ENDED = "ended"
    NAME = "name"
    OWNER = "owner"
    #: Who is next in line; only tasks in line.
    QUEUE = "queue"


class TaskChoice(Value, frozen=True, kw_only=True):
    """Which tasks; None and empty: no restriction."""

    states: tuple[TaskState, ...] = ()
    owner: str | None = None
    name: str | None = None
    project: str | None = None
    #: An attempt was on this node.
    node_id: NodeId | None = None
    #: What ended the last attempt.
    outcomes: tuple[str, ...] = ()
    #: Stands in the name or the command, or the id begins so.
    text: str = ""
    #: Those that have not ended, and those that ended at or after this hive time.
    since_ms: Ms | None = None
    #: Members of this array that are tasks of their own. None: no members.
    array_id: TaskId | None = None
    #: Submitted before the task of this number (the cursor of a page).
    before_number: int | None = None
    order: TaskOrder = TaskOrder.NEWEST
    #: So many are passed over.
    offset: int = 0


class Ended(NamedTuple):
    """How many tasks ended in one way within one slice of time."""

    ended_at_ms: Ms
    state: TaskState
    kind: str
    n: int


def page_of_ids(connection: sa.Connection, chosen: TaskChoice, limit: int) -> list[TaskId]:
    """Ids of at most ``limit`` tasks, in their order."""
    newest = tasks.c.number.desc()
    order = {
        TaskOrder.OLDEST: (tasks.c.number.asc(),),
        TaskOrder.ENDED: (tasks.c.ended_at_ms.desc(), newest),
        TaskOrder.NAME: (tasks.c.name, newest),
        TaskOrder.OWNER: (tasks.c.owner, newest),
    }.get(chosen.order, (newest,))
    conditions = [*_conditions(chosen), _array(chosen, by_index=False)]
    query = sa.select(tasks.c.id).where(*conditions).order_by(*order).limit(limit)
    if chosen.offset:
        query = query.offset(chosen.offset)
    return [TaskId(row.id) for row in connection.execute(query)]


def count(connection: sa.Connection, chosen: TaskChoice) -> int:
    """How many tasks there are on all pages."""
    conditions = [*_conditions(chosen), _array(chosen, by_index=True)]
    query = sa.select(sa.func.count()).select_from(tasks).where(*conditions)
    return int(connection.execute(query).scalar_one())


def ended_since(connection: sa.Connection, since_ms: Ms, slice_ms: Ms, unknown: str) -> list[Ended]:
    """What ended from then on, by slices of time, state and outcome; of arrays the members."""
    begin = tasks.c.ended_at_ms - tasks.c.ended_at_ms % slice_ms
    columns = begin.label("begin"), tasks.c.state, _KIND.label("kind")
    query = (
        sa.select(*columns, sa.func.count().label("n"))
        .where(tasks.c.state.in_(_FINAL), tasks.c.ended_at_ms >= since_ms)
        .where(~IS_ARRAY)
        .group_by(*columns)
    )
    return [
        Ended(row.begin, TaskState(row.state), row.kind or unknown, row.n)
        for row in connection.execute(query)
    ]


def _array(chosen: TaskChoice, *, by_index: bool) -> sa.ColumnElement[bool]:
    """Of which array. Nearly all tasks are of none: ``by_index`` counts those in no time, and would
    sort all of them for a page."""
    if chosen.array_id is not None:
        return tasks.c.array_id == chosen.array_id
    return tasks.c.array_id.is_(None) if by_index else _unindexed(tasks.c.array_id) == ""


def _unindexed(column: sa.Column[Any]) -> sa.ColumnElement[str]:
    """The same text, so that no database looks for it in the index of the column."""
    return sa.func.coalesce(column, "")


def _conditions(chosen: TaskChoice) -> Sequence[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if chosen.states:
        found.append(tasks.c.state.in_([state.value for state in chosen.states]))
    if chosen.owner is not None:
        # Those that are under way are few: by their state, not by all that the owner ever had.
        by_owner = chosen.states != (TaskState.ACTIVE,)
        found.append((tasks.c.owner if by_owner else _unindexed(tasks.c.owner)) == chosen.owner)
    if chosen.name is not None:
        found.append(tasks.c.name == chosen.name)
    if chosen.since_ms is not None:
        is_live = tasks.c.state.not_in(_FINAL)
        found.append(sa.or_(is_live, tasks.c.ended_at_ms >= chosen.since_ms))
    if chosen.order is TaskOrder.ENDED:
        found.append(tasks.c.ended_at_ms.is_not(None))
    if chosen.before_number is not None:
        found.append(tasks.c.number < chosen.before_number)
    if chosen.project is not None:
        found.append(project_of == chosen.project)
    if chosen.outcomes:
        found.append(_KIND.in_(chosen.outcomes))
    if chosen.node_id is not None:
        on_node = sa.select(attempts.c.task_id).where(attempts.c.node_id == chosen.node_id)
        found.append(tasks.c.id.in_(on_node))
    if chosen.text:
        text = chosen.text
        found.append(
            sa.or_(
                tasks.c.name.contains(text, autoescape=True),
                tasks.c.id.startswith(text, autoescape=True),
                _COMMAND.contains(text, autoescape=True),
            )
        )
    return found
