"""Commands as they are shown."""

from __future__ import annotations

import shlex

from fluxhive.core.task import ExecutorKind, TaskSpec

COMMAND_LENGTH_MAX = 500


def shown_command(spec: TaskSpec) -> str:
    """The command as a person would type it; a long one is cut."""
    is_line = spec.executor is ExecutorKind.SHELL
    text = " ".join(spec.command) if is_line else shlex.join(spec.command)
    if spec.function:
        text = " ".join(spec.command[1:])  # behind the program that calls it
    elif spec.executor is ExecutorKind.PYTHON:
        text = f"{spec.python or 'python'} {text}"
    elif spec.executor is ExecutorKind.TORCHRUN:
        text = f"torchrun {text}"
    return text if len(text) <= COMMAND_LENGTH_MAX else text[:COMMAND_LENGTH_MAX] + " …"
