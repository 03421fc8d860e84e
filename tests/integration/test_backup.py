"""A server that goes back to yesterday's backup while its nodes go on.

Goal: nothing is killed without a person's word, no attempt is started a second time, what was
accepted before the backup is there, and no number is used twice. Method: real processes.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.protocol.rest import LogStreamView, NodePage, NodeView
from tests.helpers import checked_log
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import COMMAND, until

WRITER = f"{sys.executable} {checked_log.__file__} write --burst 4000 --pause 0.2"


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()


def command(hive: AgentHive, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], env=hive.env, cwd=hive.home, capture_output=True, text=True, timeout=60
    )


def ok(hive: AgentHive, *words: str) -> str:
    done = command(hive, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def node(hive: AgentHive) -> NodeView:
    (found,) = hive.transport().call("GET", "/api/v1/nodes", NodePage).items
    return found


def witnessed(path: Path) -> list[str]:
    if not path.exists():
        return []
    beats = checked_log.read_witness(path.read_text())
    return [beat.word for beat in beats if beat.word != "beat"]


def test_nothing_is_killed_lost_or_started_twice_by_a_restore(hive: AgentHive) -> None:
    old_witness, new_witness = hive.home / "old", hive.home / "new"
    done = hive.submit("echo done")
    hive.ended(done)
    # Runs over the restore: as long as it takes, and it is cancelled at the end.
    running = hive.submit(f"{WRITER} --bytes 40000000 --witness {old_witness}")
    queued = hive.submit("true", request={"gpus": 1})
    until(lambda: witnessed(old_witness), what="the start of the old task")
    ok(hive, "server", "backup", "backup")
    # An end is stored before the mark of its last output is: such a moment is a backup's, too.
    with sqlite3.connect(hive.home / "backup" / "hive.db") as database:
        database.execute("DELETE FROM log_streams WHERE attempt_id = ?", (f"{done}.1",))
    until(lambda: len(hive.run_directories()) == 1, what="the end of the first run directory")

    young = hive.submit(f"{WRITER} --bytes 40000000 --witness {new_witness}")
    until(lambda: witnessed(new_witness), what="the start of the young task")
    refused = command(hive, "server", "restore", "backup")
    assert refused.returncode != 0
    assert "another server works on" in refused.stderr
    hive.kill_server()
    n_sessions = hive.n_sessions()
    said = ok(hive, "server", "restore", "backup")
    assert f"1 queued tasks are held now: {queued}" in said
    hive.start_server()
    until(lambda: hive.n_sessions() > n_sessions, what="the agent's return")

    assert hive.task(done).state.value == "succeeded"
    assert hive.log(done) == b"done\n"
    assert hive.task(queued).state.value == "held"
    assert hive.task(running).word == "running"
    assert node(hive).unknown == (f"{young}.1",)
    assert node(hive).cpus_reserved == 2, "what it was given is counted"
    later = hive.submit("echo later")
    assert later not in (done, running, queued, young)
    # Both go on: neither is killed, neither is started again.
    assert witnessed(old_witness) == witnessed(new_witness) == ["start"]

    ok(hive, "node", "end-unknown", "--yes", node(hive).label)
    until(lambda: "end" in witnessed(new_witness), what="the end of the young task")
    assert node(hive).unknown == ()
    hive.ended(later)  # where there are two CPUs, it had to wait for the young one's
    assert hive.log(later, size=6) == b"later\n"
    hive.cancel(running)
    assert hive.ended(running).state.value == "cancelled"
    until(lambda: not hive.run_directories(), what="the end of all run directories")
    # What the old server had for good is served, although the node has given it back.
    assert stdout_gaps(hive, running) == []
    data = hive.log(running)
    assert checked_log.first_fault(data, 0) is None


def stdout_gaps(hive: AgentHive, task: str) -> list[tuple[int, int]]:
    views = hive.transport().call("GET", f"/api/v1/tasks/{task}/logs", list[LogStreamView])
    return [(gap.start, gap.end) for view in views if view.stream == "stdout" for gap in view.gaps]


def test_a_backup_with_logs_moves_a_server_and_without_them_the_gaps_are_shown(
    hive: AgentHive,
) -> None:
    task = hive.submit("echo hello")
    hive.ended(task)
    hive.log(task, size=6)
    until(lambda: not hive.run_directories(), what="the end of the run directory")
    ok(hive, "server", "backup", "whole", "--with-logs")
    ok(hive, "server", "backup", "bare")
    again = command(hive, "server", "backup", "bare")
    assert "exists already" in again.stderr
    for name, data, gaps in (("whole", b"hello\n", []), ("bare", b"", [(0, 6)])):
        hive.kill_server()
        state = hive.home / f"{name}-state"
        ok(hive, "server", "restore", name, "--state-dir", str(state))
        hive.server = hive._start(
            ["server", "--port", str(hive.port), "--state-dir", str(state)], "server.log"
        )
        until(hive._is_up, what="the server")
        assert stdout_gaps(hive, task) == gaps
        assert hive.log(task).strip(b"\0") == data


@pytest.mark.parametrize("harm", ["nothing", "note", "damage"])
def test_what_is_no_backup_changes_nothing(hive: AgentHive, harm: str) -> None:
    ok(hive, "server", "backup", "backup")
    hive.kill_server()
    backup = hive.home / "backup"
    if harm == "nothing":
        backup = hive.home / "nowhere"
    elif harm == "note":
        (backup / "backup.json").write_text('{"format": 99}')
    else:
        database = bytearray((backup / "hive.db").read_bytes())
        database[5_000:60_000] = bytes(55_000)
        (backup / "hive.db").write_bytes(database)
    before = (hive.state / "server" / "hive.db").read_bytes()
    refused = command(hive, "server", "restore", str(backup))
    assert refused.returncode not in (0, 1)
    assert refused.stderr.startswith("error: ")
    assert (hive.state / "server" / "hive.db").read_bytes() == before
