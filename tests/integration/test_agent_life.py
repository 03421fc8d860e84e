"""The agent's lives and deaths, with real processes: what runs is never lost and never doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.outcome import OutcomeKind
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()


def talker(tmp_path: Path, *, n_lines: int = 40, code: int = 7) -> str:
    """A task that marks its start, prints numbered lines until told to go on, and ends so."""
    mark, gate = tmp_path / "began", tmp_path / "go"
    return (
        f"echo $$ >> {mark}; for i in $(seq {n_lines}); do echo line $i; sleep 0.02; done; "
        f"while [ ! -e {gate} ]; do sleep 0.02; done; echo last; exit {code}"
    )


def lines(n_lines: int = 40) -> bytes:
    return b"".join(b"line %d\n" % n for n in range(1, n_lines + 1)) + b"last\n"


def test_a_running_task_is_adopted_after_the_agent_was_killed(
    hive: AgentHive, tmp_path: Path
) -> None:
    task = hive.submit(talker(tmp_path))
    until((tmp_path / "began").exists)
    hive.kill_agent()
    hive.start_agent()
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert (end.outcome.kind, end.outcome.exit_code) == (OutcomeKind.FAILURE, 7)
    assert len(end.attempts) == 1
    assert hive.log(task, size=len(lines())) == lines()
    assert len((tmp_path / "began").read_text().split()) == 1


def test_a_task_that_ended_while_nobody_looked_is_told_exactly(
    hive: AgentHive, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    task = hive.submit(talker(tmp_path))
    until((tmp_path / "began").exists)
    hive.kill_agent()
    directory = hive.run_directory(hive.task(task).attempts[0].id)
    until((directory / "exit").exists, what="the exit record")
    hive.start_agent()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert hive.log(task, size=len(lines())) == lines()
    until(lambda: not directory.exists(), what="the end of the run directory")


def test_agent_and_server_may_be_killed_in_turn_again_and_again(
    hive: AgentHive, tmp_path: Path
) -> None:
    task = hive.submit(talker(tmp_path, n_lines=200))
    until((tmp_path / "began").exists)
    for turn in range(3):
        hive.kill_agent()
        if turn % 2 == 0:
            hive.kill_server()
            hive.start_server()
        hive.start_agent()
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert hive.log(task, size=len(lines(200))) == lines(200)
    assert len((tmp_path / "began").read_text().split()) == 1


def test_the_agent_comes_back_by_itself_after_a_server_restart(
    hive: AgentHive, tmp_path: Path
) -> None:
    task = hive.submit(talker(tmp_path))
    until((tmp_path / "began").exists)
    before = hive.n_sessions()
    hive.kill_server()
    (tmp_path / "go").touch()
    hive.start_server()
    until(lambda: hive.n_sessions() > before, what="the reconnect")
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert hive.log(task, size=len(lines())) == lines()


def test_told_to_end_the_agent_leaves_its_tasks_running(hive: AgentHive, tmp_path: Path) -> None:
    task = hive.submit(talker(tmp_path))
    until((tmp_path / "began").exists)
    # The agent hears of the start a moment after the program runs.
    until(lambda: hive.task(task).attempts[0].started_at_ms is not None)
    assert hive.kill_agent(signal.SIGTERM) == 0
    os.kill(int((tmp_path / "began").read_text()), 0)
    assert "tasks run on" in hive.said()
    hive.start_agent()
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7


def test_with_the_flag_the_tasks_end_with_the_agent_and_run_again_later(
    hive: AgentHive, tmp_path: Path
) -> None:
    hive.kill_agent(signal.SIGTERM)
    hive.start_agent("--stop-tasks-on-exit")
    task = hive.submit(talker(tmp_path))
    until((tmp_path / "began").exists)
    pid = int((tmp_path / "began").read_text())
    assert hive.kill_agent(signal.SIGINT) == 0
    # By now its number may be another process's.
    assert str(tmp_path).encode() not in words_of(pid)
    (tmp_path / "go").touch()
    hive.start_agent()
    end = hive.ended(task)
    assert [attempt.outcome and attempt.outcome.kind for attempt in end.attempts] == [
        OutcomeKind.PREEMPTED,
        OutcomeKind.FAILURE,
    ]


@pytest.mark.parametrize("damage", ["gone", "garbage"])
def test_a_lost_journal_is_made_again_from_the_run_directories(
    hive: AgentHive, tmp_path: Path, damage: str
) -> None:
    task = hive.submit(talker(tmp_path))
    until((tmp_path / "began").exists)
    hive.kill_agent()
    for path in hive.state.glob("agent/*/journal.db*"):
        if damage == "gone" or path.suffix != ".db":
            path.unlink()
        else:
            path.write_bytes(b"no journal at all" * 500)
    hive.start_agent()
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert len(end.attempts) == 1
    assert hive.log(task, size=len(lines())) == lines()


def test_what_ended_beside_a_journal_that_was_cut_short_is_told_with_all_its_output(
    hive: AgentHive, tmp_path: Path
) -> None:
    """Goal: neither an exit nor output is lost with a journal's last records. Method: a journal
    that was cut at a record reads as it did before them, so it is put back to before the task."""
    hive.kill_agent()
    before = {path: path.read_bytes() for path in hive.state.glob("agent/*/journal.db*")}
    hive.start_agent()
    task = hive.submit(talker(tmp_path))
    until((tmp_path / "began").exists)
    directory = hive.run_directory(hive.task(task).attempts[0].id)
    # The end and the rest of the output can reach nobody.
    hive.kill_server()
    (tmp_path / "go").touch()
    until((directory / "exit").exists, what="the exit record")
    hive.kill_agent()
    for path in hive.state.glob("agent/*/journal.db*"):
        path.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    hive.start_server()
    hive.start_agent()
    end = hive.ended(task)
    assert end.outcome is not None
    assert (end.outcome.kind, end.outcome.exit_code) == (OutcomeKind.FAILURE, 7)
    assert len(end.attempts) == 1
    assert hive.log(task, size=len(lines())) == lines()
    assert "journal lacks attempts" in hive.said()
    until(lambda: not directory.exists(), what="the end of the run directory")


def test_a_killed_supervisor_takes_its_task_along_and_is_not_taken_for_success(
    hive: AgentHive, tmp_path: Path
) -> None:
    task = hive.submit(talker(tmp_path, code=0), restarts=0)
    until((tmp_path / "began").exists)
    started = hive.run_directory(hive.task(task).attempts[0].id) / "started"
    os.kill(json.loads(started.read_text())["shim_pid"], signal.SIGKILL)
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.kind is OutcomeKind.SUPERVISOR_LOST
    pid = int((tmp_path / "began").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the task's process")


def test_a_supervisor_that_somebody_has_stopped_tells_the_end_of_its_task_all_the_same(
    hive: AgentHive, tmp_path: Path
) -> None:
    task = hive.submit(talker(tmp_path))
    until((tmp_path / "began").exists)
    started = hive.run_directory(hive.task(task).attempts[0].id) / "started"
    os.kill(json.loads(started.read_text())["shim_pid"], signal.SIGSTOP)
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert (end.outcome.kind, end.outcome.exit_code) == (OutcomeKind.FAILURE, 7)
    assert "supervisor was stopped, woken" in hive.said()


def test_after_a_reboot_attempts_end_as_such_and_nothing_is_signalled(
    hive: AgentHive, tmp_path: Path
) -> None:
    task = hive.submit(talker(tmp_path), restarts=0)
    until((tmp_path / "began").exists)
    started = hive.run_directory(hive.task(task).attempts[0].id) / "started"
    hive.kill_agent()
    record = json.loads(started.read_text())
    os.kill(record["shim_pid"], signal.SIGKILL)
    pid = int((tmp_path / "began").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the task's process")
    with subprocess.Popen(["sleep", "600"]) as stranger:
        # After a reboot the pids belong to somebody else.
        record.update(boot_id="another boot", shim_pid=stranger.pid, pid=stranger.pid)
        started.write_text(json.dumps(record))
        hive.start_agent()
        end = hive.ended(task)
        assert stranger.poll() is None
        stranger.kill()
    assert end.outcome is not None
    assert end.outcome.kind is OutcomeKind.NODE_REBOOT


def test_a_start_that_a_dead_agent_asked_for_never_happens_later(
    hive: AgentHive, tmp_path: Path
) -> None:
    """Goal: an attempt is started at most once. Method: the old launcher sleeps while the agent
    dies and a new one takes over; when it wakes up, the attempt is already given up."""
    assert hive.agent is not None
    launcher = next(pid for pid in children(hive.agent.pid) if b"launcher.py" in words_of(pid))
    os.kill(launcher, signal.SIGSTOP)
    mark = tmp_path / "began"
    task = hive.submit(f"echo $FLUXHIVE_ATTEMPT_ID >> {mark}")
    until(lambda: hive.task(task).state.value == "active")
    until(lambda: list(hive.state.glob("agent/*/runs/*/spec.json")), what="the run directory")
    hive.kill_agent()
    hive.start_agent()
    end = hive.ended(task)
    os.kill(launcher, signal.SIGCONT)
    until(lambda: not Path(f"/proc/{launcher}").exists(), what="the end of the old launcher")
    assert end.state.value == "succeeded"
    assert mark.read_text().split() == [end.attempts[-1].id]


def test_a_second_agent_on_the_same_state_directory_is_told_so(hive: AgentHive) -> None:
    second = hive.run_agent("--allow-root")
    assert second.returncode == 6
    assert "an agent runs already" in second.stderr
    assert "hint:" in second.stderr


def test_a_wrong_password_is_said_once_and_ends_the_agent(hive: AgentHive) -> None:
    refused = hive.run_agent(
        "--allow-root",
        FLOWHIVE_STATE_DIR=str(hive.home / "other"),
        FLOWHIVE_USERNAME="root",
        FLOWHIVE_PASSWORD="wrong",
    )
    assert refused.returncode == 4
    assert refused.stderr.count("hint:") == 1
    assert "wrong" not in refused.stderr.replace("wrong name or password", "")


def test_nothing_to_log_in_with_is_said_with_the_remedy(hive: AgentHive) -> None:
    refused = hive.run_agent("--allow-root", FLOWHIVE_STATE_DIR=str(hive.home / "other"))
    assert refused.returncode == 4
    assert "fluxhive login" in refused.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root")
def test_an_agent_of_root_wants_to_be_told_that_it_may(hive: AgentHive) -> None:
    refused = hive.run_agent()
    assert refused.returncode == 2
    assert "--allow-root" in refused.stderr


def test_an_agent_that_is_there_before_its_server_waits_for_it(tmp_path: Path) -> None:
    hive = AgentHive(tmp_path)
    try:
        hive.start_server()
        hive.start_agent()
        hive.kill_agent(signal.SIGTERM)
        hive.kill_server()
        hive.agent = hive._start(["run", "--allow-root"], "agent.log")
        until(lambda: hive.said().count('"no server"') == 1, what="one word about it")
        before = hive.n_sessions()
        hive.start_server()
        until(lambda: hive.n_sessions() > before, what="the session")
        assert hive.said().count('"no server"') == 1
        assert '"connected again"' in hive.said()
    finally:
        hive.close()


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def words_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
