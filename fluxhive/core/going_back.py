"""What the restore of a backup makes of tasks and attempts: a server that went back in time.

Nodes may hold attempts that it never heard of, and an attempt of which it knows may have ended. So
no number is used twice, nothing that may have reached its node is sent again under its old number,
and whatever may be running somewhere is held until a person says that it is not. Called by
server/backup.py and the simulator; attempt_end.py holds what would be tried again.
"""

from __future__ import annotations

from msgspec.structs import replace

from .gang import with_members
from .task import Attempt, AttemptState, Task, TaskState

#: How far numbers jump: beyond all that can have been given since the backup was made.
JUMP = 1 << 20
#: The same for the attempts of one task.
ATTEMPTS_JUMP = 1_000
HELD_BY_RESTORE = "restore"
HELD_REASON = "held by the restore of a backup: it may be running somewhere"


def task_gone_back(task: Task, *, hold: bool) -> Task:
    """A task as the restored server has it; what was queued is held unless nothing is to be."""
    if task.state.is_final:
        return task
    raised = replace(task, epoch=task.epoch + ATTEMPTS_JUMP)
    if not hold or task.state is not TaskState.QUEUED:
        return raised
    return replace(raised, state=TaskState.HELD, held_by=HELD_BY_RESTORE, reason=HELD_REASON)


def attempt_gone_back(attempt: Attempt) -> Attempt:
    """An attempt as the restored server has it: what was only reserved may have started since, and
    ended, and been forgotten by its node; it must not be dispatched once more."""
    starting = [
        replace(member, state=AttemptState.STARTING)
        for member in attempt.members
        if member.state is AttemptState.RESERVED
    ]
    return with_members(attempt, *starting) if starting else attempt
