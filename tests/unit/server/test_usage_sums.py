"""`fluxhive usage`'s sums over the real tables: single tasks, members of arrays, gangs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive.core.array import ArraySpec, SweepVariable
from fluxhive.core.effects import HiveEffect, SaveAttempt, SaveNode, SaveTask
from fluxhive.core.outcome import ExitFacts, GpuPeak
from fluxhive.core.task import Member, Task, TaskState
from fluxhive.core.usage_sum import UsageSum
from fluxhive.core.values import GpuUuid
from fluxhive.server.store.store import Store
from fluxhive.server.store.usage_sums import UsageChoice, UsageKey, usage_sums
from tests.helpers.records import DONE, attempt, ended, node, spec, task
from tests.helpers.rest_hive import rest_hive

pytestmark = pytest.mark.anyio

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PEAK = GpuPeak(uuid=GpuUuid("GPU-1"), peak_mib=900, utilization_percent=80)
FACTS = ExitFacts(exit_code=0, cpu_ms=50, gpu_peaks=(PEAK,))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "hive.db")
    yield opened
    opened.close()


def done(number: int, **fields: Any) -> Task:
    """A task that succeeded."""
    known = {"state": TaskState.SUCCEEDED, "attempts": 1, "epoch": 1, "ended_at_ms": 2 * HOUR_MS}
    return task(number, **{**known, "outcome": DONE, **fields})


def an_hour(of: Task) -> list[HiveEffect]:
    """The task with its attempt, which held one GPU from hour 1 to hour 2."""
    tried = attempt(of, channel=of.number + 1, reserved_at_ms=HOUR_MS)
    return [
        SaveTask(task=of),
        SaveAttempt(attempt=ended(tried, ended_at_ms=2 * HOUR_MS, facts=FACTS)),
    ]


async def sums(store: Store, by: UsageKey = UsageKey.NAME, **fields: Any) -> dict[str, UsageSum]:
    known = {"by": by, "since_ms": 0, "now_ms": 9 * HOUR_MS, "owner": "ann", **fields}
    return await store.read(partial(usage_sums, chosen=UsageChoice(**known)))


async def test_ones_own_tasks_are_added_up_by_what_they_have_in_common(store: Store) -> None:
    effects: list[HiveEffect] = [SaveNode(node=node())]
    effects += an_hour(done(0)) + an_hour(done(1, spec=spec(project="vision")))
    effects += an_hour(done(2, owner="bob")) + an_hour(done(3, ended_at_ms=HOUR_MS - 1))
    effects += [SaveTask(task=task(4, spec=spec(name="")))]
    await store.apply(effects, now_ms=1)
    hour = UsageSum(1, 1, 0, HOUR_MS, 50, 80 * HOUR_MS, HOUR_MS, 900)
    two = hour.plus(hour)
    found = await sums(store, since_ms=HOUR_MS)
    assert found == {"train": two, "": UsageSum(tasks=1)}
    by_project = await sums(store, UsageKey.PROJECT, since_ms=HOUR_MS)
    assert by_project == {"ann": hour.plus(UsageSum(tasks=1)), "vision": hour}
    by_state = await sums(store, UsageKey.STATE, since_ms=HOUR_MS)
    assert by_state == {"succeeded": two, "queued": UsageSum(tasks=1)}
    assert (await sums(store, since_ms=HOUR_MS * 3 // 2))["train"].gpu_ms == HOUR_MS


async def test_days_begin_where_the_asker_lives(store: Store) -> None:
    late = task(0, submitted_at_ms=10 * DAY_MS - HOUR_MS)
    await store.apply([SaveTask(task=late)], now_ms=1)
    assert list(await sums(store, UsageKey.DAY)) == ["9"]
    assert list(await sums(store, UsageKey.DAY, utc_offset_ms=HOUR_MS)) == ["10"]


async def test_members_of_an_array_count_one_by_one_and_the_array_itself_does_not(
    store: Store,
) -> None:
    swept = ArraySpec(variables=(SweepVariable(name="lr", values=("1", "2", "3")),))
    array = task(0, spec=spec(array=swept))
    members = [
        done(n, array_id=array.id, member_index=n, spec=spec(array=swept), owner="bob")
        for n in range(2)
    ]
    saved: list[HiveEffect] = [SaveNode(node=node()), SaveTask(task=replace(array, owner="bob"))]
    for place, member in enumerate(members):
        member = replace(member, id=f"{array.id}[{place}]", number=place + 1)
        saved += an_hour(member)
    await store.apply(saved, now_ms=1)
    assert await sums(store) == {}
    for asked in ({"owner": "bob"}, {"array_id": array.id}):
        (found,) = (await sums(store, **asked)).values()
        assert (found.tasks, found.gpu_ms) == (2, 2 * HOUR_MS)


async def test_every_member_of_a_gang_counts(store: Store) -> None:
    first = attempt(task(0), reserved_at_ms=HOUR_MS)
    part = Member(
        rank=0,
        node_id=first.node_id,
        reservation=first.reservation,
        state=first.state,
        facts=FACTS,
    )
    gang = (part, replace(part, rank=1), replace(part, rank=2, facts=None))
    saved = [
        SaveNode(node=node()),
        SaveTask(task=task(0)),
        SaveAttempt(attempt=replace(first, gang=gang)),
    ]
    await store.apply(saved, now_ms=1)
    found = (await sums(store))["train"]
    assert (found.gpu_ms, found.cpu_ms) == (3 * 8 * HOUR_MS, 100)


async def test_the_answer_names_days_and_keeps_everything_in_its_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxhive.server.rest.usage.ROWS_MAX", 2)
    async with rest_hive(tmp_path) as it:
        for name in "abc":
            await it.admin.post("/tasks", json={"command": ["true"], "name": name})
        found = (await it.admin.get("/usage")).json()
        assert [row["key"] for row in found["rows"]] == ["a", "b"]
        assert found["total"]["tasks"] == 3
        (day,) = (await it.admin.get("/usage?by=day")).json()["rows"]
        assert day["key"].startswith("20")
        wrong = await it.admin.get("/usage?by=colour")
        assert wrong.status_code == 422
        assert "name" in wrong.text
