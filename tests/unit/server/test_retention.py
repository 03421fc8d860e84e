"""What is kept for how long: old output goes and is a gap, old tasks go, and nothing else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.protocol.agent import Forget
from fluxhive.server import retention
from fluxhive.server.hive import Hive
from fluxhive.server.retention import DAY_MS, Keeper, Retention
from fluxhive.server.store.queries import read_task
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.serving import Serving, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(tmp_path) as opened:
        yield opened


async def ended(it: Serving, n_tasks: int, output: bytes = b"hello") -> list[str]:
    """So many tasks, run to their ends one after the other."""
    agent = FakeAgent(it.url, output=lambda _: (output, b""))
    found = []
    async with agent.connected():
        for n in range(n_tasks):
            spec = TaskSpec(command=("true",))
            (task,) = await it.hive.brain.submit([spec], "ann", f"key-{n}", f"body-{n}")
            await agent.until(
                lambda task=task: (
                    f"{task.id}.1"
                    in {each for said in agent.all(Forget) for each in said.attempt_ids}
                )
            )
            found.append(task.id)
    return found


def keeper(it: Serving, tmp_path: Path, **kept: float) -> Keeper:
    hive = it.hive
    limits = Retention(**{"logs_days": 30.0, "tasks_days": 90.0, **kept})  # type: ignore[arg-type]
    return Keeper(tmp_path / "logs", hive.store, hive.brain, hive.logs, hive.clock, limits)


def later(it: Serving, monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    now_ms = it.hive.clock.now_ms
    moved_ms = round(days * DAY_MS)
    monkeypatch.setattr(it.hive.clock, "now_ms", lambda: now_ms() + moved_ms)


async def gap_of(hive: Hive, task_id: str) -> tuple[int, int, str] | None:
    attempts = hive.brain.manager.attempts_of(task_id)  # type: ignore[arg-type]
    await hive.logs.load(attempts)
    gaps = hive.logs.gaps(attempts[0].id, 0)
    return (gaps[0].start, gaps[0].end, gaps[0].reason) if gaps else None


async def test_young_things_stay(it: Serving, tmp_path: Path) -> None:
    (task,) = await ended(it, 1)
    assert not await keeper(it, tmp_path).look()
    assert (tmp_path / "logs" / task).exists()
    assert await gap_of(it.hive, task) is None


async def test_old_output_goes_and_is_a_gap_with_its_reason(
    it: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = await ended(it, 1)
    later(it, monkeypatch, 31)
    await keeper(it, tmp_path).look()
    assert not (tmp_path / "logs" / task).exists()
    gap = await gap_of(it.hive, task)
    assert gap is not None
    assert gap[:2] == (0, 5)
    assert "30 days" in gap[2]
    state = it.hive.brain.manager.task(task)  # type: ignore[arg-type]
    assert state is not None
    assert state.state is TaskState.SUCCEEDED


async def test_output_that_does_not_fit_goes_the_oldest_first(
    it: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await ended(it, 5, output=bytes(100))
    monkeypatch.setattr(retention, "TASKS_PER_PASS", 2)
    kept = keeper(it, tmp_path, logs_bytes=250)
    assert await kept.look()  # as many as one pass may: there may be more
    await kept.look()
    left = [task for task in found if (tmp_path / "logs" / task).exists()]
    assert left == found[3:]


async def test_old_tasks_go_from_store_memory_and_disk_with_their_keys(
    it: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hive = it.hive
    old = await ended(it, 3)
    later(it, monkeypatch, 91)
    waiting = (await hive.brain.submit([TaskSpec(command=("true",))], "ann"))[0]
    await keeper(it, tmp_path).look()
    for task_id in old:
        assert hive.brain.manager.task(task_id) is None  # type: ignore[arg-type]
        stored = await hive.store.call(lambda db, i=task_id: read_task(db, i), durable=False)
        assert stored is None
    assert not list((tmp_path / "logs").iterdir())
    assert hive.brain.manager.task(waiting.id) is not None
    # The key of so long ago is a new one now.
    (again,) = await hive.brain.submit([TaskSpec(command=("true",))], "ann", "key-0", "other")
    assert again.id not in old


async def test_what_has_not_ended_is_never_touched(
    it: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hive = it.hive
    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        (task,) = await hive.brain.submit([TaskSpec(command=("sleep",))], "ann")
        await agent.until(lambda: hive.brain.manager.attempts_of(task.id))
        later(it, monkeypatch, 400)
        await keeper(it, tmp_path).look()
        await anyio.lowlevel.checkpoint()
        assert hive.brain.manager.task(task.id) is not None
        assert hive.brain.manager.attempts_of(task.id)
