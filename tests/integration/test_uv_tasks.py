"""Tasks of a uv project, run by the real uv."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.helpers.cli_hive import CliHive

SHOW = "import os, sys; print(sys.prefix, sys.argv[1:], os.getcwd())"


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliHive]:
    """A node whose agent has uv on its PATH."""
    home: Path = tmp_path_factory.mktemp("home")
    hive = CliHive(home, PATH=f"{os.environ['PATH']}:{Path(find_uv_bin()).parent}")
    hive.up()
    yield hive
    hive.down()


def test_a_uv_project_runs_in_its_own_environment(hive: CliHive) -> None:
    project = hive.home / "uv-project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.10"\n'
    )
    (project / "main.py").write_text(SHOW + "; sys.exit(5)")
    done = hive.run(
        "submit", "-f", "--workdir", str(project), "--python", "uv", "--", "main.py", "a b",
        limit_s=180,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert f"{project}/.venv ['a b'] {project}" in done.stdout
