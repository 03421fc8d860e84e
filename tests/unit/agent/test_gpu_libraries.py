"""What a task's interpreter has installed, read from real environments with pretended packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fluxhive.agent.gpu_libraries import capped, libraries_of
from fluxhive.core.gpu_caps import Libraries
from fluxhive.core.launch_plan import LaunchPlan

TORCH, NOTHING = Libraries(torch=True), Libraries()
OPTION = "PYTORCH_CUDA_ALLOC_CONF"


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    path = tmp_path / "ml"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    return path


def packages(venv: Path) -> Path:
    (found,) = (venv / "lib").glob("python3*/site-packages")
    return found


def put_torch(packages: Path, version: str, cuda: str = "'12.8'") -> None:
    (packages / "torch").mkdir(parents=True)
    # Would it be imported, it would end the test.
    (packages / "torch" / "__init__.py").write_text("raise SystemExit('imported')\n")
    text = f"from typing import Optional\n__version__ = '{version}'\ncuda: Optional[str] = {cuda}\n"
    (packages / "torch" / "version.py").write_text(text)


def plan(*argv: str, cwd: str = "/", **env: str) -> LaunchPlan:
    return LaunchPlan(argv=argv, env={"PYTHONNOUSERSITE": "1"} | env, cwd=cwd)


@pytest.mark.parametrize(
    ("version", "found"), [("2.10.0+cu128", TORCH), ("2.9.1+cu128", NOTHING), ("1.13.1", NOTHING)]
)
def test_the_pytorch_of_an_environment_is_found_by_its_version(
    venv: Path, version: str, found: Libraries
) -> None:
    put_torch(packages(venv), version)
    assert libraries_of(plan(f"{venv}/bin/python", "train.py")) == found


def test_jax_is_found_too(venv: Path) -> None:
    (packages(venv) / "jaxlib").mkdir()
    assert libraries_of(plan(f"{venv}/bin/python", "train.py")) == Libraries(jax=True)


def test_a_name_is_looked_for_as_the_task_will(venv: Path) -> None:
    put_torch(packages(venv), "2.10.0")
    on_path = {"PATH": f"{venv}/bin:/usr/bin:/bin"}
    assert libraries_of(plan("python", "train.py", **on_path)) == TORCH
    assert libraries_of(plan("/bin/sh", "-c", "python train.py --lr 1", **on_path)) == TORCH
    assert libraries_of(plan("bin/python", "train.py", cwd=str(venv))) == TORCH
    assert libraries_of(plan("python", "train.py", PATH="/nowhere")) == NOTHING


def test_what_comes_before_in_the_search_path_counts(venv: Path, tmp_path: Path) -> None:
    put_torch(packages(venv), "2.10.0")
    put_torch(tmp_path / "old", "2.4.0")
    at = {"PYTHONPATH": f"{tmp_path}/old"}
    assert libraries_of(plan(f"{venv}/bin/python", "train.py", **at)) == NOTHING


def test_an_environment_that_sees_the_users_own_packages_counts_them(
    venv: Path, tmp_path: Path
) -> None:
    put_torch(packages(venv), "2.10.0")
    put_torch(tmp_path / "home" / ".local" / "lib" / "python3.11" / "site-packages", "2.4.0")
    at = {"HOME": f"{tmp_path}/home", "PYTHONNOUSERSITE": ""}
    assert libraries_of(plan(f"{venv}/bin/python", "train.py", **at)) == TORCH
    config = venv / "pyvenv.cfg"
    said = config.read_text()
    config.write_text(said.replace("packages = false", "packages = true"))
    assert config.read_text() != said
    assert libraries_of(plan(f"{venv}/bin/python", "train.py", **at)) == NOTHING


def test_nothing_is_known_of_what_only_picks_a_python(tmp_path: Path, venv: Path) -> None:
    put_torch(packages(venv), "2.10.0")
    chooser = tmp_path / "bin" / "python"
    chooser.parent.mkdir()
    chooser.write_text(f'#!/bin/sh\nexec {venv}/bin/python "$@"\n')
    chooser.chmod(0o755)
    assert libraries_of(plan(str(chooser), "train.py")) == NOTHING
    assert libraries_of(plan("/usr/bin/uv", "run", "--", "python", "train.py")) == NOTHING
    assert libraries_of(plan(f"{venv}/bin/python", "a.py", PYTHONHOME="/opt")) == NOTHING


def test_a_package_that_cannot_be_read_means_no_cap(venv: Path) -> None:
    put_torch(packages(venv), "2.10.0")
    (packages(venv) / "torch" / "version.py").unlink()
    assert libraries_of(plan(f"{venv}/bin/python", "train.py")) == NOTHING


def test_the_plan_is_told_the_cap_as_a_part_of_the_gpu(venv: Path) -> None:
    put_torch(packages(venv), "2.10.0")
    before = plan(f"{venv}/bin/python", "train.py", K="V")
    after = capped(before, 10_240, 81_920)
    assert after.env == {**before.env, OPTION: "per_process_memory_fraction:0.1250"}
    assert (after.argv, after.cwd) == (before.argv, before.cwd)
    assert capped(before, 10_240, 0) is before


def test_an_old_pytorch_is_not_given_an_option_that_it_dies_of(venv: Path) -> None:
    put_torch(packages(venv), "2.9.1+cu128")
    before = plan(f"{venv}/bin/python", "train.py")
    assert capped(before, 10_240, 81_920) is before
