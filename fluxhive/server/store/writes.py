"""Every statement that stores what the core decided. Compiled once, run with tuples.

The guards stand in the statements themselves: a task or an attempt that has ended is never written
again, an attempt only moves along its table and only under its own epoch, a node's session only
grows. A write that meets another state raises ``StoreConflict``, and nothing of its transaction
stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from fluxhive.core.arrays import last_number
from fluxhive.core.effects import (
    HiveEffect,
    SaveAttempt,
    SaveBooking,
    SaveEstimate,
    SaveGpuHours,
    SaveNode,
    SaveQuota,
    SaveTask,
    SaveUsage,
)
from fluxhive.core.fairshare import Usage
from fluxhive.core.learning import Learned
from fluxhive.core.node import Node
from fluxhive.core.task import (
    ATTEMPT_MOVES,
    FINAL_STATES,
    Attempt,
    AttemptState,
    Task,
)
from fluxhive.core.values import AttemptId, Ms, NodeId, TaskId

from .failures import StoreConflict
from .rows import (
    ATTEMPT_COLUMNS,
    LEARNED_COLUMNS,
    NODE_COLUMNS,
    TASK_COLUMNS,
    USAGE_COLUMNS,
    Row,
    attempt_row,
    learned_row,
    node_row,
    task_changes,
    task_row,
    to_json,
    usage_row,
)
from .statement import Statement
from .tables import attempts, learned, meta, nodes, tasks, usages

NEXT_NUMBER = "next_number"
HIVE_TIME = "hive_time_ms"
#: Notes of quotas begin so; an empty one was taken away.
QUOTA = "quota:"
#: Notes of bookings begin so.
BOOKING = "booking:"
#: And those of used GPU-hours.
GPU_HOURS = "gpu-hours:"

TASK_CHANGES = TASK_COLUMNS[TASK_COLUMNS.index("name") :]


def _words(column: sa.Column[str], words: Iterable[str]) -> sa.ColumnElement[bool]:
    """``column IN ('a', 'b')`` with the words in the text: they are ours, not a caller's."""
    return sa.or_(*(column == sa.literal_column(f"'{word}'") for word in words))


def _insert_tasks() -> Statement:
    statement = sa.insert(tasks).values({name: sa.bindparam(name) for name in TASK_COLUMNS})
    return Statement(statement, TASK_COLUMNS)


def _update_tasks() -> Statement:
    live = sa.not_(_words(tasks.c.state, sorted(state.value for state in FINAL_STATES)))
    return Statement(
        sa.update(tasks)
        .where(tasks.c.id == sa.bindparam("task"), live)
        .where(tasks.c.epoch <= sa.bindparam("at_most"))
        .values({name: sa.bindparam(name) for name in TASK_CHANGES}),
        (*TASK_CHANGES, "task", "at_most"),
    )


def _put_members() -> Statement:
    """Members of arrays come late: their numbers were given when the array came."""
    statement = insert(tasks).values({name: sa.bindparam(name) for name in TASK_COLUMNS})
    live = sa.not_(_words(tasks.c.state, sorted(state.value for state in FINAL_STATES)))
    return Statement(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={name: statement.excluded[name] for name in TASK_CHANGES},
            where=sa.and_(live, tasks.c.epoch <= statement.excluded.epoch),
        ),
        TASK_COLUMNS,
    )


def _states_before(state: AttemptState) -> set[AttemptState]:
    """Every state from which an attempt can come to this one, itself included unless final.

    One step of the brain may hold several moves of one attempt, of which only the last is written.
    """
    before = {state}
    while True:
        more = {old for (old, new) in ATTEMPT_MOVES if old is not None and new in before}
        if more <= before:
            break
        before |= more
    return before - {AttemptState.ENDED}


def _put_attempts(state: AttemptState) -> Statement:
    statement = insert(attempts).values({name: sa.bindparam(name) for name in ATTEMPT_COLUMNS})
    allowed = sorted(old.value for old in _states_before(state))
    return Statement(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={
                name: statement.excluded[name]
                for name in ("state", "ended_at_ms", "facts", "late_report", "rest")
            },
            where=sa.and_(
                attempts.c.epoch == statement.excluded.epoch, _words(attempts.c.state, allowed)
            ),
        ),
        ATTEMPT_COLUMNS,
    )


def _keep_late() -> Statement:
    return Statement(
        sa.update(attempts)
        .where(attempts.c.id == sa.bindparam("attempt"))
        .where(attempts.c.epoch == sa.bindparam("its_epoch"))
        .where(_words(attempts.c.state, [AttemptState.ENDED.value]))
        .where(attempts.c.late_report.is_(None))
        .values(facts=sa.bindparam("facts"), late_report=sa.bindparam("late_report")),
        ("facts", "late_report", "attempt", "its_epoch"),
    )


def _put_nodes() -> Statement:
    statement = insert(nodes).values({name: sa.bindparam(name) for name in NODE_COLUMNS})
    return Statement(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={name: statement.excluded[name] for name in NODE_COLUMNS[1:]},
            where=nodes.c.session <= statement.excluded.session,
        ),
        NODE_COLUMNS,
    )


def _put_records(table: sa.Table, columns: Sequence[str]) -> Statement:
    """Whole records by key: the newest is the only one."""
    statement = insert(table).values({name: sa.bindparam(name) for name in columns})
    return Statement(
        statement.on_conflict_do_update(
            index_elements=["key"],
            set_={name: statement.excluded[name] for name in columns[1:]},
        ),
        columns,
    )


def _put_meta() -> Statement:
    statement = insert(meta).values(key=sa.bindparam("key"), value=sa.bindparam("value"))
    return Statement(
        statement.on_conflict_do_update(
            index_elements=["key"], set_={"value": statement.excluded.value}
        ),
        ("key", "value"),
    )


INSERT_TASKS = _insert_tasks()
UPDATE_TASKS = _update_tasks()
PUT_MEMBERS = _put_members()
PUT_ATTEMPTS = {state: _put_attempts(state) for state in AttemptState}
KEEP_LATE = _keep_late()
PUT_NODES = _put_nodes()
PUT_LEARNED = _put_records(learned, LEARNED_COLUMNS)
PUT_USAGES = _put_records(usages, USAGE_COLUMNS)
PUT_META = _put_meta()


class Saves:
    """What one step of the brain wants stored: the last record of each id."""

    def __init__(self, effects: Iterable[HiveEffect]) -> None:
        self.tasks: dict[TaskId, Task] = {}
        self.attempts: dict[AttemptId, Attempt] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.learned: dict[str, Learned] = {}
        self.usages: dict[str, Usage] = {}
        self.quotas: dict[str, str] = {}
        self.bookings: dict[str, str] = {}
        self.gpu_hours: dict[str, str] = {}
        for effect in effects:
            if isinstance(effect, SaveTask):
                self.tasks[effect.task.id] = effect.task
            elif isinstance(effect, SaveAttempt):
                self.attempts[effect.attempt.id] = effect.attempt
            elif isinstance(effect, SaveNode):
                self.nodes[effect.node.id] = effect.node
            elif isinstance(effect, SaveEstimate):
                self.learned[effect.record.key] = effect.record
            elif isinstance(effect, SaveUsage):
                self.usages[effect.usage.key] = effect.usage
            elif isinstance(effect, SaveQuota):
                quota = effect.quota
                key = f"{QUOTA}{quota.scope.value}:{quota.name}"
                self.quotas[key] = "" if quota.is_empty else to_json(quota)
            elif isinstance(effect, SaveBooking):
                self.bookings[f"{BOOKING}{effect.booking.id}"] = to_json(effect.booking)
            elif isinstance(effect, SaveGpuHours):
                hours = effect.hours
                self.gpu_hours[f"{GPU_HOURS}{hours.scope}:{hours.name}"] = to_json(hours)

    def __bool__(self) -> bool:
        return bool(
            self.tasks
            or self.attempts
            or self.nodes
            or self.learned
            or self.usages
            or self.quotas
            or self.bookings
            or self.gpu_hours
        )

    def write(self, connection: sa.Connection, *, next_number: int, now_ms: Ms) -> int:
        """Writes all of it; the next free number of a task afterwards.

        Tasks are new from ``next_number`` on, known below it. Raises ``StoreConflict``.
        """
        notes: list[Row] = [(HIVE_TIME, str(now_ms))]
        for kind in (self.quotas, self.bookings, self.gpu_hours):
            notes += kind.items()
        if self.nodes:
            rows = [node_row(node) for node in self.nodes.values()]
            _expect(PUT_NODES.run(connection, rows), rows, "a node of a newer session")
        singles = [task for task in self.tasks.values() if task.array_id is None]
        members = [task for task in self.tasks.values() if task.array_id is not None]
        new = [task for task in singles if task.number >= next_number]
        known = [task for task in singles if task.number < next_number]
        if new:
            INSERT_TASKS.run(connection, [task_row(task) for task in new])
            next_number = max(map(last_number, new)) + 1
            notes.append((NEXT_NUMBER, str(next_number)))
        if known:
            rows = [(*task_changes(task), task.id, task.epoch) for task in known]
            _expect(UPDATE_TASKS.run(connection, rows), rows, "a task that has ended")
        if members:
            rows = [task_row(task) for task in members]
            _expect(PUT_MEMBERS.run(connection, rows), rows, "a member that has ended")
        if self.attempts:
            self._write_attempts(connection)
        if self.learned:
            PUT_LEARNED.run(connection, [learned_row(each) for each in self.learned.values()])
        if self.usages:
            PUT_USAGES.run(connection, [usage_row(each) for each in self.usages.values()])
        PUT_META.run(connection, notes)
        return next_number

    def _write_attempts(self, connection: sa.Connection) -> None:
        by_state: dict[AttemptState, list[Row]] = {}
        for attempt in self.attempts.values():
            row = attempt_row(attempt)
            if attempt.late_report is not None:
                _write_late(connection, attempt.state, row)
            else:
                by_state.setdefault(attempt.state, []).append(row)
        for state, rows in by_state.items():
            touched = PUT_ATTEMPTS[state].run(connection, rows)
            _expect(touched, rows, f"an attempt that cannot become {state.value}")


def _write_late(connection: sa.Connection, state: AttemptState, row: Row) -> None:
    """An attempt with a late report: written whole if it ended in this step, else only that."""
    if PUT_ATTEMPTS[state].run(connection, [row]):
        return
    values = dict(zip(ATTEMPT_COLUMNS, row, strict=True))
    late = [(values["facts"], values["late_report"], values["id"], values["epoch"])]
    _expect(KEEP_LATE.run(connection, late), late, "an attempt that has a late report")


def _expect(touched: int, rows: Sequence[Row], what: str) -> None:
    if touched != len(rows):
        ids = ", ".join(str(row[0]) for row in rows[:5])
        raise StoreConflict(
            f"the store holds {what}: {touched} of {len(rows)} writes fit ({ids} …)",
            hint="another program may be writing to this database",
        )
