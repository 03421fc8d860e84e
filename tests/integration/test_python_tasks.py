"""Tasks run by a given Python, with real ones: a virtual environment and a conda prefix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli_hive import CliHive

SHOW = "import os, sys; print(sys.prefix, sys.argv[1:], os.getcwd())"


@pytest.fixture(scope="module")
def venv(hive: CliHive) -> Path:
    path = hive.home / "ml"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    return path


def test_a_script_runs_in_the_environment_of_a_directory(hive: CliHive, venv: Path) -> None:
    (hive.home / "train.py").write_text(SHOW)
    out = hive.ok("submit", "-f", "--python", "ml", "--", "train.py", "--lr", "1 2")
    assert f"{venv} ['--lr', '1 2'] {hive.home}" in out


def test_its_programs_are_on_the_path_and_the_environment_is_active(
    hive: CliHive, venv: Path
) -> None:
    line = "import os, shutil; print(os.environ['VIRTUAL_ENV'], shutil.which('python'))"
    out = hive.ok("submit", "-f", "--python", str(venv), "--", "-c", line)
    assert f"{venv} {venv}/bin/python" in out


def test_an_interpreter_may_be_named_itself(hive: CliHive, venv: Path) -> None:
    out = hive.ok("submit", "-f", "--python", f"{venv}/bin/python3", "--", "-c", SHOW, "x")
    assert f"{venv} ['x']" in out


def test_a_module_runs_from_the_working_directory(hive: CliHive, venv: Path) -> None:
    package = hive.home / "project" / "pkg"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "train.py").write_text(SHOW)
    out = hive.ok(
        "submit", "-f", "--workdir", "project", "--python", "ml", "--", "-m", "pkg.train", "--x"
    )
    assert f"{venv} ['--x'] {hive.home}/project" in out


def test_its_exit_code_comes_back(hive: CliHive, venv: Path) -> None:
    done = hive.run("submit", "-f", "--python", str(venv), "--", "-c", "raise SystemExit(7)")
    assert done.returncode == 7


def test_a_conda_environment_is_found_by_its_name(hive: CliHive) -> None:
    prefix = hive.home / "miniforge3" / "envs" / "torch"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    # Conda's layout: no pyvenv.cfg, a folder of what is installed. Such a prefix finds its library
    # by itself; this one, made of a venv, is told where it is.
    (prefix / "pyvenv.cfg").rename(prefix / "bin" / "pyvenv.cfg")
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta" / "history").touch()
    line = "import os; print(os.environ['CONDA_PREFIX'], os.environ['CONDA_DEFAULT_ENV'])"
    out = hive.ok("submit", "-f", "--python", "conda:torch", "--", "-c", line)
    assert f"{prefix} torch" in out


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("/nowhere/env", "there is no Python at /nowhere/env on node"),
        ("conda:nowhere", "there is no conda environment `nowhere` on node"),
    ],
)
def test_a_python_that_no_node_has_leaves_the_task_waiting_with_the_reason(
    hive: CliHive, python: str, said: str
) -> None:
    task = hive.submit("--python", python, "--", "train.py")
    assert said in hive.refusal(task)
    hive.run("cancel", task)


def test_an_environment_whose_base_is_gone_is_named(hive: CliHive) -> None:
    broken = hive.home / "broken"
    (broken / "bin").mkdir(parents=True)
    (broken / "bin" / "python").symlink_to("/nowhere/python3.9")
    task = hive.submit("--python", "broken", "--", "train.py")
    detail = hive.refusal(task)
    assert "is made for /nowhere/python3.9, which does not exist" in detail
    hive.run("cancel", task)


@pytest.mark.parametrize(
    ("mode", "text", "error"),
    [
        (0o644, "#!/bin/sh\n", "Permission denied"),
        (0o755, "#!/nowhere/python\n", "the interpreter that"),
        (0o755, "no program\n", "is no program and has no interpreter line"),
    ],
)
def test_a_python_that_cannot_be_executed_fails_with_the_reason(
    hive: CliHive, mode: int, text: str, error: str
) -> None:
    path = hive.home / f"python-{mode:o}-{len(text)}"
    path.write_text(text)
    path.chmod(mode)
    task = hive.submit("--python", str(path), "--", "train.py")
    outcome = hive.when(task, "failed")["outcome"]
    assert outcome["kind"] == "launch-failed"
    assert error in outcome["detail"]


def test_python_and_its_own_name_are_not_both_given(hive: CliHive) -> None:
    done = hive.run("submit", "--python", "ml", "--", "python", "train.py")
    assert done.returncode == 2
    assert "which `--python` stands for" in done.stderr
    assert "--python .venv -- train.py" in done.stderr
