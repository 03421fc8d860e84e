"""Reads of the hive's tables. Each takes a connection and runs in the store's thread."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa

from fluxhive.core.array import ArrayCount
from fluxhive.core.booking import Booking
from fluxhive.core.fairshare import Usage
from fluxhive.core.gpu_hours import GpuHours
from fluxhive.core.learning import Learned
from fluxhive.core.node import Node
from fluxhive.core.quota import Quota
from fluxhive.core.task import FINAL_STATES, Attempt, Task, TaskState
from fluxhive.core.task_manager import HiveSnapshot
from fluxhive.core.values import AttemptId, Ms, TaskId, Value

from .rows import (
    ATTEMPT_COLUMNS,
    LEARNED_COLUMNS,
    NODE_COLUMNS,
    TASK_COLUMNS,
    USAGE_COLUMNS,
    attempt_of_row,
    from_json,
    learned_of_row,
    node_of_row,
    task_of_row,
    usage_of_row,
)
from .tables import attempts, learned, meta, nodes, tasks, usages
from .writes import BOOKING, GPU_HOURS, HIVE_TIME, NEXT_NUMBER, QUOTA

SERVER_ID = "server_id"
LAST_CHANNEL = "last_channel"
#: Ended tasks that are kept in memory from the start on; older ones are read when asked for.
ENDED_TASKS_LOADED = 20_000
#: Most parameters of one statement; SQLite before 3.32 had 999.
_IDS_PER_QUERY = 500

_TASKS = [tasks.c[name] for name in TASK_COLUMNS]
_ATTEMPTS = [attempts.c[name] for name in ATTEMPT_COLUMNS]
_NODES = [nodes.c[name] for name in NODE_COLUMNS]
_LEARNED = sa.select(*(learned.c[name] for name in LEARNED_COLUMNS)).order_by(learned.c.key)
_USAGES = sa.select(*(usages.c[name] for name in USAGE_COLUMNS)).order_by(usages.c.key)
_FINAL = sorted(state.value for state in FINAL_STATES)


class Loaded(Value, frozen=True, kw_only=True):
    """What a server starts from."""

    tasks: tuple[Task, ...]
    attempts: tuple[Attempt, ...]
    nodes: tuple[Node, ...]
    #: Of every array that has not ended.
    arrays: tuple[ArrayCount, ...] = ()
    learned: tuple[Learned, ...]
    usages: tuple[Usage, ...]
    quotas: tuple[Quota, ...] = ()
    gpu_hours: tuple[GpuHours, ...] = ()
    #: Those that are over, too: their numbers are used.
    bookings: tuple[Booking, ...] = ()
    #: Number of the next new task.
    next_number: int
    #: Log channels up to this one were given before a backup was restored.
    last_channel: int = 0
    #: Hive time of the last stored change; 0 before the first.
    hive_time_ms: Ms

    def snapshot(self) -> HiveSnapshot:
        """All that the core keeps."""
        return HiveSnapshot(
            tasks=self.tasks,
            attempts=self.attempts,
            nodes=self.nodes,
            arrays=self.arrays,
            learned=self.learned,
            usages=self.usages,
            quotas=self.quotas,
            bookings=self.bookings,
            gpu_hours=self.gpu_hours,
            last_channel=self.last_channel,
        )


def load(connection: sa.Connection) -> Loaded:
    """Every task that has not ended, the newest of those that have, their attempts, all nodes."""
    final = tasks.c.state.in_(_FINAL)
    live = connection.execute(sa.select(*_TASKS).where(sa.not_(final))).mappings().all()
    newest = tasks.c.ended_at_ms.desc(), tasks.c.number.desc()
    ended_query = sa.select(*_TASKS).where(final).order_by(*newest).limit(ENDED_TASKS_LOADED)
    ended = connection.execute(ended_query).mappings().all()
    found = {row["id"]: task_of_row(row) for row in [*live, *ended]}
    last = connection.execute(_last_placed()).mappings().first()
    if last is not None:
        # Channels go on from the highest one given, whoever has it.
        found.setdefault(last["id"], task_of_row(last))
    node_rows = connection.execute(sa.select(*_NODES)).mappings()
    notes = read_meta(connection)
    return Loaded(
        tasks=tuple(sorted(found.values(), key=lambda task: task.number)),
        attempts=tuple(attempts_of(connection, found)),
        nodes=tuple(node_of_row(row) for row in node_rows),
        arrays=tuple(
            count_members(connection, task)
            for task in found.values()
            if task.spec.array is not None and not task.state.is_final
        ),
        learned=tuple(learned_of_row(row) for row in connection.execute(_LEARNED).mappings()),
        usages=tuple(usage_of_row(row) for row in connection.execute(_USAGES).mappings()),
        quotas=tuple(
            msgspec.convert(from_json(text), Quota)
            for key, text in sorted(notes.items())
            if key.startswith(QUOTA) and text
        ),
        gpu_hours=tuple(
            msgspec.convert(from_json(text), GpuHours)
            for key, text in sorted(notes.items())
            if key.startswith(GPU_HOURS)
        ),
        bookings=tuple(
            msgspec.convert(from_json(text), Booking)
            for key, text in sorted(notes.items())
            if key.startswith(BOOKING)
        ),
        next_number=int(notes.get(NEXT_NUMBER, "0")),
        last_channel=int(notes.get(LAST_CHANNEL, "0")),
        hive_time_ms=int(notes.get(HIVE_TIME, "0")),
    )


def count_members(connection: sa.Connection, array: Task) -> ArrayCount:
    """How far an array has come, from the rows of its members."""
    assert array.spec.array is not None, f"{array.id} is no array"
    query = (
        sa.select(tasks.c.member_index, tasks.c.state)
        .where(tasks.c.array_id == array.id)
        .order_by(tasks.c.member_index)
    )
    next_index = array.spec.array.first
    ahead: list[int] = []
    n_in = dict.fromkeys(_FINAL, 0)
    for index, state in connection.execute(query):
        if index == next_index:
            next_index += 1
        else:
            ahead.append(index)
        if state in n_in:
            n_in[state] += 1
    if array.cancelled_by is not None:
        # Those that were no tasks yet will never be.
        n_in[TaskState.CANCELLED.value] += array.spec.array.end - next_index - len(ahead)
        next_index, ahead = array.spec.array.end, []
    return ArrayCount(
        array_id=array.id,
        next_index=next_index,
        ahead=tuple(ahead),
        succeeded=n_in[TaskState.SUCCEEDED.value],
        failed=n_in[TaskState.FAILED.value],
        cancelled=n_in[TaskState.CANCELLED.value],
    )


def read_meta(connection: sa.Connection) -> dict[str, str]:
    """All notes of the ``meta`` table."""
    return {row.key: row.value for row in connection.execute(sa.select(meta))}


def server_id(connection: sa.Connection) -> str:
    """The id of this server state, made at the first call."""
    known = read_meta(connection).get(SERVER_ID)
    if known is None:
        known = uuid.uuid4().hex
        connection.execute(sa.insert(meta).values(key=SERVER_ID, value=known))
    return known


def read_task(connection: sa.Connection, task_id: TaskId) -> Task | None:
    """A task by its id; None when there is none."""
    query = sa.select(*_TASKS).where(tasks.c.id == task_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else task_of_row(row)


def find_tasks(connection: sa.Connection, text: str, *, most: int = 3) -> list[Task]:
    """Tasks whose id begins with the text or whose name is it, newest first."""
    prefix = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    query = (
        sa.select(*_TASKS)
        .where(tasks.c.array_id.is_(None))
        .where(sa.or_(tasks.c.id.like(prefix, escape="\\"), tasks.c.name == text))
        .order_by(tasks.c.number.desc())
        .limit(most)
    )
    return [task_of_row(row) for row in connection.execute(query).mappings()]


def last_task_of(connection: sa.Connection, owner: str) -> TaskId | None:
    """The task that a user submitted last; None when there is none."""
    query = (
        sa.select(tasks.c.id)
        .where(tasks.c.owner == owner, tasks.c.array_id.is_(None))
        .order_by(tasks.c.number.desc())
        .limit(1)
    )
    found = connection.execute(query).scalar()
    return None if found is None else TaskId(found)


def attempts_of(connection: sa.Connection, task_ids: Collection[TaskId]) -> list[Attempt]:
    """All attempts of these tasks, each task's oldest first."""
    wanted: Sequence[TaskId] = list(task_ids)
    found: list[Attempt] = []
    for start in range(0, len(wanted), _IDS_PER_QUERY):
        some = wanted[start : start + _IDS_PER_QUERY]
        query = (
            sa.select(*_ATTEMPTS)
            .where(attempts.c.task_id.in_(some))
            .order_by(attempts.c.task_id, attempts.c.number)
        )
        found += [attempt_of_row(row) for row in connection.execute(query).mappings()]
    return found


def read_attempt(connection: sa.Connection, attempt_id: AttemptId) -> Attempt | None:
    """An attempt by its id; None when there is none."""
    query = sa.select(*_ATTEMPTS).where(attempts.c.id == attempt_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else attempt_of_row(row)


def _last_placed() -> sa.Select[tuple[object, ...]]:
    newest = sa.select(attempts.c.task_id).order_by(attempts.c.channel.desc()).limit(1)
    return sa.select(*_TASKS).where(tasks.c.id == newest.scalar_subquery())
