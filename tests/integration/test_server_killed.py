"""A server that is killed again and again: what it accepted stays, what tasks printed is whole.

Real processes, SIGKILL while reports and output are under way; the agent is a fake one that keeps
its runs over connections and dials again, as a real one does.
"""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from fluxhive.core.node import Inventory
from fluxhive.core.task import TaskState
from fluxhive.protocol.agent import Dispatch, Forget
from fluxhive.server.hive import open_hive
from fluxhive.server.store.failures import StateInUse
from fluxhive.server.store.store import Store
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.server_process import ServerProcess


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def keep_connected(agent: FakeAgent) -> None:
    """Dials until cancelled, as an agent does."""
    while True:
        with suppress(Exception):  # whatever a dying server makes of the connection
            async with agent.connected():
                await agent.until(lambda: agent.closed, timeout_s=300)
        await anyio.sleep(0.05)


async def forgotten(agent: FakeAgent, attempt_id: str, timeout_s: float) -> None:
    with anyio.fail_after(timeout_s):
        while attempt_id not in {each for said in agent.all(Forget) for each in said.attempt_ids}:
            await agent.changed()


def test_output_is_whole_after_the_server_was_killed_while_it_came(tmp_path: Path) -> None:
    chance = random.Random(7)
    printed = chance.randbytes(3_000_000), chance.randbytes(500_000)

    async def story() -> None:
        port = free_port()
        server = await anyio.to_thread.run_sync(ServerProcess, tmp_path, port)
        agent = FakeAgent(server.url, output=lambda _dispatch: printed)
        agent.pause_s = 0.05
        async with anyio.create_task_group() as group:
            group.start_soon(keep_connected, agent)
            task_id = await anyio.to_thread.run_sync(server.ask, "submit long")
            attempt_id = f"{task_id}.1"
            for _ in range(4):
                await anyio.sleep(chance.uniform(0.2, 1.5))
                await anyio.to_thread.run_sync(server.kill)
                server = await anyio.to_thread.run_sync(ServerProcess, tmp_path, port)
            await forgotten(agent, attempt_id, 60)
            assert server.ask(f"state {task_id}") == "succeeded"
            group.cancel_scope.cancel()
        await anyio.to_thread.run_sync(server.kill)
        assert len({d.epoch for d in agent.all(Dispatch)}) == 1
        stored = tmp_path / "logs" / task_id / attempt_id
        assert (stored / "0.stdout").read_bytes() == printed[0]
        assert (stored / "0.stderr").read_bytes() == printed[1]

    anyio.run(story)


def test_every_accepted_task_runs_to_its_end_however_often_the_server_dies(
    tmp_path: Path,
) -> None:
    chance = random.Random(11)

    async def story() -> None:
        port = free_port()
        server = await anyio.to_thread.run_sync(ServerProcess, tmp_path, port)
        agent = FakeAgent(server.url, inventory=Inventory(cpus=16, memory_mib=1))
        accepted: dict[str, str] = {}
        async with anyio.create_task_group() as group:
            group.start_soon(keep_connected, agent)
            for round_ in range(4):
                with anyio.move_on_after(chance.uniform(0.3, 1.0)):
                    n = 0
                    while True:
                        name = f"{round_}-{n}"
                        n += 1
                        answer = await anyio.to_thread.run_sync(server.ask, f"submit {name}")
                        if answer.startswith("t-"):
                            accepted[name] = answer
                await anyio.to_thread.run_sync(server.kill)
                server = await anyio.to_thread.run_sync(ServerProcess, tmp_path, port)
            # The same key after all that gives the same task.
            name, task_id = next(iter(accepted.items()))
            assert server.ask(f"submit {name}") == task_id
            with anyio.fail_after(60):
                left = set(accepted.values())
                while left:
                    left = {each for each in left if server.ask(f"state {each}") != "succeeded"}
                    await anyio.sleep(0.05)
            group.cancel_scope.cancel()
        await anyio.to_thread.run_sync(server.kill)
        assert len(accepted) > 20
        async with open_hive(tmp_path) as hive:
            for task_id in accepted.values():
                attempts = hive.brain.manager.attempts_of(task_id)
                assert len(attempts) == 1
            states = {task.state for task in hive.brain.manager.tasks()}
            assert states == {TaskState.SUCCEEDED}
            hive_tasks = len(list(hive.brain.manager.tasks()))
        # One that was not acknowledged may have been accepted; none is there twice.
        assert len(accepted) <= hive_tasks <= len(accepted) + 4

    anyio.run(story)


def test_a_second_server_on_the_same_state_is_refused(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, 0)
    try:
        with pytest.raises(StateInUse, match=f"process {server.process.pid}"):
            Store.open(tmp_path / "hive.db")
        assert server.ask("submit still-alive").startswith("t-")
    finally:
        server.kill()
    Store.open(tmp_path / "hive.db").close()
