"""No task twice at the same time, with real processes: what runs bears witness outside FlowHive.

Two agents, each behind a line that can be blocked. With ``--failover`` a task on a node without
contact is dead before it starts elsewhere; without it, it runs on and is adopted.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.outcome import OutcomeKind
from tests.chaos.proxy import DOWN, UP, Proxy
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until
from tests.helpers.witness import lives, overlaps, witness_line

LABELS = ("left", "right")
FAILOVER_MS = 9_000
"""Longer than a node may be silent (6 s): only the fence keeps the next attempt from starting."""
LONG_FAILOVER_MS = 30_000
"""Of which a fifth is time enough, on a busy machine, for an agent to come back."""


class Pair:
    """A hive, two nodes on lines of their own, and a task's witness."""

    def __init__(self, home: Path) -> None:
        self.hive = AgentHive(home)
        self.hive.start_server()
        self.proxy = Proxy(self.hive.port, len(LABELS), seed=1)
        self.witness, self.go = home / "witness", home / "go"
        self.agents: dict[str, AgentHive] = {}
        token = (self.hive.state / "server" / "admin-token").read_text().strip()
        for label, line in zip(LABELS, self.proxy.lines, strict=True):
            (home / label).mkdir()
            agent = AgentHive(home / label)
            agent.env |= {
                "FLOWHIVE_CONTROL_URL": f"http://127.0.0.1:{line.port}",
                "FLOWHIVE_TOKEN": token,
                "FLOWHIVE_LABEL": label,
            }
            agent.start_agent()
            self.agents[label] = agent

    def running(self, **spec: object) -> tuple[str, str]:
        """A witness that runs, and on which node."""
        task = self.hive.submit(witness_line(self.witness, self.go), **spec)
        until(self.witness.exists, what="the first beat")
        return task, self.hive.task(task).attempts[0].node_label

    def block(self, label: str, *ways: str) -> None:
        self.proxy.block(LABELS.index(label), *ways)

    def open(self) -> None:
        for number in range(len(LABELS)):
            self.proxy.open(number)

    def close(self) -> None:
        self.open()
        for agent in self.agents.values():
            agent.close()
        self.hive.close()
        self.proxy.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.close()


@pytest.mark.slow
@pytest.mark.parametrize("ways", [(UP, DOWN), (UP,), (DOWN,)], ids=["both", "up", "down"])
def test_with_failover_it_is_dead_before_it_starts_elsewhere(
    pair: Pair, ways: tuple[str, ...]
) -> None:
    task, where = pair.running(failover_ms=FAILOVER_MS, grace_ms=500)
    pair.block(where, *ways)
    until(lambda: len(lives(pair.witness)) == 2, limit_s=90, what="the second attempt")
    assert overlaps(pair.witness) == []
    pair.open()
    pair.go.touch()
    end = pair.hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    # Where only the way down is blocked, one more may have been placed there that never started.
    first, last = end.attempts[0], end.attempts[-1]
    assert first.node_label == where != last.node_label
    assert [life.attempt for life in lives(pair.witness)] == [first.id, last.id]
    assert first.outcome is not None
    # Where the way up is open, the node says itself that it is over.
    assert first.outcome.kind in (OutcomeKind.NODE_LOST, OutcomeKind.LEASE_EXPIRED)
    assert overlaps(pair.witness) == []


@pytest.mark.slow
def test_without_failover_it_runs_on_and_is_adopted(pair: Pair) -> None:
    task, where = pair.running()
    pair.block(where, UP, DOWN)
    until(lambda: pair.hive.task(task).word == "adrift", what="adrift")
    before = lives(pair.witness)[0].last_s
    until(lambda: lives(pair.witness)[0].last_s > before + 3, what="beats while out of contact")
    pair.open()
    until(lambda: pair.hive.task(task).word == "running", what="contact again")
    pair.go.touch()
    end = pair.hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert len(end.attempts) == len(lives(pair.witness)) == 1


@pytest.mark.slow
def test_an_agent_that_hangs_for_most_of_the_failover_costs_its_task_nothing(pair: Pair) -> None:
    """Heartbeats come from the agent's one loop: while it hangs, its node is silent, no more."""
    task, where = pair.running(failover_ms=LONG_FAILOVER_MS, grace_ms=500)
    agent = pair.agents[where].agent
    assert agent is not None
    before_s = lives(pair.witness)[0].last_s
    os.kill(agent.pid, signal.SIGSTOP)
    most_s = 0.8 * LONG_FAILOVER_MS / 1000
    until(
        lambda: lives(pair.witness)[0].last_s > before_s + most_s,
        limit_s=60,
        what="beats while the agent hangs",
    )
    assert pair.hive.task(task).word == "adrift"
    os.kill(agent.pid, signal.SIGCONT)
    until(lambda: pair.hive.task(task).word == "running", what="contact again")
    pair.go.touch()
    end = pair.hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert len(end.attempts) == len(lives(pair.witness)) == 1


@pytest.mark.slow
def test_an_agent_asleep_for_longer_than_the_failover_finds_its_task_ended(pair: Pair) -> None:
    """The lease is the shim's: an agent that is stopped cannot end anything itself."""
    task, where = pair.running(failover_ms=FAILOVER_MS, grace_ms=500)
    agent = pair.agents[where].agent
    assert agent is not None
    os.kill(agent.pid, signal.SIGSTOP)
    until(lambda: len(lives(pair.witness)) == 2, limit_s=90, what="the second attempt")
    n_sessions = pair.agents[where].n_sessions()
    os.kill(agent.pid, signal.SIGCONT)
    until(lambda: pair.agents[where].n_sessions() > n_sessions, what="a new session")
    pair.go.touch()
    end = pair.hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert overlaps(pair.witness) == []
    late = until(lambda: pair.hive.task(task).attempts[0].late_report, what="the late report")
    assert late.kind is OutcomeKind.LEASE_EXPIRED
    assert [life.attempt for life in lives(pair.witness)] == [a.id for a in end.attempts]


def test_at_most_once_is_not_started_again_when_nobody_can_know(pair: Pair) -> None:
    task, where = pair.running(at_most_once=True)
    pair.block(where, UP, DOWN)
    until(lambda: pair.hive.task(task).word == "adrift", what="adrift")
    pair.hive.transport().fetch("POST", f"/api/v1/nodes/{where}/give-up")
    end = pair.hive.ended(task)
    assert end.state.value == "failed"
    assert len(end.attempts) == len(lives(pair.witness)) == 1
