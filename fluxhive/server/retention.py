"""What is kept for how long: output, ended tasks, and the keys of their submissions.

A pass looks at a bounded number of tasks, the longest ended first, and goes on where the last one
stopped. Output whose time has come is deleted and becomes a gap with its reason; later the task
goes with its attempts and keys. What has not ended is never touched, and a member of an array goes
with its array.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import sqlalchemy as sa

from fluxhive.core.events import TasksExpired
from fluxhive.core.task import FINAL_STATES
from fluxhive.core.values import AttemptId, Ms, TaskId, Value

from .brain import Brain
from .clock import HiveClock
from .logs import LogStore
from .store.failures import StoreUnavailable
from .store.rows import to_json
from .store.store import Store
from .store.tables import attempts, idempotency_keys, log_streams, meta, tasks

log = logging.getLogger(__name__)

#: Tasks of one pass: bounds how long the store and the disk are busy with it.
TASKS_PER_PASS = 200
FIRST_PASS_S, PASS_INTERVAL_S = 60.0, 600.0
#: After a pass that had more to do than it may.
NEXT_PASS_S = 5.0
#: A key is kept this long at least, however short tasks are: a client may repeat itself that late.
KEYS_DAYS_MIN = 7.0
DAY_MS = 86_400_000
CURSOR = "logs_dropped_up_to"

_FINAL = [state.value for state in FINAL_STATES]


class Retention(Value, frozen=True, kw_only=True):
    """How long things are kept after a task's end."""

    tasks_days: float = 90.0
    logs_days: float = 30.0
    logs_bytes: int = 50 * 1024**3


class Ended(Value, frozen=True, kw_only=True):
    """A task whose output may go."""

    task_id: TaskId
    ended_at_ms: Ms
    number: int
    log_bytes: int


class Keeper:
    """See the module's docstring. ``run`` for as long as the server lives."""

    def __init__(
        self,
        root: Path,
        store: Store,
        brain: Brain,
        logs: LogStore,
        clock: HiveClock,
        retention: Retention,
    ) -> None:
        self._root = root
        self._store = store
        self._brain = brain
        self._logs = logs
        self._clock = clock
        self._retention = retention

    async def run(self) -> None:
        """Looks now and then, until cancelled."""
        pause_s = FIRST_PASS_S
        while True:
            await anyio.sleep(pause_s)
            pause_s = PASS_INTERVAL_S
            try:
                if await self.look():
                    pause_s = NEXT_PASS_S
            except StoreUnavailable as error:
                log.warning("nothing is tidied up", extra={"problem": error.problem})

    async def look(self) -> bool:
        """One pass; whether there is more to do at once."""
        now_ms = self._clock.now_ms()
        old = await self._store.call(
            partial(_old_logs, now_ms=now_ms, retention=self._retention), durable=False
        )
        if old:
            await self._drop_logs(old)
        expired = await self._store.call(
            partial(_expired, before_ms=now_ms - _ms(self._retention.tasks_days)), durable=False
        )
        keys_days = max(self._retention.tasks_days, KEYS_DAYS_MIN)
        await self._drop_tasks(expired, now_ms - _ms(keys_days))
        return len(old) == TASKS_PER_PASS or len(expired) >= TASKS_PER_PASS

    async def _drop_logs(self, old: Sequence[Ended]) -> None:
        paths = [self._root / each.task_id for each in old]
        # Files first: a crash in between lets the next pass find the same tasks again.
        await anyio.to_thread.run_sync(_remove_all, paths, abandon_on_cancel=False)
        reason = f"output is kept for {self._retention.logs_days:g} days or as long as it fits"
        dropped = await self._store.call(partial(_mark_dropped, old=old, reason=reason))
        self._logs.let_go(dropped)
        n_bytes = sum(each.log_bytes for each in old)
        log.info("old output deleted", extra={"tasks": len(old), "bytes": n_bytes})

    async def _drop_tasks(self, expired: Sequence[TaskId], keys_before_ms: Ms) -> None:
        paths = [self._root / task_id for task_id in expired]
        await anyio.to_thread.run_sync(_remove_all, paths, abandon_on_cancel=False)
        await self._brain.handle(
            TasksExpired(task_ids=tuple(expired)),
            extra=partial(_delete, task_ids=expired, keys_before_ms=keys_before_ms),
        )
        if expired:
            log.info("old tasks deleted", extra={"tasks": len(expired)})


def _ms(days: float) -> int:
    return round(days * DAY_MS)


def _old_logs(connection: sa.Connection, now_ms: Ms, retention: Retention) -> list[Ended]:
    """Tasks whose output has to go, the longest ended first: for its age, or to make room."""
    value = connection.scalar(sa.select(meta.c.value).where(meta.c.key == CURSOR)) or "-1:-1"
    ended_at_ms, _, number = value.partition(":")
    behind = sa.tuple_(tasks.c.ended_at_ms, tasks.c.number) > (int(ended_at_ms), int(number))
    joined = tasks.outerjoin(attempts, attempts.c.task_id == tasks.c.id).outerjoin(
        log_streams, log_streams.c.attempt_id == attempts.c.id
    )
    n_bytes = sa.func.coalesce(sa.func.sum(log_streams.c.durable), 0)
    kept = sa.and_(tasks.c.state.in_(_FINAL), behind)
    total = connection.scalar(sa.select(n_bytes).select_from(joined).where(kept)) or 0
    query = (
        sa.select(tasks.c.id, tasks.c.ended_at_ms, tasks.c.number, n_bytes.label("n_bytes"))
        .select_from(joined)
        .where(kept)
        .group_by(tasks.c.id)
        .order_by(tasks.c.ended_at_ms, tasks.c.number)
        .limit(TASKS_PER_PASS)
    )
    old: list[Ended] = []
    before_ms = now_ms - _ms(retention.logs_days)
    for row in connection.execute(query):
        if row.ended_at_ms > before_ms and total <= retention.logs_bytes:
            break
        total -= row.n_bytes
        old.append(
            Ended(
                task_id=row.id,
                ended_at_ms=row.ended_at_ms,
                number=row.number,
                log_bytes=row.n_bytes,
            )
        )
    return old


def _mark_dropped(connection: sa.Connection, old: Sequence[Ended], reason: str) -> list[AttemptId]:
    """All of their output becomes a gap; the attempts that had some."""
    of = attempts.c.task_id.in_([each.task_id for each in old])
    query = (
        sa.select(log_streams)
        .join(attempts, attempts.c.id == log_streams.c.attempt_id)
        .where(of, log_streams.c.durable > 0)
    )
    rows = connection.execute(query).all()
    for row in rows:
        gaps = to_json([(0, row.durable, reason)])
        connection.execute(
            sa.update(log_streams)
            .where(log_streams.c.attempt_id == row.attempt_id, log_streams.c.stream == row.stream)
            .values(gaps=gaps)
        )
    connection.execute(sa.delete(meta).where(meta.c.key == CURSOR))
    cursor = f"{old[-1].ended_at_ms}:{old[-1].number}"
    connection.execute(sa.insert(meta).values(key=CURSOR, value=cursor))
    return [AttemptId(row.attempt_id) for row in rows]


def _expired(connection: sa.Connection, before_ms: Ms) -> list[TaskId]:
    """Tasks whose time is over, each array with its members."""
    query = (
        sa.select(tasks.c.id)
        .where(tasks.c.state.in_(_FINAL), tasks.c.ended_at_ms <= before_ms)
        .where(tasks.c.array_id.is_(None))
        .order_by(tasks.c.ended_at_ms)
        .limit(TASKS_PER_PASS)
    )
    found = list(connection.scalars(query))
    members = sa.select(tasks.c.id).where(tasks.c.array_id.in_(found))
    return [TaskId(each) for each in (*found, *connection.scalars(members))]


def _delete(connection: sa.Connection, task_ids: Sequence[TaskId], keys_before_ms: Ms) -> None:
    connection.execute(
        sa.delete(idempotency_keys).where(idempotency_keys.c.created_at_ms <= keys_before_ms)
    )
    for start in range(0, len(task_ids), 500):
        some = task_ids[start : start + 500]
        of = sa.select(attempts.c.id).where(attempts.c.task_id.in_(some))
        connection.execute(sa.delete(log_streams).where(log_streams.c.attempt_id.in_(of)))
        connection.execute(sa.delete(attempts).where(attempts.c.task_id.in_(some)))
        connection.execute(sa.delete(tasks).where(tasks.c.id.in_(some)))


def _remove_all(paths: Sequence[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
