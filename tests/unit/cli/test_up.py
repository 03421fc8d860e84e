"""`fluxhive up` and `down`: the two processes, with stand-ins for what runs in them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.helpers.cli_hive import free_port, until
from tests.helpers.cli_views import running

STAND_IN = Path(__file__).parents[2] / "helpers" / "stand_in"


class House:
    """An empty home in which server and agent are stand-ins."""

    def __init__(self, home: Path) -> None:
        self.state = home / "state"
        self.port = free_port()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": f"{STAND_IN}:{STAND_IN.parents[2]}",
            "FLOWHIVE_STATE_DIR": str(self.state),
        }

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "fluxhive.cli.fluxhive", *arguments],
            env=self.env | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Exit code and standard error."""
        process = self.start(*arguments, **variables)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    def up(self, *arguments: str) -> tuple[int, str]:
        return self.run("up", "--detach", "--port", str(self.port), *arguments)

    @property
    def noted(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.state / "server" / "up.json").read_text())
        return found

    def have_a_running_task(self) -> None:
        text = msgspec.json.encode([running()]).decode()
        (self.state / "tasks.json").write_text(text)


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie: in a container nobody may collect those."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.run("down")


def test_up_starts_both_tells_where_all_is_and_down_stops_both(house: House) -> None:
    code, err = house.up()
    assert code == 0, err
    url = f"http://127.0.0.1:{house.port}"
    for told in (url, str(house.state), "server.log", "agent.log", "fluxhive submit", "down"):
        assert told in err
    assert (house.state / "agent-ready").read_text() == f"{url} fh_u_admin"
    pids = house.noted["server_pid"], house.noted["agent_pid"]
    assert all(is_running(pid) for pid in pids)
    code, err = house.run("down")
    assert (code, err) == (0, f"stopped server and agent of {url}\n")
    assert not any(is_running(pid) for pid in pids)
    assert house.run("down") == (0, "nothing of FlowHive runs here\n")


def test_a_second_up_finds_the_first(house: House) -> None:
    house.up()
    before = house.noted
    code, err = house.run("up")
    assert code == 0
    assert err.startswith(f"already running at http://127.0.0.1:{house.port}\n")
    assert house.noted == before


def test_up_gives_a_running_server_its_agent_back(house: House) -> None:
    house.up()
    before = house.noted
    os.kill(before["agent_pid"], signal.SIGKILL)
    until(lambda: not is_running(before["agent_pid"]))
    (house.state / "agent-ready").unlink()
    assert house.up()[0] == 0
    assert house.noted["server_pid"] == before["server_pid"]
    assert house.noted["agent_pid"] != before["agent_pid"]


def test_a_new_server_keeps_port_and_agent_of_the_one_that_died(house: House) -> None:
    house.up()
    before = house.noted
    os.kill(before["server_pid"], signal.SIGKILL)
    until(lambda: not is_running(before["server_pid"]))
    code, err = house.run("up", "--detach")
    assert code == 0, err
    assert (house.noted["url"], house.noted["agent_pid"]) == (before["url"], before["agent_pid"])
    os.kill(house.noted["server_pid"], signal.SIGKILL)
    code, err = house.run("up", "--detach", "--port", str(free_port()))
    assert code == 0, err
    assert house.noted["agent_pid"] != before["agent_pid"], "an agent of another address"
    assert not is_running(before["agent_pid"])


def test_a_port_that_somebody_else_has_is_a_conflict_when_it_was_named(house: House) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", house.port))
        other.listen()
        code, err = house.up()
    assert code == 6
    assert f"port {house.port} is in use" in err
    assert "hint: choose another" in err


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(house: House) -> None:
    code, err = house.run("up", "--port", str(house.port), STAND_IN_SERVER_FAILS="1")
    assert code == 1
    assert "the server ended with code 3 before it was ready:\n\nthe disk is on fire" in err
    assert f"hint: all it said: {house.state / 'server' / 'server.log'}" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_stops_both_and_says_what_keeps_running(
    house: House, number: signal.Signals
) -> None:
    process = house.start("up", "--port", str(house.port))
    until(lambda: (house.state / "server" / "up.json").exists())
    house.have_a_running_task()
    pids = house.noted["server_pid"], house.noted["agent_pid"]
    time.sleep(0.3)  # it tells where all is before it watches
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "1 task keeps running" in err
    assert "down --stop-tasks" in err
    assert not any(is_running(pid) for pid in pids)


def test_down_elsewhere_ends_the_foreground_too(house: House) -> None:
    process = house.start("up", "--port", str(house.port))
    until(lambda: (house.state / "server" / "up.json").exists())
    assert house.run("down")[0] == 0
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err


def test_down_can_stop_the_tasks_too_even_when_nothing_runs_any_more(house: House) -> None:
    house.up()
    house.run("down")
    house.have_a_running_task()
    code, err = house.run("down", "--stop-tasks")
    assert code == 0, err
    assert "cancelled t-7d01" in err
    assert (house.state / "cancelled").read_text() == "/api/v1/tasks/t-7d01/cancel"
    # Drained while its tasks end, so that it takes no others, and not for ever.
    assert (house.state / "patched").read_text() == '{"draining":true}\n{"draining":false}\n'


def test_a_configuration_for_another_server_is_pointed_out(house: House) -> None:
    variables = {"FLOWHIVE_CONTROL_URL": "http://elsewhere:1"}
    code, err = house.run("up", "--detach", "--port", str(house.port), **variables)
    assert code == 0
    assert "talks to another server, http://elsewhere:1 (from FLOWHIVE_CONTROL_URL)" in err
    assert (house.state / "agent-ready").read_text().startswith(f"http://127.0.0.1:{house.port}")


def test_nothing_of_the_current_directory_is_imported(house: House, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise RuntimeError('the wrong module')\n")
    words = ["up", "--detach", "--port", str(house.port)]
    program = f"from fluxhive.cli.fluxhive import main; sys.exit(main({words!r}))"
    process = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.pop(0); {program}"],
        env=house.env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
