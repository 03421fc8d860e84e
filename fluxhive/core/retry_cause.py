"""Which of its own failures a task is tried again for: the words of ``retry_on``.

``exit:3``, ``exit:64-78``, ``signal:9``, and the kinds of own failures: ``failure`` (any exit code
or signal), ``time-limit``, ``host-oom``, ``launch-failed``. Ends that are not the task's fault need
no word: they are restarted by themselves (retry.py).
"""

from __future__ import annotations

import re

from .errors import InputError
from .outcome import Outcome, OutcomeKind

#: Causes that one task may name.
CAUSES_MAX = 50
KINDS = {
    "failure": OutcomeKind.FAILURE,
    "time-limit": OutcomeKind.TIME_LIMIT,
    "host-oom": OutcomeKind.HOST_OOM,
    "launch-failed": OutcomeKind.LAUNCH_FAILED,
}
_EXIT = re.compile(r"exit:([0-9]{1,3})(?:-([0-9]{1,3}))?")
_SIGNAL = re.compile(r"signal:([0-9]{1,2})")


def is_named(causes: tuple[str, ...], outcome: Outcome) -> bool:
    """Whether one of the causes is how it ended; without any, every cause counts."""
    return not causes or any(_is_it(cause, outcome) for cause in causes)


def check_causes(causes: tuple[str, ...]) -> None:
    """Raises ``InputError`` for a word that is no cause."""
    if len(causes) > CAUSES_MAX:
        raise InputError(
            f"retry_on: {len(causes)} causes, at most {CAUSES_MAX} are allowed",
            field="retry_on",
            value=len(causes),
            hint="name a range, such as `exit:64-78`",
        )
    for number, cause in enumerate(causes):
        if cause in KINDS or _SIGNAL.fullmatch(cause):
            continue
        match = _EXIT.fullmatch(cause)
        if match and 1 <= int(match[1]) <= int(match[2] or match[1]) <= 255:
            continue
        hint = f"known are `exit:3`, `exit:64-78`, `signal:9`, {', '.join(map(_quoted, KINDS))}"
        if cause in {kind.value for kind in OutcomeKind}:
            hint = "that is not the task's own failure: it is restarted without being asked"
        raise InputError(
            f"retry_on[{number}]: not a cause of a retry: `{cause}`",
            field=f"retry_on[{number}]",
            value=cause,
            hint=hint,
        )


def _is_it(cause: str, outcome: Outcome) -> bool:
    if cause in KINDS:
        return outcome.kind is KINDS[cause]
    if outcome.kind is not OutcomeKind.FAILURE:
        return False
    match = _EXIT.fullmatch(cause)
    if match is not None:
        code = outcome.exit_code
        return code is not None and int(match[1]) <= code <= int(match[2] or match[1])
    signal = _SIGNAL.fullmatch(cause)
    return signal is not None and outcome.signal == int(signal[1])


def _quoted(word: str) -> str:
    return f"`{word}`"
