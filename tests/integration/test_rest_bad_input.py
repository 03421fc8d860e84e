"""Bad input over a real socket, and the server as a process: how it starts, refuses and stops."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.cli_hive import COMMAND, free_port, until

MIB = 1024 * 1024


class Server:
    """`fluxhive server` as a process."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.state = home / "state" / "server"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "FLOWHIVE_STATE_DIR": str(home / "state"),
            "FLOWHIVE_CONFIG": str(home / "config.toml"),
        }
        self.log = home / "server.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "server", *arguments], env=self.env, cwd=home, stdout=log, stderr=log
            )

    @property
    def port(self) -> int:
        found = json.loads((self.state / "up.json").read_text())
        assert found["server_pid"] == self.process.pid
        return int(found["url"].rpartition(":")[2])

    @property
    def token(self) -> str:
        return (self.state / "admin-token").read_text().strip()

    def wait_up(self) -> Server:
        until(self._is_up, what="the server's start")
        return self

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/api/v1/health")[0] == 200
        except (OSError, ValueError, KeyError, AssertionError):
            return False

    def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with contextlib.closing(line):
            line.request(method, path, body, sent | headers)  # type: ignore[arg-type]
            answer = line.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()

    def raw(self, data: bytes) -> bytes:
        """Bytes there, everything back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as line:
            line.sendall(data)
            got = b""
            while piece := line.recv(65536):
                got += piece
            return got

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    it = Server(tmp_path_factory.mktemp("home"), "--port", "0").wait_up()
    yield it
    assert it.stop() == 0


@pytest.fixture(autouse=True)
def lives_on(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        server: Server = request.getfixturevalue("server")
        assert server.ask("POST", "/api/v1/tasks", b'{"command": ["true"]}')[0] == 201
        assert "Traceback" not in server.log.read_text()


# ── bodies ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [8 * MIB + 1, 40 * MIB])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Server, size: int) -> None:
    body = b'{"command":["' + b"x" * size + b'"]}'
    for connection in ("close", "keep-alive"):
        status, headers, data = server.ask("POST", "/api/v1/tasks", body, Connection=connection)
        assert status == 413
        assert headers["content-type"] == "application/problem+json"
        assert "8 MiB" in json.loads(data)["detail"]


def test_a_body_that_was_announced_too_large_is_refused_at_once(server: Server) -> None:
    """Goal: nobody waits for a terabyte. Method: announce it, send nothing, ask to go on."""
    head = (
        "POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n"
        f"Authorization: Bearer {server.token}\r\nContent-Type: application/json\r\n"
        "Expect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    answer = server.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer


def test_a_body_in_pieces_is_cut_off_at_the_limit(server: Server) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(9):
            yield b"x" * MIB

    status, _, data = server.ask("POST", "/api/v1/tasks", pieces())
    assert status == 413
    assert "8 MiB" in json.loads(data)["detail"]


def test_without_a_login_no_body_is_looked_at(server: Server) -> None:
    for body in (b"{", b"x" * 9 * MIB):
        status, _, data = server.ask("POST", "/api/v1/tasks", body, Authorization="Bearer nobody")
        assert status in (401, 413)
        assert json.loads(data)["status"] == status


def test_another_media_type_is_refused_with_the_right_one(server: Server) -> None:
    kind = "application/x-www-form-urlencoded"
    status, _, data = server.ask("POST", "/api/v1/tasks", b"command=true", **{"Content-Type": kind})
    assert status == 415
    assert "application/json" in json.loads(data)["hint"]


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /api/v1/tasks/%ff%fe HTTP/1.1",
        "GET /api/v1/tasks?name=%ff%fe%00 HTTP/1.1",
        "GET /api/v1/tasks/t-%0d%0aX:1 HTTP/1.1",
        "GET //api/v1/tasks HTTP/1.1",
        "GET /api/v1/tasks/../../../etc/passwd HTTP/1.1",
        "BREW /api/v1/tasks HTTP/1.1",
        "GET /api/v1/tasks/" + "x" * 8000 + " HTTP/1.1",
        "nonsense",
        "GET /api/v1/tasks HTTP/9.9",
    ],
)
def test_a_strange_request_gets_an_answer_of_the_four_hundreds(
    server: Server, request_line: str
) -> None:
    head = f"{request_line}\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
    answer = server.raw((head + "Connection: close\r\n\r\n").encode("latin-1"))
    status = re.match(rb"HTTP/1.1 (\d+)", answer)
    assert status is not None, answer[:200]
    assert status[1][:1] == b"4" or b"name=" in request_line.encode()
    assert b"passwd" not in answer.partition(b"\r\n\r\n")[0]


def test_a_head_without_end_is_cut_off(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as line:
        line.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 64 * MIB:
                sent += line.send(b"X-%d: " % sent + b"x" * 60_000 + b"\r\n")
    assert sent < 64 * MIB


def test_what_is_no_http_gets_a_problem_too(server: Server) -> None:
    head, _, body = server.raw(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["hint"]


# ── the process ───────────────────────────────────────────────────────────────────────────────


def test_a_port_that_is_ours_already_is_told_apart_from_somebody_elses(
    server: Server, tmp_path: Path
) -> None:
    ours = Server(tmp_path, "--port", str(server.port))
    assert ours.process.wait(20) == 6
    assert f"already running at http://127.0.0.1:{server.port}" in ours.log.read_text()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        theirs = Server(tmp_path, "--port", str(port))
        assert theirs.process.wait(20) == 6
    said = theirs.log.read_text()
    assert f"port {port} is in use by another program" in said
    assert "--port" in said
    assert "Traceback" not in said


def test_a_second_server_on_the_same_state_is_refused(server: Server) -> None:
    home = server.state.parents[1]
    second = Server(home, "--port", "0")
    assert second.process.wait(20) == 6
    said = second.log.read_text()
    assert "another server works on" in said
    assert f"process {server.process.pid}" in said
    assert server.port  # up.json still names the first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "--insecure-http"),
        (["--host", "no.such.host.invalid", "--insecure-http"], "no address of this machine"),
        (["--host", "192.0.2.1", "--insecure-http"], "cannot listen"),
        (["--tls-cert", "{file}", "--tls-key", "{file}"], "cannot be used"),
    ],
)
def test_what_a_person_can_repair_is_said_without_a_trace(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    file = tmp_path / "no.pem"
    file.write_text("no certificate")
    given = [argument.format(file=file) for argument in arguments]
    refused = Server(tmp_path, "--port", "0", *given)
    assert refused.process.wait(20) == 2
    text = refused.log.read_text()
    assert said in text
    assert "hint: " in text
    assert "Traceback" not in text
    assert not (refused.state / "hive.db").exists()


def test_https_is_served_with_the_certificate_given(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(
        (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
            "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 "
            f"-keyout {key} -out {certificate}"
        ).split(),
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("no openssl here")
    port = free_port()
    it = Server(
        tmp_path, "--port", str(port), "--tls-cert", str(certificate), "--tls-key", str(key)
    )
    try:
        until((it.state / "up.json").exists, what="the server's start")
        assert json.loads((it.state / "up.json").read_text())["url"].startswith("https://")
        answer = subprocess.run(
            [*COMMAND, "ps", "--json"],
            env={
                **it.env,
                "FLOWHIVE_CONTROL_URL": f"https://127.0.0.1:{port}",
                "FLOWHIVE_CA_FILE": str(certificate),
                "FLOWHIVE_TOKEN": it.token,
            },
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stderr
        assert json.loads(answer.stdout)["tasks"] == []
    finally:
        assert it.stop() == 0


def test_it_stops_in_order_with_open_readers_and_forgets_where_it_was(tmp_path: Path) -> None:
    """Goal: an open line never holds the server up. Method: three that never end by themselves."""
    it = Server(tmp_path, "--port", "0").wait_up()
    task = json.loads(it.ask("POST", "/api/v1/tasks", b'{"command": ["true"]}')[2])["id"]
    lines = []
    for path in ("/events", f"/tasks/{task}/logs/follow", f"/tasks/{task}/wait?timeout_s=60"):
        line = socket.create_connection(("127.0.0.1", it.port), timeout=20)
        head = f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {it.token}\r\n\r\n"
        line.sendall(head.encode())
        lines.append(line)
    assert all(line.recv(4096).startswith(b"HTTP/1.1 200") for line in lines[:2])
    began = time.monotonic()
    assert it.stop() == 0
    took_s = time.monotonic() - began
    ends = [_rest(line) for line in lines]
    assert ends[0].endswith(b"0\r\n\r\n")  # closed in order (RFC 9112 §7.1)
    assert ends[1].endswith(b"0\r\n\r\n")
    assert ends[2].startswith(b"HTTP/1.1 200")
    assert not (it.state / "up.json").exists()
    assert "Traceback" not in it.log.read_text()
    # Not a measurement: uvicorn's own limit is far above, and a hang far above that.
    assert took_s < 15


def _rest(line: socket.socket) -> bytes:
    got = b""
    with contextlib.closing(line):
        while piece := line.recv(65536):
            got += piece
    return got


def test_the_one_time_link_is_said_once_and_to_no_log(tmp_path: Path) -> None:
    first = Server(tmp_path, "--port", "0").wait_up()
    token = first.token
    first.stop()
    second = Server(tmp_path, "--port", "0").wait_up()
    assert second.token == token
    second.stop()
    said = second.log.read_text()  # both wrote into the same file
    assert said.count("/welcome#") == 1
    assert token not in said
    if sys.platform != "win32":
        assert all((path.stat().st_mode & 0o077) == 0 for path in second.state.iterdir())
