"""Questions about a task's view that every client asks: is it over, and how did it end."""

from __future__ import annotations

from fluxhive.core.outcome import OutcomeKind
from fluxhive.core.task import ExecutorKind, TaskState
from fluxhive.protocol.rest import AttemptView, TaskView

TIME_LIMIT_EXIT = 124
"""As timeout(1) has it."""
TROUBLE_EXIT = 125
"""As docker has it: not the program's doing."""
SIGNAL_EXIT = 128


def exit_code(task: TaskView) -> int:
    """The code with which a command that followed the ended task ends itself.

    The program's own code; 128 + n when signal n ended it; 124 for the time limit; 125 when there
    is no code to give, as when it could not be started.
    """
    outcome = task.outcome
    if task.state is TaskState.SUCCEEDED:
        return 0
    if outcome is None:
        return TROUBLE_EXIT
    if outcome.kind is OutcomeKind.TIME_LIMIT:
        return TIME_LIMIT_EXIT
    if outcome.signal is not None:
        return SIGNAL_EXIT + outcome.signal
    # A cancelled program that ended politely with 0 has not done its work.
    return outcome.exit_code or TROUBLE_EXIT


def last_attempt(task: TaskView) -> AttemptView | None:
    """The newest attempt; None when none was made yet."""
    return max(task.attempts, key=lambda attempt: attempt.number, default=None)


def is_torchrun(task: TaskView) -> bool:
    """Whether its ranks are those of torchrun's processes, and not of its nodes."""
    return task.spec.executor is ExecutorKind.TORCHRUN


def processes_per_node(task: TaskView) -> int:
    """How many processes are started on each of its nodes."""
    spec = task.spec
    return (spec.nproc_per_node or max(1, spec.request.gpus)) if is_torchrun(task) else 1
