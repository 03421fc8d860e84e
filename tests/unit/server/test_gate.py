"""The door: nobody in without a token, and each kind of token opens what it is for and no more."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fluxhive.protocol.rest import TokenScope
from fluxhive.server.gate import OPEN_PATHS
from tests.helpers.rest_hive import API, RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio

#: All that is open: five calls, the plain pages and the dashboard's own files.
OPEN_ROUTES = {
    f"{API}/health",
    f"{API}/ready",
    f"{API}/auth/login",
    f"{API}/auth/invitation",
    f"{API}/auth/session",
    "/{name:fluxhive_page}",
    "/{name:fluxhive_view}",
}


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


def routes(found: list[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of each route, as FastAPI keeps them, nested or not."""
    for route in found:
        nested = getattr(route, "original_router", None)
        if nested is not None:
            yield from routes(nested.routes, API)
            continue
        for method in getattr(route, "methods", None) or {"WEBSOCKET"}:
            yield method, route.path if route.path.startswith(prefix) else prefix + route.path


def filled(path: str) -> str:
    """The path with something in place of its parameters."""
    for name in ("task", "node", "attempt", "token_id"):
        path = path.replace(f"{{{name}}}", "t-0000")
    return path.replace("{stream}", "stdout")


async def test_every_route_but_seven_wants_a_token(it: RestHive) -> None:
    table = list(routes(it.app.router.routes))
    assert len(table) > 20
    assert {path for _, path in table} >= OPEN_ROUTES
    assert len(OPEN_ROUTES) == 7
    closed = [(method, path) for method, path in table if path not in OPEN_ROUTES]
    async with it.client(None) as nobody:
        for method, path in closed:
            if method == "WEBSOCKET":
                continue
            answer = await nobody.request(method, f"http://hive.test{filled(path)}")
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["hint"].startswith("log in: fluxhive login")
    assert ("WEBSOCKET", f"{API}/agent") in closed
    async with it.listening() as address:
        with pytest.raises(InvalidStatus) as refused:
            await connect(agent_url(address), proxy=None)
        assert refused.value.response.status_code == 401


async def test_the_open_paths_are_those_of_the_open_routes() -> None:
    """A path that is open but leads nowhere would be a door for what is added tomorrow."""
    calls = {path for path in OPEN_PATHS if path.startswith(API) and "openapi" not in path}
    assert calls == {path for path in OPEN_ROUTES if path.startswith(API)}
    assert OPEN_PATHS - calls == {
        "/reference",
        "/welcome",
        "/static/welcome.js",
        "/static/page.css",
        f"{API}/openapi.json",
    }


@pytest.mark.parametrize(
    "path",
    ["/health/", "/Health", "/auth/login/../../tasks", "/%2e/tasks", "//health", "/nonsense"],
)
async def test_a_path_that_only_looks_open_is_closed(it: RestHive, path: str) -> None:
    async with it.client(None) as nobody:
        assert (await nobody.get(f"http://hive.test{API}{path}")).status_code == 401


@pytest.mark.parametrize(
    "header",
    ["Basic cm9vdDpyb290", "Bearer", "Bearer ", "Bearer fh_u_", "fh_u_x", "Bearer " + "x" * 5000],
)
async def test_what_is_no_token_of_ours_is_refused(it: RestHive, header: str) -> None:
    async with it.client(None) as nobody:
        answer = await nobody.get("/auth/me", headers={"Authorization": header})
    assert answer.status_code == 401


async def test_a_token_in_the_address_opens_nothing(it: RestHive) -> None:
    token = await it.token(it.administrator)
    async with it.client(None) as nobody:
        for name in ("token", "access_token", "authorization"):
            assert (await nobody.get(f"/tasks?{name}={token}")).status_code == 401


async def test_a_token_with_one_character_changed_is_refused(it: RestHive) -> None:
    token = await it.token(it.administrator)
    for place in (7, len(token) - 1):
        changed = token[:place] + ("a" if token[place] != "a" else "b") + token[place + 1 :]
        async with it.client(changed) as other:
            assert (await other.get("/auth/me")).status_code == 401


async def test_a_read_token_looks_and_changes_nothing(it: RestHive) -> None:
    token = await it.token(it.administrator, scope=TokenScope.READ)
    async with it.client(token) as reader:
        assert (await reader.get("/tasks")).status_code == 200
        assert (await reader.get("/nodes")).status_code == 200
        for method, path in (
            ("POST", "/tasks"),
            ("POST", "/tokens"),
            ("POST", "/users"),
            ("POST", "/nodes"),
            ("DELETE", "/tokens/x"),
            ("PATCH", "/nodes/x"),
            ("GET", "/users"),
        ):
            answer = await reader.request(method, path, json={})
            assert answer.status_code == 403, (method, path)
        assert (await reader.post("/auth/logout")).status_code == 200


async def test_a_node_scope_registers_nodes_and_sees_nothing(it: RestHive) -> None:
    token = await it.token(it.administrator, scope=TokenScope.NODE)
    async with it.client(token) as registrar:
        assert await it.node_token("gpu-a", registrar)
        for path in ("/tasks", "/nodes", "/tokens", "/events"):
            assert (await registrar.get(path)).status_code == 403, path
        assert (await registrar.post("/tasks", json={"command": ["true"]})).status_code == 403


async def test_a_nodes_own_token_opens_the_agents_paths_alone(it: RestHive) -> None:
    async with it.client(await it.node_token()) as node:
        me = (await node.get("/auth/me")).json()
        assert me["node_id"].startswith("n-")
        for path in ("/tasks", "/nodes", "/tokens", "/users"):
            assert (await node.get(path)).status_code == 403, path
        # Another node's attempts do not exist for it.
        assert (await node.get("/agent/launches/t-0000.1")).status_code == 404
    assert (await it.admin.get("/agent/launches/t-0000.1")).status_code == 403


async def test_a_page_of_another_site_changes_nothing(it: RestHive) -> None:
    spec = {"command": ["true"]}
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
    ):
        answer = await it.admin.post("/tasks", json=spec, headers=headers)
        assert answer.status_code == 403, headers
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://hive.test"}):
        assert (await it.admin.post("/tasks", json=spec, headers=headers)).status_code == 201
    async with it.listening() as address:
        with pytest.raises(InvalidStatus) as refused:
            await connect(agent_url(address), proxy=None, origin="https://evil.test")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403


async def test_every_answer_has_the_security_headers(it: RestHive) -> None:
    async with it.client(None) as nobody:
        answers: list[httpx.Response] = [
            await nobody.get("http://hive.test/reference"),
            await nobody.get("http://hive.test/welcome"),
            await nobody.get("/tasks"),
            await nobody.get("/health"),
            await it.admin.get("/nonsense"),
            await it.admin.post("/tasks", content=b"{"),
        ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert all(a.headers["cache-control"] == "no-store" for a in answers[2:])


async def test_the_pages_hold_no_inline_script_or_style(it: RestHive) -> None:
    async with it.client(None) as nobody:
        for path in ("/", "/reference", "/welcome"):
            page = (await nobody.get(f"http://hive.test{path}")).text
            assert "<style" not in page
            assert " style=" not in page
            assert "<script>" not in page
            assert not re.search(r"<[^>]* on[a-z]+=", page)
        assert (
            (await nobody.get("http://hive.test/static/welcome.js"))
            .headers["content-type"]
            .startswith("text/javascript")
        )
        for path in ("/static/", "/static/../gate.py", "/static/%2e%2e/gate.py", "/welcome.html"):
            assert (await nobody.get(f"http://hive.test{path}")).status_code == 401, path
