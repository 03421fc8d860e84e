"""Looks on this node for the interpreter that a ``python`` task names.

Where to look is the core's (``core/interpreter.py``); here is seen what is there. Blocks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fluxhive.core.interpreter import PythonChoice, PythonFound, PythonKind, places, prefix_of

#: Conda's list of environments has a line each; a longer file is not that list.
LISTED_BYTES_MAX = 1 << 20


def find_python(choice: PythonChoice, *, home: str, env: Mapping[str, str]) -> PythonFound | None:
    """The interpreter with its environment; None when it is not on this node.

    One that is there and cannot be executed is found: the launch then says why.
    """
    is_conda = choice.kind is PythonKind.CONDA
    listed = _listed(home) if is_conda else []
    there = [each for each in places(choice, home=home, env=env, listed=listed) if _is_file(each)]
    if not there:
        return None
    program = next((each for each in there if os.access(each, os.X_OK)), there[0])
    if choice.kind is PythonKind.UV:
        return PythonFound(program=program, is_uv=True)
    prefix = prefix_of(program)
    is_conda = prefix is not None and os.path.isdir(f"{prefix}/conda-meta")
    is_venv = prefix is not None and os.path.isfile(f"{prefix}/pyvenv.cfg")
    return PythonFound(
        program=program, prefix=prefix if is_conda or is_venv else None, is_conda=is_conda
    )


def dangling(choice: PythonChoice) -> str | None:
    """Where an environment's interpreter points to, when that is gone; None: it does not."""
    if choice.kind is not PythonKind.PATH:
        return None
    for path in (f"{choice.name}/bin/python", choice.name):
        if os.path.islink(path) and not os.path.exists(path):
            return os.path.realpath(path)
    return None


def _is_file(path: str) -> bool:
    return os.path.isfile(path)


def _listed(home: str) -> list[str]:
    try:
        with Path(home, ".conda", "environments.txt").open("rb") as file:
            return file.read(LISTED_BYTES_MAX).decode("utf-8", "replace").splitlines()
    except OSError:
        return []  # conda never ran here
