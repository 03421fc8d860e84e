"""Which Python runs a ``python`` task: how it is named, where a node looks, what is executed.

Pure: a node's shell looks whether the places exist (``agent/interpreters.py``). An environment is
used as if it had been activated; nothing is ever installed into one, except by ``uv`` into its
project's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

from .errors import InputError
from .values import Value

#: A conda environment's name becomes part of a path.
_CONDA_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_ABSOLUTE = re.compile(r"/|[A-Za-z]:[\\/]|\\\\")
#: Where conda's installers put it, below the home directory and beside it.
_CONDA_ROOTS = (
    "{home}/miniforge3",
    "{home}/mambaforge",
    "{home}/miniconda3",
    "{home}/anaconda3",
    "{home}/micromamba",
    "{home}/.local/share/mamba",
    "/opt/conda",
    "/opt/miniforge3",
    "/opt/miniconda3",
    "/opt/anaconda3",
)
#: What the interpreter is called below an environment's prefix.
_IN_PREFIX = ("{prefix}/bin/python", "{prefix}/bin/python3")
WITHOUT_CHOICE = "python3"
"""What is looked for on the task's PATH when no interpreter was named."""


class PythonKind(Enum):
    """How an interpreter was named."""

    #: An interpreter, or the directory of an environment.
    PATH = "path"
    #: The name of a conda environment.
    CONDA = "conda"
    #: The uv project that the working directory is in.
    UV = "uv"


class PythonChoice(Value, frozen=True, kw_only=True):
    """What a task says about its interpreter, read."""

    kind: PythonKind
    #: The path, or the environment's name; empty for uv.
    name: str = ""


class PythonFound(Value, frozen=True, kw_only=True):
    """What a node found for a choice."""

    #: The interpreter; for uv the program ``uv``.
    program: str
    #: The environment around it, to be activated; None: there is none.
    prefix: str | None = None
    is_conda: bool = False
    is_uv: bool = False


def parse_python(text: str) -> PythonChoice:
    """A choice from ``PATH``, ``DIRECTORY``, ``conda:NAME`` or ``uv``. Raises ``InputError``."""
    if text == "uv":
        return PythonChoice(kind=PythonKind.UV)
    if text.startswith("conda:"):
        name = text.removeprefix("conda:")
        if not _CONDA_NAME.fullmatch(name):
            raise InputError(
                f"python: not the name of a conda environment: `{name[:100]}`",
                hint="write `conda:NAME` as `conda env list` shows it; or give its directory",
                field="python",
                value=text,
            )
        return PythonChoice(kind=PythonKind.CONDA, name=name)
    if not _ABSOLUTE.match(text):
        raise InputError(
            f"python: not an absolute path, `conda:NAME` or `uv`: `{text[:100]}`",
            hint="write the path of an interpreter or an environment as it is on the nodes",
            field="python",
            value=text,
        )
    return PythonChoice(kind=PythonKind.PATH, name=text)


def places(
    choice: PythonChoice, *, home: str, env: Mapping[str, str], listed: Iterable[str] = ()
) -> tuple[str, ...]:
    """Where the interpreter may be, the likeliest first; for uv, where ``uv`` may be.

    ``env`` is the agent's own environment, ``listed`` what conda's list of environments
    (``~/.conda/environments.txt``) holds.
    """
    if choice.kind is PythonKind.UV:
        folders = [*env.get("PATH", "").split(":"), f"{home}/.local/bin", f"{home}/.cargo/bin"]
        return tuple(f"{folder}/uv" for folder in folders if folder.startswith("/"))
    if choice.kind is PythonKind.CONDA:
        prefixes = _conda_prefixes(choice.name, home, env, listed)
        return tuple(_below(prefix) for prefix in prefixes for _below in _BELOW)
    path = choice.name.rstrip("/")
    return (*(below(path) for below in _BELOW), choice.name)


def prefix_of(program: str) -> str | None:
    """The prefix of the environment that an interpreter would belong to; None: in no ``bin``."""
    folder, _, _ = program.rpartition("/")
    prefix, _, last = folder.rpartition("/")
    return prefix if last == "bin" and prefix else None


def python_argv(found: PythonFound | None, command: tuple[str, ...]) -> tuple[str, ...]:
    """What is executed for the words that Python is given: a script or ``-m module``, and more."""
    if found is None:
        return (WITHOUT_CHOICE, *command)
    if found.is_uv:
        # Quiet: what uv says about its own work is not the task's output; its errors still come.
        return (found.program, "run", "--quiet", "--", "python", *command)
    return (found.program, *command)


def activation(prefix: str, bin_dir: str, path: str | None, *, is_conda: bool) -> dict[str, str]:
    """The variables that activating an environment sets."""
    env = {"PATH": f"{bin_dir}:{path}" if path else bin_dir}
    if is_conda:
        env["CONDA_PREFIX"] = prefix
        env["CONDA_DEFAULT_ENV"] = prefix.rpartition("/")[2]
    else:
        env["VIRTUAL_ENV"] = prefix
    return env


def not_found(choice: PythonChoice, label: str) -> str:
    """One sentence for a person on an interpreter that a node does not have."""
    if choice.kind is PythonKind.UV:
        return (
            f"uv is not on node {label}: neither on the agent's PATH nor in ~/.local/bin; "
            "install it there, or name an environment with `--python DIR`"
        )
    if choice.kind is PythonKind.CONDA:
        return (
            f"there is no conda environment `{choice.name}` on node {label}; make it there, "
            "or give the directory of one with `--python DIR`"
        )
    return (
        f"there is no Python at {choice.name} on node {label}; name one that is there "
        "with `--python`"
    )


_BELOW = tuple(pattern.replace("{prefix}", "{0}").format for pattern in _IN_PREFIX)


def _conda_prefixes(
    name: str, home: str, env: Mapping[str, str], listed: Iterable[str]
) -> list[str]:
    roots = [env[key] for key in ("MAMBA_ROOT_PREFIX", "CONDA_ROOT") if env.get(key)]
    if env.get("CONDA_EXE"):
        roots.append(env["CONDA_EXE"].rpartition("/")[0].rpartition("/")[0])
    roots += [root.format(home=home) for root in _CONDA_ROOTS]
    if name == "base":
        return list(dict.fromkeys(roots))
    prefixes = [line.strip() for line in listed if line.strip().rpartition("/")[2] == name]
    folders = [folder for folder in env.get("CONDA_ENVS_PATH", "").split(":") if folder]
    folders += [f"{home}/.conda/envs", *(f"{root}/envs" for root in roots)]
    return list(dict.fromkeys([*prefixes, *(f"{folder}/{name}" for folder in folders)]))
