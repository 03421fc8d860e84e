"""Finds what people name: a task by id, beginning of an id or name; an attempt; a node.

What lives and what ended lately is in the brain's memory; the rest is read from the store.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from fluxhive.core.array import member_id, split_member
from fluxhive.core.arrays import member_of
from fluxhive.core.errors import Conflict, NotFound
from fluxhive.core.ids import ALPHABET
from fluxhive.core.node import Node
from fluxhive.core.task import Attempt, Task, TaskState
from fluxhive.core.values import TaskId

from .hive import Hive
from .store import queries

#: Candidates that are looked at for an ambiguous beginning.
_CANDIDATES_MAX = 20
_SHOWN_MAX = 3
LAST = "@last"
"""Means the asker's newest task; one that is called so is found by its id."""


class Found(NamedTuple):
    """A task and its attempts, oldest first."""

    task: Task
    attempts: list[Attempt]


async def find_task(hive: Hive, text: str, asker: str) -> Found:
    """The task that is meant: its id, the newest of that name, or whose id begins so.

    ``@last`` is the asker's newest. Raises ``NotFound``; ``Conflict`` when several ids begin so.
    """
    known = in_memory(hive, TaskId(text))
    if known is not None:
        return known
    member = split_member(text)
    if member is not None:
        return await _find_member(hive, *member, asker)
    if text == LAST:
        return await _find_last(hive, asker)
    exact = await hive.store.call(partial(_by_id, task_id=TaskId(text)), durable=False)
    if exact is not None:
        return exact
    found = await hive.store.call(
        partial(queries.find_tasks, text=text, most=_CANDIDATES_MAX), durable=False
    )
    if not found and text and not set(text) - set(ALPHABET):
        # Without the `t-` that every id has.
        found = await hive.store.call(
            partial(queries.find_tasks, text=f"t-{text}", most=_CANDIDATES_MAX), durable=False
        )
    named = [task for task in found if task.spec.name == text]
    if not found:
        raise NotFound(f"no task is called `{text[:200]}`", hint="list them: fluxhive ps")
    if not named and len(found) > 1:
        shown = ", ".join(task.id for task in found[:_SHOWN_MAX])
        more = ", …" if len(found) > _SHOWN_MAX else ""
        raise Conflict(f"several tasks begin with `{text}`: {shown}{more}", hint="write more of it")
    return (await find_tasks(hive, [(named or found)[0].id]))[0]


async def _find_last(hive: Hive, owner: str) -> Found:
    """The user's newest task."""
    task_id = await hive.store.call(partial(queries.last_task_of, owner=owner), durable=False)
    if task_id is None:
        raise NotFound(
            "you have not submitted a task yet", hint="submit one: fluxhive submit -- hostname"
        )
    return (await find_tasks(hive, [task_id]))[0]


async def _find_member(hive: Hive, text: str, index: int, asker: str) -> Found:
    """A member of the array that the text names, be it a task of its own or not."""
    array = (await find_task(hive, text, asker)).task
    spec = array.spec.array
    if spec is None:
        raise NotFound(f"{array.id} is a single task", hint=f"see it: fluxhive show {array.id}")
    if not spec.first <= index < spec.end:
        raise NotFound(
            f"{array.id} has no member {index}",
            hint=f"its members go from {spec.first} to {spec.end - 1}",
        )
    (found,) = await find_tasks(hive, [member_id(array.id, index)])
    return found


async def find_tasks(hive: Hive, task_ids: list[TaskId]) -> list[Found]:
    """These tasks in this order; those that do not exist are left out."""
    found = {task_id: in_memory(hive, task_id) for task_id in task_ids}
    missing = [task_id for task_id, known in found.items() if known is None]
    if missing:
        found |= await hive.store.call(partial(_by_ids, task_ids=missing), durable=False)
        for task_id in missing:
            if found[task_id] is None:
                found[task_id] = await _never_made(hive, task_id)
    return [known for task_id in task_ids if (known := found[task_id]) is not None]


async def _never_made(hive: Hive, task_id: TaskId) -> Found | None:
    """A member that was cancelled with its array before it left the queue; None: it is none."""
    parts = split_member(task_id)
    if parts is None:
        return None
    found = await find_tasks(hive, [TaskId(parts[0])])
    array = found[0].task if found else None
    if array is None or array.spec.array is None:
        return None
    if not array.spec.array.first <= parts[1] < array.spec.array.end:
        return None
    member = member_of(array, parts[1])
    state, ended_at_ms = TaskState.CANCELLED, array.ended_at_ms
    return Found(replace(member, state=state, ended_at_ms=ended_at_ms), [])


def in_memory(hive: Hive, task_id: TaskId) -> Found | None:
    """A task that the brain has; None: it ended long ago, or never was."""
    task = hive.brain.manager.task(task_id)
    return None if task is None else Found(task, hive.brain.manager.attempts_of(task_id))


def check_single(found: Found) -> Found:
    """The same. Raises ``Conflict`` for an array: its members have the attempts and the output."""
    array = found.task.spec.array
    if array is not None:
        raise Conflict(
            f"{found.task.id} is an array: each of its members has its own output",
            hint=f"name one of them, such as `{found.task.id}[{array.first}]`",
        )
    return found


def attempt_of(found: Found, text: str) -> Attempt:
    """An attempt of the task by number or id. Raises ``NotFound``."""
    for attempt in found.attempts:
        if text in (str(attempt.number), attempt.id):
            return attempt
    n_attempts = len(found.attempts)
    made = "none yet" if not n_attempts else f"{n_attempts}, the last is {n_attempts}"
    raise NotFound(f"{found.task.id} has no attempt `{text[:100]}`", hint=f"attempts made: {made}")


def find_node(hive: Hive, text: str) -> Node:
    """A node by id or label. Raises ``NotFound``; ``Conflict`` for a label that several have."""
    nodes = hive.brain.manager.nodes()
    for node in nodes:
        if node.id == text:
            return node
    labelled = [node for node in nodes if node.label == text]
    if not labelled:
        raise NotFound(f"no node is called `{text[:200]}`", hint="list them: fluxhive nodes")
    if len(labelled) > 1:
        ids = ", ".join(node.id for node in labelled)
        raise Conflict(f"several nodes are called `{text}`", hint=f"name it by its id: {ids}")
    return labelled[0]


def _by_id(connection: sa.Connection, task_id: TaskId) -> Found | None:
    return _by_ids(connection, [task_id])[task_id]


def _by_ids(connection: sa.Connection, task_ids: list[TaskId]) -> dict[TaskId, Found | None]:
    found: dict[TaskId, Found | None] = dict.fromkeys(task_ids)
    for task_id in task_ids:
        task = queries.read_task(connection, task_id)
        if task is not None:
            found[task_id] = Found(task, [])
    for attempt in queries.attempts_of(connection, task_ids):
        known = found[attempt.task_id]
        if known is not None:
            known.attempts.append(attempt)
    return found
