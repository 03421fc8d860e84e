"""The OpenAPI document is current, whole and true: what it says is what the server does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fluxhive.core.node import Inventory
from fluxhive.protocol import export
from fluxhive.server import openapi
from fluxhive.server.gate import OPEN_PATHS
from fluxhive.server.web import create_app
from tests.helpers.factories import gpu
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.json_schema import check
from tests.helpers.rest_hive import PASSWORD, RestHive, agent_url, rest_hive
from tests.unit.server.test_gate import routes

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = create_app().openapi()
    return found


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_stored_documents_are_current() -> None:
    """Renew them: python -m fluxhive.server.openapi; python -m fluxhive.protocol.export"""
    stored = json.loads((ROOT / openapi.FILE).read_text())
    made = json.loads(openapi.text(create_app()))
    # FastAPI versions differ in how they word a query parameter; ours are checked below.
    for name in ("components", "security", "info"):
        assert stored[name] == made[name], name
    assert _bare(stored) == _bare(made)
    assert (ROOT / export.FILE).read_text() == export.text()


def _bare(document: dict[str, Any]) -> list[tuple[str, str, str, object, object]]:
    return [
        (m, p, o["operationId"], o.get("requestBody"), sorted(o["responses"]))
        for m, p, o in operations(document)
    ]


def test_every_route_is_described_with_a_name_of_its_own(document: dict[str, Any]) -> None:
    described = {(method, path) for method, path, _ in operations(document)}
    table = {(m, p) for m, p in routes(create_app().router.routes) if m != "WEBSOCKET"}
    assert described == {(method, path) for method, path in table if path.startswith("/api/v1/")}
    names = [operation["operationId"] for *_, operation in operations(document)]
    assert len(names) == len(set(names))
    for _, path, operation in operations(document):
        assert operation["summary"], path
        assert "default" in operation["responses"], path
        assert not {"422", "HTTPValidationError"} & set(operation["responses"])


def test_what_is_open_is_described_as_open_and_nothing_else(document: dict[str, Any]) -> None:
    assert document["security"] == [{"bearer": []}]
    for _, path, operation in operations(document):
        assert (operation.get("security") == []) == (path in OPEN_PATHS), path


def test_every_reference_leads_somewhere_and_nothing_is_left_over(document: dict[str, Any]) -> None:
    found = set(_references(document))
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    events = {"LogEvent", "LogEnd", "Lagged", "NodeChanged", "ReadingsChanged", "TaskChanged"}
    events |= {"Watch", "Snapshot", "Resumed", "Changes", "LogGrown", "Alive"}
    assert {each.rpartition("/")[2] for each in schemas - found} <= events
    assert "HTTPValidationError" not in document["components"]["schemas"]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


class Checked:
    """A client that holds every answer against the document."""

    def __init__(self, document: dict[str, Any], client: httpx.AsyncClient) -> None:
        self.document = document
        self.client = client
        self.seen: set[str] = set()

    async def __call__(
        self, operation_id: str, status: int, *, body: object = None, query: str = "", **names: str
    ) -> Any:
        (found,) = [
            (m, p, o) for m, p, o in operations(self.document) if o["operationId"] == operation_id
        ]
        method, path, operation = found
        if body is not None:
            check(body, _schema(operation["requestBody"]["content"]), self.document)
        path = path.removeprefix("/api/v1").format(**names) + query
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        described = operation["responses"].get(str(status)) or operation["responses"]["default"]
        if "$ref" in described:
            described = self.document["components"]["responses"]["Problem"]
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in described["content"], (operation_id, kind)
        self.seen.add(operation_id)
        if "json" not in kind:
            return answer.content
        check(answer.json(), _schema(described["content"]), self.document)
        return answer.json()


def _schema(content: dict[str, Any]) -> dict[str, Any]:
    (found,) = content.values()
    schema: dict[str, Any] = found["schema"]
    return schema


async def test_every_answer_is_what_the_document_says(
    it: RestHive, document: dict[str, Any]
) -> None:
    """Goal: the document is true. Method: walk all operations, hold each answer against it."""
    ask = Checked(document, it.admin)
    spec = {"command": ["true"], "name": "vit", "request": {"gpus": 1}, "env": {"A": "b"}}
    task = await ask("submit_task", 201, body=spec)
    await ask("submit_tasks", 201, body={"tasks": [{"command": ["true"]}]})
    await ask("submit_task", 422, body={"command": [""]})
    await ask("list_tasks", 200)
    await ask("show_task", 200, task=task["id"])
    await ask("show_task", 404, task="nothing")
    node = await ask("register_node", 201, body={"label": "gpu-a", "machine_id": "m"})
    async with it.listening() as address:
        card = gpu("GPU-a", state="faulty")
        inventory = Inventory(cpus=4, memory_mib=2048, hostname="box", gpus=(card,))
        agent = FakeAgent(
            agent_url(address), node=node["token"], label="gpu-a", inventory=inventory
        )
        async with agent.connected():
            done = await ask("submit_task", 201, body={"command": ["true"]})
            await ask("wait_task", 200, task=done["id"])
            await ask("list_nodes", 200)
            await ask("show_node", 200, node="gpu-a")
            await ask("show_node_health", 200, node="gpu-a")
            await ask("change_node", 200, node="gpu-a", body={"draining": True})
            await ask("list_logs", 200, task=done["id"])
            await ask("show_metrics", 200, task=done["id"])
            await ask("read_log", 200, task=done["id"], stream="stdout")
            await ask("read_log_lines", 200, task=done["id"])
            await ask("search_log", 200, query="?q=a", task=done["id"])
            await ask("follow_logs", 200, task=done["id"])
            await ask("show_attempt_usage", 200, attempt=f"{done['id']}.1")
            await ask("show_usage", 200, query="?by=day")
            await ask("show_gpu_history", 200, node="gpu-a", uuid="GPU-a")
            await ask("show_gpu_history", 404, node="gpu-a", uuid="GPU-b")
    await ask("end_unknown", 200, node="gpu-a")
    await ask("give_node_up", 200, node="gpu-a")
    await ask("remove_node", 200, node="gpu-a")
    await ask("show_launch", 403, attempt="t-1.1")
    await ask("hold_task", 200, task=task["id"])
    await ask("release_task", 200, task=task["id"])
    await ask("edit_task", 200, task=task["id"], body={"name": "vit2", "begin_at_ms": None})
    await ask("set_quota", 200, scope="user", name="bob", body={"running_gpus": 2})
    await ask("list_quotas", 200)
    wanted = {"scope": "user", "name": "bob", "gpus": 1, "until_ms": 2**52}
    await ask("create_booking", 422, body={**wanted, "gpus": 1000})
    await ask("list_bookings", 200)
    await ask("remove_booking", 404, booking_id="b-7")
    await ask("explain_task", 200, task=task["id"])
    await ask("try_task", 200, body=spec)
    await ask("edit_task", 422, task=task["id"], body={"request": {"gpus": -1}})
    await ask("change_tasks", 200, body={"action": "hold", "ids": [task["id"], "t-nope"]})
    await ask("cancel_task", 200, task=task["id"])
    await ask("show_blob", 200, sha256="0" * 64)
    await ask("put_blob", 422, sha256="0" * 64)
    await ask("read_code", 403, attempt="t-1.1")
    await ask("list_code", 404, task=task["id"])
    await ask("show_code", 404, query="?name=train.py", task=task["id"])
    await ask("set_secret", 200, name="K", body={"value": "x"})
    await ask("list_secrets", 200)
    await ask("remove_secret", 200, name="K")
    await ask("show_health", 200)
    await ask("show_readiness", 200)
    await ask("me", 200)
    made = await ask("add_user", 201, body={"username": "bob"})
    await ask("list_users", 200)
    code = made["link"].partition("#")[2]
    await ask("answer_invitation", 200, body={"code": code, "password": PASSWORD})
    await ask("login", 200, body={"username": "bob", "password": PASSWORD})
    await ask("login", 401, body={"username": "bob", "password": "wrong"})
    token = await ask("create_token", 201, body={"name": "ci", "expires_in_s": 60})
    await ask("list_tokens", 200)
    await ask("show_summary", 200)
    await ask("show_gpus_history", 200)
    link = (await ask("make_sign_in_link", 200))["link"]
    await ask("sign_out", 200)
    await ask("sign_in", 200, body={"code": link.partition("#")[2]})
    await ask("revoke_token", 200, token_id=token["id"])
    await ask("logout", 200)
    names = {operation["operationId"] for *_, operation in operations(document)}
    assert names - ask.seen == {"follow_events"}  # never ends; told by test_feed.py


async def test_the_document_itself_is_served_without_a_login(
    it: RestHive, document: dict[str, Any]
) -> None:
    async with it.client(None) as nobody:
        assert (await nobody.get("/openapi.json")).json() == json.loads(json.dumps(document))
        page = await nobody.get("http://hive.test/reference")
    assert "FlowHive" in page.text
    assert "/api/v1/tasks/{task}/cancel" in page.text
