"""The reliable link between two ends in memory: nothing lost, nothing twice, whatever is cut."""

from __future__ import annotations

import pytest

from fluxhive.core.reports import AttemptAccepted
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import AgentMessage, HeartbeatAck, ServerMessage
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import (
    FRAME_BYTES,
    WireError,
    agent_codec,
    encode_envelope,
    server_codec,
)


def agent_end(**kwargs: object) -> Link[ServerMessage]:
    return Link(server_codec(), **kwargs)  # type: ignore[arg-type]


def server_end() -> Link[AgentMessage]:
    return Link(agent_codec())


def accepted(n: int) -> AttemptAccepted:
    return AttemptAccepted(attempt_id=AttemptId(f"t-1.{n}"), epoch=n)


def pass_all(sender: Link, receiver: Link) -> list:
    return [news for frame in sender.frames() for news in receiver.receive(frame)]


def test_messages_arrive_in_order_with_their_numbers() -> None:
    agent, server = agent_end(), server_end()
    for n in (1, 2, 3):
        agent.send(accepted(n))
    assert pass_all(agent, server) == [(1, accepted(1)), (2, accepted(2)), (3, accepted(3))]


def test_what_is_not_committed_is_not_acknowledged() -> None:
    agent, server = agent_end(), server_end()
    agent.send(accepted(1))
    agent.send(accepted(2))
    pass_all(agent, server)
    assert server.frames() == []
    server.committed(1)
    pass_all(server, agent)
    assert [n for n, _ in agent.unacknowledged] == [2]


def test_after_a_reconnect_everything_unacknowledged_is_sent_again() -> None:
    agent, old_server = agent_end(), server_end()
    for n in (1, 2, 3):
        agent.send(accepted(n))
    pass_all(agent, old_server)
    old_server.committed(1)
    pass_all(old_server, agent)
    agent.resumed()
    assert pass_all(agent, server_end()) == [(2, accepted(2)), (3, accepted(3))]


def test_a_repeated_frame_gives_nothing_new() -> None:
    agent, server = agent_end(), server_end()
    agent.send(accepted(1))
    (frame,) = agent.frames()
    assert server.receive(frame)
    assert server.receive(frame) == []


def test_a_restarted_agent_goes_on_with_its_journal() -> None:
    agent = agent_end()
    agent.send(accepted(1))
    second = agent.send(accepted(2))
    agent.send(accepted(3))
    restarted = agent_end(last_n=3, unacknowledged=[second])
    restarted.send(accepted(4))
    assert pass_all(restarted, server_end()) == [(2, accepted(2)), (4, accepted(4))]


def test_an_unnumbered_message_goes_first_and_is_never_repeated() -> None:
    server, agent = server_end(), agent_end()
    server.send(HeartbeatAck(sent_at_ms=1))
    server.send_unnumbered(HeartbeatAck(sent_at_ms=2))
    assert pass_all(server, agent) == [
        (0, HeartbeatAck(sent_at_ms=2)),
        (1, HeartbeatAck(sent_at_ms=1)),
    ]
    server.resumed()
    assert [n for n, _ in pass_all(server, agent_end())] == [1]


def test_unnumbered_messages_keep_their_order() -> None:
    """A mark of a log that came before an older one would send its node back."""
    server = server_end()
    for at in (1, 2):
        server.send_unnumbered(HeartbeatAck(sent_at_ms=at))
    server.send(HeartbeatAck(sent_at_ms=3))
    assert [m.sent_at_ms for _, m in pass_all(server, agent_end())] == [1, 2, 3]
    for at in (4, 5):
        server.send_unnumbered(HeartbeatAck(sent_at_ms=at))
    again = agent_end()
    server.resumed()
    for at in (6, 7):
        server.send_unnumbered(HeartbeatAck(sent_at_ms=at))
    assert [m.sent_at_ms for _, m in pass_all(server, again)] == [6, 7, 3]


def test_frames_stay_below_their_size() -> None:
    agent = agent_end()
    big = "x" * (FRAME_BYTES // 3)
    for _ in range(5):
        agent.send(AttemptAccepted(attempt_id=AttemptId(big), epoch=1))
    frames = agent.frames()
    assert len(frames) > 1
    assert all(len(frame) < FRAME_BYTES + 1024 for frame in frames)


def test_a_message_of_a_newer_peer_is_skipped_and_acknowledged() -> None:
    server = server_end()
    news = server.receive('{"messages":[{"n":1,"body":{"type":"from-the-future","x":1}}]}')
    assert news == []
    assert server.frames() == ['{"ack":1}']


def test_a_skipped_message_acknowledges_nothing_that_is_not_stored_yet() -> None:
    server = server_end()
    report = b'{"type":"attempt-accepted","attempt_id":"t-1.1","epoch":1}'
    beat = b'{"type":"heartbeat","sent_at_ms":1}'
    server.receive(encode_envelope(0, [(4, report)]))
    news = server.receive(encode_envelope(0, [(0, beat), (5, b'{"type":"from-the-future"}')]))
    assert [n for n, _ in news] == [0]
    assert server.frames() == []
    server.committed(4)
    assert server.frames() == ['{"ack":5}']


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "nonsense",
        '{"messages":[{"n":1}]}',
        '{"ack":1}',
        '{"messages":[{"n":1,"body":17}]}',
        '{"messages":[{"n":1,"body":{"type":"attempt-accepted","attempt_id":5}}]}',
        '{"messages":[{"n":1e400,"body":{}}]}',
        '{"messages":' + "[" * 100_000,
        '{"x":' + '{"a":' * 100_000,
        b"\xff\xfe",
        b'{"messages":[{"n":1,"body":{"type":"\\ud800"}}]}',
    ],
)
def test_nonsense_is_refused_in_one_way(frame: str | bytes) -> None:
    with pytest.raises(WireError):
        server_end().receive(frame)
