"""Waiting tasks by REST: held, released, edited, and submitted after others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def submit(client: httpx.AsyncClient, query: str = "", **fields: object) -> dict[str, Any]:
    answer = await client.post(f"/tasks{query}", json={"command": ["true"], **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def codes(task: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in task["waiting"]]


async def test_a_task_is_held_and_released(it: RestHive) -> None:
    task = await submit(it.admin)
    held = (await it.admin.post(f"/tasks/{task['id']}/hold")).json()
    assert (held["state"], held["reason"]) == ("held", f"held by {it.administrator}")
    assert codes(held) == ["HELD"]
    assert (await it.admin.post(f"/tasks/{task['id']}/hold")).json() == held
    free = (await it.admin.post(f"/tasks/{task['id']}/release")).json()
    assert (free["state"], free["reason"]) == ("queued", f"released by {it.administrator}")
    assert (await it.admin.post(f"/tasks/{task['id']}/release")).json()["state"] == "queued"


async def test_a_task_is_submitted_held(it: RestHive) -> None:
    assert (await submit(it.admin, "?hold=true"))["state"] == "held"


async def test_what_has_ended_cannot_be_held_released_or_edited(it: RestHive) -> None:
    task = await submit(it.admin)
    await it.admin.post(f"/tasks/{task['id']}/cancel")
    for method, path, body in (
        ("POST", "/hold", None),
        ("POST", "/release", None),
        ("PATCH", "", {"priority": "high"}),
    ):
        answer = await it.admin.request(method, f"/tasks/{task['id']}{path}", json=body)
        assert answer.status_code == 409, path
        assert "cancelled" in answer.json()["detail"]
        assert answer.json()["hint"]


async def test_only_the_owner_and_administrators_may(it: RestHive) -> None:
    task = await submit(it.admin)
    async with await it.user("bob") as bob:
        for path in ("/hold", "/release"):
            assert (await bob.post(f"/tasks/{task['id']}{path}")).status_code == 403
        assert (await bob.patch(f"/tasks/{task['id']}", json={"name": "x"})).status_code == 403
        mine = await submit(bob)
    assert (await it.admin.post(f"/tasks/{mine['id']}/hold")).status_code == 200


async def test_an_edit_changes_what_is_named_and_keeps_the_first_spec(it: RestHive) -> None:
    task = await submit(it.admin, name="a", request={"gpus": 1, "gpu_memory_mib": 9000}, retry=2)
    answer = await it.admin.patch(
        f"/tasks/{task['id']}",
        json={
            "name": "b",
            "priority": "urgent",
            "request": {"gpu_memory_mib": None, "cpus": 2},
            "time_limit_ms": 60_000,
        },
    )
    edited = answer.json()
    assert answer.status_code == 200, answer.text
    assert edited["spec"]["request"] == {"gpus": 1, "cpus": 2}
    assert (edited["name"], edited["priority"]) == ("b", "urgent")
    assert edited["original"]["request"] == {"gpus": 1, "gpu_memory_mib": 9000}
    assert [change["field"] for change in edited["edits"][0]["changes"]] == [
        "name",
        "request.gpu_memory_mib",
        "request.cpus",
        "time_limit_ms",
    ]
    # A start of the server later it is the same, and found by its new name.
    await it.hive.brain.load()
    assert (await it.admin.get("/tasks/b")).json() == edited


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"request": {"gpus": -1}}, "request.gpus"),
        ({"request": {"gpu_memory_mib": 5}}, "request.gpu_memory_mib"),
        ({"nmae": "x"}, "nmae"),
        ({"project": "my lab"}, "project"),
        ({"begin_at_ms": -1}, "begin_at_ms"),
        ({"priority": "now"}, "priority"),
    ],
)
async def test_a_bad_edit_names_its_field(it: RestHive, body: dict[str, Any], field: str) -> None:
    task = await submit(it.admin)
    answer = await it.admin.patch(f"/tasks/{task['id']}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert answer.json()["hint"]
    now = (await it.admin.get(f"/tasks/{task['id']}")).json()
    assert (now["spec"], now.get("edits")) == (task["spec"], None)


async def test_a_start_time_holds_and_is_taken_away_by_an_edit(it: RestHive) -> None:
    later_ms = it.hive.clock.now_ms() + 3_600_000
    task = await submit(it.admin, begin_at_ms=later_ms)
    assert (task["state"], codes(task)) == ("held", ["START_TIME"])
    assert task["waiting"][0]["until_ms"] == later_ms
    answer = await it.admin.post(f"/tasks/{task['id']}/release")
    assert answer.status_code == 409
    assert "--begin now" in answer.json()["hint"]
    now = await it.admin.patch(f"/tasks/{task['id']}", json={"begin_at_ms": None})
    assert now.json()["state"] == "queued"


async def test_a_task_comes_after_one_called_by_name(it: RestHive) -> None:
    first = await submit(it.admin, name="prepare")
    second = await submit(it.admin, after=[{"task_id": "prepare", "end": "any"}])
    assert second["spec"]["after"] == [{"task_id": first["id"], "end": "any"}]
    assert (second["state"], codes(second)) == ("held", ["DEPENDS"])
    assert second["waiting"][0]["blockers"] == [first["id"]]
    assert second["waiting"][0]["text"] == f"needs {first['id']} to end; it is queued"
    await it.admin.post(f"/tasks/{first['id']}/cancel")
    assert (await it.admin.get(f"/tasks/{second['id']}")).json()["state"] == "queued"


async def test_a_dependency_that_cannot_be_is_refused_with_the_remedy(it: RestHive) -> None:
    first = await submit(it.admin)
    await it.admin.post(f"/tasks/{first['id']}/cancel")
    body = {"command": ["true"], "after": [{"task_id": first["id"]}]}
    answer = await it.admin.post("/tasks", json=body)
    assert answer.status_code == 409
    assert f"needs {first['id']} to succeed, and that is cancelled" in answer.json()["detail"]
    assert f"{first['id']}:any" in answer.json()["hint"]
    # Ended as wanted: it need not wait.
    ok = await submit(it.admin, after=[{"task_id": first["id"], "end": "any"}])
    assert ok["state"] == "queued"


async def test_an_unknown_dependency_names_its_field(it: RestHive) -> None:
    body = {"command": ["true"], "after": [{"task_id": "t-nope"}]}
    for path, sent, field in (
        ("/tasks", body, "after[0].task_id"),
        ("/tasks/batch", {"tasks": [{"command": ["true"]}, body]}, "tasks[1].after[0].task_id"),
    ):
        answer = await it.admin.post(path, json=sent)
        assert answer.status_code == 422
        assert answer.json()["field"] == field
        assert answer.json()["value"] == "t-nope"
    assert (await it.admin.get("/tasks")).json()["items"] == []


async def test_a_repeated_submission_is_answered_though_its_dependency_failed(
    it: RestHive,
) -> None:
    first = await submit(it.admin)
    key = {"Idempotency-Key": "k"}
    body = {"command": ["true"], "after": [{"task_id": first["id"]}]}
    one = (await it.admin.post("/tasks", json=body, headers=key)).json()
    await it.admin.post(f"/tasks/{first['id']}/cancel")
    again = await it.admin.post("/tasks", json=body, headers=key)
    assert (again.status_code, again.json()["id"]) == (201, one["id"])
    assert again.json()["state"] == "cancelled"


async def test_a_dependency_that_ended_long_ago_is_read_from_the_store(it: RestHive) -> None:
    first = await submit(it.admin)
    await it.admin.post(f"/tasks/{first['id']}/cancel")
    it.hive.brain.manager.hive.tasks.clear()
    ok = await submit(it.admin, after=[{"task_id": first["id"], "end": "any"}])
    assert ok["state"] == "queued"
