"""A server that is killed at the n-th point of its store, and what must hold afterwards.

    python -m tests.helpers.kill_scenario [--every 1]

A point is each statement that SQLite begins, those of the migrations included, and each moment
between a commit and its answers. The scenario submits tasks with keys, runs one, cancels one, and
writes down what was acknowledged. It is forked from here, so that a thousand kills take minutes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.events import TaskCancelRequested
from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.core.values import TaskId
from fluxhive.protocol.agent import Dispatch, Forget
from fluxhive.server.hive import Hive, open_hive
from fluxhive.server.store import engine, store
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.serving import serving

KEYS = ("a", "b", "c")
#: Exit code of a scenario that came to its end.
WHOLE = 7


class _Points:
    """Counts points, and kills this process at one of them."""

    def __init__(self, kill_at: int) -> None:
        self._kill_at = kill_at
        self.n = 0

    def reach(self) -> None:
        self.n += 1
        if self.n == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        set_up, answer = engine._set_up, store.Store._answer

        def traced(connection: sqlite3.Connection, record: Any) -> None:
            connection.set_trace_callback(lambda _statement: self.reach())
            set_up(connection, record)

        def answered(it: store.Store, batch: list[Any]) -> None:
            self.reach()
            answer(it, batch)

        engine._set_up = traced
        store.Store._answer = answered  # type: ignore[method-assign]


async def scenario(state: Path, promises_path: Path) -> None:
    """What a hive does in a day, in little."""
    promises = os.open(promises_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def promise(line: str) -> None:
        os.write(promises, f"{line}\n".encode())

    async with serving(state) as it:
        agent = FakeAgent(it.url, output=lambda _: (b"hello\n", b""))
        async with agent.connected():
            ids: list[TaskId] = []
            for key in KEYS:
                spec = TaskSpec(command=("true",), name=key)
                (task,) = await it.hive.brain.submit([spec], "ann", key, key)
                promise(f"task {task.id} {key}")
                ids.append(task.id)
            agent.answers = False
            (late,) = await it.hive.brain.submit([TaskSpec(command=("sleep",))], "ann")
            promise(f"task {late.id} -")
            await it.hive.brain.handle(TaskCancelRequested(task_id=late.id, by="ann"))
            promise(f"cancel {late.id}")
            await agent.until(lambda: len(agent.all(Dispatch)) >= len(KEYS))
            wanted = {f"{task_id}.1" for task_id in ids}
            with anyio.move_on_after(10):
                await agent.until(
                    lambda: wanted <= {i for said in agent.all(Forget) for i in said.attempt_ids}
                )
            for said in agent.all(Forget):
                for attempt_id in said.attempt_ids:
                    promise(f"end {attempt_id}")


def run_once(directory: Path, kill_at: int) -> tuple[bool, int]:
    """Runs the scenario in a process of its own; whether it came to its end, and its points."""
    count = directory / "points"
    child = os.fork()
    if child == 0:
        points = _Points(kill_at)
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            points.install()
            anyio.run(scenario, directory / "state", directory / "promises")
            count.write_text(str(points.n))
        finally:
            os._exit(WHOLE)
    _, status = os.waitpid(child, 0)
    is_whole = os.waitstatus_to_exitcode(status) == WHOLE
    return is_whole, int(count.read_text()) if is_whole and count.exists() else 0


async def broken(directory: Path) -> list[str]:
    """What of the promises does not hold once the server is started again."""
    path = directory / "promises"
    lines = path.read_text().splitlines() if path.exists() else []
    found: list[str] = []
    # Opening checks every law of the core against what is stored.
    async with open_hive(directory / "state") as hive:
        for line in lines:
            word, id_, *rest = line.split()
            task = hive.brain.manager.task(TaskId(id_.rpartition(".")[0] or id_))
            if task is None:
                found.append(f"lost: {line}")
                continue
            is_over = task.state is TaskState.SUCCEEDED
            if word == "cancel":
                is_over = task.cancelled_by is not None or task.state.is_final
            if word != "task" and not is_over:
                found.append(f"{line}: {task.state}")
            elif word == "task" and rest[0] != "-" and await _again(hive, rest[0]) != id_:
                found.append(f"{line}: submitted again it is another task")
        for key in KEYS:  # whether it was answered or not, a repeat is welcome
            await _again(hive, key)
        named = [task.spec.name for task in hive.brain.manager.tasks()]
        found += [f"{key}: {named.count(key)} tasks" for key in KEYS if named.count(key) != 1]
    return found


async def _again(hive: Hive, key: str) -> str:
    spec = TaskSpec(command=("true",), name=key)
    (task,) = await hive.brain.submit([spec], "ann", key, key)
    return task.id


def sweep(every: int, first: int = 1) -> tuple[int, list[str]]:
    """Kills at each ``every``-th point; how many kills there were, and what was broken."""
    n_kills = 0
    found: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        is_whole, total = run_once(_fresh(Path(name), 0), kill_at=-1)
        if not is_whole or total == 0:
            return 0, ["the scenario does not come to its end even without a kill"]
        for n in range(first, total + 1, every):
            directory = _fresh(Path(name), n)
            is_whole, _ = run_once(directory, kill_at=n)
            n_kills += not is_whole
            try:
                found += [f"point {n}: {each}" for each in anyio.run(broken, directory)]
            except FluxhiveError as error:
                found.append(f"point {n}: does not start: {error}")
    return n_kills, found


def _fresh(root: Path, n: int) -> Path:
    directory = root / str(n)
    (directory / "state").mkdir(mode=0o700, parents=True)
    return directory


def main() -> int:
    parser = argparse.ArgumentParser(description="a server killed in any statement")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    n_kills, found = sweep(options.every)
    for line in found[:20]:
        print(line)
    print(f"{n_kills} kills, {len(found)} promises broken")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
