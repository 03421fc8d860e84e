"""How long tasks ran that were like this one: the basis of every estimate of a start.

Two tasks are alike when they have the same signature, or, without one, the same owner and the same
name or program. Only runs that succeeded count. Kept in memory; a restored hive learns again from
the attempts it has.
"""

from __future__ import annotations

from collections import deque

from .outcome import OutcomeKind
from .task import Attempt, Task
from .values import Ms

#: Runs remembered of one kind, and kinds remembered at all.
RUNS_MAX = 15
KINDS_MAX = 5_000
#: Program and script say what a command is; the rest are its arguments.
_WORDS = 2


class Durations:
    """The newest runs of each kind of task."""

    def __init__(self) -> None:
        self._runs: dict[str, deque[Ms]] = {}

    def learn(self, task: Task, attempt: Attempt) -> None:
        """Take an attempt into account, if it has ended well."""
        began_ms, over_ms, outcome = attempt.started_at_ms, attempt.ended_at_ms, attempt.outcome
        if began_ms is None or over_ms is None or outcome is None:
            return
        if outcome.kind is OutcomeKind.SUCCESS:
            self.note(task, over_ms - began_ms)

    def note(self, task: Task, duration_ms: Ms) -> None:
        """A run of this task succeeded after so long."""
        key = kind_of(task)
        runs = self._runs.pop(key, None) or deque(maxlen=RUNS_MAX)
        runs.append(duration_ms)
        self._runs[key] = runs
        if len(self._runs) > KINDS_MAX:
            del self._runs[next(iter(self._runs))]

    def quantile_ms(self, task: Task, per_cent: int) -> Ms | None:
        """So many in a hundred runs like it were over by then; None: there were none."""
        runs = self._runs.get(kind_of(task))
        if not runs:
            return None
        ordered = sorted(runs)
        return ordered[min(len(ordered) - 1, per_cent * len(ordered) // 100)]

    def n_runs(self, task: Task) -> int:
        """How many runs like it are remembered."""
        return len(self._runs.get(kind_of(task), ()))


def kind_of(task: Task) -> str:
    """The same text for tasks that are likely to take equally long."""
    spec = task.spec
    return task.signature or f"{task.owner} {spec.name or ' '.join(spec.command[:_WORDS])}"
