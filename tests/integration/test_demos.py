"""The demo scripts, as a newcomer runs them: from any directory, without a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_sample_tasks_end_as_they_are_meant_to(tmp_path: Path) -> None:
    done = run("demo_task_manager.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 of 5 tasks ended as they were meant to" in done.stdout
    for word in ("success", "failure", "retry", "time limit", "cancel"):
        assert word in done.stdout


def test_a_command_is_run_and_its_output_shown_and_kept(tmp_path: Path) -> None:
    line = f"{sys.executable} -c \"print('Hello FlowHive!')\""
    done = run("demo_task_manager.py", line, "--timeout", "10", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Hello FlowHive!\n")
    (kept,) = (tmp_path / ".agent_logs").glob("*/*/stdout")
    assert kept.read_text() == "Hello FlowHive!\n"


@pytest.mark.parametrize(
    ("command", "options", "code"),
    [
        (["exit 7"], [], 7),
        (["kill -9 $$"], [], 128 + 9),
        (["sleep 60"], ["--timeout", "0.3"], 124),
        (["/no/such/program", "word"], [], 125),
        (["no-such-command"], [], 127),
        (["   "], [], 2),
    ],
)
def test_the_exit_code_is_the_commands_own(
    tmp_path: Path, command: list[str], options: list[str], code: int
) -> None:
    assert run("demo_task_manager.py", *options, *command, cwd=tmp_path).returncode == code


def test_every_check_of_the_shell_demo_holds(tmp_path: Path) -> None:
    done = run("demo_shell_test.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "11 of 11 checks hold" in done.stdout


def test_the_demos_need_nothing_of_the_server(tmp_path: Path) -> None:
    """They run from an install without the server extra."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['fastapi', 'sqlalchemy', 'uvicorn',"
        " 'alembic', 'argon2', 'pydantic', 'limits']));"
        f"sys.argv = ['demo', 'echo fine']; sys.path.insert(0, {str(SCRIPTS)!r});"
        "import demo_task_manager; sys.exit(demo_task_manager.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "fine\n")
