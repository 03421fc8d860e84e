"""Estimates of starts that nobody asked for, made now and then to see how true they are.

Each is remembered and compared with the start when that comes (start_record.py). They decide
nothing. A trial is made of a task that just came and waits, and more rarely of one that has waited
for some time, since people ask at both times. Called after a step: a failure
here is none of the hive.
"""

from __future__ import annotations

from zlib import crc32

from .effects import HiveEffect, SaveEstimate
from .events import HiveEvent, TaskSubmitted
from .forecast import forecast, n_ahead, question_of, waiter_of
from .hive_state import HiveState
from .learning import Told
from .pieces import Pieces
from .start_record import OPEN_MAX
from .task import Task

#: Of those who have waited a trial is made so many times more rarely than of those who just came.
_RARER = 2


def trial(hive: HiveState, event: HiveEvent) -> Pieces[list[HiveEffect]]:
    """One trial, if it is time for one and somebody waits; that was the event of the last step."""
    task = _whom(hive, event)
    if task is None or task.spec.array is not None or task.id in hive.starts.open:
        return []
    waiter, asked_at_ms = waiter_of(hive, task), hive.now_ms
    question = question_of(hive, waiter)
    found = yield from forecast(hive, waiter, n_ahead(hive, waiter))
    if found is None or task.id not in hive.queue:
        return []
    wait = hive.starts.range_of(found.waits_ms, question, asked_at_ms)
    told = Told(
        task_id=task.id,
        told_at_ms=asked_at_ms,
        waited_ms=question.waited_ms,
        is_gang=question.is_gang,
        middle_ms=found.likely_ms,
        earliest_ms=wait.earliest_ms,
        latest_ms=wait.latest_ms,
    )
    hive.starts.tell(told)
    return [SaveEstimate(record=hive.starts.stored(hive.now_ms))]


def _whom(hive: HiveState, event: HiveEvent) -> Task | None:
    """Whose start is estimated now; None: nobody's."""
    submitted = event.task_id if isinstance(event, TaskSubmitted) else None
    every_ms, starts = hive.settings.trial_every_ms, hive.starts
    if not every_ms or not len(hive.queue) or len(starts.open) >= OPEN_MAX:
        return None
    if submitted is not None and submitted in hive.queue:
        if hive.now_ms >= starts.last_at_ms(has_waited=False) + every_ms:
            starts.tried(has_waited=False, at_ms=hive.now_ms)
            return hive.tasks[submitted]
    elif hive.now_ms >= starts.last_at_ms(has_waited=True) + _RARER * every_ms:
        starts.tried(has_waited=True, at_ms=hive.now_ms)
        task = _some_task(hive)
        if hive.now_ms > task.submitted_at_ms:
            return task
    return None


def _some_task(hive: HiveState) -> Task:
    """Anybody in line; which one, the time decides."""
    position = crc32(str(hive.now_ms).encode()) % len(hive.queue)
    return hive.tasks[hive.queue.task_at(position)]
