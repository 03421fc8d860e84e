"""A state directory that was copied: two agents with one identity, of which the first one stays."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()


def copied(hive: AgentHive, *, whole: bool = False) -> AgentHive:
    """Another home with a copy of the agent's state; not ``whole``: of its identity alone, as an
    agent has it that does not notice."""
    home = hive.home / "copy"
    (home / "state").mkdir(parents=True)
    shutil.copytree(hive.state / "agent", home / "state" / "agent")
    if not whole:
        (ours,) = (home / "state" / "agent").iterdir()
        identity = json.loads((ours / "node.json").read_text())
        shutil.rmtree(ours)
        ours.mkdir(0o700)
        (ours / "node.json").write_text(json.dumps({**identity, "inode": 0}))
    twin = AgentHive(home)
    twin.env["FLOWHIVE_CONTROL_URL"] = hive.url
    return twin


def test_a_copy_on_the_same_machine_is_refused_while_the_first_one_works(
    hive: AgentHive, tmp_path: Path
) -> None:
    """Goal: they do not take turns. Method: the copy has tried again and again, and the session of
    the first is still the first one, with a task that runs on."""
    task = hive.submit(f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 7")
    until(lambda: hive.task(task).word == "running")
    twin = copied(hive)
    twin.agent = twin._start(["run", "--allow-root"], "agent.log")
    try:
        until(lambda: "state directory was copied" in twin.said(), what="the refusal")
        assert "node.json" in twin.said()
        server = hive.said("server.log")
        until(
            lambda: hive.said("server.log").count("identity used twice") > 2,
            what="more tries of the copy",
        )
        assert hive.said("server.log").count("node joined") == server.count("node joined") == 1
        assert hive.n_sessions() == 1
        (tmp_path / "go").touch()
        end = hive.ended(task)
        assert end.outcome is not None
        assert end.outcome.exit_code == 7
        # The first one ends: the copy may have the node now.
        hive.kill_agent()
        until(lambda: twin.n_sessions() == 1, what="the heir")
    finally:
        twin.close()


def test_a_copied_state_directory_is_noticed_and_ends_nothing(
    hive: AgentHive, tmp_path: Path
) -> None:
    """Its run directories look as if their supervisors were dead: an agent that believed them would
    end all that carries their cookies, which are the first agent's tasks."""
    hive.submit(f"echo $$ > {tmp_path}/began; sleep 600")
    until((tmp_path / "began").exists)
    refused = copied(hive, whole=True).run_agent("--allow-root")
    assert refused.returncode == 6
    assert "is a copy of another agent's" in refused.stderr
    os.kill(int((tmp_path / "began").read_text()), 0)


def test_a_state_directory_that_was_moved_is_as_good_as_before(
    hive: AgentHive, tmp_path: Path
) -> None:
    task = hive.submit(
        f"echo $$ > {tmp_path}/began; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 7"
    )
    until((tmp_path / "began").exists)
    hive.kill_agent()
    moved = hive.home / "moved"
    (hive.state / "agent").rename(moved)
    moved.rename(hive.state / "agent")
    hive.start_agent()
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7


def test_a_copy_on_another_machine_is_refused_for_good(hive: AgentHive) -> None:
    """The machine is told by its machine id and its host name: here by another host name."""
    twin = copied(hive)
    (ours,) = (twin.state / "agent").iterdir()
    there = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    theirs = twin.run_words(there, "-c", "from fluxhive import places; print(places.machine_id())")
    ours.rename(ours.with_name(theirs.strip()))
    refused = twin.run_agent("--allow-root", before=there)
    assert refused.returncode == 6
    assert "was given to another machine" in refused.stderr
    assert "node.json" in refused.stderr
