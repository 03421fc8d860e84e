"""One thing done to several tasks: that one of them refuses is no reason to leave others out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fluxhive.cli import messages, output
from fluxhive.core.errors import FluxhiveError
from fluxhive.protocol.rest import TaskView


def each(names: Iterable[str], change: Callable[[str], TaskView], form: output.Form) -> int:
    """Does it to every task, prints those that it was done to, and gives the first exit code."""
    done: list[TaskView] = []
    code = 0
    for name in names:
        task, trouble = _try(change, name)
        code = code or trouble
        if task is not None:
            done.append(task)
    if not done and not form.is_data:
        return code
    output.rows(
        form,
        "tasks",
        ("ID", "NAME", "STATE"),
        [[task.id, task.name or "-", task.word] for task in done],
        items=done,
        ids=[task.id for task in done],
    )
    return code


def _try(change: Callable[[str], TaskView], name: str) -> tuple[TaskView | None, int]:
    """The changed task and 0; or None and the exit code, the reason printed."""
    try:
        return change(name), 0
    except FluxhiveError as error:
        return None, messages.show(error)
