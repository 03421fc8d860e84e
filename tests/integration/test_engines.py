"""Tasks in containers of the real docker and the real podman, where this machine can run them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fluxhive.agent.kernel_log import open_kernel_log
from fluxhive.core.container import Mount
from fluxhive.core.request import Request
from fluxhive.core.task import ExecutorKind, TaskSpec
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk.snapshot import look, pack
from fluxhive.sdk.upload import upload
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until
from tests.helpers.engines import ENGINES, IMAGE, CannotRun, start_engine


class EngineHive(AgentHive):
    """A node whose containers are real."""

    def __init__(self, home: Path, name: str) -> None:
        super().__init__(home)
        for folder in ("engine", "data"):
            (home / folder).mkdir()
        self.engine = start_engine(name, home / "engine")
        self.env |= self.engine.env
        (home / "config.toml").write_text(
            f'[container]\nengine = "{name}"\nmounts = "{home}/data"\n'
        )
        self.data = Mount(source=f"{home}/data", target="/data")

    def containers(self) -> list[str]:
        """The names of all that there are, running or not."""
        return self.engine.run("ps", "--all", "--format", "{{.Names}}").stdout.split()

    def first_end(self, **spec: object) -> tuple[str, str]:
        """How the first attempt of such a task ends: kind and sentence."""
        body = TaskSpec(image=IMAGE, executor=ExecutorKind.EXEC, **spec)  # type: ignore[arg-type]
        task = self.transport().call("POST", "/api/v1/tasks", TaskView, body=body).id
        attempts = until(lambda: [a for a in self.task(task).attempts if a.outcome], limit_s=120)
        return attempts[0].outcome.kind.value, attempts[0].outcome.detail


@pytest.fixture(scope="module", params=ENGINES)
def hive(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineHive]:
    try:
        hive = EngineHive(tmp_path_factory.mktemp(request.param), request.param)
    except CannotRun as reason:
        pytest.skip(str(reason))
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()
    for name in hive.containers():
        hive.engine.run("rm", "--force", name)
    hive.engine.close()


def test_it_runs_and_its_end_is_the_engines_word(hive: EngineHive) -> None:
    line = "echo in $A; id -u; echo err >&2; ls -d /root /home; exit 7"
    task = hive.submit(line, image=IMAGE, env={"A": "b  c"})
    ended = hive.ended(task, limit_s=120)
    assert ended.outcome is not None
    assert (ended.outcome.kind.value, ended.outcome.exit_code) == ("failure", 7)
    assert hive.log(task) == f"in b c\n{os.getuid()}\n".encode()
    assert hive.log(task, "stderr").startswith(b"err\n")
    # The container stays until its end is with the server, and goes then.
    until(lambda: not hive.containers(), what="the end of the container", limit_s=120)


def test_code_goes_in_and_what_is_mounted_comes_out(hive: EngineHive, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the code")
    made = pack(look(str(tmp_path)))
    upload(hive.transport(), made.file, made.code.sha256, made.code.n_bytes)
    line = "cat a.txt > /data/copy; echo $HOME $FLUXHIVE_CODE_DIR"
    task = hive.submit(line, image=IMAGE, code=made.code, mounts=(hive.data,))
    assert hive.ended(task, limit_s=120).state.value == "succeeded"
    assert hive.log(task) == b"/workspace /workspace\n"
    assert (hive.home / "data" / "copy").read_text() == "the code"


def test_a_cancel_gives_it_its_grace(hive: EngineHive) -> None:
    line = (
        "trap 'echo saved > /data/saved; exit 0' TERM; touch /data/up; while :; do sleep 0.1; done"
    )
    task = hive.submit(line, image=IMAGE, mounts=(hive.data,), grace_ms=60_000)
    until((hive.home / "data" / "up").exists, what="its start", limit_s=120)
    hive.cancel(task)
    assert hive.ended(task, limit_s=120).state.value == "cancelled"
    assert (hive.home / "data" / "saved").read_text() == "saved\n"


def client_of(hive: EngineHive, attempt: str) -> psutil.Process:
    """The engine's client of an attempt; another hive beside this one may have one of that name."""
    (found,) = [
        each
        for each in psutil.process_iter(["cmdline"])
        if {"start", attempt} <= {*(each.info["cmdline"] or ())}
        and hive.engine.env.items() <= each.environ().items()
    ]
    return found


def test_an_agent_and_a_client_killed_meanwhile_cost_not_one_byte(hive: EngineHive) -> None:
    line = (
        "seq 1 20000; echo one >&2; touch /data/half; while [ ! -e /data/go ]; do sleep 0.1; done; "
        "seq 20001 40000; echo two >&2; exit 3"
    )
    task = hive.submit(line, image=IMAGE, mounts=(hive.data,))
    until((hive.home / "data" / "half").exists, what="the first half", limit_s=120)
    hive.kill_agent()
    client_of(hive, f"{task}.1").kill()
    hive.start_agent()
    (hive.home / "data" / "go").touch()
    ended = hive.ended(task, limit_s=120)
    assert ended.outcome is not None
    assert ended.outcome.exit_code == 3
    whole = "".join(f"{number}\n" for number in range(1, 40_001)).encode()
    assert hashlib.sha256(hive.log(task)).hexdigest() == hashlib.sha256(whole).hexdigest()
    assert hive.log(task, "stderr") == b"one\ntwo\n"


@pytest.mark.parametrize("is_line", [True, False], ids=["a line", "a program"])
def test_merged_output_goes_on_whole_after_its_client_was_killed(
    hive: EngineHive, is_line: bool
) -> None:
    """A line of shell writes one stream, in its order; of a program the engine hands out two."""
    for name in ("half", "go"):
        (hive.home / "data" / name).unlink(missing_ok=True)
    # What each stream has is of other letters, so that it is known wherever the engine cuts it.
    line = (
        "seq 10000 | tr 0-9 a-j; seq 10000 >&2; touch /data/half; "
        "while [ ! -e /data/go ]; do sleep 0.1; done; seq 10000 | tr 0-9 a-j; seq 10000 >&2"
    )
    spec = TaskSpec(
        command=(line,) if is_line else ("/bin/sh", "-c", line),
        executor=ExecutorKind.SHELL if is_line else ExecutorKind.EXEC,
        image=IMAGE,
        mounts=(hive.data,),
        merge_output=True,
    )
    task = hive.submit_spec(spec)
    until((hive.home / "data" / "half").exists, what="the first half", limit_s=120)
    client_of(hive, f"{task}.1").kill()
    (hive.home / "data" / "go").touch()
    assert hive.ended(task, limit_s=120).state.value == "succeeded"
    digits = "".join(f"{number}\n" for number in range(1, 10_001)).encode()
    letters = digits.translate(bytes.maketrans(b"0123456789", b"abcdefghij"))
    log = hive.log(task)
    assert len(log) == 4 * len(digits)
    assert bytes(b for b in log if b in b"abcdefghij") == 2 * letters.replace(b"\n", b"")
    assert bytes(b for b in log if b in b"0123456789") == 2 * digits.replace(b"\n", b"")
    if is_line:
        assert log == 2 * (letters + digits)
    assert hive.log(task, "stderr") == b""


def test_what_it_takes_of_the_host_is_the_containers_and_so_is_a_kill_for_it(
    hive: EngineHive,
) -> None:
    # A block of 100 MiB for some seconds, more than any client of an engine takes.
    held = "timeout 5 dd if=/dev/zero of=/dev/null bs=100M"
    task = hive.submit(held, image=IMAGE, request=Request(memory_mib=400))
    facts = hive.ended(task, limit_s=120).attempts[0].facts
    assert facts is not None
    assert facts.peak_memory_mib >= 100
    assert facts.cpu_ms > 0
    task = hive.submit(held, image=IMAGE, request=Request(memory_mib=64))
    outcome = hive.ended(task, limit_s=120).outcome
    assert outcome is not None
    assert outcome.exit_code == 137
    # Podman does not tell of it with cgroup v1; the kernel's log does, where it may be read.
    if hive.engine.name == "docker" or open_kernel_log() is not None:
        assert outcome.kind.value == "host-oom"
        assert outcome.detail.startswith("the kernel killed a process of it")


def test_what_cannot_be_started_says_why(hive: EngineHive) -> None:
    kind, said = hive.first_end(command=("/nowhere/x", "y"))
    assert kind == "launch-failed"
    assert "no such file" in said.lower()
    kind, said = hive.first_end(command=("/etc",))
    assert kind == "launch-failed"
    assert "permission denied" in said.lower()
