"""A task that shares its GPU is told its cap, by a real agent and from a real environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli_hive import CliHive

SHOW = "import os; print('said:', os.environ.get('PYTORCH_CUDA_ALLOC_CONF'))"


@pytest.fixture(scope="module")
def venv(hive: CliHive) -> Path:
    path = hive.home / "ml"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    return path


def put_torch(venv: Path, version: str) -> None:
    (packages,) = (venv / "lib").glob("python3*/site-packages")
    (packages / "torch").mkdir(exist_ok=True)
    text = f"__version__ = '{version}'\ncuda: Optional[str] = '12.8'\n"
    (packages / "torch" / "version.py").write_text(text)


def test_a_declared_need_is_capped_and_show_says_so(hive: CliHive, venv: Path) -> None:
    put_torch(venv, "2.10.0+cu128")
    out = hive.ok(
        "submit", "-f", "--gpus", "1", "--gpu-mem", "8G", "--python", "ml", "--", "-c", SHOW
    )
    assert "said: per_process_memory_fraction:0.1250" in out
    task = hive.submit("--gpus", "1", "--gpu-mem", "8G", "--", "true")
    assert "cap 10.0 GiB, where its PyTorch or JAX knows one" in hive.ok("show", task)


def test_what_the_author_set_stays(hive: CliHive, venv: Path) -> None:
    put_torch(venv, "2.10.0+cu128")
    for said, found in (
        ("expandable_segments:True", "expandable_segments:True,per_process_memory_fraction:0.1250"),
        ("per_process_memory_fraction:0.9", "per_process_memory_fraction:0.9"),
    ):
        variable = f"PYTORCH_CUDA_ALLOC_CONF={said}"
        task = (
            "--gpus",
            "1",
            "--gpu-mem",
            "8G",
            "--env",
            variable,
            "--python",
            "ml",
            "--",
            "-c",
            SHOW,
        )
        assert f"said: {found}\n" in hive.ok("submit", "-f", *task)


@pytest.mark.parametrize(
    "asked", [("--gpus", "1", "--gpu-mem", "8G", "--exclusive"), ("--gpus", "2"), ("--gpus", "1")]
)
def test_who_shares_no_gpu_or_is_not_known_has_no_cap(
    hive: CliHive, venv: Path, asked: tuple[str, ...]
) -> None:
    put_torch(venv, "2.10.0+cu128")
    assert "said: None" in hive.ok("submit", "-f", *asked, "--python", "ml", "--", "-c", SHOW)


def test_an_old_pytorch_is_told_nothing(hive: CliHive, venv: Path) -> None:
    put_torch(venv, "2.9.1+cu128")
    task = ("--gpus", "1", "--gpu-mem", "8G", "--python", "ml", "--", "-c", SHOW)
    assert "said: None" in hive.ok("submit", "-f", *task)
