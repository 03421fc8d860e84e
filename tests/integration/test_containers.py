"""Tasks in containers: their life with a stand-in for docker, and real namespaces by bubblewrap."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.container import Mount
from fluxhive.core.request import Request
from fluxhive.core.task import ExecutorKind, TaskSpec
from fluxhive.protocol.metrics import MetricsView
from fluxhive.protocol.rest import SecretValue, SecretView, TaskView
from fluxhive.sdk.snapshot import look, pack
from fluxhive.sdk.upload import upload
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import CliHive, until

needs_bwrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed (.ci/run installs it)"
)
STAND_IN = Path(__file__).parents[1] / "helpers" / "stand_in_engine.py"


class EngineHive(AgentHive):
    """A node with a stand-in for docker on its PATH."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.engine = home / "engine"
        bin_dir = home / "bin"
        for path in (self.engine, bin_dir, home / "data"):
            path.mkdir()
        docker = bin_dir / "docker"
        docker.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
        docker.chmod(0o755)
        self.env |= {
            "PATH": f"{bin_dir}:{self.env['PATH']}",
            "CONTAINER_STAND_IN": str(self.engine),
            "FLOWHIVE_FAKE_GPUS": "2x80G",
        }
        (home / "config.toml").write_text(
            f'[container]\nengine = "docker"\nmounts = "{home}/data:ro"\n'
        )

    def calls(self, verb: str) -> list[list[str]]:
        """What the engine was told."""
        path = self.engine / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [words for words in map(json.loads, lines) if words[0] == verb]

    def containers(self) -> list[str]:
        return sorted(path.stem for path in self.engine.glob("t-*.json"))

    def pid(self, task: str) -> int:
        """The process inside, once it runs."""

        def there() -> int:
            try:
                state = json.loads((self.engine / f"{task}.1.json").read_text())["State"]
            except FileNotFoundError:
                return 0
            return int(state["Pid"]) if state["Running"] else 0

        found: int = until(there, what=f"the container of {task}")
        return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EngineHive]:
    hive = EngineHive(tmp_path)
    daemon = subprocess.Popen([sys.executable, STAND_IN, "daemon"], env=hive.env)
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()
    for path in hive.engine.glob("t-*.json"):
        pid = json.loads(path.read_text())["State"]["Pid"]
        if pid and alive(pid):
            os.killpg(pid, signal.SIGKILL)
    daemon.kill()
    daemon.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_task_runs_in_its_container_and_its_end_is_the_engines_word(own: EngineHive) -> None:
    task = own.submit("echo in; echo err >&2; exit 7", image="python:3.12")
    ended = own.ended(task)
    assert ended.outcome is not None
    assert (ended.outcome.kind.value, ended.outcome.exit_code) == ("failure", 7)
    assert own.log(task, size=3) == b"in\n"
    assert own.log(task, "stderr", size=4) == b"err\n"
    (create,) = own.calls("create")
    assert create[create.index("--name") + 1] == f"{task}.1"
    assert create[-3:] == ["python:3.12", "-c", "echo in; echo err >&2; exit 7"]
    # The container stays until its end is with the server, and goes then.
    until(lambda: not own.containers(), what="the end of the container")
    assert own.calls("inspect")
    until(lambda: not own.run_directories())


def test_code_secrets_variables_gpus_and_mounts_go_in(own: EngineHive, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.txt").write_text("the code")
    made = pack(look(str(project)))
    upload(own.transport(), made.file, made.code.sha256, made.code.n_bytes)
    own.transport().call(
        "PUT", "/api/v1/secrets/KEY", SecretView, body=SecretValue(value="hunter2")
    )
    mount = Mount(source=str(tmp_path / "data"), target="/data", read_only=True)
    task = own.submit(
        "cat a.txt; echo [$A] [$CUDA_VISIBLE_DEVICES] [$HOME] [$USER] $KEY $FLUXHIVE_CODE_DIR",
        image="img",
        code=made.code,
        env={"A": "b c"},
        secrets={"KEY": "file"},
        mounts=(mount,),
        request=Request(gpus=1),
    )
    assert own.ended(task).state.value == "succeeded"
    said = own.log(task, size=10).decode()
    secret = "/run/fluxhive-secrets/KEY"
    assert said == f"the code[b c] [0] [/workspace] [] {secret} /workspace\n"
    (create,) = own.calls("create")
    given = " ".join(create)
    assert "hunter2" not in given
    assert "b c" not in given
    assert f"type=bind,source={tmp_path}/data,target=/data,readonly" in create
    assert create[create.index("--gpus") + 1].startswith('"device=')
    assert not {"--privileged", "--pid", "--ipc", "--network", "-v"} & {*create}


def test_a_cancel_stops_the_container_with_the_grace(own: EngineHive, tmp_path: Path) -> None:
    line = f"trap 'echo saved > {tmp_path}/saved; exit 0' TERM; while :; do sleep 0.05; done"
    task = own.submit(line, image="img", grace_ms=20_000)
    pid = own.pid(task)
    # By its id the container's processes are known on the GPU (test_gpus.py).
    named = own.run_directory(f"{task}.1") / "container-id"
    assert named.read_text() == hashlib.sha256(f"{task}.1".encode()).hexdigest()
    own.cancel(task)
    assert own.ended(task).state.value == "cancelled"
    assert (tmp_path / "saved").read_text() == "saved\n"
    assert not alive(pid)
    assert own.calls("stop")[0][1:3] == ["--time", "20"]
    # The leader alone was told: the client stays for what the task writes in its grace.
    assert not list(own.engine.glob("*.client-told"))


def test_one_that_ignores_it_is_killed_by_its_engine(own: EngineHive) -> None:
    task = own.submit("trap '' TERM; while :; do sleep 0.05; done", image="img", grace_ms=1000)
    pid = own.pid(task)
    own.cancel(task)
    assert own.ended(task).state.value == "cancelled"
    assert not alive(pid)


def test_a_time_limit_ends_it(own: EngineHive) -> None:
    task = own.submit("sleep 600", image="img", time_limit_ms=1000, grace_ms=1000)
    ended = own.ended(task)
    assert ended.outcome is not None
    assert ended.outcome.kind.value == "time-limit"


def test_an_agent_killed_meanwhile_adopts_it(own: EngineHive, tmp_path: Path) -> None:
    line = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo done; exit 3"
    task = own.submit(line, image="img")
    own.pid(task)
    own.kill_agent()
    own.start_agent()
    (tmp_path / "go").touch()
    ended = own.ended(task)
    assert ended.outcome is not None
    assert (ended.outcome.kind.value, ended.outcome.exit_code) == ("failure", 3)
    assert own.log(task, size=5) == b"done\n"
    assert len(own.calls("create")) == 1


def test_a_client_of_the_engine_that_dies_changes_no_exit_code(
    own: EngineHive, tmp_path: Path
) -> None:
    line = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 5"
    task = own.submit(line, image="img")
    own.pid(task)
    for pid in os.popen(f"pgrep -f 'stand_in_engine.py start .*{task}.1'").read().split():
        os.kill(int(pid), signal.SIGKILL)
    until(lambda: own.calls("wait"), what="a wait for the container itself")
    (tmp_path / "go").touch()
    ended = own.ended(task)
    assert ended.outcome is not None
    assert ended.outcome.exit_code == 5


def test_what_led_it_may_be_killed_and_the_container_ends_all_the_same(own: EngineHive) -> None:
    task = own.submit("trap '' TERM; while :; do sleep 0.05; done", image="img")
    pid = own.pid(task)
    leader = own.task(task).attempts[0].pid
    assert leader is not None
    os.kill(leader, signal.SIGKILL)
    ended = own.ended(task)
    assert ended.outcome is not None
    assert ended.outcome.signal == signal.SIGKILL
    assert not alive(pid)


@pytest.mark.parametrize(
    ("spec", "kind", "said"),
    [
        ({"image": "missing:1"}, "launch-failed", "manifest unknown"),
        ({"image": "img", "command": ("/nowhere/x",)}, "launch-failed", "no such file"),
        (
            {"image": "img", "mounts": (Mount(source="/etc", target="/x"),)},
            "refused",
            "does not let containers see /etc",
        ),
    ],
)
def test_what_cannot_be_started_says_why(
    own: EngineHive, spec: dict[str, object], kind: str, said: str
) -> None:
    spec = {"command": ("/bin/true",), "executor": ExecutorKind.EXEC, **spec}
    task = own.transport().call("POST", "/api/v1/tasks", TaskView, body=TaskSpec(**spec)).id  # type: ignore[arg-type]
    first = until(lambda: [a for a in own.task(task).attempts if a.outcome], what="an end")[0]
    assert first.outcome.kind.value == kind
    assert said in first.outcome.detail


def test_a_link_out_of_what_is_allowed_is_not_mounted(own: EngineHive, tmp_path: Path) -> None:
    (tmp_path / "data" / "link").symlink_to("/etc")
    mount = Mount(source=str(tmp_path / "data" / "link"), target="/x", read_only=True)
    task = own.submit("true", image="img", mounts=(mount,))
    first = until(lambda: [a for a in own.task(task).attempts if a.outcome], what="an end")[0]
    assert "which leads to /etc" in first.outcome.detail
    assert own.calls("create") == []


# ── real namespaces ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliHive]:
    """A node whose engine is bubblewrap, over this machine's own programs."""
    home: Path = tmp_path_factory.mktemp("home")
    (home / "scratch").mkdir()
    (home / "config.toml").write_text(
        f'[container]\nengine = "bubblewrap"\nmounts = "{home}/scratch"\n'
    )
    (home / "secret-of-the-node").write_text("not seen")
    hive = CliHive(home)
    hive.up()
    yield hive
    hive.down()


@needs_bwrap
def test_in_real_namespaces_it_sees_its_own_processes_and_files_alone(wrapped: CliHive) -> None:
    line = (
        "echo pids $(ls /proc | grep -c '^[0-9]'); echo self $$; ls / | tr '\\n' ' '; echo; "
        f"ls {wrapped.home} 2>&1; touch /usr/x 2>&1; grep CapEff /proc/self/status; "
        "echo kept > /scratch/file; exit 9"
    )
    mount = f"{wrapped.home}/scratch:/scratch"
    done = wrapped.run("submit", "-f", "--image", "/", "--mount", mount, "--", line)
    assert done.returncode == 9, done.stderr
    words = done.stdout
    assert int(words.split("pids ")[1].split()[0]) < 8
    assert int(words.split("self ")[1].split()[0]) < 8
    assert "home" not in words.split("self ")[1].splitlines()[1].split()
    assert "secret-of-the-node" not in words
    assert "Read-only file system" in words + done.stderr
    assert "0000000000000000" in words
    assert (wrapped.home / "scratch" / "file").read_text() == "kept\n"


@needs_bwrap
def test_its_code_and_its_variables_are_inside(wrapped: CliHive) -> None:
    project = wrapped.home / "project"
    project.mkdir()
    (project / "train.py").write_text("import os; print(os.getcwd(), os.environ['A'])")
    flags = ("--image", "/", "--code", str(project), "--env", "A=b c")
    out = wrapped.ok("submit", "-f", *flags, "--", "python3 train.py; id -u")
    assert "/workspace b c" in out


@needs_bwrap
def test_the_numbers_that_it_reports_come_out(wrapped: CliHive) -> None:
    line = """echo '{"values":{"loss":0.5}}' >> $FLUXHIVE_METRICS"""
    task = wrapped.submit("--image", "/", "--", line)
    wrapped.when(task, "succeeded")
    told = wrapped.transport.call("GET", f"/api/v1/tasks/{task}/metrics", MetricsView)
    assert [(each.name, each.lasts) for each in told.series] == [("loss", (0.5,))]


@needs_bwrap
def test_a_cancel_ends_the_whole_tree_in_it(wrapped: CliHive) -> None:
    seconds = f"4{os.getpid()}"
    line = f"trap '' TERM; setsid sleep {seconds} & (sleep {seconds} &) ; sleep {seconds}"
    task = wrapped.submit("--image", "/", "--", line)
    wrapped.when(task, "running")
    until(lambda: len(os.popen(f"pgrep -x -f 'sleep {seconds}'").read().split()) == 3)
    wrapped.ok("cancel", task)
    wrapped.when(task, "cancelled", limit_s=60)
    assert os.popen(f"pgrep -x -f 'sleep {seconds}'").read().split() == []


@needs_bwrap
def test_a_signal_and_a_missing_program_are_what_the_engine_makes_of_them(
    wrapped: CliHive,
) -> None:
    done = wrapped.run("submit", "-f", "--image", "/", "--", "kill -SEGV $$")
    assert done.returncode == 128 + signal.SIGSEGV
    assert wrapped.run("submit", "-f", "--image", "/", "--", "/nowhere/x", "y").returncode == 1
