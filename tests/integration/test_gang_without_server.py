"""A gang whose server is killed: it goes on, and what happened meanwhile is sorted out after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.request import Request
from fluxhive.protocol.rest import NodePage
from tests.helpers.agent_hive import AgentHive, kill_tree_of
from tests.helpers.cli_hive import until


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    """A server and two agents."""
    hive = AgentHive(tmp_path)
    hive.start_server()
    hive.start_agent()
    second = tmp_path / "second"
    token = (hive.state / "server" / "admin-token").read_text().strip()
    hive._start(
        ["run", "--allow-root"],
        "second.log",
        FLOWHIVE_STATE_DIR=str(second),
        FLOWHIVE_LABEL="second",
        FLOWHIVE_TOKEN=token,
    )
    until(lambda: n_ready(hive) == 2, what="two nodes")
    yield hive
    for started in second.glob("agent/*/runs/*/started"):
        kill_tree_of(started)
    hive.close()


def n_ready(hive: AgentHive) -> int:
    page = hive.transport().call("GET", "/api/v1/nodes", NodePage)
    return sum(node.state.value == "ready" for node in page.items)


def test_a_member_that_failed_while_the_server_was_away_ends_the_others_later(
    hive: AgentHive, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    line = f'{wait}; [ "$FLUXHIVE_RANK" = 1 ] && exit 3; sleep 600'
    task = hive.submit(line, request=Request(nodes=2))
    until(lambda: hive.task(task).word == "running", what="the gang running")
    pids = [member.pid for member in hive.task(task).attempts[0].members]
    assert None not in pids
    hive.kill_server()
    gate.touch()
    until(lambda: is_gone(pids[1] or 0), what="the end of rank 1")
    assert not is_gone(pids[0] or 0)
    hive.start_server()
    end = hive.ended(task)
    assert end.reason.startswith("exit code 3 (rank 1 on ")
    assert len(end.attempts) == 1
    assert is_gone(pids[0] or 0)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
