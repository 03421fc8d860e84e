"""What a submission leaves in the store besides its tasks: its idempotency key.

The same key with the same body gives the same tasks, whether the first request was answered or
not; with another body it is refused. Keys belong to their owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeAlias

import sqlalchemy as sa
from msgspec.structs import replace

from fluxhive.core.errors import Conflict
from fluxhive.core.events import TaskSubmitted
from fluxhive.core.ids import task_id
from fluxhive.core.task import Task, TaskSpec
from fluxhive.core.values import Ms, TaskId, Value

from .store.queries import read_task
from .store.rows import from_json, to_json
from .store.statement import Statement
from .store.store import Store
from .store.tables import idempotency_keys

KEY_LENGTH_MAX = 200

_COLUMNS = ("owner", "key", "body_hash", "task_ids", "created_at_ms")
_PUT = Statement(
    sa.insert(idempotency_keys).values({name: sa.bindparam(name) for name in _COLUMNS}), _COLUMNS
)
_FIND = Statement(
    sa.select(idempotency_keys.c.body_hash, idempotency_keys.c.task_ids)
    .where(idempotency_keys.c.owner == sa.bindparam("its_owner"))
    .where(idempotency_keys.c.key == sa.bindparam("its_key")),
    ("its_owner", "its_key"),
)

Promise: TypeAlias = "asyncio.Future[list[Task]]"


class Submission(Value, frozen=True, kw_only=True):
    """What a key stands for."""

    owner: str
    key: str
    body_hash: str
    task_ids: tuple[TaskId, ...] = ()


class NewTasks(Value, frozen=True, kw_only=True):
    """What somebody hands in at once."""

    specs: Sequence[TaskSpec]
    owner: str
    held_by: str | None = None
    #: Tasks they come after that have ended as wanted already.
    settled: Collection[TaskId] = ()

    def events(self, first_number: int) -> list[TaskSubmitted]:
        """One event for each task, numbered on from here."""
        events: list[TaskSubmitted] = []
        number = first_number
        for spec in self.specs:
            events.append(
                TaskSubmitted(
                    task_id=task_id(number),
                    number=number,
                    owner=self.owner,
                    spec=spec,
                    held_by=self.held_by,
                    settled=tuple(
                        each.task_id for each in spec.after if each.task_id in self.settled
                    ),
                )
            )
            number += 1 + _n_members(spec)
        return events

    def next_number(self, first_number: int) -> int:
        """The first number that these tasks and their members leave free."""
        return first_number + len(self.specs) + sum(map(_n_members, self.specs))


def _n_members(spec: TaskSpec) -> int:
    return 0 if spec.array is None else spec.array.count


class Submissions:
    """Keeps two requests with one key from both being new, however close together they come."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: dict[tuple[str, str], tuple[Submission, Promise]] = {}

    async def once(self, wanted: Submission, submit: Callable[[], Promise]) -> list[Task]:
        """What the key got before, or what ``submit`` gets now, stored.

        Raises ``Conflict`` when the key came with another body before.
        """
        key = wanted.owner, wanted.key
        known = self._under_way.get(key)
        if known is not None:
            _check_same(known[0], wanted)
            return await asyncio.shield(known[1])
        promise: Promise = asyncio.get_running_loop().create_future()
        lookup = self._store.start(partial(_read, wanted=wanted), durable=False)
        self._under_way[key] = wanted, promise
        promise.add_done_callback(partial(self._forget, key))
        lookup.add_done_callback(partial(_looked_up, wanted, submit, promise))
        # Whoever gives up waiting changes nothing: the request goes its way to the end.
        return await asyncio.shield(promise)

    async def earlier(self, wanted: Submission) -> list[Task] | None:
        """What the key got before; None: nothing. Raises ``Conflict`` like ``once``."""
        found = await self._store.call(partial(_read, wanted=wanted), durable=False)
        if found is None:
            return None
        _check_same(found[0], wanted)
        return found[1]

    def _forget(self, key: tuple[str, str], promise: Promise) -> None:
        del self._under_way[key]
        if not promise.cancelled():
            promise.exception()  # Looked at, should nobody wait for it any more.


def store_submission(connection: sa.Connection, submission: Submission, now_ms: Ms) -> None:
    """Stores the key, in the transaction that stores its tasks."""
    ids = to_json(submission.task_ids)
    row = (submission.owner, submission.key, submission.body_hash, ids, now_ms)
    _PUT.run(connection, [row])


def _read(connection: sa.Connection, wanted: Submission) -> tuple[Submission, list[Task]] | None:
    row = _FIND.first(connection, (wanted.owner, wanted.key))
    if row is None:
        return None
    body_hash, ids = row[0], [TaskId(each) for each in from_json(row[1])]
    tasks = [read_task(connection, task_id) for task_id in ids]
    found = replace(wanted, body_hash=body_hash, task_ids=tuple(ids))
    return found, [task for task in tasks if task is not None]


def _check_same(earlier: Submission, wanted: Submission) -> None:
    if earlier.body_hash != wanted.body_hash:
        raise Conflict(
            f"the idempotency key `{wanted.key}` was used for another request",
            hint="use a new key for each new request; the same one only to repeat a request",
        )


def _looked_up(
    wanted: Submission,
    submit: Callable[[], Promise],
    promise: Promise,
    lookup: asyncio.Future[tuple[Submission, list[Task]] | None],
) -> None:
    """The store has said what the key got before."""
    try:
        earlier = lookup.result()
        if earlier is not None:
            _check_same(earlier[0], wanted)
            promise.set_result(earlier[1])
        else:
            submit().add_done_callback(partial(_pass_on, promise))
    except Exception as error:  # whatever it is, it is the answer to whoever waits
        promise.set_exception(error)


def _pass_on(promise: Promise, done: Promise) -> None:
    error = done.exception()
    if error is not None:
        promise.set_exception(error)
    else:
        promise.set_result(done.result())
