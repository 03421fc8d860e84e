"""The agent as a service of a real systemd: tasks outlive its restart, its stop, and its crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import COMMAND, until
from tests.helpers.real_systemd import CannotBoot, RealSystemd

UNIT = "fluxhive-agent.service"
#: A task that goes on until it is told to end; each line is a beat of it.
BEATS = "while [ ! -e {go} ]; do echo beat; sleep 0.1; done; exit 7"


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSystemd]:
    try:
        systemd = RealSystemd(tmp_path_factory.mktemp("systemd"))
    except CannotBoot as reason:
        pytest.skip(str(reason))
    yield systemd
    systemd.close()


class ServiceHive(AgentHive):
    """A server of ours, and an agent that systemd starts."""

    def __init__(self, home: Path, systemd: RealSystemd) -> None:
        super().__init__(home)
        self.systemd = systemd
        self.start_server()
        token = (self.state / "server" / "admin-token").read_text().strip()
        (home / "config.toml").write_text(
            f'[user]\ntoken = "{token}"\n[agent]\nallow_root = true\n'
        )
        (home / "config.toml").chmod(0o600)

    def service(self, *words: str) -> str:
        """`fluxhive service …` where systemd is; what it says."""
        done = self.systemd.run(*COMMAND, "service", *words, **self.env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def systemctl(self, *words: str) -> str:
        done = self.systemd.run("systemctl", *words)
        return done.stdout.strip() or done.stderr.strip()

    def beats(self, task: str) -> int:
        """How often it has been heard of."""
        return len(self.log(task))


@pytest.fixture
def hive(tmp_path: Path, systemd: RealSystemd) -> Iterator[ServiceHive]:
    hive = ServiceHive(tmp_path, systemd)
    hive.service("install", "--system", "--user", "root")
    yield hive
    hive.systemd.run(*COMMAND, "service", "uninstall", "--system", **hive.env)
    hive.close()


def running(hive: ServiceHive, task: str) -> int:
    """The task's process, once it runs and something of it has been heard."""
    until(lambda: hive.task(task).attempts, what="its start", limit_s=120)
    pid: int = until(lambda: hive.beats(task) and hive.task(task).attempts[0].pid, limit_s=120)
    return pid


def heard_on(hive: ServiceHive, task: str) -> None:
    """More of it comes than was there."""
    before = hive.beats(task)
    until(lambda: hive.beats(task) > before, what="more of its output", limit_s=120)


def test_a_task_outlives_restart_stop_and_crash_of_the_service(
    hive: ServiceHive, tmp_path: Path
) -> None:
    assert "active (running)" in hive.service("status", "--system")
    task = hive.submit(BEATS.format(go=tmp_path / "go"))
    pid = running(hive, task)
    agent = hive.systemctl("show", UNIT, "--property=MainPID", "--value")

    hive.systemctl("restart", UNIT)
    heard_on(hive, task)

    hive.systemctl("kill", "--kill-whom=main", "--signal=KILL", UNIT)  # it is started again
    heard_on(hive, task)
    assert hive.systemctl("show", UNIT, "--property=MainPID", "--value") not in (agent, "0")

    hive.service("uninstall", "--system")
    assert hive.systemctl("is-active", UNIT) == "inactive"
    assert hive.systemd.run("kill", "-0", str(pid)).returncode == 0, "the task ended with it"

    hive.service("install", "--system", "--user", "root")
    heard_on(hive, task)
    (tmp_path / "go").touch()
    ended = hive.ended(task, limit_s=120)
    assert len(ended.attempts) == 1
    assert ended.outcome is not None
    assert ended.outcome.exit_code == 7
    assert {*hive.log(task).decode().splitlines()} == {"beat"}


def test_with_the_kill_mode_of_other_services_it_would_have_ended_and_status_says_so(
    hive: ServiceHive, tmp_path: Path
) -> None:
    drop_in = f"/etc/systemd/system/{UNIT}.d"
    hive.systemd.run("mkdir", drop_in)
    text = "[Service]\nKillMode=control-group\n"
    hive.systemd.run("sh", "-c", f"printf '{text}' > {drop_in}/x.conf; systemctl daemon-reload")
    status = hive.systemd.run(*COMMAND, "service", "status", "--system", **hive.env)
    assert status.returncode == 1
    assert "KillMode is control-group, not process" in status.stdout
    task = hive.submit(BEATS.format(go=tmp_path / "go"))
    pid = running(hive, task)
    hive.systemctl("stop", UNIT)
    assert hive.systemd.run("kill", "-0", str(pid)).returncode != 0
    hive.systemd.run("rm", "-r", drop_in)


def test_an_agent_of_root_that_would_not_start_is_not_installed(
    hive: ServiceHive, tmp_path: Path
) -> None:
    hive.service("uninstall", "--system")
    (tmp_path / "config.toml").unlink()
    words = (*COMMAND, "service", "install", "--system", "--user", "root")
    refused = hive.systemd.run(*words, **hive.env)
    assert refused.returncode == 2
    assert "an agent of root would run tasks as root" in refused.stderr
    assert hive.systemctl("is-enabled", UNIT) != "enabled"
