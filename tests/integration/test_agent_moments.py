"""Bad moments for an agent to die, and what it finds afterwards: nothing lost, nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.outcome import OutcomeKind
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until

N_KILLS = 5


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()


def waiting(tmp_path: Path, name: str = "began") -> str:
    return f"echo x >> {tmp_path}/{name}; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 7"


@pytest.mark.slow
def test_killed_between_the_start_and_its_record_it_adopts_what_began(
    hive: AgentHive, tmp_path: Path
) -> None:
    """That a task runs is journalled with what comes next: killed at the task's first act, the
    agent has no word of it, and the run directory has."""
    for number in range(N_KILLS):
        mark = tmp_path / f"began-{number}"
        task = hive.submit(waiting(tmp_path, mark.name))
        while not mark.exists():
            pass
        hive.kill_agent()
        hive.start_agent()
        (tmp_path / "go").touch()
        end = hive.ended(task)
        assert end.outcome is not None
        assert end.outcome.exit_code == 7
        assert len(end.attempts) == 1
        assert mark.read_text() == "x\n"
        (tmp_path / "go").unlink()


def test_with_its_state_directory_deleted_the_exit_is_still_exact(
    hive: AgentHive, tmp_path: Path
) -> None:
    task = hive.submit(waiting(tmp_path))
    until(lambda: hive.task(task).word == "running")
    shutil.rmtree(hive.state / "agent")
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert len(end.attempts) == 1


@pytest.mark.parametrize("damage", ["cut short", "bits flipped", "log cut short"])
def test_a_damaged_journal_costs_no_running_task(
    hive: AgentHive, tmp_path: Path, damage: str
) -> None:
    task = hive.submit(waiting(tmp_path))
    until(lambda: hive.task(task).word == "running")
    hive.kill_agent()
    (path,) = hive.state.glob("agent/*/journal.db")
    log = path.with_name("journal.db-wal")
    raw = bytearray((log if damage == "log cut short" else path).read_bytes())
    if damage == "bits flipped":
        for at in range(100, len(raw), 7):
            raw[at] ^= 0x55
    else:
        # Behind what was written lies room for more.
        del raw[len(raw.rstrip(b"\0")) // 2 :]
    (log if damage == "log cut short" else path).write_bytes(raw)
    hive.start_agent()
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert (end.outcome.kind, end.outcome.exit_code) == (OutcomeKind.FAILURE, 7)
    assert len(end.attempts) == 1
    assert (tmp_path / "began").read_text() == "x\n"
