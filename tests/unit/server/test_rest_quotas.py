"""Quotas by REST: set by administrators, seen by all, kept, and asked at submission."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def test_a_quota_is_set_seen_kept_and_taken_away(it: RestHive) -> None:
    body = {"running_gpus": 4, "waiting_tasks": 2}
    made = await it.admin.put("/quotas/user/bob", json=body)
    assert made.status_code == 200, made.text
    assert made.json()["quota"] == {"scope": "user", "name": "bob", **body}
    await it.hive.brain.load()
    async with await it.user("bob") as bob:
        assert (await bob.get("/quotas")).json()["items"] == [made.json()]
        assert (await bob.put("/quotas/user/bob", json={})).status_code == 403
    await it.admin.put("/quotas/user/bob", json={})
    await it.hive.brain.load()
    assert (await it.admin.get("/quotas")).json()["items"] == []


async def test_more_than_may_wait_is_refused_with_the_remedy(it: RestHive) -> None:
    await it.admin.put("/quotas/user/bob", json={"waiting_tasks": 3})
    async with await it.user("bob") as bob:
        first = await bob.post("/tasks", json={"command": ["a"], "array": {"count": 2}})
        assert first.status_code == 201
        answer = await bob.post("/tasks", json={"command": ["a"], "array": {"count": 2}})
        assert answer.status_code == 429
        assert answer.json()["detail"] == (
            "bob has 2 waiting tasks, and 2 more would be above the quota of 3"
        )
        assert "fluxhive quota set user bob" in answer.json()["hint"]
        assert (await bob.post("/tasks", json={"command": ["a"]})).status_code == 201
    assert (await it.admin.post("/tasks", json={"command": ["a"]})).status_code == 201


async def test_a_project_has_its_own(it: RestHive) -> None:
    await it.admin.put("/quotas/project/vision", json={"waiting_tasks": 0})
    body = {"command": ["a"], "project": "vision"}
    assert (await it.admin.post("/tasks", json=body)).status_code == 429
    assert (await it.admin.post("/tasks", json={"command": ["a"]})).status_code == 201


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/quotas/user/bob", {"running_gpus": -1}, "running_gpus"),
        ("/quotas/user/bob", {"gpus": 1}, "gpus"),
        ("/quotas/user/my%20lab", {}, "name"),
        ("/quotas/group/bob", {}, "scope"),
    ],
)
async def test_a_bad_quota_names_its_field(
    it: RestHive, path: str, body: dict[str, int], field: str
) -> None:
    answer = await it.admin.put(path, json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert answer.json()["hint"]


async def test_of_many_at_once_no_more_get_in_than_may_wait(it: RestHive) -> None:
    await it.admin.put("/quotas/user/bob", json={"waiting_tasks": 3})
    async with await it.user("bob") as bob:
        codes: list[int] = []

        async def submit(number: int) -> None:
            headers = {"Idempotency-Key": f"key-{number}"} if number % 2 else {}
            answer = await bob.post("/tasks", json={"command": ["a"]}, headers=headers)
            codes.append(answer.status_code)

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(submit, number)
        assert sorted(codes) == [201] * 3 + [429] * 5
