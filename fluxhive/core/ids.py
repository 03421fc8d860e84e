"""How a counter is shown: ``t-7f3k``, its second attempt ``t-7f3k.2``.

Who numbers tasks (the store, the demo's hive) gives a counter; the text is made by a bijection, so
that no two tasks ever share one and neighbours do not look alike. Ids grow by themselves.
"""

from __future__ import annotations

from .values import AttemptId, TaskId

#: Crockford's base32 alphabet without the letters that read like digits (i, l, o, u).
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHORTEST = 4
#: An odd multiplier is a bijection modulo a power of two; this one scatters neighbours.
_MULTIPLIER = 0x9E3779B1 | 1
_OFFSET = 0x5BD1E995


def task_id(number: int) -> TaskId:
    """The id of the task with this counter (0, 1, 2, …). Raises ``ValueError`` below 0."""
    if number < 0:
        raise ValueError(f"a task number is never negative: {number}")
    length, rest = _SHORTEST, number
    while rest >= 32**length:
        rest -= 32**length
        length += 1
    mixed = (rest * _MULTIPLIER + _OFFSET) % 32**length
    digits = []
    for _ in range(length):
        mixed, digit = divmod(mixed, 32)
        digits.append(ALPHABET[digit])
    return TaskId("t-" + "".join(reversed(digits)))


def attempt_id(task: TaskId, number: int) -> AttemptId:
    """The id of a task's attempt; numbers count from 1."""
    return AttemptId(f"{task}.{number}")


def task_of(attempt: AttemptId) -> TaskId:
    """The task that an attempt belongs to."""
    return TaskId(attempt.rpartition(".")[0])
