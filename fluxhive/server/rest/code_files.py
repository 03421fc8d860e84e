"""``/api/v1/tasks/{task}/code``: what a task's code was when it was submitted."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from fluxhive.core.errors import AuthError
from fluxhive.core.task import Task
from fluxhive.protocol.code_view import CodeFile, CodeListing, CodeText
from fluxhive.server.auth import Caller
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.lookup import find_task
from fluxhive.server.services import Services

from .tasks import INTEGER_MAX, OfCaller, OfServices, TaskName

router = new_router()

FILES_MAX = 5_000
FILES_DEFAULT = 1_000


@route(router, "GET", "/tasks/{task}/code", gives=CodeListing)
async def list_code(
    task: TaskName,
    caller: OfCaller,
    services: OfServices,
    text: Annotated[str, Query(description="Only files with this in their names.")] = "",
    offset: Annotated[int, Query(ge=0, le=INTEGER_MAX)] = 0,
    limit: Annotated[int, Query(ge=1, le=FILES_MAX)] = FILES_DEFAULT,
) -> Response:
    """List the files of a task's code (`--code`) by name, with their sizes.

    Code is its owner's: others are refused, administrators are not. It is kept while a task needs
    it, and a day after its last use.
    """
    found = await _task(services, caller, task)
    files = [each for each in await services.code.files(found) if text in each.name]
    end = offset + limit
    shown = tuple(CodeFile(name=each.name, n_bytes=each.n_bytes) for each in files[offset:end])
    assert found.spec.code is not None  # or there were no files of it
    return answer(
        CodeListing(
            sha256=found.spec.code.sha256,
            files=shown,
            total=len(files),
            next=end if end < len(files) else None,
        )
    )


@route(router, "GET", "/tasks/{task}/code/file", gives=CodeText)
async def show_code(
    task: TaskName,
    caller: OfCaller,
    services: OfServices,
    name: Annotated[str, Query(max_length=4_096, description="As the list names it.")],
) -> Response:
    """Show the text of one of them: its first 256 KiB. What is no text is not shown."""
    return answer(await services.code.text(await _task(services, caller, task), name))


async def _task(services: Services, caller: Caller, name: str) -> Task:
    found = (await find_task(services.hive, name, caller.username)).task
    if not caller.may_see_secrets(found.owner):
        raise AuthError(
            f"{found.id} belongs to {found.owner}, and its code is not shown to you",
            hint=f"ask {found.owner}",
            forbidden=True,
        )
    return found
