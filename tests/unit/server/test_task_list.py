"""Lists of tasks by filter and order, and the hive in one look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def submitted(it: RestHive, **spec: Any) -> str:
    """The id of a new task."""
    answer = await it.admin.post("/tasks", json={"command": ["true"], **spec})
    assert answer.status_code == 201, answer.text
    task_id: str = answer.json()["id"]
    return task_id


async def listed(it: RestHive, query: str) -> list[str]:
    """Names in the list that a query gives."""
    answer = await it.admin.get(f"/tasks?{query}")
    assert answer.status_code == 200, answer.text
    return [item["name"] for item in answer.json()["items"]]


async def test_a_list_takes_filters_that_all_hold(it: RestHive) -> None:
    bob = await it.user("bob")
    train = ["python", "train.py", "--lr", "0.1"]
    await submitted(it, name="vit", command=train, project="vision", env={"KEY": "s3cret"})
    cancelled = await submitted(it, name="bert", command=["python", "eval.py"])
    await bob.post("/tasks", json={"command": ["echo", "100%"], "name": "bobs"})
    await it.admin.post(f"/tasks/{cancelled}/cancel")
    assert await listed(it, "") == ["bobs", "bert", "vit"]
    assert await listed(it, "owner=bob") == ["bobs"]
    assert await listed(it, "project=vision") == ["vit"]
    assert await listed(it, f"project={it.administrator}") == ["bert"]  # one's own, unnamed
    assert await listed(it, "state=cancelled&state=failed") == ["bert"]
    assert await listed(it, "outcome=gpu-oom") == []
    assert await listed(it, "text=train.py --lr") == ["vit"]
    assert await listed(it, "text=ber") == ["bert"]
    assert await listed(it, f"text={cancelled[:4]}&name=bert") == ["bert"]
    assert await listed(it, "text=100%25") == ["bobs"]
    assert await listed(it, "text=%25") == ["bobs"]  # a character, not a pattern
    assert await listed(it, "text=python&state=queued") == ["vit"]
    for secret in ("s3cret", "KEY"):
        assert await listed(it, f"text={secret}") == []


async def test_a_list_has_an_order_and_jumps(it: RestHive) -> None:
    for name in ("b", "c", "a"):
        await submitted(it, name=name)
    assert await listed(it, "order=oldest") == ["b", "c", "a"]
    assert await listed(it, "order=name") == ["a", "b", "c"]
    assert await listed(it, "order=ended") == []
    page = (await it.admin.get("/tasks?offset=1&limit=1")).json()
    assert ([item["name"] for item in page["items"]], page["total"]) == (["c"], 3)
    assert "next" not in page
    for query in (
        "order=name&cursor=1",
        "offset=0&cursor=1",
        "order=nonsense",
        "order=queue&owner=x",
    ):
        assert (await it.admin.get(f"/tasks?{query}")).status_code == 422, query


async def test_the_queue_is_listed_in_the_order_of_its_line(it: RestHive) -> None:
    await submitted(it, name="low", priority="low")
    await submitted(it, name="held")
    await it.admin.post("/tasks/held/hold")
    await submitted(it, name="normal")
    await submitted(it, name="urgent", priority="high")
    page = (await it.admin.get("/tasks?order=queue&brief=true")).json()
    found = [(item["position"], item["name"]) for item in page["items"]]
    assert found == [(1, "urgent"), (2, "normal"), (3, "low")]
    assert page["total"] == 3
    page = (await it.admin.get("/tasks?order=queue&offset=2&limit=5")).json()
    assert [(item["position"], item["name"]) for item in page["items"]] == [(3, "low")]


async def test_a_brief_list_leaves_out_what_a_table_does_not_show(it: RestHive) -> None:
    await submitted(it, name="x", env={"KEY": "value"})
    (whole,) = (await it.admin.get("/tasks")).json()["items"]
    (brief,) = (await it.admin.get("/tasks?brief=true")).json()["items"]
    assert whole["spec"]["env"] == {"KEY": "value"}
    assert "env" not in brief["spec"]
    assert brief["spec"]["command"] == ["true"]
    assert (brief["word"], brief["waiting"]) == (whole["word"], whole["waiting"])


async def test_a_large_list_is_packed_for_who_can_unpack_it(it: RestHive) -> None:
    tasks = [{"command": ["true"], "name": f"task-{n}"} for n in range(100)]
    await it.admin.post("/tasks/batch", json={"tasks": tasks})
    packed = await it.admin.get("/tasks", headers={"Accept-Encoding": "gzip"})
    plain = await it.admin.get("/tasks", headers={"Accept-Encoding": "identity"})
    assert packed.json() == plain.json()
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    assert 5 * int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    small = await it.admin.get("/auth/me", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


async def test_the_summary_counts_what_waits_and_what_ended(it: RestHive, tmp_path: Path) -> None:
    first = await submitted(it, name="first")
    held = await submitted(it, name="held")
    await submitted(it, name="array", array={"count": 10})
    await it.admin.post(f"/tasks/{held}/hold")
    found = (await it.admin.get("/summary")).json()
    assert found["counts"] == {"held": 1, "queued": 11, "active": 0}
    assert found["gpus"] == {"total": 0, "free": 0, "in_use": 0, "faulty": 0}
    oldest = (await it.admin.get(f"/tasks/{first}")).json()["submitted_at_ms"]
    assert found["oldest_wait_ms"] == oldest
    for name in (first, held):
        await it.admin.post(f"/tasks/{name}/cancel")
    found = (await it.admin.get("/summary")).json()
    assert found["counts"] == {"held": 0, "queued": 10, "active": 0}
    assert found["ended_24h"] == {"succeeded": 0, "failed": 0, "cancelled": 2}
    assert found["oldest_wait_ms"] > oldest


async def test_the_summary_after_a_restart_is_the_one_before(tmp_path: Path) -> None:
    async with rest_hive(tmp_path) as it:
        for name in ("a", "b"):
            await it.admin.post(f"/tasks/{await submitted(it, name=name)}/cancel")
        await submitted(it, name="c")
        before = (await it.admin.get("/summary")).json()
    async with rest_hive(tmp_path) as it:
        after = (await it.admin.get("/summary")).json()
    assert {**after, "now_ms": 0} == {**before, "now_ms": 0}
    assert after["ended_24h"]["cancelled"] == 2
