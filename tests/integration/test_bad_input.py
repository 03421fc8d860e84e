"""What bad input gets: an answer that names the field and the remedy, and a hive that lives on."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import websockets

from fluxhive.core.errors import FluxhiveError
from tests.helpers.cli_hive import CliHive


@pytest.fixture(autouse=True)
def lives_on(hive: CliHive) -> Iterator[None]:
    """After each test the same server and agent still run a task."""
    before = hive.processes
    yield
    assert hive.processes == before
    assert hive.run("submit", "-f", "--", "exit 4").returncode == 4


def post(hive: CliHive, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    transport = hive.transport
    request = urllib.request.Request(transport.base_url + "/api/v1" + path, data=body)
    request.add_header("Authorization", f"Bearer {transport.token}")
    request.add_header("Content-Type", "application/json")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=30) as done:
            return done.status, json.load(done)
    except urllib.error.HTTPError as refusal:
        kind, answer = refusal.headers["Content-Type"], refusal
    assert kind.startswith("application/problem+json")
    return answer.code, json.load(answer)


@pytest.mark.parametrize(
    ("arguments", "named", "remedy"),
    [
        (["--"], "command", "--"),
        (["--", ""], "command", ""),
        (["--gpu-mem", "20X", "--gpus", "1", "--", "true"], "20X", "8G"),
        (["--gpus", "-1", "--", "true"], "gpus", ""),
        (["--cpus", "0", "--", "true"], "cpus", ""),
        (["--retry", "-2", "--", "true"], "retry", ""),
        (["--time", "soon", "--", "true"], "soon", "4h"),
        (["--env", "NOVALUE", "--", "true"], "NOVALUE", "K=V"),
        (["--priority", "highest", "--", "true"], "highest", "high"),
        (["--gpu-mem", "8G", "--", "true"], "gpu", "--gpus"),
    ],
)
def test_the_command_line_names_what_is_wrong(
    hive: CliHive, arguments: list[str], named: str, remedy: str
) -> None:
    done = hive.run("submit", *arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert remedy in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"command": []}', 422, "command"),
        (b'{"command": ["true"], "executor": "slurm"}', 422, "executor"),
        (b'{"command": ["true"], "request": {"gpus": -1}}', 422, "request.gpus"),
        (b'{"command": ["true"], "request": {"gpus": 99999999999999999999}}', 422, "request.gpus"),
        (b'{"command": ["true"], "request": {"gpu_memory_mib": "20X"}}', 422, "gpu_memory_mib"),
        (b'{"command": ["true"], "retrys": 1}', 422, "retrys"),
        (b'{"command": ["a\\u0000b"]}', 422, "command"),
        (b'{"command": ["true"], "env": {"A=B": "x"}}', 422, "env"),
        (b'{"command": ["true"]', 400, ""),
        (b'{"command": ["true"], "name": "\\ud800"}', 400, ""),
        (b'{"command": NaN}', 400, ""),
        (b"\xff\xfe", 400, ""),
        (b'{"command":' + b"[" * 100_000, 400, ""),
    ],
)
def test_the_api_answers_a_problem(hive: CliHive, body: bytes, status: int, field: str) -> None:
    got, problem = post(hive, "/tasks", body)
    assert (got, problem["status"]) == (status, status)
    assert field in str(problem.get("field", "")) + str(problem.get("detail", ""))
    assert problem.get("title")
    assert problem.get("hint")


def test_a_body_that_is_too_large_is_refused(hive: CliHive) -> None:
    status, problem = post(hive, "/tasks", b'{"command":["' + b"x" * (9 << 20) + b'"]}')
    assert status == 413
    assert "8" in str(problem["detail"])


def test_an_environment_of_ten_megabytes_is_refused(hive: CliHive) -> None:
    env = {f"K{i}": "x" * 100_000 for i in range(70)}
    status, problem = post(hive, "/tasks", json.dumps({"command": ["true"], "env": env}).encode())
    assert status == 422
    assert "env" in str(problem["field"])
    file = hive.home / "large.env"
    file.write_text("".join(f"K{i}={'x' * 100_000}\n" for i in range(100)))
    done = hive.run("submit", "--env-file", str(file), "--", "true")
    assert done.returncode == 2
    assert "env" in done.stderr


def test_an_environment_just_below_the_limit_arrives_whole(hive: CliHive) -> None:
    file = hive.home / "fits.env"
    file.write_text("".join(f"K{i}={'x' * 60_000}\n" for i in range(4)))
    out = hive.ok("submit", "--env-file", str(file), "-f", "--", "printf %s $K0$K1$K2$K3 | wc -c")
    assert out.split()[-1] == "240000"


def test_more_gpus_than_any_node_has_waits_with_a_warning(hive: CliHive) -> None:
    done = hive.run("submit", "--gpus", "9", "--", "true")
    assert done.returncode == 0
    assert "no node" in done.stderr.lower()
    task = hive.json("ps")["tasks"][0]["id"]
    hive.ok("cancel", task)


def test_a_program_that_does_not_exist_is_a_launch_failure(hive: CliHive) -> None:
    task = hive.submit("--", "/no/such/program", "--flag")
    assert hive.run("wait", task).returncode == 125
    shown = hive.task(task)
    assert shown["outcome"]["kind"] == "launch-failed"
    assert "/no/such/program" in shown["outcome"]["detail"]
    assert shown["attempts"][0]["facts"]["exec_error"] == "ENOENT"
    assert "/no/such/program" in hive.ok("show", task)


def test_a_working_directory_that_is_not_there_is_named(hive: CliHive) -> None:
    task = hive.submit("--workdir", "/no/such/dir", "--", "true")
    assert hive.run("wait", task).returncode == 125
    shown = hive.task(task)
    assert shown["state"] == "failed"
    assert "/no/such/dir" in shown["reason"]


def test_one_very_long_line_and_any_bytes_arrive_as_they_are(hive: CliHive) -> None:
    task = hive.submit("--", "head -c 30000000 /dev/zero | tr '\\0' x; printf '\\377\\376\\000'")
    assert hive.run("wait", task).returncode == 0
    log = hive.transport.fetch("GET", f"/api/v1/tasks/{task}/logs/stdout", query={"tail_bytes": 5})
    assert log == b"xx\xff\xfe\x00"
    streams = hive.transport.call("GET", f"/api/v1/tasks/{task}/logs", list[dict[str, object]])
    assert {s["stream"]: s["size"] for s in streams}["stdout"] == 30_000_003


def test_invalid_utf8_in_a_command_is_refused_or_run_as_given(hive: CliHive) -> None:
    done = hive.run("submit", "-f", "--", "echo", "\udcff\udcfe")
    assert done.returncode == 2
    assert "UTF-8" in done.stderr


def test_a_log_request_beyond_the_end_names_the_size(hive: CliHive) -> None:
    task = hive.submit("--", "echo abc")
    hive.run("wait", task)
    with pytest.raises(FluxhiveError, match="4"):
        hive.transport.fetch("GET", f"/api/v1/tasks/{task}/logs/stdout", query={"offset": 999})


def test_an_unknown_task_is_not_found(hive: CliHive) -> None:
    done = hive.run("show", "t-zzzz")
    assert done.returncode == 3
    assert "t-zzzz" in done.stderr
    assert "fluxhive ps" in done.stderr


def test_an_unknown_verb_offers_the_closest(hive: CliHive) -> None:
    done = hive.run("sbumit")
    assert done.returncode == 2
    assert "submit" in done.stderr


def test_the_same_key_gives_the_same_task_and_another_body_a_conflict(hive: CliHive) -> None:
    body = b'{"command": ["true"], "name": "once"}'
    first = post(hive, "/tasks", body, Idempotency_Key="key-1")
    again = post(hive, "/tasks", body, Idempotency_Key="key-1")
    other = post(hive, "/tasks", b'{"command": ["false"]}', Idempotency_Key="key-1")
    assert first[0] == again[0] == 201
    assert first[1]["id"] == again[1]["id"]
    assert other[0] == 409


@pytest.mark.parametrize(
    "frame", ["", "nonsense", '{"messages": 5}', b"\x07garbage", b"", "[" * 90_000, "x" * 900_000]
)
def test_a_malformed_frame_closes_only_its_connection(hive: CliHive, frame: str | bytes) -> None:
    body = {"label": "fuzz", "machine_id": "fuzz"}
    grant = hive.transport.call("POST", "/api/v1/nodes", dict[str, str], body=body)

    async def dial() -> int | None:
        url = hive.transport.base_url.replace("http", "ws", 1) + "/api/v1/agent"
        async with websockets.connect(
            url,
            subprotocols=["fluxhive.v1"],  # type: ignore[list-item]
            additional_headers={"Authorization": f"Bearer {grant['token']}"},
        ) as socket:
            await socket.send(frame)
            await asyncio.wait_for(socket.wait_closed(), 15)
            return socket.close_code

    assert asyncio.run(dial()) not in (None, 1000, 1006, 1011)
