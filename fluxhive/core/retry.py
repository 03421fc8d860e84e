"""What follows when an attempt has ended: the task is done, fails, or is tried again, and when.

Two things are kept apart: ``retry`` is for the task's own failures and is off
unless asked for; *restarts* are for ends that were not its fault. An attempt that its node handed
back was never started and counts as neither.
"""

from __future__ import annotations

import re
from enum import Enum
from zlib import crc32

from .outcome import ExitFacts, Outcome, OutcomeKind, StopCause
from .request import say_ms
from .retry_cause import is_named
from .task import OWN_FAILURES, Task, TaskState
from .values import Ms, TaskId, Value

#: A pause doubles up to here and no further.
MAX_BACKOFF_MS: Ms = 5 * 60_000
#: Pause after an attempt was handed back: from one second, doubling, to one minute.
REFUSAL_BACKOFF_MS: Ms = 1_000
MAX_REFUSAL_BACKOFF_MS: Ms = 60_000
#: How the reasons below end where a pause follows, as ``say_ms`` writes it.
_PAUSE_END = re.compile(r" in [\d.]+ (?:s|min|h|days)(?: \d+ (?:min|h))?$")
#: A pause is shortened by up to a quarter, so that tasks that failed together come back apart.
_JITTER_STEPS = 1024

#: Errors of starting a program that speak of the node, not of the program (fd exhaustion,
#: full or broken disks, no memory to fork with).
NODE_ERRORS = frozenset(
    {"EAGAIN", "EDQUOT", "EIO", "EMFILE", "ENFILE", "ENODEV", "ENOMEM", "ENOSPC", "EROFS", "ESTALE"}
)


#: Begins the detail of a launch that failed because its rendezvous port was in use.
PORT_TAKEN = "EADDRINUSE"


class Counted(Enum):
    """What another try is counted as."""

    NOT = "not"
    RETRY = "retry"
    RESTART = "restart"
    REFUSAL = "refusal"
    PREEMPTION = "preemption"


class RetryDecision(Value, frozen=True, kw_only=True):
    """Where the task goes after an attempt ended."""

    #: Queued, or one of the final states.
    to: TaskState
    counted: Counted = Counted.NOT
    delay_ms: Ms = 0
    #: One sentence for people.
    reason: str
    #: True: the next attempt had better not be on the same node.
    elsewhere: bool = False


def decide(task: Task, outcome: Outcome, facts: ExitFacts | None) -> RetryDecision:
    """What follows for a task whose newest attempt ended so; the task is as before that end."""
    ended = describe(outcome)
    if task.cancelled_by is not None:
        by = f"cancelled by {task.cancelled_by}"
        return RetryDecision(to=TaskState.CANCELLED, reason=by)
    if outcome.kind is OutcomeKind.SUCCESS:
        return RetryDecision(to=TaskState.SUCCEEDED, reason=ended)
    if outcome.kind is OutcomeKind.CANCELLED:
        return RetryDecision(to=TaskState.CANCELLED, reason=f"{ended} on its node")
    number = task.attempts
    if is_uncounted(outcome):
        delay_ms = _backoff_ms(
            REFUSAL_BACKOFF_MS, MAX_REFUSAL_BACKOFF_MS, task.refusals + 1, task.id, number
        )
        return RetryDecision(
            to=TaskState.QUEUED,
            counted=Counted.REFUSAL,
            delay_ms=delay_ms,
            reason=f"attempt {number} was {ended}; next try in {say_ms(delay_ms)}",
        )
    if outcome.kind is OutcomeKind.PREEMPTED and is_made_room(facts):
        # Back to where it stood, at once: it was not its fault, and it may start elsewhere now.
        return RetryDecision(
            to=TaskState.QUEUED,
            counted=Counted.PREEMPTION,
            reason=f"attempt {number} made room for others; put back where it stood",
        )
    if is_own_failure(outcome, facts):
        if task.spec.retry and not is_named(task.spec.retry_on, outcome):
            on = ", ".join(task.spec.retry_on)
            reason = f"{ended}; it is tried again only for: {on}"
            return RetryDecision(to=TaskState.FAILED, reason=reason)
        return _again(task, ended, Counted.RETRY, elsewhere=False)
    launch = outcome.kind is OutcomeKind.LAUNCH_FAILED
    return _again(task, ended, Counted.RESTART, elsewhere=launch)


def is_uncounted(outcome: Outcome) -> bool:
    """Whether nothing was started: handed back, or the port where its processes meet was taken."""
    if outcome.kind is OutcomeKind.LAUNCH_FAILED:
        return outcome.detail.startswith(PORT_TAKEN)
    return outcome.kind is OutcomeKind.REFUSED


def is_made_room(facts: ExitFacts | None) -> bool:
    """Whether the hive wanted the room (a node that shuts down preempts too)."""
    return facts is not None and facts.stopped_by is StopCause.PREEMPT


def is_own_failure(outcome: Outcome, facts: ExitFacts | None) -> bool:
    """Whether the task itself is to blame, so that only ``retry`` gives it another try."""
    if outcome.kind is OutcomeKind.LAUNCH_FAILED:
        named = facts.exec_error if facts is not None else None
        words = outcome.detail.replace(":", " ").split()
        return named not in NODE_ERRORS and not (words and words[0] in NODE_ERRORS)
    return outcome.kind in OWN_FAILURES


def describe(outcome: Outcome) -> str:
    """How an attempt ended, as people say it: ``exit code 3``, ``gpu-oom: by a neighbour``."""
    what = describe_detail(outcome)
    if outcome.kind is OutcomeKind.FAILURE and what:
        return what  # beside it stands that it failed
    if outcome.kind is OutcomeKind.SUCCESS or not what:
        return str(outcome.kind.value)
    return f"{outcome.kind.value}: {what}"


def describe_detail(outcome: Outcome) -> str:
    """What is said beside the kind of an outcome: ``exit code 3``; may be empty."""
    if outcome.detail:
        return outcome.detail
    if outcome.signal is not None:
        return f"signal {outcome.signal}"
    return exit_words(outcome.exit_code) if outcome.exit_code else ""


def exit_words(exit_code: int) -> str:
    """An exit code, with what a shell means by it where it means something (POSIX, sh, 2.8.2)."""
    meant = {126: " (found, but not executable)", 127: " (command not found)"}
    return f"exit code {exit_code}{meant.get(exit_code, '')}"


def backoff_ms(task: Task, n_before: int, /) -> Ms:
    """The pause before the next attempt of a task that was tried again so often before."""
    return _backoff_ms(task.spec.backoff_ms, MAX_BACKOFF_MS, n_before + 1, task.id, task.attempts)


def pause_text(reason: str, left_ms: Ms) -> str:
    """The reason of a pause, its length replaced by what is left of it."""
    said, is_pause = _PAUSE_END.subn(f" in {say_ms(left_ms)}", reason)
    return said if is_pause else f"{reason}; next try in {say_ms(left_ms)}"


def _again(task: Task, ended: str, counted: Counted, *, elsewhere: bool) -> RetryDecision:
    spec, number = task.spec, task.attempts
    if counted is Counted.RETRY:
        used, limit, word = task.retries_used, spec.retry, "retry"
    else:
        used, limit, word = task.restarts_used, spec.restarts, "restart"
    if spec.at_most_once:
        limit = 0
    if used >= limit:
        tried = f" (attempt {number})" if number > 1 else ""
        why = "; it may be started only once" if spec.at_most_once else ""
        return RetryDecision(to=TaskState.FAILED, reason=f"{ended}{tried}{why}")
    delay_ms = backoff_ms(task, used)
    return RetryDecision(
        to=TaskState.QUEUED,
        counted=counted,
        delay_ms=delay_ms,
        reason=f"attempt {number} ended: {ended}; "
        f"{word} {used + 1} of {limit} in {say_ms(delay_ms)}",
        elsewhere=elsewhere,
    )


def _backoff_ms(first_ms: Ms, most_ms: Ms, nth: int, task_id: TaskId, attempt: int) -> Ms:
    # Doubling 40 times is beyond any limit; more would only make a large integer.
    full = min(most_ms, first_ms << min(nth - 1, 40))
    jitter = crc32(f"{task_id}.{attempt}".encode()) % _JITTER_STEPS
    return full - full * jitter // (4 * _JITTER_STEPS)
