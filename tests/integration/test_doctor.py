"""`fluxhive doctor`, each finding by making what it finds: name spaces, limits, stand-ins."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from fluxhive import places
from fluxhive.cli import doctor_host, doctor_tasks
from fluxhive.cli.doctor_finding import Level
from tests.helpers.cli_hive import COMMAND, free_port

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="makes name spaces: needs root")

HEALTH = {"status": "ok", "version": "1.0.0a1", "server_id": "s-1"}
ME = {"username": "ann", "role": "member", "scope": "full"}


class Seen(NamedTuple):
    code: int
    findings: list[dict[str, str]]
    raw: str

    def of(self, check: str) -> list[tuple[str, str]]:
        return [(each["level"], each["text"]) for each in self.findings if each["check"] == check]

    def remedy(self, check: str) -> str:
        return " ".join(each["remedy"] for each in self.findings if each["check"] == check)


class Patient:
    """A home that the doctor looks at, and what lies before it on PATH."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.state = home / "state"
        self.tools = home / "tools"
        self.tools.mkdir()
        self.env = {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "XDG_CONFIG_HOME": str(home / "config"),
            "FLOWHIVE_STATE_DIR": str(self.state),
            "FLOWHIVE_CONFIG": str(home / "config.toml"),
            "FLOWHIVE_CONTROL_URL": f"http://127.0.0.1:{free_port()}",
        }

    def tool(self, name: str, line: str) -> None:
        (self.tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.tools / name).chmod(0o755)

    def seen(self, *before: str, **how: object) -> Seen:
        words = [*before, *COMMAND, "doctor", "--json"]
        done = subprocess.run(
            words, env=self.env, cwd=self.home, capture_output=True, text=True, **how
        )  # type: ignore[call-overload]
        assert done.stdout, done.stderr
        return Seen(done.returncode, json.loads(done.stdout)["findings"], done.stdout)

    def seen_after(self, line: str) -> Seen:
        """In mount name spaces of its own, after a shell line there."""
        return self.seen("unshare", "-m", "sh", "-c", f'{line} && exec "$@"', "sh")


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


@contextmanager
def server(**headers: str) -> Iterator[str]:
    """Something that answers as a server does, with these headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(ME if self.path.endswith("/me") else HEALTH).encode()
            is_refused = self.headers.get("Authorization") == "Bearer wrong"
            self.send_response_only(401 if is_refused and self.path.endswith("/me") else 200)
            for name, value in {"Date": self.date_time_string(), **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


# ── the server and the way to it ──────────────────────────────────────────────────────────────


def test_without_a_server_it_says_so_and_looks_at_all_else(patient: Patient) -> None:
    seen = patient.seen()
    assert seen.code == 1
    assert seen.of("server")[0][0] == "problem"
    assert "fluxhive up" in seen.remedy("server")
    assert {"python", "user", "disk", "limits", "clock", "gpus", "agent"} <= {
        each["check"] for each in seen.findings
    }


def test_somebody_else_on_the_port_is_told_apart(patient: Patient) -> None:
    with server() as url:
        health = dict(HEALTH)
        HEALTH.clear()
        try:
            patient.env["FLOWHIVE_CONTROL_URL"] = url
            assert "no FlowHive server" in patient.seen().of("server")[0][1]
        finally:
            HEALTH.update(health)


def test_a_server_that_answers_and_a_token_that_it_knows(patient: Patient) -> None:
    with server() as url:
        patient.env |= {"FLOWHIVE_CONTROL_URL": url, "FLOWHIVE_TOKEN": "right"}
        seen = patient.seen()
    assert seen.of("server")[0][0] == "ok"
    assert seen.of("login") == [("ok", "ann, member")]
    assert seen.of("clock")[1] == ("ok", "agrees with the server's")


def test_a_token_that_the_server_does_not_know(patient: Patient) -> None:
    with server() as url:
        patient.env |= {"FLOWHIVE_CONTROL_URL": url, "FLOWHIVE_TOKEN": "wrong"}
        seen = patient.seen()
    assert seen.of("login")[0][0] == "problem"
    assert seen.code == 1


@pytest.mark.parametrize(
    ("date", "says"),
    [("Mon, 01 Jan 2035 00:00:00 GMT", "behind"), ("Thu, 01 Jan 2026 00:00:00 GMT", "ahead of")],
)
def test_a_clock_that_differs_from_the_servers(patient: Patient, date: str, says: str) -> None:
    with server(Date=date) as url:
        patient.env["FLOWHIVE_CONTROL_URL"] = url
        seen = patient.seen()
    level, text = seen.of("clock")[1]
    assert level == "warning"
    assert says in text
    assert "chrony" in seen.remedy("clock")


def test_a_proxy_in_between_is_named(patient: Patient) -> None:
    with server(Via="1.1 squid") as url:
        patient.env["FLOWHIVE_CONTROL_URL"] = url
        seen = patient.seen()
        assert "1.1 squid" in seen.of("proxy")[0][1]
    patient.env |= {
        "FLOWHIVE_CONTROL_URL": "http://hive.invalid:8001",
        "http_proxy": f"http://127.0.0.1:{free_port()}",
    }
    seen = patient.seen()
    assert "NO_PROXY" in seen.remedy("proxy")


# ── tasks that outlive the agent ──────────────────────────────────────────────────────────────


def with_unit(patient: Patient, kill_mode: str) -> None:
    unit = patient.home / "config" / "systemd" / "user" / "fluxhive-agent.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    patient.tool("systemctl", f"echo KillMode={kill_mode}")


def test_a_unit_that_would_end_tasks(patient: Patient) -> None:
    with_unit(patient, "control-group")
    patient.tool("loginctl", "echo Linger=yes")
    seen = patient.seen()
    assert seen.of("service")[0][0] == "problem"
    assert "KillMode=process" in seen.remedy("service")
    assert seen.of("linger") == []


def test_a_unit_that_leaves_tasks_alone_but_does_not_linger(patient: Patient) -> None:
    with_unit(patient, "process")
    patient.tool("loginctl", "echo Linger=no")
    seen = patient.seen()
    assert seen.of("service")[0][0] == "ok"
    assert seen.of("linger")[0][0] == "problem"
    assert "enable-linger" in seen.remedy("linger")


@needs_root
def test_a_logind_that_ends_what_a_user_left(patient: Patient) -> None:
    assert patient.seen_after("true").of("login") == []
    line = (
        "mount -t tmpfs none /run && mkdir -p /run/systemd/logind.conf.d && "
        "printf '[Login]\\nKillUserProcesses=yes\\n' > /run/systemd/logind.conf.d/z.conf"
    )
    assert "KillUserProcesses" in patient.seen_after(line).of("login")[0][1]


def test_of_several_files_of_logind_the_last_one_holds(tmp_path: Path) -> None:
    low, high = tmp_path / "usr", tmp_path / "etc"
    for folder, value in ((low, "yes"), (high, "no")):
        (folder / "logind.conf.d").mkdir(parents=True)
        (folder / "logind.conf").write_text("#KillUserProcesses=yes\n")
        (folder / "logind.conf.d" / "a.conf").write_text(f"[Login]\nKillUserProcesses={value}\n")
    assert not doctor_tasks.kills_user_processes((str(low), str(high)))
    assert doctor_tasks.kills_user_processes((str(high), str(low)))


@needs_root
def test_cgroups_that_cannot_be_made(patient: Patient) -> None:
    seen = patient.seen_after("mount -t tmpfs -o ro none /sys/fs/cgroup")
    assert seen.of("cgroup")[0][0] == "warning"
    assert "Delegate=yes" in seen.remedy("cgroup")


@needs_root
def test_pids_of_its_own_mean_a_container(patient: Patient) -> None:
    seen = patient.seen("unshare", "--pid", "--fork", "--mount-proc")
    assert "pids of its own" in seen.of("container")[0][1]


def test_the_agent_that_runs_here_is_found_by_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fluxhive.agent.state_lock import StateLock

    monkeypatch.setenv("FLOWHIVE_STATE_DIR", str(tmp_path))
    assert doctor_tasks.agent_pid() is None
    lock = StateLock(places.agent_dir())
    assert doctor_tasks.agent_pid() == os.getpid()
    lock.release()
    assert doctor_tasks.agent_pid() is None


# ── the machine ───────────────────────────────────────────────────────────────────────────────


@needs_root
def test_a_disk_without_room_or_read_only(patient: Patient) -> None:
    patient.state.mkdir()
    full = patient.seen_after(f"mount -t tmpfs -o size=32m none {patient.state}")
    assert full.of("disk")[0][0] == "problem"
    assert "nothing new is started" in full.of("disk")[0][1]
    assert full.code == 1
    locked = patient.seen_after(f"mount -t tmpfs -o ro none {patient.state}")
    assert "read-only" in locked.of("disk")[0][1]


def test_state_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such file system can be mounted here: what its type is, is told."""
    monkeypatch.setenv("FLOWHIVE_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(places, "file_system_type", lambda _: "nfs4")
    found = list(doctor_host.state())
    assert found[0].level is Level.PROBLEM
    assert "nfs4" in found[0].text


def test_secrets_that_others_may_read(patient: Patient) -> None:
    path = Path(patient.env["FLOWHIVE_CONFIG"])
    path.write_text("")
    path.chmod(0o644)
    seen = patient.seen()
    assert seen.of("secrets")[0][0] == "problem"
    assert f"chmod 600 {path}" in seen.remedy("secrets")
    path.chmod(0o600)
    assert patient.seen().of("secrets") == []


def test_few_open_files(patient: Patient) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))

    seen = patient.seen(preexec_fn=few)
    assert ("warning", "open files: at most 512; starts fail beyond it") in seen.of("limits")


def test_gpus_that_are_pretended(patient: Patient) -> None:
    patient.env["FLOWHIVE_FAKE_GPUS"] = "4x80G"
    assert patient.seen().of("gpus")[0][0] == "warning"


def test_a_card_that_no_driver_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, vendor, kind in (
        ("0000:01:00.0", "0x10de", "0x030200"),
        ("0000:01:00.1", "0x10de", "0x040300"),
        ("0000:02:00.0", "0x8086", "0x030000"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    assert doctor_host.n_nvidia_cards(tmp_path) == 1
    monkeypatch.setattr(doctor_host, "n_nvidia_cards", lambda: 9)
    found = doctor_host.gpus(None)
    assert found.level is Level.PROBLEM
    assert "9 NVIDIA GPUs" in found.text


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 9), Level.PROBLEM), ((3, 10), Level.WARNING), ((3, 11), Level.OK)],
)
def test_an_old_python(version: tuple[int, int], level: Level) -> None:
    assert doctor_host.python(version).level is level


def test_a_clock_that_was_never_set() -> None:
    assert doctor_host.clock(0.0).level is Level.PROBLEM


@needs_root
def test_root_is_named(patient: Patient) -> None:
    assert "root" in patient.seen().of("user")[0][1]


def test_on_a_terminal_and_quiet_it_is_short(patient: Patient) -> None:
    words = [*COMMAND, "doctor", "-q"]
    done = subprocess.run(words, env=patient.env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "server" in done.stdout.split()
    assert sys.executable not in done.stdout
