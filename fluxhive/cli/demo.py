"""The bundled training as a task: what `fluxhive up --demo` submits and shows."""

from __future__ import annotations

import os
import sys

from fluxhive.cli import messages
from fluxhive.cli.follow import Printer, ending, show_until_end
from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk import tasks
from fluxhive.sdk.calls import Calls

EXAMPLE = "fluxhive.examples.digits"
TIME_LIMIT_MS = 15 * 60_000
"""It takes well under a minute; beyond this something is wrong with the machine."""


def run(client: Calls) -> int:
    """Submits the training, shows its output to the end, and gives its exit code."""
    task = client.submit(
        TaskSpec(
            command=(sys.executable, "-u", "-m", EXAMPLE),
            name="digits",
            workdir=os.path.expanduser("~"),
            time_limit_ms=TIME_LIMIT_MS,
        )
    )
    messages.say(f"{task.id}  digits  {task.word}: a small network learns handwritten digits\n")
    ended: TaskView = show_until_end(client, task.id, Printer())
    messages.say(f"\n{ending(ended)}")
    if ended.state is not TaskState.SUCCEEDED:
        messages.say(f"see `fluxhive show {ended.id}`")
    messages.say("")
    return tasks.exit_code(ended)
