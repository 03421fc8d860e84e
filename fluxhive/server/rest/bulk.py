"""``POST /api/v1/tasks/bulk``: one thing done with many tasks in one request."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import anyio
from fastapi import Depends
from starlette.responses import Response

from fluxhive.core.errors import FluxhiveError, InputError
from fluxhive.core.task import Priority
from fluxhive.core.values import TaskId
from fluxhive.protocol.bulk import BULK_MAX, BulkAction, BulkResult, BulkResults, TaskBulk
from fluxhive.protocol.rest import Problem
from fluxhive.server import orders
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import answer, body_of, new_router, route
from fluxhive.server.lookup import find_tasks
from fluxhive.server.problems import problem_of
from fluxhive.server.services import Services
from fluxhive.server.views import Views

from .tasks import OfCaller, OfServices

router = new_router()

#: So many are under way at once: their changes are stored in one commit.
_AT_ONCE = 50


class _Done(NamedTuple):
    """The task that is there after it, and what an undo needs to know."""

    task_id: TaskId
    priority_before: Priority | None = None


@route(router, "POST", "/tasks/bulk", takes=TaskBulk, gives=BulkResults)
async def change_tasks(
    bulk: Annotated[TaskBulk, Depends(body_of(TaskBulk))], caller: OfCaller, services: OfServices
) -> Response:
    """Cancel, hold, release, rerun or give another priority to up to 1,000 tasks.

    With each of them it is done whole or not at all; that one refuses keeps none of the others
    from it. Answers 200 with what became of each.
    """
    _check(bulk)
    done: dict[int, _Done | Problem] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def one(number: int, name: str) -> None:
        async with limiter:
            try:
                done[number] = await _do(services, caller, bulk, name)
            except FluxhiveError as error:
                done[number] = problem_of(error)

    async with anyio.create_task_group() as group:
        for number, name in enumerate(bulk.ids):
            group.start_soon(one, number, name)
    changed = [each.task_id for each in done.values() if not isinstance(each, Problem)]
    views = Views(services.hive)
    found = {each.task.id: each for each in await find_tasks(services.hive, changed)}
    results = []
    for number, name in enumerate(bulk.ids):
        outcome = done[number]
        if isinstance(outcome, Problem):
            results.append(BulkResult(id=name, ok=False, problem=outcome))
        else:
            results.append(
                BulkResult(
                    id=name,
                    ok=True,
                    task_id=outcome.task_id,
                    task=views.brief(found[outcome.task_id], caller),
                    priority_before=outcome.priority_before,
                )
            )
    return answer(BulkResults(results=tuple(results)))


async def _do(services: Services, caller: Caller, bulk: TaskBulk, name: str) -> _Done:
    match bulk.action:
        case BulkAction.CANCEL:
            return _Done(await orders.cancel(services, caller, name))
        case BulkAction.HOLD:
            return _Done(await orders.hold(services, caller, name))
        case BulkAction.RELEASE:
            return _Done(await orders.release(services, caller, name))
        case BulkAction.RERUN:
            return _Done(await orders.rerun(services, caller, name))
        case BulkAction.PRIORITY:
            assert bulk.priority is not None  # _check
            return _Done(*await orders.reprioritise(services, caller, name, bulk.priority))


def _check(bulk: TaskBulk) -> None:
    if not 1 <= len(bulk.ids) <= BULK_MAX:
        raise InputError(
            f"ids: must be 1 to {BULK_MAX} tasks: {len(bulk.ids)}", field="ids", hint="split it"
        )
    is_wanted = bulk.action is BulkAction.PRIORITY
    if is_wanted != (bulk.priority is not None):
        raise InputError(
            "priority: the action `priority` needs it, and no other takes it",
            field="priority",
            value=None if bulk.priority is None else bulk.priority.value,
            hint="say which: low, normal, high or urgent",
        )
