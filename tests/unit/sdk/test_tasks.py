"""The exit code that stands for how a task ended."""

from __future__ import annotations

import pytest

from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.task import TaskState
from fluxhive.sdk.tasks import exit_code
from tests.helpers.cli_views import task


@pytest.mark.parametrize(
    ("state", "outcome", "code"),
    [
        (TaskState.SUCCEEDED, Outcome(kind=OutcomeKind.SUCCESS, exit_code=0), 0),
        (TaskState.FAILED, Outcome(kind=OutcomeKind.FAILURE, exit_code=3), 3),
        (TaskState.FAILED, Outcome(kind=OutcomeKind.FAILURE, signal=11), 139),
        (TaskState.FAILED, Outcome(kind=OutcomeKind.TIME_LIMIT, signal=15), 124),
        (TaskState.FAILED, Outcome(kind=OutcomeKind.GPU_OOM, exit_code=1), 1),
        (TaskState.FAILED, Outcome(kind=OutcomeKind.LAUNCH_FAILED, detail="ENOENT"), 125),
        (TaskState.FAILED, Outcome(kind=OutcomeKind.NODE_LOST), 125),
        (TaskState.CANCELLED, Outcome(kind=OutcomeKind.CANCELLED, signal=15), 143),
        (TaskState.CANCELLED, Outcome(kind=OutcomeKind.CANCELLED, exit_code=0), 125),
        (TaskState.CANCELLED, None, 125),
    ],
)
def test_the_exit_code_tells_how_it_ended(
    state: TaskState, outcome: Outcome | None, code: int
) -> None:
    assert exit_code(task(state=state, outcome=outcome)) == code
