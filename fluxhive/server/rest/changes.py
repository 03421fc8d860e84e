"""``/api/v1/tasks/{task}``: what people change about tasks that wait: hold, release, edit."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends
from msgspec import UNSET
from msgspec.structs import asdict, replace
from starlette.responses import Response

from fluxhive.core.errors import Conflict, InputError
from fluxhive.core.events import TaskEdited, TaskReprioritised
from fluxhive.core.spec_check import check_spec
from fluxhive.core.task import Task, TaskSpec
from fluxhive.core.values import TaskId, Value
from fluxhive.protocol.rest import TaskView
from fluxhive.protocol.task_change import TaskChange
from fluxhive.server import orders
from fluxhive.server.auth import Caller, check_owner
from fluxhive.server.bridge import answer, body_of, new_router, route
from fluxhive.server.lookup import find_task, find_tasks
from fluxhive.server.services import Services
from fluxhive.server.views import Views

from .tasks import OfCaller, OfServices, TaskName

router = new_router()

V = TypeVar("V", bound=Value)


@route(router, "POST", "/tasks/{task}/hold", gives=TaskView)
async def hold_task(task: TaskName, caller: OfCaller, services: OfServices) -> Response:
    """Hold a task that has not started, as its owner or an administrator.

    It starts only after it was released. One that is held already stays as it is.
    """
    return await _shown(services, caller, await orders.hold(services, caller, task))


@route(router, "POST", "/tasks/{task}/release", gives=TaskView)
async def release_task(task: TaskName, caller: OfCaller, services: OfServices) -> Response:
    """Take a person's hold away, as the task's owner or an administrator.

    Its start time and the tasks it comes after are waited for all the same. A task that nobody
    holds stays as it is.
    """
    return await _shown(services, caller, await orders.release(services, caller, task))


@route(router, "PATCH", "/tasks/{task}", takes=TaskChange, gives=TaskView)
async def edit_task(
    task: TaskName,
    change: Annotated[TaskChange, Depends(body_of(TaskChange))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Change what a waiting task asks for, as its owner or an administrator; what is absent stays.

    The priority can be changed until the task has ended. What was asked for at first stays
    readable as `original`, every change in `edits`.
    """
    found = (await find_task(services.hive, task, caller.username)).task
    check_owner(caller, found)
    orders.check_not_ended(found)
    spec = _changed(found.spec, change)
    if spec != found.spec:
        orders.check_waits(found, "only its priority can be edited now", "stop it: fluxhive cancel")
        check_spec(spec)
        _check_retry(found, spec)
        wanted = TaskEdited(task_id=found.id, spec=spec, by=caller.username)
        await services.hive.brain.handle(wanted)
        ((now, _),) = await find_tasks(services.hive, [found.id])
        if now.spec != spec:
            raise Conflict(
                f"{found.id} was not edited: it is {now.state.value} since a moment ago",
                hint="cancel it and submit another",
            )
    if change.priority is not UNSET:
        await services.hive.brain.handle(
            TaskReprioritised(task_id=found.id, priority=change.priority, by=caller.username)
        )
    return await _shown(services, caller, found.id)


def _changed(spec: TaskSpec, change: TaskChange) -> TaskSpec:
    parts = _given(change)
    parts.pop("priority", None)
    asked = parts.pop("request", None)
    if asked is not None:
        parts["request"] = replace(spec.request, **_given(asked))
    return replace(spec, **parts)


def _given(body: Value) -> dict[str, Any]:
    return {name: value for name, value in asdict(body).items() if value is not UNSET}


def _check_retry(task: Task, spec: TaskSpec) -> None:
    if spec.retry < task.retries_used:
        raise InputError(
            f"retry: {task.retries_used} retries were made already: {spec.retry}",
            field="retry",
            value=spec.retry,
            hint=f"give {task.retries_used} or more, or cancel the task",
        )


async def _shown(services: Services, caller: Caller, task_id: TaskId) -> Response:
    (found,) = await find_tasks(services.hive, [task_id])
    return answer(Views(services.hive).task(found, caller, is_single=True))
