"""A state directory deleted under running tasks, and the agent killed: the next one finds them.

Goal: nothing stays adrift, nothing is started twice, the exit is exact. Method: real processes,
whose witness lies outside the state directory.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.outcome import OutcomeKind
from fluxhive.protocol.rest import LogStreamView
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    hive.start_agent()
    yield hive
    (tmp_path / "go").touch()
    hive.close()


def waiting(tmp_path: Path) -> str:
    return (
        f"echo $$ >> {tmp_path}/began; echo line; while [ ! -e {tmp_path}/go ]; do sleep 0.02; "
        "done; echo last; exit 7"
    )


def start(hive: AgentHive, tmp_path: Path, **spec: object) -> tuple[str, int]:
    """A running task and the pid of its main process."""
    task = hive.submit(waiting(tmp_path), **spec)
    until(lambda: hive.task(task).word == "running")
    return task, int((tmp_path / "began").read_text())


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def check_end(hive: AgentHive, task: str, tmp_path: Path) -> None:
    """It ended once, as it did, and its supervisor has left."""
    end = hive.ended(task)
    assert end.outcome is not None
    assert (end.outcome.kind, end.outcome.exit_code) == (OutcomeKind.FAILURE, 7)
    assert len(end.attempts) == 1
    assert len((tmp_path / "began").read_text().split()) == 1
    until(lambda: not hive.run_directories(), what="the end of the run directory")
    # The room is not used again as if it were whole.
    assert hive.ended(hive.submit("exit 0", restarts=0)).state.value == "succeeded"


def lose_state(hive: AgentHive) -> None:
    shutil.rmtree(hive.state / "agent")


def lose_runs_and_journal(hive: AgentHive) -> None:
    for path in hive.state.glob("agent/*/journal.db*"):
        path.unlink()
    lose_runs(hive)


def lose_runs(hive: AgentHive) -> None:
    for path in hive.state.glob("agent/*/runs"):
        shutil.rmtree(path)


@pytest.mark.parametrize("lose", [lose_state, lose_runs_and_journal, lose_runs])
def test_a_task_whose_run_directory_was_deleted_is_adopted(
    hive: AgentHive, tmp_path: Path, lose: object
) -> None:
    task, pid = start(hive, tmp_path)
    shim = parent_of(pid)
    assert callable(lose)
    lose(hive)
    hive.kill_agent()
    hive.start_agent()
    until(lambda: hive.task(task).word == "running")
    assert is_alive(pid)
    (tmp_path / "go").touch()
    check_end(hive, task, tmp_path)
    until(lambda: not is_alive(shim), what="the end of the supervisor")
    # What it printed since went into the deleted file, and was read there.
    assert hive.log(task, size=10) == b"line\nlast\n"
    views = hive.transport().call("GET", f"/api/v1/tasks/{task}/logs", list[LogStreamView])
    assert [view.gaps for view in views] == [(), ()]


def test_an_end_between_two_agents_is_told_exactly(hive: AgentHive, tmp_path: Path) -> None:
    task, pid = start(hive, tmp_path)
    shim = parent_of(pid)
    lose_state(hive)
    hive.kill_agent()
    (tmp_path / "go").touch()
    until(lambda: not is_alive(pid), what="the end of the task")
    hive.start_agent()
    check_end(hive, task, tmp_path)
    until(lambda: not is_alive(shim), what="the end of the supervisor")


def test_it_can_be_cancelled_and_survives_the_next_agent_too(
    hive: AgentHive, tmp_path: Path
) -> None:
    task, pid = start(hive, tmp_path)
    lose_state(hive)
    for _ in range(2):
        hive.kill_agent()
        hive.start_agent()
    assert is_alive(pid)
    hive.cancel(task)
    until(lambda: not is_alive(pid), what="the end of the task")
    assert hive.ended(task).state.value == "cancelled"


def test_without_its_supervisor_it_is_lost_and_no_success(hive: AgentHive, tmp_path: Path) -> None:
    task, pid = start(hive, tmp_path, restarts=0)
    lose_state(hive)
    hive.kill_agent()
    hive.start_agent()
    os.kill(parent_of(pid), signal.SIGKILL)
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.kind is OutcomeKind.SUPERVISOR_LOST
    until(lambda: not is_alive(pid), what="the end of the task's process")


def test_what_the_server_has_given_up_is_ended(hive: AgentHive, tmp_path: Path) -> None:
    """The server's word, once it hears of it: nobody wants this attempt any more."""
    task, pid = start(hive, tmp_path, restarts=0)
    lose_state(hive)
    hive.kill_agent()
    until(lambda: hive.task(task).word == "adrift", what="adrift")
    label = hive.task(task).attempts[0].node_label
    hive.transport().fetch("POST", f"/api/v1/nodes/{label}/give-up")
    hive.ended(task)
    assert is_alive(pid)
    shim = parent_of(pid)
    hive.start_agent()
    until(lambda: not is_alive(pid), what="the end of the task")
    until(lambda: not is_alive(shim), what="the end of the supervisor")


def test_a_second_agent_touches_nothing_of_the_first(hive: AgentHive, tmp_path: Path) -> None:
    """Another state directory of the same user: its tasks are its own, lost or not."""
    task, pid = start(hive, tmp_path)
    lose_state(hive)
    hive.kill_agent()
    other = AgentHive(tmp_path / "other")
    try:
        (tmp_path / "other").mkdir()
        other.start_server()
        other.start_agent()
        assert not other.run_directories()
        assert "made again" not in other.said()
    finally:
        other.close()
    assert is_alive(pid)
    hive.start_agent()
    (tmp_path / "go").touch()
    check_end(hive, task, tmp_path)


def test_beside_an_agent_that_lives_nothing_is_taken_over(hive: AgentHive, tmp_path: Path) -> None:
    task, _ = start(hive, tmp_path)
    lose_state(hive)
    second = hive.run_agent("--allow-root")
    assert second.returncode == 6
    assert "was deleted under an agent that still runs" in second.stderr
    assert "hint: stop it first" in second.stderr
    (tmp_path / "go").touch()
    assert hive.ended(task).attempts[-1].outcome.exit_code == 7  # type: ignore[union-attr]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
