"""A server under load that writes down what it has acknowledged, and the check of a disk after it.

    python -m tests.helpers.power_scenario run DIRECTORY [--tasks 40] [--mutant NAME]
    python -m tests.helpers.power_scenario images --images 1000 [--seed 1] [--mutant NAME]

``run`` is the process whose disk is recorded (power_cut.py): tasks are submitted, a fake agent runs
them, output is shipped. ``images`` does all: record, cut the power at so many moments, check each.
Mutants: ``normal`` (SQLite's synchronous=NORMAL), ``mark-first`` (log marks before their fsync).
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio

from fluxhive.core.node import Inventory
from fluxhive.core.task import TaskSpec
from fluxhive.protocol.agent import Dispatch, Forget, LogUpTo
from tests.helpers import checked_log
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.power_cut import (
    ACKNOWLEDGED,
    Change,
    Image,
    crash_images,
    library,
    read_record,
    watched,
)

ROOT = Path(__file__).parents[2]
MUTANTS = ("normal", "mark-first")
STREAMS = ("stdout", "stderr")


def plant(mutant: str) -> None:
    """Puts a mistake into this process."""
    from fluxhive.server import log_stream
    from fluxhive.server.store import engine, store

    if mutant == "normal":
        real = engine._set_up

        def set_up(connection: sqlite3.Connection, record: object) -> None:
            real(connection, record)
            connection.execute("PRAGMA synchronous = NORMAL")

        engine._set_up = set_up
        store.Store._set_durability = lambda *args, **kwargs: None  # type: ignore[method-assign]
    elif mutant == "mark-first":
        log_stream.os.fdatasync = lambda handle: None  # type: ignore[attr-defined]


async def load_server(directory: Path, n_tasks: int) -> None:
    """Submits and runs tasks; each promise of the server is written down once it is made."""
    from tests.helpers.serving import serving

    chance = random.Random(n_tasks)

    def output(_dispatch: Dispatch) -> tuple[bytes, bytes]:
        return checked_log.written(0, chance.randrange(150_000)), checked_log.written(0, 777)

    async with serving(directory) as it:
        inventory = Inventory(cpus=4, memory_mib=1_000_000)
        agent = FakeAgent(it.url, inventory=inventory, output=output)
        with open(directory / ACKNOWLEDGED, "a", buffering=1) as promises:  # noqa: ASYNC230

            async def submit(first: int, last: int) -> None:
                for n in range(first, last):
                    spec = TaskSpec(command=("true",), name=f"n{n}")
                    (task,) = await it.hive.brain.submit([spec], "ann", f"key-{n}", f"body-{n}")
                    promises.write(f"task {task.id} key-{n}\n")
                    await anyio.sleep(chance.uniform(0, 0.02))

            async def note() -> None:
                n_over = 0
                heard: list[object] = []
                channels: dict[int, str] = {}
                while n_over < n_tasks:
                    await agent.until(lambda: len(agent.heard) > len(heard), timeout_s=60)
                    for message in agent.heard[len(heard) :]:
                        heard.append(message)
                        if isinstance(message, Dispatch):
                            channels[message.channel] = message.attempt_id
                        elif isinstance(message, LogUpTo) and message.durable:
                            attempt = channels[message.channel]
                            promises.write(f"log {attempt} {message.stream} {message.durable}\n")
                        elif isinstance(message, Forget):
                            n_over += len(message.attempt_ids)
                            for each in message.attempt_ids:
                                promises.write(f"end {each}\n")

            async with agent.connected(), anyio.create_task_group() as group:
                group.start_soon(note)
                half = n_tasks // 2
                group.start_soon(submit, 0, half)
                group.start_soon(submit, half, n_tasks)


def broken_promises(image: Image, directory: Path) -> list[str]:
    """What the server had acknowledged and this disk does not hold."""
    image.write(directory)
    broken: list[str] = []
    if not image.acknowledged:
        return broken
    database = sqlite3.connect(directory / "hive.db", isolation_level=None)
    database.execute("PRAGMA synchronous = OFF")  # only a copy that is thrown away
    try:
        (state,) = database.execute("PRAGMA integrity_check").fetchone()
        if state != "ok":
            return [f"damaged: {state}"]
        tasks = {row[0] for row in database.execute("SELECT id FROM tasks")}
        keys = {
            key: json.loads(ids)
            for key, ids in database.execute("SELECT key, task_ids FROM idempotency_keys")
        }
        ended = {row[0] for row in database.execute("SELECT id FROM attempts WHERE state='ended'")}
        marks = {
            (attempt, stream): durable
            for attempt, stream, durable in database.execute(
                "SELECT attempt_id, stream, durable FROM log_streams"
            )
        }
    finally:
        database.close()
    for line in image.acknowledged:
        match line.split():
            case ["task", task_id, key] if task_id not in tasks or keys.get(key) != [task_id]:
                broken.append(line)
            case ["end", attempt_id] if attempt_id not in ended:
                broken.append(line)
            case ["log", attempt_id, stream, length]:
                if marks.get((attempt_id, int(stream)), 0) < int(length):
                    broken.append(line)
    for (attempt_id, stream), durable in marks.items():
        task_id = attempt_id.rpartition(".")[0]
        path = directory / "logs" / task_id / attempt_id / f"0.{STREAMS[stream]}"
        data = path.read_bytes()[:durable] if path.exists() else b""
        fault = checked_log.first_fault(data)
        if len(data) < durable or fault is not None:
            broken.append(f"output of {attempt_id}: {len(data)} of {durable} bytes, {fault}")
    return broken


def record(directory: Path, n_tasks: int, mutant: str | None = None) -> list[Change]:
    """What a server under load writes to its disk."""
    state = directory / "state"
    state.mkdir(mode=0o700)
    words = ["run", str(state), "--tasks", str(n_tasks)]
    words += ["--mutant", mutant] if mutant else []
    subprocess.run(
        [sys.executable, "-m", "tests.helpers.power_scenario", *words],
        cwd=ROOT,
        env=watched(library(directory), state, directory / "record"),
        check=True,
        timeout=120,
    )
    return read_record(directory / "record")


def check_images(
    directory: Path, changes: list[Change], n_images: int, seed: int
) -> tuple[int, list[str]]:
    """How many promises were looked at in all images, and those that were broken."""
    n_promises = 0
    broken: list[str] = []
    for image in crash_images(changes, directory / "state", n_images, seed):
        n_promises += len(image.acknowledged)
        found = broken_promises(image, directory / "image")
        broken += [f"power cut after change {image.cut}: {each}" for each in found]
    return n_promises, broken


def main() -> int:
    parser = argparse.ArgumentParser(description="a server's disk after a power cut")
    parser.add_argument("verb", choices=("run", "images"))
    parser.add_argument("directory", nargs="?", type=Path)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutant", choices=MUTANTS)
    options = parser.parse_args()
    if options.verb == "run":
        if options.mutant:
            plant(options.mutant)
        anyio.run(load_server, options.directory, options.tasks)
        return 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        changes = record(directory, options.tasks, options.mutant)
        n_promises, broken = check_images(directory, changes, options.images, options.seed)
    for line in broken[:20]:
        print(line)
    print(
        f"{options.images} images of {len(changes)} changes, {n_promises} promises looked at, "
        f"{len(broken)} broken"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
