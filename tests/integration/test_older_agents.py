"""A server with an agent of an older version: it runs what it can, and the rest waits and says so.

The older agent is a process of its own (tests/helpers/older_agent.py); it closes the connection
when it is sent what it does not know, as those of that version do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import older_agent
from tests.helpers.cli_hive import CliHive, until
from tests.helpers.two_agents import SecondAgent

#: As a person would start the older version's agent.
OLDER = [sys.executable, str(Path(older_agent.__file__))]


@pytest.fixture
def older(hive: CliHive) -> Iterator[SecondAgent]:
    """Such a node, and no other that takes anything."""
    (first,) = [each for each in hive.json("nodes")["nodes"] if each["label"] != "old-box"]
    hive.ok("node", "drain", first["label"])
    agent = SecondAgent(hive, "old-box", command=OLDER)
    agent.start()
    yield agent
    agent.close()


def test_what_it_cannot_do_waits_for_an_upgrade_while_it_runs_all_else(
    hive: CliHive, older: SecondAgent
) -> None:
    running = hive.submit("--workdir", "/", "--", "sleep 1000")
    hive.when(running, "running")
    waiting = hive.submit("--workdir", "/", "--python", sys.executable, "--", "-c", "print('up')")
    why = hive.json("why", waiting)
    assert [reason["code"] for reason in why["reasons"]] == ["AGENT_TOO_OLD", "NODES_DOWN"]
    assert "the agent on old-box is too old for `--python`: upgrade it" in hive.ok("why", waiting)
    plain = hive.submit("--workdir", "/", "--", "echo on $FLUXHIVE_NODE")
    assert hive.run("wait", plain).returncode == 0
    assert "on old-box" in hive.ok("logs", plain)
    assert hive.task(waiting)["word"] == "queued"
    assert hive.task(running)["word"] == "running"
    assert "this protocol" not in (older.home / "agent.log").read_text()

    # Its agent is upgraded in place, under the task that runs.
    older.close()
    older.command = None
    older.start()
    assert hive.run("wait", waiting).returncode == 0
    assert "up" in hive.ok("logs", waiting)
    (attempt,) = hive.task(running)["attempts"]
    assert attempt["state"] == "running"
    hive.ok("cancel", running)
    until(lambda: hive.task(running)["word"] == "cancelled", what="the end of the long task")
