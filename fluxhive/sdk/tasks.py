"""Questions about a task's view that every client asks: is it over, and how did it end."""

from __future__ import annotations

from fluxhive.core.outcome import OutcomeKind
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import AttemptView, TaskView

TIME_LIMIT_EXIT = 124
"""As timeout(1) has it."""
TROUBLE_EXIT = 125
"""As docker has it: not the program's doing."""
NOT_EXECUTABLE_EXIT, NO_SUCH_PROGRAM_EXIT = 126, 127
"""As a shell has them (POSIX, 2.8.2)."""
SIGNAL_EXIT = 128


def exit_code(task: TaskView) -> int:
    """The code with which a command that followed the ended task ends itself.

    The program's own code; 128 + n when signal n ended it; 124 for the time limit; 126 and 127 when
    it could not be started; 125 when there is no code to give.
    """
    outcome = task.outcome
    if task.state is TaskState.SUCCEEDED:
        return 0
    if outcome is None:
        return TROUBLE_EXIT
    if outcome.kind is OutcomeKind.TIME_LIMIT:
        return TIME_LIMIT_EXIT
    if outcome.kind is OutcomeKind.LAUNCH_FAILED:
        return _launch_exit(task)
    if outcome.signal is not None:
        return SIGNAL_EXIT + outcome.signal
    # A cancelled program that ended politely with 0 has not done its work.
    return outcome.exit_code or TROUBLE_EXIT


def last_attempt(task: TaskView) -> AttemptView | None:
    """The newest attempt; None when none was made yet."""
    return max(task.attempts, key=lambda attempt: attempt.number, default=None)


def _launch_exit(task: TaskView) -> int:
    attempt = last_attempt(task)
    if attempt is None or attempt.facts is None or attempt.facts.launch_detail:
        return TROUBLE_EXIT
    codes = {"ENOENT": NO_SUCH_PROGRAM_EXIT, "EACCES": NOT_EXECUTABLE_EXIT}
    return codes.get(attempt.facts.exec_error or "", TROUBLE_EXIT)
