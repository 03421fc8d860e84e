"""One thing done to several tasks: that one of them refuses is no reason to leave others out."""

from __future__ import annotations

from collections.abc import Sequence

from fluxhive.cli import messages, output
from fluxhive.protocol.bulk import BulkAction
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk.calls import Calls
from fluxhive.transport import error_of


def each(client: Calls, action: BulkAction, names: Sequence[str], form: output.Form) -> int:
    """Does it to every task, prints those that it was done to, and gives the first exit code."""
    done: list[TaskView] = []
    code = 0
    for result in client.bulk(action, names):
        if result.problem is not None:
            trouble = messages.show(error_of(result.problem))
            code = code or trouble
        elif result.task is not None:
            done.append(result.task)
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
