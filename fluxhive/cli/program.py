"""What `fluxhive submit` starts: the words of the command, how they are read, by which Python."""

from __future__ import annotations

import os
import shlex

import msgspec

from fluxhive.core.errors import InputError
from fluxhive.core.interpreter import parse_python
from fluxhive.core.task import ExecutorKind, TaskSpec

COMMAND_LENGTH_MAX = 500


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a spec that says what is executed."""

    command: tuple[str, ...]
    executor: ExecutorKind
    python: str | None = None
    venv: str | None = None


def program(
    words: tuple[str, ...], *, is_shell: bool, python: str | None, is_torchrun: bool = False
) -> Program:
    """The command; one word is a line for the shell, unless it is for Python."""
    if not any(word.strip() for word in words):
        raise InputError(
            "no command was given",
            field="command",
            hint="fluxhive submit -- python train.py, or -- 'echo $HOME | wc -c' for the shell",
        )
    if is_shell and (python is not None or is_torchrun):
        option = "--torchrun" if is_torchrun else "--python"
        raise InputError(f"`{option}` and `--shell` exclude each other", field=option)
    kind = ExecutorKind.TORCHRUN if is_torchrun else ExecutorKind.PYTHON
    if python is not None:
        return Program(command=words, executor=kind, python=_named(python))
    venv = os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX") or None
    if is_torchrun:
        return Program(command=words, executor=kind, venv=venv)
    if is_shell or len(words) == 1:
        return Program(command=(" ".join(words),), executor=ExecutorKind.SHELL, venv=venv)
    return Program(command=words, executor=ExecutorKind.EXEC, venv=venv)


def _named(python: str) -> str:
    """A path as it is from the root on; `conda:NAME` and `uv` as they are."""
    is_path = python != "uv" and not python.startswith("conda:")
    named = os.path.abspath(os.path.expanduser(python)) if is_path and python else python
    parse_python(named)
    return named


def shown_command(spec: TaskSpec) -> str:
    """The command as a person would type it; a long one is cut."""
    is_line = spec.executor is ExecutorKind.SHELL
    text = " ".join(spec.command) if is_line else shlex.join(spec.command)
    if spec.executor is ExecutorKind.PYTHON:
        text = f"{spec.python or 'python'} {text}"
    elif spec.executor is ExecutorKind.TORCHRUN:
        text = f"torchrun {text}"
    return text if len(text) <= COMMAND_LENGTH_MAX else text[:COMMAND_LENGTH_MAX] + " …"
