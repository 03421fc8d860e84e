"""Agents' connections: each node touches its own attempts, and none of them slows the hive."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from websockets.exceptions import ConnectionClosed

from fluxhive import __version__
from fluxhive.core.events import NodeJoined
from fluxhive.core.node import GpuReport, Inventory, NodeState
from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.reports import AttemptAccepted, AttemptEnded
from fluxhive.core.task import AttemptState, Task, TaskSpec, TaskState
from fluxhive.core.values import AttemptId, GpuUuid, NodeId
from fluxhive.protocol.agent import Dispatch, Forget, HeartbeatAck, LogUpTo, Stop
from fluxhive.protocol.wire import (
    FRAME_BYTES_MAX,
    LOG_CHUNK_BYTES,
    encode_envelope,
    encode_message,
)
from fluxhive.server import session as session_module
from fluxhive.server import sessions as sessions_module
from fluxhive.server.hive import Hive
from fluxhive.server.store.failures import StoreUnavailable
from fluxhive.server.store.store import Store
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.serving import Serving, serving

pytestmark = pytest.mark.anyio

NODE = NodeId("n-1")


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(tmp_path) as opened:
        yield opened


async def submit(hive: Hive, n: int = 1, **fields: object) -> list[Task]:
    spec = TaskSpec(command=("true",), **fields)  # type: ignore[arg-type]
    return await hive.brain.submit([spec] * n, "ann")


def state_of(hive: Hive, task: Task) -> TaskState:
    known = hive.brain.manager.task(task.id)
    assert known is not None
    return known.state


# ── the whole path ────────────────────────────────────────────────────────────────────────────


async def test_a_task_goes_out_runs_ends_and_its_output_is_kept(it: Serving) -> None:
    agent = FakeAgent(it.url, output=lambda _: (b"loss 0.1\n", b"warning\n"))
    async with agent.connected():
        task = (await submit(it.hive))[0]
        await agent.until(lambda: agent.all(Forget))
    assert state_of(it.hive, task) is TaskState.SUCCEEDED
    attempt = it.hive.brain.manager.attempts_of(task.id)[0]
    assert it.hive.logs.read(attempt.id, 0, 0, 99) == b"loss 0.1\n"
    assert [view.complete for view in it.hive.logs.streams(attempt)] == [True, True]
    assert agent.link.unacknowledged == []


async def test_a_hundred_tasks_go_through_several_nodes(it: Serving) -> None:
    agents = [FakeAgent(it.url, f"n-{n}", inventory=Inventory(cpus=4, memory_mib=1)) for n in "abc"]
    async with agents[0].connected(), agents[1].connected(), agents[2].connected():
        tasks = await submit(it.hive, 100)
        await agents[0].until(
            lambda: sum(len(f.attempt_ids) for a in agents for f in a.all(Forget)) == 100
        )
    assert {state_of(it.hive, task) for task in tasks} == {TaskState.SUCCEEDED}
    assert all(agent.all(Dispatch) for agent in agents)


async def test_a_cancel_reaches_the_node(it: Serving) -> None:
    from fluxhive.core.events import TaskCancelRequested

    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        task = (await submit(it.hive))[0]
        await agent.until(lambda: agent.all(Dispatch))
        await it.hive.brain.handle(TaskCancelRequested(task_id=task.id, by="ann"))
        await agent.until(lambda: agent.all(Stop))
        order = agent.all(Dispatch)[0]
        stopped = Outcome(kind=OutcomeKind.CANCELLED)
        agent.say(AttemptEnded(attempt_id=order.attempt_id, epoch=order.epoch, outcome=stopped))
        await agent.until(lambda: agent.all(Forget))
    assert state_of(it.hive, task) is TaskState.CANCELLED


# ── joining ───────────────────────────────────────────────────────────────────────────────────


async def test_each_hello_gets_a_higher_session_that_is_stored_first(it: Serving) -> None:
    agent = FakeAgent(it.url)
    for expected in (1, 2, 3):
        async with agent.connected():
            assert agent.welcome is not None
            assert agent.welcome.session == expected
            assert agent.welcome.server_version == __version__
            loaded = await it.hive.store.load()
            assert loaded.nodes[0].session == expected


async def test_sessions_go_on_after_a_restart_of_the_server(tmp_path: Path) -> None:
    for expected in (1, 2):
        async with serving(tmp_path) as opened:
            agent = FakeAgent(opened.url)
            async with agent.connected():
                assert agent.welcome is not None
                assert agent.welcome.session == expected


async def test_an_older_connection_ends_although_the_newer_one_is_gone_already(
    it: Serving,
) -> None:
    """Else its node would take our answers for contact while nothing it says counts."""
    older = FakeAgent(it.url)
    async with older.connected():
        (node,) = it.hive.brain.manager.nodes()
        newer = NodeJoined(
            node_id=node.id,
            session=node.session + 1,
            incarnation=node.incarnation,
            label=node.label,
            inventory=node.inventory,
        )
        await it.hive.brain.handle(newer)
        await older.until(lambda: older.closed)
        assert older.closed == (4001, "a newer connection of this node took its place")


async def test_a_newer_connection_of_a_node_closes_the_older_one(it: Serving) -> None:
    older, newer = FakeAgent(it.url, answers=False), FakeAgent(it.url, incarnation=2)
    async with older.connected():
        task = (await submit(it.hive))[0]
        await older.until(lambda: older.all(Dispatch))
        order = older.all(Dispatch)[0]
        async with newer.connected():
            await older.until(lambda: older.closed)
            assert older.closed == (4001, "a newer connection of this node took its place")
            # What the old session was asked to do is asked again, under the new one.
            await newer.until(lambda: newer.all(Dispatch))
            again = newer.all(Dispatch)[0]
            assert (again.attempt_id, again.epoch, again.session) == (order.attempt_id, 1, 2)
            await newer.until(lambda: newer.all(Forget))
    assert state_of(it.hive, task) is TaskState.SUCCEEDED


async def test_the_welcome_says_where_each_held_attempts_logs_go_on(it: Serving) -> None:
    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        await submit(it.hive)
        await agent.until(lambda: agent.all(Dispatch))
        order = agent.all(Dispatch)[0]
        agent.say(AttemptAccepted(attempt_id=order.attempt_id, epoch=1))
        await agent.send_log(order.channel, b"12345")
        await agent.until(lambda: any(m.received == 5 for m in agent.all(LogUpTo)))
        agent.report(order)
        agent.runs[order.attempt_id].ended = None
    async with agent.connected():
        assert agent.welcome is not None
        marks = {mark.stream: mark.received for mark in agent.welcome.log_marks}
        assert marks == {0: 5, 1: 0}


async def test_a_gpu_of_another_live_node_is_turned_away_with_what_to_do(it: Serving) -> None:
    gpu = GpuReport(uuid=GpuUuid("GPU-1"), index=0, model="T", total_mib=1_024)
    inventory = Inventory(cpus=1, memory_mib=1, gpus=(gpu,))
    first = FakeAgent(it.url, "n-1", inventory=inventory)
    second = FakeAgent(it.url, "n-2", inventory=inventory)
    async with first.connected():
        async with second.connected():
            await second.until(lambda: second.turned)
            assert second.turned is not None
            assert "GPU-1 already belongs to node n-1" in second.turned.reason
            assert second.turned.hint
            assert second.turned.try_again is False
        assert not it.hive.sessions.is_connected(NodeId("n-2"))


async def test_an_unknown_version_of_the_protocol_is_turned_away_with_a_hint(it: Serving) -> None:
    agent = FakeAgent(it.url)
    async with agent.dialled(subprotocol="fluxhive.v9") as socket:
        frame = await socket.recv()
        assert "fluxhive.v1" in str(frame)
        assert "install the same version" in str(frame)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4005


async def test_a_node_whose_token_is_revoked_is_disconnected(it: Serving) -> None:
    agent = FakeAgent(it.url)
    async with agent.connected():
        it.hive.sessions.close_node(NODE, "its token was revoked")
        await agent.until(lambda: agent.closed)
        assert agent.closed == (4002, "its token was revoked")
    assert it.hive.sessions.latest(NODE) is None


async def test_a_node_that_leaves_is_silent_and_its_attempts_stay(it: Serving) -> None:
    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        task = (await submit(it.hive))[0]
        await agent.until(lambda: agent.all(Dispatch))
    with anyio.fail_after(10):
        while it.hive.brain.manager.nodes()[0].state is not NodeState.SILENT:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert state_of(it.hive, task) is TaskState.ACTIVE


# ── heartbeats and slowness ───────────────────────────────────────────────────────────────────


async def test_a_heartbeat_is_answered_at_once_while_the_store_is_slow(it: Serving) -> None:
    agent = FakeAgent(it.url)
    gate = threading.Event()
    async with agent.connected(), anyio.create_task_group() as group:
        group.start_soon(it.hive.store.call, lambda _db: gate.wait(20))
        group.start_soon(submit, it.hive)
        for n in (1, 2, 3):
            agent.beat(n, cpu_percent=n)
            await agent.until(lambda n=n: HeartbeatAck(sent_at_ms=n) in agent.heard)
        assert agent.all(Dispatch) == []
        gate.set()
        await agent.until(lambda: agent.all(Dispatch))
        latest = it.hive.sessions.latest(NODE)
        assert latest is not None
        assert latest.cpu_percent == 3


async def test_reports_are_acknowledged_only_when_they_are_stored(it: Serving) -> None:
    agent = FakeAgent(it.url, answers=False)
    gate = threading.Event()
    async with agent.connected(), anyio.create_task_group() as group:
        await submit(it.hive)
        await agent.until(lambda: agent.all(Dispatch))
        group.start_soon(it.hive.store.call, lambda _db: gate.wait(20))
        agent.report(agent.all(Dispatch)[0])
        for n in (1, 2, 3):
            agent.beat(n)
            await agent.until(lambda n=n: HeartbeatAck(sent_at_ms=n) in agent.heard)
        assert len(agent.link.unacknowledged) == 3
        gate.set()
        await agent.until(lambda: not agent.link.unacknowledged)


async def test_a_node_that_does_not_read_is_cut_off_and_the_others_go_on(
    it: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "OUTBOX_BYTES_MAX", 4 * 1024 * 1024)
    stuck = FakeAgent(it.url, "n-stuck", inventory=Inventory(cpus=1_000, memory_mib=1))
    async with stuck.dialled() as socket:
        await socket.send(encode_envelope(0, [(0, encode_message(stuck.hello()))]))
        await socket.recv()
        socket.transport.pause_reading()
        await submit(it.hive, 300, env={"X": "x" * 100_000})
        with anyio.fail_after(20):
            while it.hive.sessions.is_connected(NodeId("n-stuck")):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        socket.transport.abort()
    healthy = FakeAgent(it.url, "n-2")
    async with healthy.connected():
        task = (await submit(it.hive))[0]
        await healthy.until(lambda: healthy.all(Forget))
    assert state_of(it.hive, task) is TaskState.SUCCEEDED


async def test_a_line_that_is_dead_is_closed(it: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "SILENCE_S", 0.0)
    agent = FakeAgent(it.url)
    async with agent.connected():
        await agent.until(lambda: agent.closed)
        assert agent.closed is not None
        assert agent.closed[0] == 4003


# ── what is not this node's, and nonsense ─────────────────────────────────────────────────────


async def test_a_report_about_another_nodes_attempt_is_refused_and_audited(
    it: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    owner = FakeAgent(it.url, "n-1", answers=False)
    liar = FakeAgent(it.url, "n-2", inventory=Inventory(cpus=1, memory_mib=1))
    async with owner.connected():
        task = (await submit(it.hive))[0]
        await owner.until(lambda: owner.all(Dispatch))
        order = owner.all(Dispatch)[0]
        async with liar.connected():
            liar.report(order)
            await liar.until(lambda: liar.closed)
            assert liar.closed == (1008, f"{order.attempt_id} is not an attempt of this node")
        audited = [record for record in caplog.records if getattr(record, "audit", False)]
        assert [getattr(record, "node", "") for record in audited] == ["n-2"]
        attempt = it.hive.brain.manager.attempts_of(task.id)[0]
        assert attempt.state is AttemptState.RESERVED
        assert owner.closed is None


async def test_output_for_another_nodes_attempt_is_refused_and_audited(
    it: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    owner = FakeAgent(it.url, "n-1", answers=False)
    liar = FakeAgent(it.url, "n-2", inventory=Inventory(cpus=1, memory_mib=1))
    async with owner.connected():
        await submit(it.hive)
        await owner.until(lambda: owner.all(Dispatch))
        order = owner.all(Dispatch)[0]
        async with liar.connected():
            await liar.send_log(order.channel, b"forged")
            await liar.until(lambda: liar.closed)
            assert liar.closed is not None
            assert liar.closed[0] == 1008
        assert [r for r in caplog.records if getattr(r, "audit", False)]
        assert it.hive.logs.size(order.attempt_id, 0) == 0


BAD_HELLO = '{"messages":[{"body":{"type":"hello","incarnation":-1,"agent_version":"1",'
NONSENSE: dict[str, str | bytes] = {
    "no json": "{",
    "no envelope": "[1,2,3]",
    "no message": '{"messages":[{"n":1,"body":{"no":"type"}}]}',
    "invalid utf-8": b"\x01\xff\xfe",
    "a deep bomb": '{"messages":' + "[" * 50_000 + "]" * 50_000 + "}",
    "nan": '{"ack":NaN}',
    "a second hello": encode_envelope(0, [(1, encode_message(FakeAgent("ws://x").hello()))]),
    "no frame of logs": b"\x09" * 40,
    "a pid out of range": '{"messages":[{"n":1,"body":{"type":"attempt-started",'
    '"attempt_id":"t-1.1","epoch":1,"pid":99999999999999999999}}]}',
    "an age below zero": '{"messages":[{"n":1,"body":{"type":"attempt-started",'
    '"attempt_id":"t-1.1","epoch":1,"pid":1,"age_ms":-5}}]}',
    "a text without end": '{"messages":[{"n":1,"body":{"type":"attempt-refused",'
    '"attempt_id":"t-1.1","epoch":1,"reason":"' + "x" * 10_000 + '"}}]}',
    "a million gpus": '{"messages":[{"body":{"type":"heartbeat","sent_at_ms":1,"gpus":['
    + ",".join(['{"uuid":"G","index":0,"model":"","total_mib":1}'] * 5_000)
    + "]}}]}",
}


@pytest.mark.parametrize("frame", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_closes_that_connection_with_the_reason_and_no_other(
    it: Serving, frame: str | bytes
) -> None:
    other, bad = FakeAgent(it.url, "n-1"), FakeAgent(it.url, "n-2")
    async with other.connected():
        async with bad.connected():
            await bad.send(frame)
            await bad.until(lambda: bad.closed)
            assert bad.closed is not None
            assert bad.closed[0] == 1002
            assert bad.closed[1]
        other.beat(7)
        await other.until(lambda: HeartbeatAck(sent_at_ms=7) in other.heard)
    assert it.hive.brain.problem == ""


async def test_a_frame_that_is_too_large_closes_that_connection(it: Serving) -> None:
    agent = FakeAgent(it.url)
    async with agent.connected():
        await agent.send(b"\x01" * (FRAME_BYTES_MAX + 1))
        await agent.until(lambda: agent.closed)
        assert agent.closed is not None
        assert agent.closed[0] in (1002, 1009)


@pytest.mark.parametrize(
    "frame",
    [
        "{",
        b"\x01" * 30,
        '{"messages":[{"body":{"type":"heartbeat","sent_at_ms":1}}]}',
        BAD_HELLO + '"label":"n","inventory":{"cpus":1,"memory_mib":1}}}]}',
        BAD_HELLO.replace("-1", "1") + '"label":"","inventory":{"cpus":1,"memory_mib":1}}}]}',
        BAD_HELLO.replace("-1", "1")
        + '"label":"n","inventory":{"cpus":1000000000,"memory_mib":1}}}]}',
    ],
    ids=["json", "bytes", "heartbeat", "incarnation", "label", "cpus"],
)
async def test_a_hello_that_is_none_is_refused_with_the_reason(
    it: Serving, frame: str | bytes
) -> None:
    agent = FakeAgent(it.url)
    async with agent.dialled() as socket:
        await socket.send(frame)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1002
        assert socket.close_reason
    assert it.hive.brain.manager.nodes() == []


async def test_who_says_nothing_is_not_waited_for(
    it: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "HELLO_S", 0.05)
    async with FakeAgent(it.url).dialled() as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert "no hello" in str(socket.close_reason)


async def test_an_unknown_kind_of_message_is_skipped_and_acknowledged(it: Serving) -> None:
    agent = FakeAgent(it.url)
    async with agent.connected():
        agent.link.send_encoded(b'{"type":"from-the-future","x":1}')
        agent.beat(1)
        await agent.until(lambda: not agent.link.unacknowledged)
        assert agent.closed is None


# ── logs and launches ─────────────────────────────────────────────────────────────────────────


async def test_much_output_gets_its_marks_before_the_pause_for_gathering(
    it: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause never ends here: what is less than ``MARKS_BYTES`` gets no mark, in order."""
    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        monkeypatch.setattr(session_module, "MARKS_DELAY_S", 1e6)
        await submit(it.hive)
        await agent.until(lambda: agent.all(Dispatch))
        channel = agent.all(Dispatch)[0].channel
        piece, n_pieces = b"x" * LOG_CHUNK_BYTES, 12
        for n in range(n_pieces):
            await agent.send_log(channel, piece, offset=n * LOG_CHUNK_BYTES)
        enough = n_pieces * LOG_CHUNK_BYTES - session_module.MARKS_BYTES
        await agent.until(lambda: any(m.received > enough for m in agent.all(LogUpTo)))
        marks = [m.received for m in agent.all(LogUpTo) if m.stream == 0]
    assert marks == sorted(set(marks))


async def test_a_frame_beyond_the_mark_sends_the_node_back(it: Serving) -> None:
    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        await submit(it.hive)
        await agent.until(lambda: agent.all(Dispatch))
        channel = agent.all(Dispatch)[0].channel
        await agent.send_log(channel, b"abc")
        await agent.send_log(channel, b"xyz", offset=9)
        await agent.until(lambda: len([m for m in agent.all(LogUpTo) if m.received == 3]) >= 2)
        await agent.send_log(channel, b"defghi", offset=3)
        await agent.until(lambda: any(m.received == 9 for m in agent.all(LogUpTo)))
        # Progress is said once: a mark said twice would send the node back.
        assert len([m for m in agent.all(LogUpTo) if (m.received, m.durable) == (9, 0)]) == 1
        await agent.until(lambda: any(m.durable == 9 for m in agent.all(LogUpTo)))


async def test_a_mark_that_says_nothing_new_is_not_said_again(it: Serving) -> None:
    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        await submit(it.hive)
        await agent.until(lambda: agent.all(Dispatch))
        channel = agent.all(Dispatch)[0].channel
        await agent.send_log(channel, b"abc")
        await agent.until(lambda: any(m.durable == 3 for m in agent.all(LogUpTo)))
        await agent.send_log(channel, b"abc")
        await agent.send_log(channel, b"!", stream=1)
        await agent.until(lambda: any(m.stream == 1 for m in agent.all(LogUpTo)))
        said = [(m.received, m.durable) for m in agent.all(LogUpTo) if m.stream == 0]
        assert said == [(3, 0), (3, 3)]


async def test_a_node_may_forget_only_when_all_its_output_is_durable(it: Serving) -> None:
    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        task = (await submit(it.hive))[0]
        await agent.until(lambda: agent.all(Dispatch))
        order = agent.all(Dispatch)[0]
        agent.report(order, output=(b"0123456789", b""))
        agent.runs.clear()  # so that it ships nothing by itself
        await agent.until(lambda: not agent.link.unacknowledged)
        assert state_of(it.hive, task) is TaskState.SUCCEEDED
        await agent.send_log(order.channel, b"01234")
        await agent.until(lambda: any(m.durable == 5 for m in agent.all(LogUpTo)))
        assert agent.all(Forget) == []
        await agent.send_log(order.channel, b"56789", offset=5)
        await agent.until(lambda: agent.all(Forget))
        assert agent.all(Forget)[0].attempt_ids == (order.attempt_id,)


async def test_an_attempt_that_ended_long_ago_is_still_let_go_of(it: Serving) -> None:
    agent = FakeAgent(it.url, answers=False)
    async with agent.connected():
        ghost = AttemptEnded(
            attempt_id=AttemptId("t-gone.1"), epoch=1, outcome=Outcome(kind=OutcomeKind.SUCCESS)
        )
        agent.say(ghost)
        await agent.until(lambda: agent.all(Forget))


async def test_a_large_launch_is_fetched_instead_of_sent(it: Serving) -> None:
    agent = FakeAgent(it.url, answers=False)
    env = {f"V{n}": "x" * 50_000 for n in range(5)}
    async with agent.connected():
        await submit(it.hive, env=env)
        await submit(it.hive)
        await agent.until(lambda: len(agent.all(Dispatch)) == 2)
        large, small = agent.all(Dispatch)
        assert large.launch is None
        fetched = it.hive.sessions.launch(large.attempt_id)
        assert fetched is not None
        assert fetched.env == env
        assert small.launch == it.hive.sessions.launch(small.attempt_id)
    assert it.hive.sessions.launch(AttemptId("t-none.1")) is None


# ── a store that fails ────────────────────────────────────────────────────────────────────────


async def test_while_the_disk_is_full_nodes_stay_in_contact_and_nothing_is_lost(
    it: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, is_full = Store.apply, False

    async def apply(store: Store, *args: object, **kwargs: object) -> None:
        if is_full:
            raise StoreUnavailable("the disk is full")
        await honest(store, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "apply", apply)
    monkeypatch.setattr("fluxhive.server.brain.STORE_RETRY_S", 0.02)
    agent, late = FakeAgent(it.url, answers=False), FakeAgent(it.url, "n-late")
    async with agent.connected():
        task = (await submit(it.hive))[0]
        await agent.until(lambda: agent.all(Dispatch))
        is_full = True
        agent.report(agent.all(Dispatch)[0])
        with anyio.fail_after(10):
            while not it.hive.problem:  # noqa: ASYNC110 - nothing tells the node of it
                await anyio.sleep(0.01)
        assert it.hive.problem == "the disk is full"
        agent.beat(2)
        await agent.until(lambda: HeartbeatAck(sent_at_ms=2) in agent.heard)
        # The whole report is still the node's to say, and it is still connected.
        assert len(agent.link.unacknowledged) == 3
        assert agent.closed is None
        async with late.connected():
            await late.until(lambda: late.turned)
            assert late.turned is not None
            assert late.turned.try_again is True
        is_full = False
        await agent.until(lambda: agent.closed)
        assert agent.closed == (1012, "the server's store failed and works again")
    async with agent.connected():
        await agent.until(lambda: not agent.link.unacknowledged)
    assert state_of(it.hive, task) is TaskState.SUCCEEDED
    assert len(it.hive.brain.manager.attempts_of(task.id)) == 1
