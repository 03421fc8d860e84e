"""``/api/v1/tasks/{task}/why`` and ``/api/v1/tasks/dry-run``: what waits, why, and until when."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.responses import Response

from fluxhive.core.outlook import Outlook
from fluxhive.core.spec_check import apply_defaults, check_spec
from fluxhive.core.task import TaskSpec
from fluxhive.protocol.why import OutlookView
from fluxhive.server.bridge import answer, body_of, new_router, route
from fluxhive.server.dependencies import resolve
from fluxhive.server.lookup import find_task
from fluxhive.server.views import Views, shown_reason

from .tasks import OfCaller, OfServices, TaskName

router = new_router()


@route(router, "GET", "/tasks/{task}/why", gives=OutlookView)
async def explain_task(task: TaskName, caller: OfCaller, services: OfServices) -> Response:
    """Say why a task waits: reasons, every GPU counted, place in line, likely start, remedies."""
    found = await find_task(services.hive, task, caller.username)
    brain = services.hive.brain
    told = await brain.advice.outlook(brain.manager, found.task.id)
    if told is None:
        # It ended long ago: the store has it, the core does not.
        told = Outlook(summary=found.task.reason or found.task.state.value)
    view = Views(services.hive).task(found, caller)
    return answer(
        _view(
            told,
            id=view.id,
            name=view.name,
            owner=view.owner,
            state=view.state,
            word=view.word,
            submitted_at_ms=view.submitted_at_ms,
        )
    )


@route(router, "POST", "/tasks/dry-run", takes=TaskSpec, gives=OutlookView)
async def try_task(
    spec: Annotated[TaskSpec, Depends(body_of(TaskSpec))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Say where and when a task would run if it were submitted now. Nothing is submitted.

    It is checked like a task that is.
    """
    check_spec(spec)
    await services.secrets.check(caller.username, [spec])
    checked, _ = await resolve(services.hive, spec, caller.username)
    brain = services.hive.brain
    told = await brain.advice.dry_run(brain.manager, apply_defaults(checked), caller.username)
    return answer(_view(told, name=spec.name, owner=caller.username))


def _view(told: Outlook, **about: object) -> OutlookView:
    return OutlookView(
        **about,  # type: ignore[arg-type]  # the two callers name fields of the view
        summary=told.summary,
        reasons=tuple(shown_reason(reason) for reason in told.reasons),
        position=told.position,
        n_in_line=told.n_in_line,
        memory=told.memory,
        gpus=told.gpus,
        estimate=told.estimate,
        remedies=told.remedies,
        ways_out=told.ways_out,
    )
