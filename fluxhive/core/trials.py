"""Estimates of starts that nobody asked for, made now and then to see how true they are.

Each is remembered and compared with the start when that comes (start_record.py). They decide
nothing. A trial is made of a task that just came and waits, and more rarely of one that has waited
for some time, since people ask at both times. Called after a step: a failure
here is none of the hive.
"""

from __future__ import annotations

from zlib import crc32

from .effects import SaveEstimate
from .events import HiveEvent, TaskSubmitted
from .forecast import forecast, n_ahead, question_of, waiter_of
from .hive_state import HiveState
from .learning import Told
from .start_record import OPEN_MAX
from .task import Task

#: Of those who have waited a trial is made so many times more rarely than of those who just came.
_RARER = 2


def make(hive: HiveState, event: HiveEvent) -> None:
    """One trial, if it is time for one and somebody waits; that was the event of the last step."""
    submitted = event.task_id if isinstance(event, TaskSubmitted) else None
    every_ms, starts = hive.settings.trial_every_ms, hive.starts
    if not every_ms or not len(hive.queue) or len(starts.open) >= OPEN_MAX:
        return
    if submitted is not None and submitted in hive.queue:
        if hive.now_ms >= starts.last_at_ms(has_waited=False) + every_ms:
            starts.tried(has_waited=False, at_ms=hive.now_ms)
            _try(hive, hive.tasks[submitted])
    elif hive.now_ms >= starts.last_at_ms(has_waited=True) + _RARER * every_ms:
        starts.tried(has_waited=True, at_ms=hive.now_ms)
        task = _some_task(hive)
        if hive.now_ms > task.submitted_at_ms:
            _try(hive, task)


def _some_task(hive: HiveState) -> Task:
    """Anybody in line; which one, the time decides."""
    position = crc32(str(hive.now_ms).encode()) % len(hive.queue)
    return hive.tasks[hive.queue.task_at(position)]


def _try(hive: HiveState, task: Task) -> None:
    if task.spec.array is not None or task.id in hive.starts.open:
        return
    waiter = waiter_of(hive, task)
    found = forecast(hive, waiter, n_ahead(hive, waiter))
    if found is None:
        return
    question = question_of(hive, waiter)
    wait = hive.starts.range_of(found.waits_ms, question, hive.now_ms)
    told = Told(
        task_id=task.id,
        told_at_ms=hive.now_ms,
        waited_ms=question.waited_ms,
        is_gang=question.is_gang,
        middle_ms=found.likely_ms,
        earliest_ms=wait.earliest_ms,
        latest_ms=wait.latest_ms,
    )
    hive.starts.tell(told)
    hive.effects.append(SaveEstimate(record=hive.starts.stored(hive.now_ms)))
