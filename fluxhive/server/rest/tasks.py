"""``/api/v1/tasks``: submit, list, show, cancel, wait."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import anyio
from fastapi import Depends, Header, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from fluxhive.core.errors import FluxhiveError, InputError
from fluxhive.core.spec_check import apply_defaults, check_spec
from fluxhive.core.task import Task, TaskSpec
from fluxhive.core.values import TaskId
from fluxhive.protocol.rest import BATCH_MAX, TaskBatch, TaskPage, TaskView
from fluxhive.server import orders
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import answer, body_of, new_router, route
from fluxhive.server.dependencies import resolve
from fluxhive.server.gate import caller_of
from fluxhive.server.lookup import Found, find_task, find_tasks, in_memory
from fluxhive.server.services import Services, given_services
from fluxhive.server.submissions import KEY_LENGTH_MAX, Submission
from fluxhive.server.views import Views

router = new_router()

WAIT_S_MAX = 60
#: Largest integer that every reader of JSON and SQLite keeps whole.
INTEGER_MAX = 2**53 - 1
#: Specs of a batch that are checked before others get their turn.
_CHECKED_AT_ONCE = 100

OfCaller = Annotated[Caller, Depends(caller_of)]
OfServices = Annotated[Services, Depends(given_services)]
TaskName = Annotated[
    str, Path(description="Id, unique beginning of an id, or name (the newest of that name).")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Made by the client: the same key and body again give the same tasks.",
    ),
]


@route(router, "POST", "/tasks", takes=TaskSpec, gives=TaskView, status=201)
async def submit_task(
    request: Request,
    spec: Annotated[TaskSpec, Depends(body_of(TaskSpec))],
    caller: OfCaller,
    services: OfServices,
    key: IdempotencyKey = None,
    hold: Annotated[bool, Query(description="It waits until it is released.")] = False,
) -> Response:
    """Submit a task. When this answers, it is stored.

    A task that no node could hold is accepted with a warning and waits for one that can. One that
    comes after a task whose end can never be as wanted is refused.
    """
    check_spec(spec)
    (task,) = await _submit(request, [spec], caller, services, key, hold=hold)
    (found,) = await _found(services, [task])
    shown = Views(services.hive).task(found, caller, is_single=True, warns=True)
    return answer(shown, status=201, headers={"Location": f"/api/v1/tasks/{task.id}"})


@route(router, "POST", "/tasks/batch", takes=TaskBatch, gives=TaskPage, status=201)
async def submit_tasks(
    request: Request,
    batch: Annotated[TaskBatch, Depends(body_of(TaskBatch))],
    caller: OfCaller,
    services: OfServices,
    key: IdempotencyKey = None,
) -> Response:
    """Submit many tasks: all or none is accepted, in one transaction; answered in their order."""
    if not 1 <= len(batch.tasks) <= BATCH_MAX:
        raise InputError(
            f"tasks: must be 1 to {BATCH_MAX} tasks: {len(batch.tasks)}",
            field="tasks",
            hint="split it",
        )
    for number, spec in enumerate(batch.tasks):
        if number % _CHECKED_AT_ONCE == 0:
            await anyio.lowlevel.checkpoint()
        try:
            check_spec(spec)
        except InputError as error:
            field = f"tasks[{number}].{error.field}"
            text = f"tasks[{number}]: {error.text}"
            raise InputError(text, field=field, value=error.value, hint=error.hint) from error
    tasks = await _submit(request, batch.tasks, caller, services, key)
    found = await _found(services, tasks)
    return answer(TaskPage(items=Views(services.hive).tasks(found, caller)), status=201)


async def _submit(
    request: Request,
    specs: Sequence[TaskSpec],
    caller: Caller,
    services: Services,
    key: str | None,
    *,
    hold: bool = False,
) -> list[Task]:
    if key is not None and not (1 <= len(key) <= KEY_LENGTH_MAX and key.isprintable()):
        raise InputError(
            f"Idempotency-Key: must have 1 to {KEY_LENGTH_MAX} printable characters",
            field="Idempotency-Key",
            value=key,
            hint="a random text of 32 characters does",
        )
    asked = f"{request.url.path}?{request.url.query}" if hold else request.url.path
    body = hashlib.sha256(asked.encode() + b"\n" + await request.body()).hexdigest()
    brain, owner = services.hive.brain, caller.username
    settled: set[TaskId] = set()
    checked: list[TaskSpec] = []
    try:
        await services.secrets.check(owner, specs)
        await services.code.check(owner, specs)
        for number, spec in enumerate(specs):
            prefix = f"tasks[{number}]." if len(specs) > 1 else ""
            known, ended = await resolve(services.hive, spec, owner, prefix=prefix)
            checked.append(apply_defaults(known))
            settled.update(ended)
    except FluxhiveError:
        # Since the first request with this key what it comes after may have ended otherwise, and
        # what it needs may be gone.
        wanted = Submission(owner=owner, key=key or "", body_hash=body)
        earlier = None if key is None else await brain.submitted_before(wanted)
        if earlier is None:
            raise
        return earlier
    held_by = owner if hold else None
    return await brain.submit(checked, owner, key, body, held_by=held_by, settled=settled)


async def _found(services: Services, tasks: Sequence[Task]) -> list[Found]:
    return await find_tasks(services.hive, [task.id for task in tasks])


@route(router, "GET", "/tasks/{task}", gives=TaskView)
async def show_task(task: TaskName, caller: OfCaller, services: OfServices) -> Response:
    """Show a task with its attempts, and why it waits when it waits."""
    found = await find_task(services.hive, task, caller.username)
    return answer(Views(services.hive).task(found, caller, is_single=True))


@route(router, "POST", "/tasks/{task}/cancel", gives=TaskView)
async def cancel_task(task: TaskName, caller: OfCaller, services: OfServices) -> Response:
    """Cancel a task, as its owner or an administrator.

    When this answers no new attempt starts; one that runs is being stopped. A task that has ended
    stays as it is.
    """
    task_id = await orders.cancel(services, caller, task)
    (found,) = await find_tasks(services.hive, [task_id])
    return answer(Views(services.hive).task(found, caller, is_single=True))


@route(router, "GET", "/tasks/{task}/wait", gives=TaskView)
async def wait_task(
    task: TaskName,
    caller: OfCaller,
    services: OfServices,
    timeout_s: Annotated[float, Query(ge=0, le=WAIT_S_MAX, allow_inf_nan=False)] = 20,
) -> Response:
    """Wait until a task has ended: answers it then, or as it is after the time."""
    found = await find_task(services.hive, task, caller.username)
    with services.answers.scope(caller.token_id), anyio.move_on_after(timeout_s):
        while not found.task.state.is_final:
            with services.feed.watch(found.task.id) as changed:
                now = in_memory(services.hive, found.task.id)
                if now is not None and not now.task.state.is_final:
                    await changed.wait()
            (found,) = await find_tasks(services.hive, [found.task.id])
    return answer(Views(services.hive).task(found, caller, is_single=True))
