"""`fluxhive submit`: what is sent, what is refused before it is, and what following ends with."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import LogEnd, LogEvent, TaskView
from tests.helpers.cli_scene import set_scene
from tests.helpers.cli_views import succeeded, task
from tests.helpers.stub_server import event, failing, problem_answer, stream_answer
from tests.unit.cli.conftest import Cli

FOLLOW = "/tasks/t-7f3k/logs/follow"


def accept(cli: Cli, view: TaskView | None = None) -> None:
    cli.server.on("POST", "/tasks", view or task(), status=201)


def sent(cli: Cli) -> dict[str, object]:
    (body,) = cli.server.bodies("POST", "/tasks")
    return body


def log(offset: int, data: bytes, stream: str = "stdout") -> bytes:
    text = base64.b64encode(data).decode()
    return event(
        "log", LogEvent(attempt="t-7f3k.1", stream=stream, offset=offset, time_ms=0, data=text)
    )


def end(view: TaskView) -> bytes:
    return event("end", LogEnd(task=view))


def test_several_words_are_executed_as_they_are(cli: Cli, tmp_path: Path) -> None:
    accept(cli)
    done = cli("submit", "-n", "vit", "--", "python", "train.py", "--lr", "1")
    assert done == (0, "t-7f3k\tvit\tqueued\t\n", "")
    assert sent(cli) == {
        "command": ["python", "train.py", "--lr", "1"],
        "name": "vit",
        "request": {},
        "workdir": str(tmp_path),
    }
    assert len(cli.server.asked[0].headers["Idempotency-Key"]) == 32


@pytest.mark.parametrize("words", [["--", "a | b"], ["--shell", "--", "a", "|", "b"], ["a | b"]])
def test_one_word_is_a_line_for_the_shell(cli: Cli, words: list[str]) -> None:
    accept(cli)
    assert cli("submit", *words).code == 0
    assert (sent(cli)["command"], sent(cli)["executor"]) == (["a | b"], "shell")


def test_all_options_arrive_in_the_cores_units(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(cli)
    (tmp_path / "env").write_text("# mine\nexport A=1\nB='two words'\n\nC=x=y\n")
    monkeypatch.setenv("VIRTUAL_ENV", "/venvs/a")
    monkeypatch.setenv("MINE", "own")
    line = (
        "submit --gpus 1 --gpu-mem 8G --exclusive --cpus 4 --mem 1.5G --time 4h --priority high "
        "--retry 3 --env B=3 --env MINE --env-file env --workdir sub --at-most-once "
        "--failover 30m --project vision "
        "--backoff 10s --retry-on exit:3,time-limit --retry-elsewhere -- a b"
    )
    done = cli(*line.split())
    assert done.code == 0
    assert sent(cli) == {
        "command": ["a", "b"],
        "request": {
            "gpus": 1,
            "gpu_memory_mib": 8192,
            "exclusive": True,
            "cpus": 4,
            "memory_mib": 1536,
        },
        "env": {"A": "1", "B": "3", "C": "x=y", "MINE": "own"},
        "workdir": str(tmp_path / "sub"),
        "venv": "/venvs/a",
        "priority": "high",
        "retry": 3,
        "at_most_once": True,
        "time_limit_ms": 14_400_000,
        "failover_ms": 1_800_000,
        "project": "vision",
        "backoff_ms": 10_000,
        "retry_on": ["exit:3", "time-limit"],
        "retry_elsewhere": True,
    }


def test_the_directory_is_named_as_the_person_sees_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "seen").symlink_to("real")
    monkeypatch.chdir(tmp_path / "seen")
    monkeypatch.setenv("PWD", str(tmp_path / "seen"))
    accept(cli)
    cli("submit", "--", "a", "b")
    assert sent(cli)["workdir"] == str(tmp_path / "seen")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--"], "no command was given"),
        (["--", " "], "no command was given"),
        (["--gpus", "1", "--gpu-mem", "20X", "--", "a"], "--gpu-mem: not a size: `20X`"),
        (["--gpu-mem", "8G", "--", "a"], "`--gpu-mem` says how much of each GPU"),
        (["--gpus", "-1", "--", "a"], "`--gpus` must be at least 0: -1"),
        (["--cpus", "0", "--", "a"], "`--cpus` must be at least 1: 0"),
        (["--time", "soon", "--", "a"], "--time: not a length of time: `soon`"),
        (["--env", "NOT_SET_ANYWHERE", "--", "a"], "`--env` takes NAME=VALUE"),
        (["--env", "=x", "--", "a"], "`--env` takes NAME=VALUE"),
        (["--env-file", "/no/such", "--", "a"], "cannot read `/no/such`"),
        (["--", "echo", "\udcff"], "not UTF-8 text: '\\udcff'"),
        (["-f", "--json", "--", "a"], "`--json` and `-f` exclude each other"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    cli: Cli, arguments: list[str], said: str
) -> None:
    done = cli("submit", *arguments)
    assert done.code == 2
    assert done.err.startswith(f"error: {said}")
    assert "\n\nhint: " in done.err or "cannot read" in done.err or "exclude" in done.err
    assert cli.server.asked == []


def test_the_servers_refusal_is_passed_on(cli: Cli) -> None:
    told = {"detail": "the environment has 300 KiB", "hint": "use a file", "field": "env"}
    cli.server.on("POST", "/tasks", problem_answer(told, 422))
    assert cli("submit", "--", "a", "b") == (
        2,
        "",
        "error: the environment has 300 KiB\n\nhint: use a file\n",
    )


def test_warnings_go_to_standard_error_and_the_id_to_the_script(cli: Cli) -> None:
    accept(cli, task(warnings=("no node has 9 GPUs",), reason="waits"))
    done = cli("submit", "-q", "--gpus", "9", "--", "a", "b")
    assert done == (0, "t-7f3k\n", "warning: no node has 9 GPUs\n")
    told = json.loads(cli("submit", "--json", "--gpus", "9", "--", "a", "b").out)
    assert (told["schema"], told["id"], told["outcome"]) == (1, "t-7f3k", None)


def test_a_followed_task_shows_its_output_and_gives_its_code(cli: Cli) -> None:
    accept(cli)
    failed = task(
        state=TaskState.FAILED,
        reason="exit code 3",
        outcome=Outcome(kind=OutcomeKind.FAILURE, exit_code=3),
    )
    stream = stream_answer(log(0, b"out\n"), log(0, b"err\n", "stderr"), end(failed))
    cli.server.on("GET", FOLLOW, stream)
    assert cli("submit", "-f", "--", "a", "b") == (
        3,
        "out\n",
        "t-7f3k  vit  queued\nerr\nt-7f3k failed: exit code 3\n",
    )


def test_the_end_says_what_was_used(cli: Cli) -> None:
    accept(cli)
    cli.server.on("GET", FOLLOW, stream_answer(end(succeeded())), stream_answer(end(succeeded())))
    done = cli("submit", "-f", "-q", "--", "a", "b")
    assert done == (
        0,
        "",
        "t-7f3k succeeded (time 12.3 s, CPU 11.0 s, peak memory 80 MiB, "
        "peak GPU memory 17.6 GiB)\n",
    )


def test_trouble_while_following_is_125_and_not_the_tasks_own_code(cli: Cli) -> None:
    accept(cli)
    cli.server.on("GET", FOLLOW, problem_answer({"detail": "no task t-7f3k"}, 404))
    done = cli("submit", "-f", "--", "a", "b")
    assert done.code == 125
    assert "error: no task t-7f3k" in done.err


def test_ctrl_c_lets_go_of_the_task_and_says_how_to_cancel(cli: Cli) -> None:
    accept(cli)
    cli.server.on("GET", FOLLOW, failing(KeyboardInterrupt()))  # type: ignore[arg-type]
    done = cli("submit", "-f", "--", "a", "b")
    assert done.code == 130
    assert "no longer following t-7f3k; it goes on" in done.err
    assert "fluxhive cancel t-7f3k" in done.err
    assert not cli.server.bodies("POST", "/cancel")


def test_a_second_ctrl_c_cancels(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(_: float) -> None:
        raise KeyboardInterrupt

    accept(cli)
    cli.server.on("GET", FOLLOW, failing(KeyboardInterrupt()))  # type: ignore[arg-type]
    cli.server.on("POST", "/tasks/t-7f3k/cancel", task())
    monkeypatch.setattr("time.sleep", pressed)
    done = cli("submit", "-f", "--", "a", "b")
    assert done.code == 130
    assert done.err.endswith("cancelled t-7f3k\n")
    assert len(cli.server.bodies("POST", "/cancel")) == 1


def test_a_password_is_exchanged_for_a_token_once(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWHIVE_TOKEN")
    monkeypatch.setenv("FLOWHIVE_USERNAME", "ada")
    monkeypatch.setenv("FLOWHIVE_PASSWORD", "hunter2")
    grant = {"id": "k", "token": "fh_u_new", "username": "ada", "role": "member"}
    cli.server.on("POST", "/auth/login", grant)
    accept(cli)
    assert cli("submit", "--", "a", "b").code == 0
    assert cli("submit", "--", "a", "b").code == 0
    assert len(cli.server.bodies("POST", "/auth/login")) == 1
    assert {
        request.headers["Authorization"]
        for request in cli.server.asked
        if request.url.endswith("/tasks")
    } == {"Bearer fh_u_new"}


def test_what_the_server_says_of_a_member_is_said_of_its_option(cli: Cli) -> None:
    problem = {
        "type": "https://fluxhive.dev/problems/invalid-input",
        "detail": "retry_on[0]: not a cause of a retry: `x`",
        "field": "retry_on[0]",
        "hint": "known are `exit:3`",
    }
    cli.server.on("POST", "/tasks", problem_answer(problem, 422))
    done = cli("submit", "--retry-on", "x", "--", "true")
    assert (done.code, done.err) == (
        2,
        "error: --retry-on: not a cause of a retry: `x`\n\nhint: known are `exit:3`\n",
    )


def test_a_signal_to_save_by_may_carry_its_grace(cli: Cli) -> None:
    set_scene(cli.server)
    assert cli("submit", "--checkpoint-signal", "usr1@90s", "--", "true").code == 0
    (body,) = cli.server.bodies("POST", "/tasks")
    assert (body["checkpoint_signal"], body["grace_ms"]) == ("USR1", 90_000)
