"""An agent short of descriptors and processes, with a clock that jumps, and of another version."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fluxhive
from fluxhive.agent import shim
from fluxhive.agent.run_directory import inspect_run
from fluxhive.agent.shim_record import now_ms
from fluxhive.core.outcome import OutcomeKind
from tests.helpers.agent_hive import AgentHive
from tests.helpers.attempts import PATIENCE_S
from tests.helpers.attempts import shell as run_of_shell
from tests.helpers.cli_hive import until

#: Ends of which none is the task's own: it starts again, here or elsewhere.
UNCOUNTED = {OutcomeKind.LAUNCH_FAILED, OutcomeKind.REFUSED}


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    yield hive
    hive.close()


def waiting(tmp_path: Path) -> str:
    return f"touch {tmp_path}/began; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 7"


def launcher_of(hive: AgentHive) -> int:
    assert hive.agent is not None
    pid = hive.agent.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (found,) = [
        int(each)
        for each in children
        if b"launcher.py" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]
    return found


def first_outcomes(hive: AgentHive, task: str) -> list[OutcomeKind]:
    return [a.outcome.kind for a in hive.task(task).attempts if a.outcome is not None]


def test_without_descriptors_a_start_fails_is_not_counted_and_comes_again(hive: AgentHive) -> None:
    hive.start_agent()
    hive.ended(hive.submit("true"))
    launcher = launcher_of(hive)
    before = resource.prlimit(launcher, resource.RLIMIT_NOFILE)
    resource.prlimit(launcher, resource.RLIMIT_NOFILE, (3, before[1]))
    task = hive.submit("exit 0")
    until(lambda: first_outcomes(hive, task), what="the first end")
    resource.prlimit(launcher, resource.RLIMIT_NOFILE, before)
    end = hive.ended(task)
    assert end.state.value == "succeeded"
    assert set(first_outcomes(hive, task)[:-1]) <= UNCOUNTED
    assert hive.n_sessions() == 1


def test_without_processes_a_start_fails_is_not_counted_and_comes_again(hive: AgentHive) -> None:
    pids = Path("/sys/fs/cgroup/pids", f"fluxhive-test-{os.getpid()}")
    try:
        pids.mkdir()
    except OSError:
        pytest.skip("needs a v1 pids cgroup and the right to make one")
    try:
        hive.start_agent()
        (pids / "pids.max").write_text("1")
        (pids / "cgroup.procs").write_text(str(launcher_of(hive)))
        task = hive.submit("exit 0")
        until(lambda: first_outcomes(hive, task), what="the first end")
        outcome = hive.task(task).attempts[0].outcome
        assert outcome is not None
        assert "fork" in outcome.detail
        (pids / "pids.max").write_text("max")
        end = hive.ended(task)
        assert end.state.value == "succeeded"
        assert set(first_outcomes(hive, task)[:-1]) <= UNCOUNTED
    finally:
        hive.close()
        until(lambda: not (pids / "cgroup.procs").read_text().split(), what="an empty cgroup")
        pids.rmdir()


@pytest.mark.parametrize("ahead_s", [86_400, -86_400], ids=["a day ahead", "a day back"])
def test_a_clock_that_jumps_by_a_day_ends_nothing(
    hive: AgentHive, tmp_path: Path, ahead_s: int
) -> None:
    library, file = tmp_path / "clock.so", tmp_path / "ahead"
    source = Path(__file__).parents[1] / "helpers" / "native" / "clock.c"
    compiler = shutil.which("cc") or pytest.skip("no C compiler here")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    hive.start_agent(LD_PRELOAD=str(library), CLOCK_FILE=str(file))
    task = hive.submit(waiting(tmp_path), failover_ms=60_000, time_limit_ms=3_600_000)
    until((tmp_path / "began").exists)
    file.write_text(str(ahead_s))
    said = len(hive.said())
    second = hive.submit("exit 3")
    end = hive.ended(second)
    assert end.outcome is not None
    assert end.outcome.exit_code == 3
    assert end.ended_at_ms is not None
    assert abs(end.ended_at_ms - end.submitted_at_ms) < 3_600_000, "times are the server's"
    assert hive.task(task).word == "running"
    (tmp_path / "go").touch()
    last = hive.ended(task)
    assert last.outcome is not None
    assert last.outcome.exit_code == 7
    assert hive.n_sessions() == 1
    assert "no server" not in hive.said()[said:]


@pytest.mark.skipif(os.getuid() != 0, reason="makes a time name space: needs root")
def test_time_asleep_counts_for_the_failover(tmp_path: Path) -> None:
    """A machine that slept an hour: for the shim, contact is an hour old (CLOCK_BOOTTIME)."""
    contact = tmp_path / "contact"
    contact.write_text(f"{now_ms():>20}\n")
    run_dir = run_of_shell(
        tmp_path, "sleep 600", failover_ms=600_000, contact_path=str(contact), grace_ms=0
    )
    words = ["unshare", "--time", "--boottime", "3600", "--fork", sys.executable, "-I", "-S"]
    subprocess.run([*words, shim.__file__, str(run_dir)], timeout=PATIENCE_S)
    exited = inspect_run(run_dir).exited
    assert exited is not None
    assert "out of contact for its failover length" in exited.detail


# ── another version ───────────────────────────────────────────────────────────────────────────


def newer_package(tmp_path: Path) -> Path:
    """A copy of this package as a later version would be: its run directories have format 2."""
    site = tmp_path / "newer"
    source = Path(fluxhive.__file__).parent
    shutil.copytree(source, site / "fluxhive", ignore=shutil.ignore_patterns("__pycache__"))
    for name, pattern, text in (
        ("agent/run_directory.py", r"^FORMAT = \d+", "FORMAT = 2"),
        ("agent/run_directory.py", r"^READABLE_FORMATS = .*", "READABLE_FORMATS = (1, 2)"),
        ("agent/shim_record.py", r"^FORMAT = \d+", "FORMAT = 2"),
        ("__init__.py", r'"1\.0\.0a1"', '"1.1.0"'),
    ):
        path = site / "fluxhive" / name
        changed, n = re.subn(pattern, text, path.read_text(), flags=re.MULTILINE)
        path.write_text(changed)
        assert n or name == "__init__.py", name
    return site


def test_an_agent_of_the_next_version_takes_up_what_the_old_one_started(
    hive: AgentHive, tmp_path: Path
) -> None:
    site = newer_package(tmp_path)
    hive.start_agent()
    old = hive.submit(waiting(tmp_path))
    until((tmp_path / "began").exists)
    directory = hive.run_directory(hive.task(old).attempts[0].id)
    assert json.loads((directory / "started").read_text())["format"] == 1
    hive.kill_agent(signal.SIGTERM)
    hive.start_agent(PYTHONPATH=str(site))
    new = hive.submit(f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 5")
    until(lambda: hive.task(new).word == "running")
    newer = hive.run_directory(hive.task(new).attempts[0].id)
    assert json.loads((newer / "started").read_text())["format"] == 2
    (tmp_path / "go").touch()
    for task, code in ((old, 7), (new, 5)):
        end = hive.ended(task)
        assert end.outcome is not None
        assert end.outcome.exit_code == code
        assert len(end.attempts) == 1


def test_an_older_agent_does_not_guess_what_a_newer_one_left(
    hive: AgentHive, tmp_path: Path
) -> None:
    """It does not know the format: it ends the tree and never calls it a success."""
    hive.start_agent(PYTHONPATH=str(newer_package(tmp_path)))
    task = hive.submit(waiting(tmp_path), restarts=0)
    until((tmp_path / "began").exists)
    hive.kill_agent(signal.SIGTERM)
    hive.start_agent()
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.kind is not OutcomeKind.SUCCESS
