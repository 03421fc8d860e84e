"""The store: what it answered is on the disk, what has ended is never written again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from fluxhive.core.effects import HiveEffect, SaveAttempt, SaveNode, SaveTask
from fluxhive.core.errors import Conflict
from fluxhive.core.node import Node
from fluxhive.core.outcome import ExitFacts
from fluxhive.core.task import Attempt, AttemptState, Member, Task, TaskState
from fluxhive.core.values import NodeId
from fluxhive.server.clock import HiveClock
from fluxhive.server.store import engine as engine_module
from fluxhive.server.store import people, queries, secrets, tables
from fluxhive.server.store.engine import open_engine
from fluxhive.server.store.failures import StateInUse, StoreConflict, StoreUnavailable
from fluxhive.server.store.listing import TaskChoice, page_of_ids
from fluxhive.server.store.store import Store
from tests.helpers.records import DONE, attempt, ended, node, spec, task

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "hive.db")
    yield opened
    await anyio.to_thread.run_sync(opened.close)


def save(*records: Task | Attempt | Node) -> list[HiveEffect]:
    effects: list[HiveEffect] = []
    for record in records:
        if isinstance(record, Task):
            effects.append(SaveTask(task=record))
        elif isinstance(record, Attempt):
            effects.append(SaveAttempt(attempt=record))
        else:
            effects.append(SaveNode(node=record))
    return effects


# ── the schema ────────────────────────────────────────────────────────────────────────────────


async def test_the_migrations_make_exactly_the_declared_tables(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    Store.open(tmp_path / "hive.db").close()
    with open_engine(tmp_path / "hive.db").connect() as connection:
        context = MigrationContext.configure(connection)
        assert people.users.metadata is secrets.secrets.metadata is tables.metadata
        assert compare_metadata(context, tables.metadata) == []


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hive.db"
    Store.open(path).close()
    with sqlite3.connect(path) as database:
        database.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(Conflict, match=r"newer FlowHive.*9999"):
        Store.open(path)
    with sqlite3.connect(path) as database:
        assert database.execute("select version_num from alembic_version").fetchone() == ("9999",)


async def test_a_second_server_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    first = Store.open(tmp_path / "hive.db")
    with pytest.raises(StateInUse, match=f"another server works on .*process {os.getpid()}"):
        Store.open(tmp_path / "hive.db")
    first.close()
    Store.open(tmp_path / "hive.db").close()


async def test_nobody_else_can_read_the_database(tmp_path: Path) -> None:
    Store.open(tmp_path / "state" / "hive.db").close()
    assert (tmp_path / "state" / "hive.db").stat().st_mode & 0o077 == 0
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


# ── what comes back ───────────────────────────────────────────────────────────────────────────


async def test_every_record_comes_back_as_it_was_stored(store: Store) -> None:
    active = task(0, state=TaskState.ACTIVE, attempts=2, epoch=2, outcome=DONE, cancelled_by="bo")
    first = ended(attempt(active), excludes_node=True)
    second = attempt(active, 2, channel=2, state=AttemptState.RUNNING, pid=77)
    await store.apply(save(active, first, second, node()), now_ms=5_000)
    loaded = await store.load()
    assert loaded.tasks == (active,)
    assert loaded.attempts == (first, second)
    assert loaded.nodes == (node(),)
    assert loaded.hive_time_ms == 5_000


async def test_a_gang_comes_back_with_its_members(store: Store) -> None:
    active = task(0, state=TaskState.ACTIVE, attempts=1, epoch=1)
    first = attempt(active)
    members = (
        Member(
            rank=0,
            node_id=first.node_id,
            reservation=first.reservation,
            state=AttemptState.RUNNING,
            started_at_ms=2_500,
            pid=77,
        ),
        Member(
            rank=1,
            node_id=NodeId("n-2"),
            reservation=replace(first.reservation, node_id=NodeId("n-2")),
            state=AttemptState.ENDED,
            ended_at_ms=3_000,
            outcome=DONE,
            facts=ExitFacts(exit_code=0, stdout_bytes=12),
        ),
    )
    gang = replace(
        first, state=AttemptState.STOPPING, gang=members, cause_rank=1, rendezvous_port=29_500
    )
    await store.apply(save(active, gang, node()))
    assert (await store.load()).attempts == (gang,)


async def test_only_the_last_record_of_a_step_is_what_counts(store: Store) -> None:
    queued, active = task(0), task(0, state=TaskState.ACTIVE, attempts=1, epoch=1)
    reserved = attempt(active)
    running = replace(reserved, state=AttemptState.RUNNING)
    await store.apply(save(queued, active, node(), reserved, running))
    loaded = await store.load()
    assert (loaded.tasks, loaded.attempts) == ((active,), (running,))


async def test_the_counter_of_tasks_goes_on_after_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "hive.db")
    await store.load()
    await store.apply(save(task(0), task(1), task(2)))
    store.close()
    store = Store.open(tmp_path / "hive.db")
    assert (await store.load()).next_number == 3
    await store.apply(save(task(3), task(1, state=TaskState.HELD)))
    assert [each.number for each in (await store.load()).tasks] == [0, 1, 2, 3]
    store.close()


async def test_an_ended_task_that_was_placed_last_is_loaded_for_its_channel(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "ENDED_TASKS_LOADED", 1)
    over = [task(n, state=TaskState.SUCCEEDED, ended_at_ms=9_000 - n) for n in range(3)]
    tries = [ended(attempt(each, channel=each.number + 1)) for each in over]
    await store.apply(save(*over, *tries, node()))
    loaded = await store.load()
    assert [each.number for each in loaded.tasks] == [0, 2]
    assert max(each.channel for each in loaded.attempts) == 3


async def test_tasks_are_found_by_id_prefix_and_name_and_in_pages(store: Store) -> None:
    stored = [task(n, spec=spec(name=f"run_{n % 2}")) for n in range(5)]
    await store.apply(save(*stored))
    by_name = await store.call(lambda db: queries.find_tasks(db, "run_1"))
    assert [each.number for each in by_name] == [3, 1]
    by_id = await store.call(lambda db: queries.find_tasks(db, stored[2].id[:5]))
    assert stored[2] in by_id
    assert await store.call(lambda db: queries.find_tasks(db, "%")) == []
    chosen = TaskChoice(states=(TaskState.QUEUED,), owner="ann", before_number=4)
    page = await store.call(lambda db: page_of_ids(db, chosen, 2))
    assert page == [stored[3].id, stored[2].id]


# ── guards ────────────────────────────────────────────────────────────────────────────────────


async def test_a_task_that_has_ended_is_never_written_again(store: Store) -> None:
    over = task(0, state=TaskState.CANCELLED, ended_at_ms=9)
    await store.apply(save(over))
    with pytest.raises(StoreConflict):
        await store.apply(save(task(0, state=TaskState.QUEUED), task(1)))
    # Nothing of that transaction stayed.
    assert (await store.load()).tasks == (over,)


@pytest.mark.parametrize(
    "change",
    [
        {"state": AttemptState.STARTING},
        {"state": AttemptState.RUNNING, "epoch": 2},
        {"state": AttemptState.ENDED, "epoch": 7},
    ],
    ids=["backwards", "of another epoch", "ended by another epoch"],
)
async def test_an_attempt_moves_only_forward_under_its_own_epoch(
    store: Store, change: dict[str, object]
) -> None:
    running = attempt(task(0), state=AttemptState.RUNNING)
    await store.apply(save(task(0), node(), running))
    with pytest.raises(StoreConflict):
        await store.apply(save(replace(running, **change)))
    assert (await store.load()).attempts == (running,)


async def test_an_attempt_that_has_ended_takes_one_late_report_and_nothing_else(
    store: Store,
) -> None:
    lost = ended(attempt(task(0)), facts=None, fenced_at_ms=3_000)
    await store.apply(save(task(0), node(), lost))
    for again in (lost, replace(lost, outcome=None), replace(lost, state=AttemptState.RUNNING)):
        with pytest.raises(StoreConflict):
            await store.apply(save(again))
    late = replace(lost, late_report=DONE, facts=ExitFacts(exit_code=0))
    await store.apply(save(late))
    assert (await store.load()).attempts == (late,)
    with pytest.raises(StoreConflict):
        await store.apply(save(replace(late, facts=None)))


async def test_an_end_and_its_late_report_fit_into_one_step(store: Store) -> None:
    await store.apply(save(task(0), node(), attempt(task(0))))
    late = ended(attempt(task(0)), late_report=DONE)
    await store.apply(save(late))
    assert (await store.load()).attempts == (late,)


async def test_a_node_is_not_written_by_an_older_session(store: Store) -> None:
    await store.apply(save(node(session=5)))
    with pytest.raises(StoreConflict):
        await store.apply(save(node(session=4)))


# ── transactions ──────────────────────────────────────────────────────────────────────────────


def note(key: str) -> sa.Executable:
    return sa.insert(tables.meta).values(key=key, value="")


async def test_one_that_raises_undoes_nothing_of_those_it_shared_a_transaction_with(
    store: Store,
) -> None:
    outcomes: dict[str, object] = {}
    gate = threading.Event()

    async def write(key: str, *, fails: bool) -> None:
        def fn(connection: sa.Connection) -> str:
            connection.execute(note(key))
            if fails:
                raise KeyError(key)
            return key

        try:
            outcomes[key] = await store.call(fn)
        except KeyError as error:
            outcomes[key] = error

    async with anyio.create_task_group() as group:
        group.start_soon(store.call, lambda _db: gate.wait(10))
        for n in range(6):
            group.start_soon(partial(write, f"k{n}", fails=n % 2 == 1))
        await anyio.sleep(0.05)
        gate.set()
    stored = await store.call(queries.read_meta)
    assert {key for key in stored if key.startswith("k")} == {"k0", "k2", "k4"}
    assert isinstance(outcomes["k1"], KeyError)
    assert outcomes["k2"] == "k2"


async def test_a_full_disk_is_told_to_every_caller_and_passes_by_itself(
    store: Store,
) -> None:
    full = True

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        if full:
            connection.execute("PRAGMA max_page_count = 1")

    sa.event.listen(store._engine, "connect", limit)
    await store.call(lambda db: db.exec_driver_sql("PRAGMA max_page_count = 1"))
    big = [task(n, spec=spec(env={"X": "x" * 100_000})) for n in range(20)]
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await store.apply(save(*big))
        assert store.problem == "the disk is full"
    full = False
    await store.apply(save(*big))
    assert store.problem == ""
    assert len((await store.load()).tasks) == 20


async def test_a_database_locked_by_another_program_is_waited_for_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_MS", 100)
    store = Store.open(tmp_path / "hive.db")
    other = sqlite3.connect(tmp_path / "hive.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked by another program"):
        await store.apply(save(task(0)))
    other.execute("ROLLBACK")
    other.close()
    await store.apply(save(task(0)))
    assert store.problem == ""
    store.close()


async def test_after_close_everybody_hears_that_the_server_stops(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "hive.db")
    store.close()
    with pytest.raises(StoreUnavailable, match="stopping"):
        await store.call(queries.read_meta)


WRITER = """
import asyncio, sys
from pathlib import Path
from fluxhive.core.effects import SaveTask
from fluxhive.server.store.listing import TaskChoice, page_of_ids
from fluxhive.server.store.store import Store
from tests.helpers.records import task

async def main():
    store = Store.open(Path(sys.argv[1]))
    n = (await store.load()).next_number
    async def write(start):
        number = start
        while True:
            await store.call(lambda db: db.exec_driver_sql(
                "insert into meta values (?, '')", (f"w{number}",)))
            print(number, flush=True)
            number += 8
    print("open", flush=True)
    await asyncio.gather(*[write(n) for n in range(8)])

asyncio.run(main())
"""


def test_a_server_killed_in_mid_transaction_loses_nothing_it_acknowledged(
    tmp_path: Path,
) -> None:
    path = tmp_path / "hive.db"
    root = Path(__file__).parents[3]
    for round_ in range(3):
        with sqlite3.connect(path) as database:
            if round_:
                database.execute("delete from meta where key like 'w%'")
        database.close()
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(100 + 37 * round_)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
        acknowledged = {f"w{line.strip()}" for line in lines if line.strip().isdecimal()}
        stored = anyio.run(_read_notes, path)
        assert len(acknowledged) > 50
        assert acknowledged <= set(stored)


async def _read_notes(path: Path) -> dict[str, str]:
    store = Store.open(path)
    notes = await store.call(queries.read_meta)
    store.close()
    return notes


# ── hive time ─────────────────────────────────────────────────────────────────────────────────


async def test_hive_time_never_runs_backwards_whatever_the_wall_clock_does() -> None:
    wall, boot = [10_000], [500]
    clock = HiveClock(wall=lambda: wall[0], boot=lambda: boot[0])
    assert clock.now_ms() == 10_000
    wall[0], boot[0] = 3, 700
    assert clock.now_ms() == 10_200
    # A restart after the wall clock was set back goes on from what is stored.
    restarted = HiveClock(10_200, wall=lambda: wall[0], boot=lambda: boot[0])
    assert restarted.now_ms() == 10_200
