"""Which Python runs a task: how it is named, where it is looked for, what is executed."""

from __future__ import annotations

import pytest

from fluxhive.core.errors import InputError
from fluxhive.core.interpreter import (
    PythonChoice,
    PythonFound,
    PythonKind,
    activation,
    not_found,
    parse_python,
    places,
    prefix_of,
    python_argv,
)

HOME = "/home/ada"


def at(text: str, **env: str) -> tuple[str, ...]:
    return places(parse_python(text), home=HOME, env=env)


def test_a_path_is_an_environment_first_and_an_interpreter_then() -> None:
    assert at("/srv/ml/") == ("/srv/ml/bin/python", "/srv/ml/bin/python3", "/srv/ml/")
    assert at("/usr/bin/python3.12")[-1] == "/usr/bin/python3.12"


def test_a_conda_environment_is_looked_for_where_conda_says_it_is() -> None:
    listed = ["/data/envs/ml", "/data/envs/other", ""]
    choice = parse_python("conda:ml")
    found = places(choice, home=HOME, env={"CONDA_EXE": "/sw/conda/bin/conda"}, listed=listed)
    assert found[0] == "/data/envs/ml/bin/python"
    assert "/sw/conda/envs/ml/bin/python" in found
    assert f"{HOME}/.conda/envs/ml/bin/python" in found
    assert not any("/other/" in each for each in found)


def test_condas_base_is_the_installation_itself() -> None:
    assert at("conda:base", MAMBA_ROOT_PREFIX="/sw/mamba")[0] == "/sw/mamba/bin/python"
    assert f"{HOME}/miniforge3/bin/python" in at("conda:base")


def test_uv_is_looked_for_on_the_path_and_where_its_installer_puts_it() -> None:
    found = at("uv", PATH="/usr/bin:relative::/opt/bin")
    assert found == ("/usr/bin/uv", "/opt/bin/uv", f"{HOME}/.local/bin/uv", f"{HOME}/.cargo/bin/uv")


@pytest.mark.parametrize(
    "text", ["", "python3", ".venv", "conda:", "conda:../x", "conda:a/b", "conda:-p", "uv ", "-c"]
)
def test_what_names_no_interpreter_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_python(text)
    assert caught.value.field == "python"
    assert caught.value.hint


def test_the_words_go_to_the_interpreter_as_they_are() -> None:
    found = PythonFound(program="/srv/ml/bin/python", prefix="/srv/ml")
    words = ("-m", "pkg.train", "--lr", "1 2")
    assert python_argv(found, words) == ("/srv/ml/bin/python", "-m", "pkg.train", "--lr", "1 2")
    assert python_argv(None, ("train.py",)) == ("python3", "train.py")


def test_a_uv_project_is_run_by_uv() -> None:
    found = PythonFound(program="/opt/uv", is_uv=True)
    assert python_argv(found, ("--version",)) == (
        "/opt/uv",
        "run",
        "--quiet",
        "--",
        "python",
        "--version",
    )


def test_an_environment_is_used_as_if_it_had_been_activated() -> None:
    assert activation("/srv/ml", "/srv/ml/bin", "/usr/bin", is_conda=False) == {
        "VIRTUAL_ENV": "/srv/ml",
        "PATH": "/srv/ml/bin:/usr/bin",
    }
    conda = activation("/c/envs/ml", "/c/envs/ml/bin", None, is_conda=True)
    assert conda == {
        "CONDA_PREFIX": "/c/envs/ml",
        "CONDA_DEFAULT_ENV": "ml",
        "PATH": "/c/envs/ml/bin",
    }


def test_the_prefix_is_what_holds_bin() -> None:
    assert prefix_of("/srv/ml/bin/python") == "/srv/ml"
    assert prefix_of("/srv/ml/python") is None
    assert prefix_of("/bin/python") is None


@pytest.mark.parametrize("kind", list(PythonKind))
def test_what_is_missing_is_said_with_the_node_and_a_remedy(kind: PythonKind) -> None:
    said = not_found(PythonChoice(kind=kind, name="ml"), "gpu-a")
    assert "gpu-a" in said
    assert "--python" in said
