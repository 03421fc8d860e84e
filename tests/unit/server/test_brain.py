"""The brain: stored before it is told to anybody, and never stuck, whatever breaks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from fluxhive.core import effects, trials
from fluxhive.core.effects import HiveEffect, Publish
from fluxhive.core.errors import Conflict, InternalError
from fluxhive.core.events import (
    HiveEvent,
    NodeJoined,
    NodeSaid,
    TaskCancelRequested,
    TaskSubmitted,
    TimePassed,
)
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.node import Inventory, NodeState
from fluxhive.core.reports import AttemptEnded
from fluxhive.core.task import Task, TaskState
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import NodeId
from fluxhive.server.brain import Brain, NodeEffect
from fluxhive.server.brain_journal import BrainJournal
from fluxhive.server.clock import HiveClock
from fluxhive.server.store.failures import StoreUnavailable
from fluxhive.server.store.store import Store
from tests.helpers.records import DONE, NODE, spec

pytestmark = pytest.mark.anyio


class Room:
    """A brain with its store, and what it did."""

    def __init__(self, path: Path, brain: Brain, store: Store) -> None:
        self.path = path
        self.brain = brain
        self.store = store
        self.delivered: list[NodeEffect] = []
        self.published: list[Publish] = []
        self.rebuilt: list[str] = []
        brain.deliver = self.delivered.extend
        brain.on_publish(self.published.extend)
        brain.on_rebuilt = self.rebuilt.append

    async def join(self, session: int = 1) -> None:
        """A node says hello."""
        await self.brain.handle(
            NodeJoined(
                node_id=NODE,
                session=session,
                incarnation=1,
                label="n1",
                inventory=Inventory(cpus=4, memory_mib=8_192),
            )
        )

    async def submit(self, n: int = 1, **fields: object) -> list[Task]:
        """Tasks that need a CPU and nothing else."""
        from fluxhive.core.request import Request

        each = spec(request=Request(), **fields)
        return await self.brain.submit([each] * n, "ann")

    def dispatched(self) -> list[str]:
        """The attempts that were sent to nodes, in order."""
        return [e.attempt.id for e in self.delivered if isinstance(e, effects.Dispatch)]

    def on_disk(self, sql: str) -> list[tuple[object, ...]]:
        """What another process would see."""
        with sqlite3.connect(self.path / "hive.db") as database:
            return database.execute(sql).fetchall()

    async def until(self, claim: Callable[[], object]) -> None:
        """Waits for what the brain does by itself."""
        with anyio.fail_after(20):
            while not claim():  # noqa: ASYNC110 - nothing to wait on but the brain
                await anyio.sleep(0.01)


@asynccontextmanager
async def room(path: Path, settings: HiveSettings | None = None) -> AsyncIterator[Room]:
    store = Store.open(path / "hive.db")
    loaded = await store.load()
    journal = BrainJournal(path / "journal.jsonl")
    brain = Brain(
        store, HiveClock(loaded.hive_time_ms), journal, settings=settings or HiveSettings()
    )
    brain.take_up(loaded)
    it = Room(path, brain, store)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(brain.run)
            yield it
            group.cancel_scope.cancel()
    finally:
        await anyio.to_thread.run_sync(store.close)


class Breaking:
    """Makes the core break a law when it is told certain things."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, breaks: Callable[[HiveEvent], bool]
    ) -> None:
        self.times = 0
        honest = TaskManager.handle

        def handle(manager: TaskManager, event: HiveEvent, now_ms: int) -> list[HiveEffect]:
            if breaks(event):
                self.times += 1
                raise AssertionError("law 0: nothing is well")
            return honest(manager, event, now_ms)

        monkeypatch.setattr(TaskManager, "handle", handle)


# ── the way of an event ───────────────────────────────────────────────────────────────────────


async def test_nothing_is_sent_or_published_before_it_is_stored(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        seen: list[object] = []

        def deliver(said: list[NodeEffect]) -> None:
            for each in said:
                if isinstance(each, effects.Dispatch):
                    found = it.on_disk(f"select state from attempts where id='{each.attempt.id}'")
                    seen.append(found)
                elif isinstance(each, effects.Welcome):
                    seen.append(it.on_disk("select session from nodes"))

        def publish(changes: list[Publish]) -> None:
            for each in changes:
                if each.task_id and each.state == "active":
                    found = it.on_disk(f"select state from tasks where id='{each.task_id}'")
                    seen.append(found)

        it.brain.deliver = deliver
        it.brain.on_publish(publish)
        await it.join()
        await it.submit()
        assert seen == [[(1,)], [("reserved",)], [("active",)]]


async def test_a_submission_is_answered_when_it_is_on_the_disk(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        tasks = await it.submit(3)
        assert it.on_disk("select id from tasks order by number") == [(each.id,) for each in tasks]
        assert len({each.id for each in tasks}) == 3


async def test_ids_and_times_go_on_after_a_restart(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        first = (await it.submit())[0]
    async with room(tmp_path) as it:
        second = (await it.submit())[0]
        assert (second.number, second.id != first.id) == (first.number + 1, True)
        assert second.submitted_at_ms >= first.submitted_at_ms
        assert it.brain.manager.task(first.id) == first


async def test_time_passes_by_itself_when_something_is_due(tmp_path: Path) -> None:
    async with room(tmp_path, HiveSettings(silent_after_ms=50)) as it:
        await it.join()
        await it.until(lambda: any(each.state == "silent" for each in it.published))
        known = it.brain.manager.node(NODE)
        assert known is not None
        assert known.state is NodeState.SILENT
        assert it.on_disk("select state from nodes") == [("silent",)]


async def test_a_large_batch_is_one_transaction(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        seen: set[int] = set()

        async def watch() -> None:
            while len(seen) < 2 or 1_000 not in seen:
                counted = it.on_disk("select count(*) from tasks")[0][0]
                assert isinstance(counted, int)
                seen.add(counted)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await it.submit(1_000)
        assert seen == {0, 1_000}


# ── what is only said ─────────────────────────────────────────────────────────────────────────


async def test_a_forecast_that_fails_costs_that_forecast_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[object] = []

    def failing(hive: object, waiter: object, n_before: int) -> None:
        asked.append(waiter)
        raise IndexError("no such rung")

    monkeypatch.setattr(trials, "forecast", failing)
    async with room(tmp_path, HiveSettings(trial_every_ms=1)) as it:
        while len(asked) < 2:
            await it.submit()
        await it.join()
        await it.until(it.dispatched)
        assert it.rebuilt == []
    (told,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert told.getMessage() == "advice failed"
    assert told.exc_info is not None
    assert isinstance(told.exc_info[1], IndexError)


# ── the same request twice ────────────────────────────────────────────────────────────────────


async def test_a_key_gives_the_same_tasks_again_even_after_a_restart(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        first = await it.brain.submit([spec()] * 2, "ann", "key", "hash")
        again = await it.brain.submit([spec()] * 2, "ann", "key", "hash")
        assert again == first
    async with room(tmp_path) as it:
        assert await it.brain.submit([spec()] * 2, "ann", "key", "hash") == first
        assert it.on_disk("select count(*) from tasks") == [(2,)]


async def test_a_key_with_another_body_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await it.brain.submit([spec()], "ann", "key", "hash")
        with pytest.raises(Conflict, match="`key` was used for another request"):
            await it.brain.submit([spec()], "ann", "key", "other")
        assert it.on_disk("select count(*) from tasks") == [(1,)]


async def test_keys_belong_to_their_owner(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        mine = await it.brain.submit([spec()], "ann", "key", "hash")
        theirs = await it.brain.submit([spec()], "bo", "key", "other")
        assert mine[0].id != theirs[0].id


async def test_two_requests_with_one_key_at_once_are_one(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        got: list[list[Task]] = []

        async def submit(body_hash: str = "hash") -> None:
            got.append(await it.brain.submit([spec()], "ann", "key", body_hash))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(submit)
            await anyio.lowlevel.checkpoint()
            with pytest.raises(Conflict):
                await submit("another")
        assert len({tasks[0].id for tasks in got}) == 1
        assert it.on_disk("select count(*) from tasks") == [(1,)]


async def test_a_caller_that_gave_up_does_not_make_the_next_one_submit_twice(
    tmp_path: Path,
) -> None:
    async with room(tmp_path) as it:
        for _ in range(20):
            with anyio.move_on_after(0):
                await it.brain.submit([spec()], "ann", "key", "hash")
        async with anyio.create_task_group() as group:
            group.start_soon(it.brain.submit, [spec()], "ann", "key", "hash")
            await anyio.sleep(0.0005)
            group.cancel_scope.cancel()
        tasks = await it.brain.submit([spec()], "ann", "key", "hash")
        assert it.on_disk("select id from tasks") == [(tasks[0].id,)]


# ── the store fails ───────────────────────────────────────────────────────────────────────────


async def test_a_store_that_fails_is_told_to_the_caller_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as it:
        await it.join()
        honest = Store.apply
        is_broken = True

        async def apply(store: Store, *args: object, **kwargs: object) -> None:
            if is_broken:
                raise StoreUnavailable("the disk is full")
            await honest(store, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(Store, "apply", apply)
        monkeypatch.setattr("fluxhive.server.brain.STORE_RETRY_S", 0.02)
        it.delivered.clear()
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await it.submit()
        assert it.brain.problem == "the disk is full"
        # Refused at once from now on, without waiting for the disk.
        with pytest.raises(StoreUnavailable):
            await it.submit()
        assert it.delivered == []
        is_broken = False
        await it.until(lambda: not it.brain.problem)
        assert it.rebuilt == ["the server's store failed and works again"]
        assert list(it.brain.manager.tasks()) == []
        await it.join(session=2)
        accepted = await it.submit()
        assert it.dispatched() == [f"{accepted[0].id}.1"]


async def test_a_write_that_meets_another_state_is_handled_like_a_store_that_failed(
    tmp_path: Path,
) -> None:
    async with room(tmp_path) as it:
        accepted = (await it.submit())[0]
        with sqlite3.connect(tmp_path / "hive.db") as database:
            database.execute("update tasks set state = 'failed', ended_at_ms = 1")
        with pytest.raises(StoreUnavailable, match="a write was refused"):
            await it.brain.handle(TaskCancelRequested(task_id=accepted.id, by="ann"))
        await it.until(lambda: it.rebuilt)
        known = it.brain.manager.task(accepted.id)
        assert known is not None
        assert known.state is TaskState.FAILED


# ── a law breaks ──────────────────────────────────────────────────────────────────────────────


async def test_an_event_that_breaks_a_law_twice_is_put_aside_and_the_hive_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with room(tmp_path) as it:
        before = (await it.submit(name="before"))[0]
        poison = "poison"
        breaking = Breaking(
            monkeypatch, lambda e: isinstance(e, TaskSubmitted) and e.spec.name == poison
        )
        with pytest.raises(InternalError, match="has put it aside"):
            await it.submit(name=poison)
        assert breaking.times == 2
        assert len(it.rebuilt) == 2
        after = (await it.submit(name="after"))[0]
        names = [each.spec.name for each in it.brain.manager.tasks()]
        assert names == ["before", "after"]
        assert it.on_disk("select count(*) from tasks") == [(2,)]
        assert before.id != after.id
        assert "a law of the core broke" in caplog.text
    kept = sorted(tmp_path.glob("incident.*"))  # noqa: ASYNC240 - nothing else runs
    assert len(kept) == 2
    lines = [json.loads(line) for line in kept[0].read_bytes().splitlines()]
    assert "law 0" in lines[0]["story"]
    assert lines[-1]["event"]["spec"]["name"] == poison


async def test_a_law_that_breaks_once_costs_the_caller_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as it:
        breaking = Breaking(
            monkeypatch, lambda e: isinstance(e, TaskSubmitted) and breaking.times == 0
        )
        accepted = await it.submit()
        assert breaking.times == 1
        assert it.on_disk("select id from tasks") == [(accepted[0].id,)]


async def test_those_in_the_same_step_as_a_broken_law_keep_what_they_got(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as it:
        Breaking(monkeypatch, lambda e: isinstance(e, TaskSubmitted) and e.spec.name == "p")
        got: dict[str, object] = {}

        async def submit(name: str) -> None:
            try:
                got[name] = (await it.submit(name=name))[0].id
            except InternalError:
                got[name] = "aside"

        async with anyio.create_task_group() as group:
            for name in ("a", "p", "b"):
                group.start_soon(submit, name)
        assert got["p"] == "aside"
        stored = dict(it.on_disk("select name, id from tasks"))  # type: ignore[arg-type]
        assert stored == {"a": got["a"], "b": got["b"]}


async def test_a_report_in_quarantine_is_skipped_when_it_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as it:
        await it.join()
        attempt_id = f"{(await it.submit())[0].id}.1"
        breaking = Breaking(monkeypatch, lambda e: isinstance(e, NodeSaid))
        report = AttemptEnded(attempt_id=attempt_id, epoch=1, outcome=DONE)  # type: ignore[arg-type]
        for session in (1, 2, 3, 4):
            said = NodeSaid(node_id=NODE, session=session, report=report)
            with pytest.raises(InternalError):
                await it.brain.handle(said)
        assert breaking.times == 2


async def test_time_that_breaks_a_law_slows_the_hive_down_and_does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxhive.server.brain.BROKEN_TIME_S", 0.05)
    async with room(tmp_path) as it:
        breaking = Breaking(monkeypatch, lambda e: isinstance(e, TimePassed) and breaking.times < 4)
        it.brain.post((TimePassed(),))
        it.brain.post((TimePassed(),))
        await it.until(lambda: breaking.times >= 2)
        assert len(await it.submit()) == 1


# ── bounds ────────────────────────────────────────────────────────────────────────────────────


async def test_a_full_inbox_turns_callers_away_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxhive.server.brain.INBOX_MAX", 3)
    async with room(tmp_path) as it:
        refused: list[object] = []
        for n in range(5):
            event = TaskCancelRequested(task_id=f"t-{n}", by="ann")  # type: ignore[arg-type]
            it.brain.post((event,), refused.append)
        assert [type(each) for each in refused] == [StoreUnavailable] * 2


async def test_who_waits_when_the_server_stops_is_told(tmp_path: Path) -> None:
    answers: list[object] = []
    async with room(tmp_path) as it:
        it.brain.post((TaskCancelRequested(task_id="t-1", by="ann"),), answers.append)  # type: ignore[arg-type]
    assert answers
    assert answers[0] is None or isinstance(answers[0], StoreUnavailable)


async def test_a_listener_that_fails_does_not_stop_the_hive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with room(tmp_path) as it:

        def listener(_changes: list[Publish]) -> None:
            raise ValueError("a bug of the feed")

        it.brain.on_publish(listener)
        assert len(await it.submit()) == 1
        assert len(await it.submit()) == 1
        assert "effects not carried out" in caplog.text


def test_the_journal_stays_within_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxhive.server.brain_journal.FILE_BYTES", 2_000)
    journal = BrainJournal(tmp_path / "journal.jsonl")
    for n in range(500):
        journal.note(TaskCancelRequested(task_id=f"t-{n}", by="ann"), n)  # type: ignore[arg-type]
        journal.write(journal.take())
    journal.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"journal.jsonl", "journal.jsonl.1"}
    assert max(sizes.values()) < 2_200
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0
    last = json.loads((tmp_path / "journal.jsonl").read_bytes().splitlines()[-1])
    assert (last["now_ms"], last["event"]["task_id"]) == (499, "t-499")
    for _ in range(9):
        assert journal.keep("a story") is not None
    assert len(list(tmp_path.glob("incident.*"))) == 5


def test_an_event_can_be_read_back_from_the_journal() -> None:
    import msgspec

    event = NodeJoined(
        node_id=NodeId("n-1"),
        session=1,
        incarnation=1,
        label="n1",
        inventory=Inventory(cpus=4, memory_mib=1),
    )
    assert msgspec.json.decode(msgspec.json.encode(event), type=HiveEvent) == event
