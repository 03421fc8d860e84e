"""The agent as a service: its tasks outlive a restart by systemd, as the unit that we write says.

systemd itself does not run here: a stand-in ends units by their real cgroup as it would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import stand_in_systemd
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import COMMAND, until

pytestmark = pytest.mark.skipif(
    stand_in_systemd.cgroup_root() is None, reason="needs a cgroup2 that may be written"
)


class ServiceHive(AgentHive):
    """A hive whose agent is started by the stand-in alone."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        state, tools = home / "systemd", home / "tools"
        for folder in (state, tools):
            folder.mkdir()
        for name, text in (
            ("systemctl", f'exec {sys.executable} {stand_in_systemd.__file__} "$@"'),
            ("loginctl", "echo Linger=no"),
        ):
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        self.env |= {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(home / "config"),
            "STAND_IN_STATE": str(state),
            "STAND_IN_LOG": str(home / "agent.log"),
        }
        self.unit = home / "config" / "systemd" / "user" / "fluxhive-agent.service"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words], env=self.env, cwd=self.home, capture_output=True, text=True
        )

    def install(self) -> None:
        """With the administrator's token in the configuration; the service gets no secret."""
        token = (self.state / "server" / "admin-token").read_text().strip()
        (self.home / "config.toml").write_text(
            f'[user]\ntoken = "{token}"\n[agent]\nallow_root = true\n'
        )
        (self.home / "config.toml").chmod(0o600)
        done = self.run("service", "install")
        assert done.returncode == 0, done.stderr
        until(lambda: self.n_sessions() == 1, what="the node")

    def systemctl(self, verb: str) -> None:
        words = [str(self.home / "tools" / "systemctl"), "--user", verb, self.unit.name]
        subprocess.run(words, env=self.env, check=True)


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[ServiceHive]:
    hive = ServiceHive(tmp_path)
    hive.start_server()
    yield hive
    if hive.unit.exists():
        hive.systemctl("stop")
    cgroup = stand_in_systemd.cgroup_root()
    assert cgroup is not None
    hive.close()
    for folder in cgroup.glob(f"stand-in-{tmp_path.name}-*"):
        (folder / "cgroup.kill").write_text("1")
        until(lambda at=folder: not (at / "cgroup.procs").read_text(), what="an empty cgroup")
        for below in (*folder.glob("*/"), folder):
            below.rmdir()


def waiting_task(hive: ServiceHive, tmp_path: Path) -> str:
    line = f"echo $$ > {tmp_path}/began; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 7"
    task = hive.submit(line, restarts=0)
    until((tmp_path / "began").exists)
    return task


def test_tasks_outlive_a_restart_of_the_service_that_we_write(
    hive: ServiceHive, tmp_path: Path
) -> None:
    hive.install()
    task = waiting_task(hive, tmp_path)
    hive.systemctl("restart")
    until(lambda: hive.n_sessions() == 2, what="the node again")
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert len(end.attempts) == 1


def test_with_the_default_kill_mode_they_die_and_this_is_seen(
    hive: ServiceHive, tmp_path: Path
) -> None:
    """The same with the one line taken out: without it this test could not fail."""
    hive.install()
    text = hive.unit.read_text()
    hive.unit.write_text(text.replace("KillMode=process\n", ""))
    status = hive.run("service", "status")
    assert status.returncode == 1
    assert "tasks end with the agent" in status.stdout
    task = waiting_task(hive, tmp_path)
    hive.systemctl("restart")
    until(lambda: hive.n_sessions() == 2, what="the node again")
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code != 7
    assert end.outcome.kind.value != "success"


def test_it_is_installed_once_shown_and_taken_out_again(hive: ServiceHive, tmp_path: Path) -> None:
    hive.install()
    calls = tmp_path / "systemd" / "calls"
    pid = status_of(hive)["pid"]
    assert pid is not None
    again = hive.run("service", "install")
    assert "is as it should be" in again.stderr
    assert "KillMode=process" in again.stderr
    assert "loginctl enable-linger" in again.stderr
    assert status_of(hive)["pid"] == pid, "it was not started anew"
    assert "restart" not in calls.read_text().splitlines()[-1]
    task = waiting_task(hive, tmp_path)
    removed = hive.run("service", "uninstall")
    assert removed.returncode == 0, removed.stderr
    assert not hive.unit.exists()
    os.kill(int((tmp_path / "began").read_text()), 0)
    assert hive.run("service", "uninstall").returncode == 3
    hive.start_agent()
    (tmp_path / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7


def test_no_secret_goes_into_the_unit(hive: ServiceHive) -> None:
    (hive.home / "config.toml").write_text("[agent]\nallow_root = true\n")
    hive.env["FLOWHIVE_PASSWORD"] = "correct horse"
    shown = hive.run("service", "install", "--no-start")
    assert "FLOWHIVE_PASSWORD: not written" in shown.stderr
    assert "correct horse" not in hive.unit.read_text() + shown.stderr + shown.stdout
    assert "correct horse" not in hive.run("service", "install", "--print").stdout


def test_a_service_of_the_machine_is_told_whom_it_runs_as(hive: ServiceHive) -> None:
    refused = hive.run("service", "install", "--system", "--print")
    assert refused.returncode == 2
    assert "--user NAME" in refused.stderr
    shown = hive.run("service", "install", "--system", "--user", "ann", "--print")
    assert "User=ann" in shown.stdout


def status_of(hive: ServiceHive) -> dict[str, object]:
    found: dict[str, object] = json.loads(hive.run("service", "status", "--json").stdout)
    return found
