"""The door of an agent's connection: the same words in the same order, with it and without."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from fluxhive.core.node import Inventory
from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.core.values import AttemptId, NodeId
from fluxhive.protocol.agent import Forget, Hello
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import encode_envelope, encode_message, server_codec
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.serving import serving

pytestmark = pytest.mark.anyio

NODE = NodeId("n-1")
#: Of 80 kB each.
N_UNREAD = 150


@pytest.mark.parametrize("has_door", [True, False])
async def test_a_task_goes_out_runs_and_ends(tmp_path: Path, has_door: bool) -> None:
    async with serving(tmp_path, has_door=has_door) as it:
        agent = FakeAgent(it.url, output=lambda _: (b"loss 0.1\n", b"warning\n"))
        async with agent.connected():
            assert (it.hive.sessions._live[NODE]._door is not None) == has_door
            (task,) = await it.hive.brain.submit([TaskSpec(command=("true",))], "ann")
            await agent.until(lambda: agent.all(Forget))
        known = it.hive.brain.manager.task(task.id)
        assert known is not None
        assert known.state is TaskState.SUCCEEDED


async def test_what_a_slow_peer_did_not_take_follows_in_order(tmp_path: Path) -> None:
    """More than all buffers on the way hold, said to one who does not read; then it does, and more
    is said to it meanwhile."""
    async with serving(tmp_path) as it, FakeAgent(it.url).dialled() as socket:
        inventory = Inventory(cpus=1, memory_mib=1)
        hello = Hello(incarnation=1, agent_version="1", label="slow", inventory=inventory)
        await socket.send(encode_envelope(0, [(0, encode_message(hello))]))
        while NODE not in it.hive.sessions._live:  # noqa: ASYNC110 - there is no event for it
            await anyio.sleep(0.01)
        session = it.hive.sessions._live[NODE]
        door = session._door
        assert door is not None
        words = Forget(session=1, attempt_ids=tuple(AttemptId(f"{n:0200}") for n in range(400)))
        n_said = 0
        while door.is_open or n_said < N_UNREAD:
            session.say(words)
            n_said += 1
            await anyio.lowlevel.checkpoint()
        link, heard = Link(server_codec()), []
        while len(heard) < n_said:
            told = link.receive(await socket.recv())
            heard += [n for n, message in told if isinstance(message, Forget)]
            if n_said < 2 * N_UNREAD:
                session.say(words)
                n_said += 1
        assert heard == sorted(heard)
        assert session.is_open
