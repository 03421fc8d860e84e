"""What is said of a task that was just submitted."""

from __future__ import annotations

import sys

from fluxhive.cli import messages, output
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import TaskView


def tell_submitted(task: TaskView, form: output.Form) -> None:
    """Prints the new task: one line, its record, or its id."""
    if form.is_data:
        output.pairs(form, [], item=task, id=task.id)
    elif form.is_table or sys.stdout.isatty():
        output.lines([line_of(task)])
        messages.say(f"  {next_step(task)}")
    else:
        output.lines(["\t".join(messages.visible(part) for part in _parts(task))])


def next_step(task: TaskView) -> str:
    """The command that shows how it goes on."""
    if task.members is not None:
        return f"members:  fluxhive ps --array {task.id}"
    if task.state in (TaskState.QUEUED, TaskState.HELD):
        return f"why it waits:  fluxhive why {task.id}"
    return f"logs:  fluxhive logs -f {task.id}"


def line_of(task: TaskView) -> str:
    """The new task on one line, for people."""
    return "  ".join(messages.visible(part) for part in _parts(task) if part)


def _parts(task: TaskView) -> list[str]:
    said = task.reason if task.members is None else f"{task.members}"
    return [task.id, task.name, task.word, said]
