"""Another machine joins, played by another home: configuration alone makes it a node."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.helpers.cli_hive import COMMAND, CliHive, until


@pytest.fixture(scope="module")
def bobs_machine(hive: CliHive) -> Iterator[CliHive]:
    """A home that was set up with `fluxhive config` by bob, with its agent running."""
    code = hive.ok("user", "add", "bob").strip().rpartition("#")[2]
    answer = {"code": code, "password": "correct horse"}
    hive.transport.fetch("POST", "/api/v1/auth/invitation", body=answer)
    home = hive.home / "bobs-machine"
    home.mkdir()
    machine = CliHive(home)
    machine.ok("config", "control_base_url", hive.transport.base_url)
    machine.ok("config", "user.username", "bob")
    machine.ok("config", "user.password", "-", stdin="correct horse\n")
    machine.ok("config", "label", "bobs-gpu-box")
    with (home / "agent.log").open("wb") as log:
        agent = subprocess.Popen(
            [*COMMAND, "run", "--allow-root"], env=machine.env, cwd=home, stdout=log, stderr=log
        )
    until(lambda: node(hive, "bobs-gpu-box"), what="the node")
    yield machine
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(20) == 0


def node(hive: CliHive, label: str) -> dict[str, object] | None:
    found = [each for each in hive.json("nodes")["nodes"] if each["label"] == label]
    return found[0] if found and found[0]["state"] == "ready" else None


def test_it_is_a_node_and_serves_its_owner_until_it_is_accepted(
    hive: CliHive, bobs_machine: CliHive
) -> None:
    """Goal: a member's node runs nothing of others before an administrator said so. Method: the
    other node is drained, so that a task can only go there."""
    (first,) = [each for each in hive.json("nodes")["nodes"] if each["label"] != "bobs-gpu-box"]
    hive.ok("node", "drain", first["label"])
    waiting = hive.submit("--workdir", "/", "--", "echo on $FLUXHIVE_NODE")
    mine = bobs_machine.ok("submit", "--workdir", "/", "-f", "--", "echo on $FLUXHIVE_NODE")
    assert "on bobs-gpu-box" in mine
    assert hive.task(waiting)["state"] == "queued"
    refused = bobs_machine.run("node", "accept", "bobs-gpu-box")
    assert refused.returncode == 4
    hive.ok("node", "accept", "bobs-gpu-box")
    assert hive.run("wait", waiting).returncode == 0
    assert "on bobs-gpu-box" in hive.ok("logs", waiting)
    hive.ok("node", "undrain", first["label"])


def test_a_directory_that_only_one_machine_has_leads_the_task_there(
    hive: CliHive, bobs_machine: CliHive
) -> None:
    """Both see the same disk here, so the other one is what bad news is about."""
    task = hive.submit("--workdir", "/nowhere-at-all", "--", "true")
    assert hive.run("wait", task).returncode == 125
    shown = hive.task(task)
    assert {attempt["node_label"] for attempt in shown["attempts"]} >= {"bobs-gpu-box"}
    assert len(shown["attempts"]) == 2
    assert "/nowhere-at-all" in shown["reason"]


def test_what_the_agent_says_names_server_node_and_no_secret(bobs_machine: CliHive) -> None:
    log = (bobs_machine.home / "agent.log").read_text()
    assert "registered" in log
    assert "connected" in log
    assert "correct horse" not in log
    assert "fh_n_" not in log
    assert "correct horse" not in bobs_machine.ok("config")
