"""How long tasks run that are like this one: read from what was learned (learning.py).

The one place that turns remembered lengths into guesses: for a task that is to come, and for one
that runs already and is so old. Nothing is remembered here. Called by turns.py for what is short,
by promises.py for when GPUs come free, and by forecast.py for starts.
"""

from __future__ import annotations

from .learning import Basis, LearnedBook, percentile
from .task import Task
from .values import Ms


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
