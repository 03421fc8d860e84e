"""Looks what PyTorch and JAX a task's interpreter has, by its files: nothing is imported or run.

Every place that the interpreter may import from counts; what it means is the core's
(``core/gpu_caps.py``). Blocks; called only for an attempt that has a cap on its GPU memory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from glob import escape, glob
from pathlib import Path

from msgspec.structs import replace

from fluxhive.core.gpu_caps import Libraries, cap_env, libraries, python_word
from fluxhive.core.interpreter import prefix_of
from fluxhive.core.launch_plan import LaunchPlan
from fluxhive.core.values import Mib

#: Where packages lie below a prefix; Debian has names of its own.
_PACKAGES = ("lib/python3*/site-packages", "lib64/python3*/site-packages")
_SYSTEM_PACKAGES = ("lib/python3*/dist-packages", "local/lib/python3*/*-packages")
#: A longer ``torch/version.py`` or ``pyvenv.cfg`` is not that.
_READ_BYTES_MAX = 1 << 16


def capped(plan: LaunchPlan, cap_mib: Mib, gpu_mib: Mib) -> LaunchPlan:
    """The plan with a cap on the GPU memory of a task that runs outside of a container.

    ``gpu_mib``: what its GPU has in all. The same plan where no cap can be given.
    """
    added = cap_env(cap_mib, gpu_mib, libraries_of(plan), plan.env)
    return replace(plan, env={**plan.env, **added}) if added else plan


def libraries_of(plan: LaunchPlan) -> Libraries:
    """What the interpreter of a task has; nothing where it is not sure which one that is.

    Not sure: under ``uv`` (it may yet install something), in a line of the shell that is more than
    a call of Python, in a program that is not Python, and in a script that stands for one.
    """
    word = python_word(plan.argv)
    if word is None or plan.env.get("PYTHONHOME"):
        return Libraries()
    if "/" in word:
        program: str | None = os.path.join(plan.cwd, word)
    else:
        program = shutil.which(word, path=plan.env.get("PATH"))
    if program is None or not program.startswith("/") or not _is_program(program):
        return Libraries()
    folders = list(_folders(program, plan.env))
    versions = [
        _read(f"{folder}/torch/version.py") or ""
        for folder in folders
        if os.path.isdir(f"{folder}/torch")
    ]
    return libraries(versions, has_jax=any(os.path.isdir(f"{each}/jaxlib") for each in folders))


def _folders(program: str, env: Mapping[str, str]) -> Iterator[str]:
    """Where the interpreter may import from."""
    for entry in env.get("PYTHONPATH", "").split(":"):
        if entry.startswith("/"):
            yield entry
    prefix = prefix_of(program)
    config = None if prefix is None else _read(f"{prefix}/pyvenv.cfg")
    if prefix is not None and config is not None:
        yield from _below(prefix, _PACKAGES)
        if not _sees_system(config):
            return
    base = prefix_of(os.path.realpath(program))
    if base is not None:
        yield from _below(base, (*_PACKAGES, *_SYSTEM_PACKAGES))
    user = env.get("PYTHONUSERBASE") or f"{env.get('HOME', '')}/.local"
    if not env.get("PYTHONNOUSERSITE"):
        yield from _below(user, _PACKAGES)


def _is_program(path: str) -> bool:
    """Whether it is an interpreter itself, and no script that picks one (as pyenv's are)."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False  # the launch says what is wrong with it


def _sees_system(config: str) -> bool:
    pairs = (line.partition("=") for line in config.splitlines())
    return any(
        name.strip() == "include-system-site-packages" and value.strip().lower() == "true"
        for name, _, value in pairs
    )


def _below(prefix: str, patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        yield from sorted(glob(f"{escape(prefix)}/{pattern}"))


def _read(path: str) -> str | None:
    try:
        with Path(path).open("rb") as file:
            return file.read(_READ_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return None  # not there, or not for us: nothing is known
