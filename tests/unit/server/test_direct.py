"""The short way to a route answers what FastAPI's way answers, and passes by it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from fluxhive.server import direct
from fluxhive.server.rest.tasks import TaskName, show_task
from fluxhive.server.web import create_app
from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio

#: Their answers do not end.
STREAMS = ("/wait", "/events", "/feed", "/follow")
COMMAND = {"command": ["true"]}


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


@pytest.fixture
def fastapi_alone(it: RestHive, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The same server without the short way."""
    with monkeypatch.context() as changed:
        changed.setattr(direct, "plain_of", lambda endpoint: None)
        app = create_app(it.services)
        # The layers are made with the first request or here.
        app.middleware_stack = app.build_middleware_stack()
    return app


async def test_every_plain_address_answers_the_same_by_either_way(
    it: RestHive, fastapi_alone: FastAPI
) -> None:
    """All addresses that are read, with a task that exists and with names that do not."""
    task = (await it.admin.post("/tasks", json=COMMAND)).json()
    other = it._replace(app=fastapi_alone)
    token = await it.token(it.administrator)
    n_compared = 0
    async with it.client(token) as short, other.client(token) as long:
        for path, ways in it.app.openapi()["paths"].items():
            if "get" not in ways or path.endswith(STREAMS):
                continue
            address = path.removeprefix("/api/v1").replace("{task}", task["id"])
            address = address.replace("{", "none-").replace("}", "")
            wanted = await long.get(address)
            if wanted.headers.get("content-type", "").endswith("json"):
                n_compared += 1
                assert shape(await short.get(address)) == shape(wanted), address
    assert n_compared > 15


def shape(answer: httpx.Response) -> tuple[int, object, list[str]]:
    """All of an answer but the times and names that are new in each."""
    body = answer.json()
    if answer.status_code >= 400:
        del body["id"]
        return answer.status_code, body, sorted(answer.headers)
    return answer.status_code, sorted(body) if isinstance(body, dict) else len(body), []


async def test_a_key_gives_the_task_it_gave_by_the_other_way(
    it: RestHive, fastapi_alone: FastAPI
) -> None:
    other = it._replace(app=fastapi_alone)
    token, key = await it.token(it.administrator), {"Idempotency-Key": "one"}
    async with it.client(token) as short, other.client(token) as long:
        first = await short.post("/tasks", json=COMMAND, headers=key)
        second = await long.post("/tasks", json=COMMAND, headers=key)
        changed = await short.post("/tasks", json={"command": ["false"]}, headers=key)
    assert first.status_code == second.status_code == 201
    assert first.json()["id"] == second.json()["id"]
    assert changed.status_code == 409


async def test_a_plain_request_does_not_reach_fastapi(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []
    inner: Callable[[Scope, Receive, Send], Awaitable[None]] = it.app.router.middleware_stack

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["path"])
        await inner(scope, receive, send)

    monkeypatch.setattr(it.app.router, "middleware_stack", noting)
    task = (await it.admin.post("/tasks", json=COMMAND)).json()
    assert (await it.admin.get(f"/tasks/{task['id']}")).status_code == 200
    assert not reached
    assert (await it.admin.get("/tasks?limit=nonsense")).status_code == 422
    assert (await it.admin.get("/tasks?limt=1")).json()["hint"] == "did you mean `limit`?"
    assert (await it.admin.get("/nothing")).status_code == 404
    assert (await it.admin.delete(f"/tasks/{task['id']}")).status_code == 405
    assert len(reached) == 4


def test_what_fastapi_would_have_to_check_is_not_plain() -> None:
    async def needs_a_number(request: Request, number: Annotated[int, Query()]) -> None: ...

    async def has_a_default(number: Annotated[int, Query(ge=1)] = 3) -> None: ...

    async def takes_a_form(task: TaskName, form: dict[str, str]) -> None: ...

    def would_block(task: TaskName) -> None: ...

    assert direct.plain_of(needs_a_number) is None
    assert direct.plain_of(takes_a_form) is None
    assert direct.plain_of(would_block) is None
    assert direct.plain_of(has_a_default) is not None
    assert direct.plain_of(show_task) is not None
