"""What a program is told when a task did not give what was asked of it.

::

    FluxhiveError
    ├── TaskFailed          it ended otherwise than by success
    │   └── TaskCancelled   … because somebody cancelled it
    ├── WaitTimeout         it had not ended by then (also a TimeoutError)
    ├── ResultLost          it succeeded, and its result is not to be had
    └── WrongPython         the interpreters on the two sides do not go together

What the server refuses is the rest of the tree in ``fluxhive/core/errors.py``.
"""

from __future__ import annotations

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.outcome import Outcome
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import TaskView

from .tasks import exit_code, last_attempt

LINES_SHOWN = 12


class TaskFailed(FluxhiveError):
    """A task ended otherwise than by success: why, with which code, and what it said last."""

    kind = "task-failed"

    def __init__(self, task: TaskView) -> None:
        attempt = last_attempt(task)
        facts = None if attempt is None else attempt.facts
        #: As it was when it had ended.
        self.task = task
        self.outcome: Outcome | None = task.outcome
        #: The program's own; 128 + n for signal n, 124 for the time limit, 125 where there is none.
        self.exit_code = exit_code(task)
        #: The end of its stderr (of stdout where that is empty), at most 4 KiB.
        self.last_output = "" if facts is None else facts.last_output
        cause = "" if task.outcome is None else task.outcome.kind.value
        detail = "" if task.outcome is None else task.outcome.detail
        why = task.reason or ", ".join(part for part in (cause, detail) if part)
        name = f"{task.id} ({task.name})" if task.name else task.id
        lines = self.last_output.rstrip().splitlines()[-LINES_SHOWN:]
        said = "".join(f"\n    {line}" for line in lines)
        text = f"task {name} {task.word}{': ' if why else ''}{why}"
        super().__init__(
            text + (f"\nThe last lines of its output:{said}" if said else ""),
            hint=f"all of its output: fluxhive logs {task.id}",
        )
        #: The word for why: ``failure``, ``gpu-oom``, ``time-limit`` …
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.text}\nhint: {self.hint}"

    def __reduce__(self) -> tuple[type[TaskFailed], tuple[TaskView]]:
        return type(self), (self.task,)


class TaskCancelled(TaskFailed):
    """Somebody cancelled it."""

    kind = "task-cancelled"


class WaitTimeout(FluxhiveError, TimeoutError):
    """The task had not ended by then; it goes on."""

    kind = "wait-timeout"

    def __init__(self, task: TaskView, timeout_s: float) -> None:
        text = f"task {task.id} is {task.word} after {timeout_s:g} s"
        why = f": {task.reason}" if task.reason else ""
        super().__init__(text + why, hint=f"it goes on; see why: fluxhive why {task.id}")
        #: As it was then.
        self.task = task


class ResultLost(FluxhiveError):
    """The task gave no result that can be had."""

    kind = "result-lost"


class WrongPython(FluxhiveError):
    """Pickled by a Python that does not go with the one that is to read it."""

    kind = "wrong-python"


def failure_of(task: TaskView) -> TaskFailed:
    """The error for a task that ended without success."""
    is_cancelled = task.state is TaskState.CANCELLED
    return TaskCancelled(task) if is_cancelled else TaskFailed(task)
