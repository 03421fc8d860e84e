"""How long tasks run that are like this one: read from what was learned (learning.py).

The one place that turns remembered lengths into guesses: for a task that is to come, and for one
that runs already and is so old. Nothing is remembered here. Called by turns.py for what is short,
by promises.py for when GPUs come free, and by rollout.py for starts.
"""

from __future__ import annotations

from typing import NamedTuple

from .learning import Basis, Learned, LearnedBook, percentile
from .task import Task
from .values import Ms

#: What is remembered lies in the past: who runs now runs longer on the whole, because the long runs
#: of its kind are not over yet. So a guess also hears the author's and the project's other tasks,
#: and that what is so old goes on in proportion. Each run of its own counts so much; the others
#: together so much; measured on simulated hives (docs/measurements, estimates).
_OWN_EACH, _AUTHOR_ALL, _PROJECT_ALL, _AGE_ALL = 840, 1_680, 3_360, 1_680
#: Newest runs of an author and of a project that are heard.
_NEWEST = 20
#: Of tasks older than all that is remembered: their whole length, in percent of their age.
_AGE_PERCENT = (110, 130, 160, 210, 300, 500, 1_000)
_LEAST_LEFT_MS: Ms = 1_000


class Lengths(NamedTuple):
    """How long a task may run in all, and how likely each length is; the shortest first."""

    values_ms: tuple[Ms, ...]
    #: Sums of what the values up to this one count.
    up_to: tuple[int, ...]

    def at(self, permille: int) -> Ms:
        """So many in a thousand such tasks are over by then."""
        wanted = self.up_to[-1] * permille // 1000
        for value_ms, up_to in zip(self.values_ms, self.up_to, strict=True):
            if up_to > wanted:
                return value_ms
        return self.values_ms[-1]


def runs_like(book: LearnedBook, task: Task) -> tuple[Ms, ...]:
    """The newest runs of the task's own signature that ended well, newest last; often none."""
    record = book.records.get(task.signature)
    return () if record is None else record.durations_ms


def quantile_ms(book: LearnedBook, task: Task, percent: int) -> Ms | None:
    """So many in a hundred runs of its signature were over by then; None: there were none."""
    runs = runs_like(book, task)
    return percentile(runs, percent) if runs else None


def basis_of(book: LearnedBook, task: Task) -> Basis:
    """The records that speak about a task."""
    return book.basis(task.signature, task.owner, task.project)


def outlasting(basis: Basis, age_ms: Ms) -> tuple[Ms, ...]:
    """Runs like it that took longer than its age, of the most particular record that has some.

    One is enough of its own signature, two of its author or project; empty: it is older than all.
    """
    for record in (basis.own, basis.author, basis.project):
        older = () if record is None else tuple(ms for ms in record.durations_ms if ms > age_ms)
        if len(older) > 1 or (older and record is basis.own):
            return older
    return ()


def lengths_of(basis: Basis, age_ms: Ms, limit_ms: Ms | None) -> Lengths | None:
    """How long a task of this age may run in all; None: nothing tells.

    Age 0 stands for one that is to start.
    """
    records = [record for record in (basis.own, basis.author, basis.project) if record is not None]
    if not any(record.durations_ms for record in records):
        return None if limit_ms is None else Lengths((max(limit_ms, age_ms),), (1,))
    own = () if basis.own is None else basis.own.durations_ms
    counted = [(ms, _OWN_EACH) for ms in _beyond(own, age_ms)]
    counted += _together(basis.author, age_ms, _AUTHOR_ALL)
    counted += _together(basis.project, age_ms, _PROJECT_ALL)
    if age_ms:
        each = _AGE_ALL // len(_AGE_PERCENT)
        counted += [(age_ms * percent // 100 + _LEAST_LEFT_MS, each) for percent in _AGE_PERCENT]
    counted.sort()
    total, up_to = 0, []
    for _, counts in counted:
        total += counts
        up_to.append(total)
    values = (ms for ms, _ in counted)
    if limit_ms is not None:
        values = (min(ms, max(limit_ms, age_ms)) for ms in values)
    return Lengths(tuple(values), tuple(up_to))


def _together(record: Learned | None, age_ms: Ms, counts: int) -> list[tuple[Ms, int]]:
    if record is None:
        return []
    older = _beyond(record.durations_ms[-_NEWEST:], age_ms)
    return [(ms, max(1, counts // len(older))) for ms in older]


def _beyond(runs_ms: tuple[Ms, ...], age_ms: Ms) -> list[Ms]:
    """Those that took longer than this; all of them for a task that is to start."""
    return [ms for ms in runs_ms if ms > age_ms or not age_ms]  # a run may take 0 ms
