"""``GET /api/v1/tasks``: which tasks, in which order."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Query
from msgspec.structs import replace
from starlette.responses import Response

from fluxhive.core.errors import InputError
from fluxhive.core.outcome import OutcomeKind
from fluxhive.core.task import TaskState
from fluxhive.core.values import TaskId
from fluxhive.protocol.rest import TaskPage, TaskView
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.lookup import find_node, find_task, find_tasks
from fluxhive.server.services import Services
from fluxhive.server.store.listing import TaskChoice, TaskOrder, count, page_of_ids
from fluxhive.server.views import Views

from .tasks import INTEGER_MAX, OfCaller, OfServices

router = new_router()

PAGE_MAX = 1_000
OFFSET_MAX = 10_000_000
TEXT_LENGTH_MAX = 200

Outcomes = Annotated[
    list[OutcomeKind] | None, Query(description="Only whose last attempt ended so.")
]
Brief = Annotated[
    bool, Query(description="Without environment and history, the last attempt alone.")
]


@route(router, "GET", "/tasks", gives=TaskPage)
async def list_tasks(
    caller: OfCaller,
    services: OfServices,
    state: Annotated[list[TaskState] | None, Query(description="Only these states.")] = None,
    owner: Annotated[str | None, Query(description="Only this user's.")] = None,
    name: Annotated[str | None, Query(description="Only of exactly this name.")] = None,
    project: Annotated[str | None, Query(description="Only of this project.")] = None,
    node: Annotated[
        str | None, Query(description="Only with an attempt on this node (id or label).")
    ] = None,
    outcome: Outcomes = None,
    text: Annotated[
        str, Query(max_length=TEXT_LENGTH_MAX, description="In name or command, or begins the id.")
    ] = "",
    array: Annotated[
        str | None, Query(description="Members of this array that have left the queue.")
    ] = None,
    since_ms: Annotated[
        int | None,
        Query(ge=0, le=INTEGER_MAX, description="Not ended, or ended at or after this time."),
    ] = None,
    order: Annotated[TaskOrder, Query(description="What comes first.")] = TaskOrder.NEWEST,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    offset: Annotated[
        int | None,
        Query(ge=0, le=OFFSET_MAX, description="Pass over so many; then `total` is told."),
    ] = None,
    brief: Brief = False,
) -> Response:
    """List tasks, newest first. Everybody sees the tasks of all; env values only their own.

    Page on by `cursor`, or by `offset`. The order `queue` lists who is next in line, with
    `position`, and takes no filters.
    """
    chosen = TaskChoice(
        states=tuple(state or ()),
        owner=owner,
        name=name,
        project=project,
        node_id=None if node is None else find_node(services.hive, node).id,
        outcomes=tuple(each.value for each in outcome or ()),
        text=text,
        array_id=None
        if array is None
        else (await find_task(services.hive, array, caller.username)).task.id,
        since_ms=since_ms,
        before_number=_number(cursor, order, offset),
        order=order,
        offset=offset or 0,
    )
    if order is TaskOrder.QUEUE:
        return answer(await _queue(services, caller, chosen, limit, brief=brief))
    store = services.hive.store
    ids = await store.read(partial(page_of_ids, chosen=chosen, limit=limit + 1))
    total = None if offset is None else await store.read(partial(count, chosen=chosen))
    items = await _items(services, caller, ids[:limit], brief=brief)
    by_cursor = order is TaskOrder.NEWEST and offset is None
    more = len(ids) > limit and items and by_cursor
    return answer(TaskPage(items=items, next=str(items[-1].number) if more else None, total=total))


async def _queue(
    services: Services, caller: Caller, chosen: TaskChoice, limit: int, *, brief: bool
) -> TaskPage:
    if chosen != TaskChoice(order=TaskOrder.QUEUE, offset=chosen.offset):
        raise InputError(
            "order: `queue` takes no filters",
            field="order",
            value="queue",
            hint="leave the filters out, or list by `state=queued`",
        )
    manager = services.hive.brain.manager
    ids = manager.next_in_line(chosen.offset + limit)[chosen.offset :]
    items = await _items(services, caller, ids, brief=brief)
    placed = (
        replace(item, position=chosen.offset + place) for place, item in enumerate(items, start=1)
    )
    return TaskPage(items=tuple(placed), total=manager.n_queued())


async def _items(
    services: Services, caller: Caller, ids: list[TaskId], *, brief: bool
) -> tuple[TaskView, ...]:
    found = await find_tasks(services.hive, ids)
    views = Views(services.hive)
    if brief:
        return tuple(views.brief(each, caller) for each in found)
    return views.tasks(found, caller)


def _number(cursor: str | None, order: TaskOrder, offset: int | None) -> int | None:
    """The task before which a page begins. Raises ``InputError``."""
    if cursor is None:
        return None
    if order is not TaskOrder.NEWEST or offset is not None:
        raise InputError(
            "cursor: pages of the order `newest` alone, and no `offset`",
            field="cursor",
            hint="page on by `offset`",
        )
    if not (cursor.isascii() and cursor.isdigit() and int(cursor[:20]) <= INTEGER_MAX):
        raise InputError(
            "cursor: not one of ours",
            field="cursor",
            value=cursor,
            hint="give the `next` of the page before as it is",
        )
    return int(cursor)
