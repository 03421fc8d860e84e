"""Tasks by REST: submitted once, listed in pages, shown to all, changed by their owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from fluxhive.core.node import Inventory
from fluxhive.protocol.rest import Role, TokenScope
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import API, RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def submit(client: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await client.post("/tasks", json={"command": ["true"], **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


# ── submitting ────────────────────────────────────────────────────────────────────────────────


async def test_a_submitted_task_is_stored_shown_and_warned_about(it: RestHive) -> None:
    answer = await it.admin.post("/tasks", json={"command": ["python", "train.py"], "name": "vit"})
    assert answer.status_code == 201
    task = answer.json()
    assert answer.headers["location"] == f"{API}/tasks/{task['id']}"
    assert (task["state"], task["word"], task["owner"]) == ("queued", "queued", it.administrator)
    assert task["waiting"][0]["code"] == "NO_NODES"
    assert "no node has joined" in task["warnings"][0]
    assert (await it.admin.get(f"/tasks/{task['id']}")).json()["spec"]["name"] == "vit"


async def test_the_same_key_and_body_give_the_same_task(it: RestHive) -> None:
    key = {"Idempotency-Key": "k1"}
    body = {"command": ["true"]}
    first, again = [await it.admin.post("/tasks", json=body, headers=key) for _ in range(2)]
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    other = await it.admin.post("/tasks", json={"command": ["false"]}, headers=key)
    assert other.status_code == 409
    assert "k1" in other.json()["detail"]
    async with await it.user("bob") as bob:
        assert (await bob.post("/tasks", json=body, headers=key)).json()["id"] != first.json()["id"]
    # The same key for another kind of request is another request.
    batch = await it.admin.post("/tasks/batch", json={"tasks": [body]}, headers=key)
    assert batch.status_code == 409


async def test_one_key_sent_many_times_at_once_makes_one_task(it: RestHive) -> None:
    ids: list[str] = []

    async def send() -> None:
        body = {"command": ["true"]}
        answer = await it.admin.post("/tasks", json=body, headers={"Idempotency-Key": "k"})
        ids.append(answer.json()["id"])

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(send)
    assert len(ids) == 20
    assert len(set(ids)) == 1
    assert len((await it.admin.get("/tasks")).json()["items"]) == 1


async def test_a_key_and_its_task_outlive_the_server(tmp_path: Path) -> None:
    send = {"json": {"command": ["true"]}, "headers": {"Idempotency-Key": "k"}}
    async with rest_hive(tmp_path) as it:
        first = (await it.admin.post("/tasks", **send)).json()  # type: ignore[arg-type]
    async with rest_hive(tmp_path) as it:
        again = (await it.admin.post("/tasks", **send)).json()  # type: ignore[arg-type]
    assert first["id"] == again["id"]


@pytest.mark.parametrize("key", ["", "k" * 201, "a\tb"])
async def test_a_bad_key_is_refused(it: RestHive, key: str) -> None:
    headers = {"Idempotency-Key": key}
    answer = await it.admin.post("/tasks", json={"command": ["true"]}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["field"] == "Idempotency-Key"


async def test_a_batch_is_accepted_whole_or_not_at_all(it: RestHive) -> None:
    good: list[dict[str, object]] = [{"command": ["true"], "name": f"t{n}"} for n in range(300)]
    answer = await it.admin.post("/tasks/batch", json={"tasks": good})
    assert answer.status_code == 201
    assert [task["name"] for task in answer.json()["items"]] == [f"t{n}" for n in range(300)]
    bad = await it.admin.post("/tasks/batch", json={"tasks": [*good, {"command": [""]}]})
    assert bad.status_code == 422
    assert bad.json()["field"] == "tasks[300].command"
    assert (await it.admin.post("/tasks/batch", json={"tasks": []})).status_code == 422
    assert len((await it.admin.get("/tasks?limit=1000")).json()["items"]) == 300


async def test_retries_bring_their_failover_length(it: RestHive) -> None:
    assert (await submit(it.admin, retry=2))["spec"]["failover_ms"] == 30 * 60_000


# ── listing and finding ───────────────────────────────────────────────────────────────────────


async def test_pages_give_every_task_once_newest_first(it: RestHive) -> None:
    made = [(await submit(it.admin))["id"] for _ in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await it.admin.get(f"/tasks?limit=3{cursor}")).json()
        seen += [task["id"] for task in page["items"]]
        if "next" not in page:
            break
        # What is submitted between two pages moves nothing.
        await submit(it.admin)
        cursor = f"&cursor={page['next']}"
    assert seen == made[::-1]


async def test_lists_are_filtered(it: RestHive) -> None:
    async with await it.user("bob") as bob:
        bobs = await submit(bob, name="b")
        mine = await submit(it.admin, name="a")
        gone = await submit(it.admin)
        ended = (await it.admin.post(f"/tasks/{gone['id']}/cancel")).json()

        async def ids(query: str) -> list[str]:
            answer = await bob.get(f"/tasks?{query}")
            assert answer.status_code == 200, answer.text
            return [task["id"] for task in answer.json()["items"]]

        assert await ids("") == [gone["id"], mine["id"], bobs["id"]]
        assert await ids("owner=bob") == [bobs["id"]]
        assert await ids("name=a") == [mine["id"]]
        assert await ids("state=cancelled") == [gone["id"]]
        assert await ids("state=queued&state=cancelled&limit=1") == [gone["id"]]
        at_ms = ended["ended_at_ms"]
        assert await ids(f"since_ms={at_ms}") == [gone["id"], mine["id"], bobs["id"]]
        assert await ids(f"since_ms={at_ms + 1}") == [mine["id"], bobs["id"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=sleeping", "state"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=99999999999999999999999", "cursor"),
        ("cursor=-1", "cursor"),
        ("since_ms=99999999999999999999", "since_ms"),
        ("stat=queued", "stat"),
        ("state=queued&limt=5", "limt"),
    ],
)
async def test_a_bad_query_parameter_is_named(it: RestHive, query: str, field: str) -> None:
    answer = await it.admin.get(f"/tasks?{query}")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["field"].split(".")[0] == field
    assert problem["hint"]


async def test_a_task_is_found_by_id_beginning_or_name(it: RestHive) -> None:
    first = await submit(it.admin, name="train")
    second = await submit(it.admin, name="train")
    for text in (second["id"], "train", second["id"][:5], second["id"][2:]):
        assert (await it.admin.get(f"/tasks/{text}")).json()["id"] == second["id"]
    assert (await it.admin.get(f"/tasks/{first['id']}")).json()["id"] == first["id"]
    several = await it.admin.get("/tasks/t-")
    assert several.status_code == 409
    assert first["id"] in several.json()["detail"]
    for text in ("nothing", "%25", "_", "t-%00", "x" * 5000, "%F0%9F%90%9D"):
        missing = await it.admin.get(f"/tasks/{text}")
        assert missing.status_code == 404, text
        assert missing.json()["hint"] == "list them: fluxhive ps"


async def test_an_address_that_is_not_there_names_the_nearest(it: RestHive) -> None:
    answer = await it.admin.get("/task")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert f"{API}/tasks" in answer.json()["hint"]
    wrong = await it.admin.put("/tasks", json={})
    assert wrong.status_code == 405
    assert wrong.headers["allow"]
    assert wrong.headers["content-type"] == "application/problem+json"


async def test_the_last_task_is_that_of_who_asks(it: RestHive) -> None:
    async with await it.user("ann") as ann, await it.user("bob") as bob:
        await submit(ann)
        second = await submit(ann)
        third = await submit(bob, name="@last")
        assert (await ann.get("/tasks/@last")).json()["id"] == second["id"]
        assert (await bob.get("/tasks/@last")).json()["id"] == third["id"]
        after = await submit(ann, after=[{"task_id": "@last"}])
        assert after["spec"]["after"][0]["task_id"] == second["id"]
        cancelled = await ann.post("/tasks/bulk", json={"action": "cancel", "ids": ["@last"]})
        assert cancelled.json()["results"][0]["task_id"] == after["id"]
        missing = await it.admin.get("/tasks/@last")
        assert missing.status_code == 404
        assert missing.json()["detail"] == "you have not submitted a task yet"


# ── who may what ──────────────────────────────────────────────────────────────────────────────


async def test_all_see_a_task_and_its_owner_and_administrators_cancel_it(it: RestHive) -> None:
    async with await it.user("ann") as ann, await it.user("bob") as bob:
        task, second = await submit(ann), await submit(ann)
        path = f"/tasks/{task['id']}"
        assert (await bob.get(path)).status_code == 200
        refused = await bob.post(f"{path}/cancel")
        assert refused.status_code == 403
        assert "ann" in refused.json()["detail"]
        assert (await bob.get(path)).json()["state"] == "queued"
        cancelled = (await ann.post(f"{path}/cancel")).json()
        assert cancelled["state"] == "cancelled"
        other_admin = await it.user("root2", Role.ADMINISTRATOR)
        ended = await other_admin.post(f"/tasks/{second['id']}/cancel")
        assert ended.json()["state"] == "cancelled"
        # Once more changes nothing.
        assert (await ann.post(f"{path}/cancel")).json() == cancelled


async def test_environment_values_are_for_the_owner_and_administrators(it: RestHive) -> None:
    async with await it.user("ann") as ann, await it.user("bob") as bob:
        task = await submit(ann, env={"API_KEY": "s3cret"})
        path = f"/tasks/{task['id']}"
        reader = it.client(await it.token("ann", scope=TokenScope.READ))
        for client, value in ((ann, "s3cret"), (it.admin, "s3cret"), (bob, "***"), (reader, "***")):
            assert (await client.get(path)).json()["spec"]["env"] == {"API_KEY": value}
            (listed,) = (await client.get("/tasks")).json()["items"]
            assert listed["spec"]["env"] == {"API_KEY": value}


# ── waiting ───────────────────────────────────────────────────────────────────────────────────


async def test_a_wait_answers_when_the_task_ends_or_its_time_is_over(it: RestHive) -> None:
    task = await submit(it.admin)
    path = f"/tasks/{task['id']}"
    assert (await it.admin.get(f"{path}/wait?timeout_s=0")).json()["state"] == "queued"
    states: list[str] = []

    async def wait() -> None:
        answer = await it.admin.get(f"{path}/wait?timeout_s=50")
        states.append(answer.json()["state"])

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await it.admin.post(f"{path}/cancel")
    assert states == ["cancelled"]
    assert (await it.admin.get(f"{path}/wait?timeout_s=50")).json()["state"] == "cancelled"
    for wrong in ("-1", "61", "nan", "inf", "soon"):
        assert (await it.admin.get(f"{path}/wait?timeout_s={wrong}")).status_code == 422, wrong


async def test_a_task_runs_and_its_attempt_is_shown(it: RestHive) -> None:
    token = await it.node_token()
    async with it.listening() as address:
        agent = FakeAgent(
            agent_url(address),
            node=token,
            label="gpu-a",
            inventory=Inventory(cpus=2, memory_mib=4096, hostname="box"),
        )
        async with agent.connected():
            task = await submit(it.admin, name="short")
            done = (await it.admin.get(f"/tasks/{task['id']}/wait?timeout_s=20")).json()
            assert (done["state"], done["word"]) == ("succeeded", "succeeded")
            (attempt,) = done["attempts"]
            assert attempt["node_label"] == "gpu-a"
            assert attempt["outcome"] == {"kind": "success", "exit_code": 0}
            assert attempt["started_at_ms"] == done["started_at_ms"]
            (node,) = (await it.admin.get("/nodes")).json()["items"]
            assert (node["label"], node["hostname"], node["state"]) == ("gpu-a", "box", "ready")
            assert (await it.admin.get("/nodes/gpu-a")).json()["id"] == node["id"]


async def test_an_old_task_is_read_from_the_store(it: RestHive) -> None:
    task = await submit(it.admin)
    await it.admin.post(f"/tasks/{task['id']}/cancel")
    hive = it.hive.brain.manager.hive
    del hive.tasks[task["id"]]
    assert (await it.admin.get(f"/tasks/{task['id']}")).json()["state"] == "cancelled"
    assert (await it.admin.get("/tasks")).json()["items"][0]["state"] == "cancelled"
    assert (await it.admin.get(f"/tasks/{task['id']}/logs")).json() == []
    assert (await it.admin.post(f"/tasks/{task['id']}/cancel")).json()["state"] == "cancelled"


# ── nodes ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_members_node_serves_its_owner_until_it_is_accepted(it: RestHive) -> None:
    async with await it.user("ann") as ann, await it.user("bob") as bob:
        given = await ann.post("/nodes", json={"label": "anns", "machine_id": "m1"})
        assert "accept" in given.json()["notice"]
        async with it.listening() as address:
            agent = FakeAgent(agent_url(address), node=given.json()["token"], label="anns")
            async with agent.connected():
                assert (await bob.get("/nodes/anns")).json()["only_for"] == "ann"
                for client, status in ((bob, 403), (ann, 200), (it.admin, 200)):
                    answer = await client.patch("/nodes/anns", json={"draining": True})
                    assert answer.status_code == status
                assert (await ann.patch("/nodes/anns", json={"accepted": True})).status_code == 403
                taken_back = await it.admin.patch("/nodes/anns", json={"accepted": False})
                assert taken_back.status_code == 422
                body = {"accepted": True, "draining": False}
                node = (await it.admin.patch("/nodes/anns", json=body)).json()
                assert "only_for" not in node
                assert node.get("draining", False) is False
        # It stays accepted when it registers again.
        again = await ann.post("/nodes", json={"label": "anns", "machine_id": "m1"})
        assert "notice" not in again.json()
    assert (await it.admin.get("/nodes/none")).status_code == 404
