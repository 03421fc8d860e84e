"""What a task starts and where: the words of its command, by which Python, in which directory."""

from __future__ import annotations

import os

from fluxhive.core.container import Mount
from fluxhive.core.errors import InputError
from fluxhive.core.interpreter import parse_python
from fluxhive.core.task import ExecutorKind
from fluxhive.core.values import Value


class Program(Value, frozen=True, kw_only=True):
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


def mount(text: str) -> Mount:
    """What `--mount SRC:DST[:ro]` says."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] not in ("ro", "rw")):
        raise InputError(
            f"`--mount` takes SRC:DST or SRC:DST:ro: `{text[:100]}`",
            field="--mount",
            value=text,
            hint="such as --mount /data/imagenet:/data:ro; paths as they are on the nodes",
        )
    return Mount(source=parts[0], target=parts[1], read_only=parts[2:] == ["ro"])


def workdir(given: str | None, *, has_own_place: bool) -> str | None:
    """Where the task runs: here, unless it has a place of its own: its code, or a container."""
    if has_own_place:
        inside = None if given is None else os.path.normpath(given)
        return None if inside == "." else inside
    if given is not None:
        return os.path.abspath(given)
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise InputError(
            "this directory does not exist any more", field="--workdir", hint="cd to another one"
        ) from error
    # The path as the person sees it: a link to a shared file system is often the same everywhere.
    seen = os.environ.get("PWD", "")
    is_same = os.path.isabs(seen) and os.path.isdir(seen) and os.path.samefile(seen, here)
    return seen if is_same else here
