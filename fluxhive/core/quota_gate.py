"""Takes tasks over a quota out of line, and puts them back when there is room under it again.

Called by placement_pass.py after each start, by task_manager.py at the end of each step, and when a
quota is set. Costs a look at each waiting task of the user or project concerned, and nothing where
neither has a quota.
"""

from __future__ import annotations

from collections.abc import Iterable

from .array import MemberCounts
from .effects import SaveGpuHours, SaveQuota
from .events import QuotaSet
from .gpu_hours import GpuHours
from .hive_state import HiveState
from .policy import HOUR_MS
from .quota import QuotaKey, QuotaScope, Use, keys_of
from .task import Task, TaskState
from .timers import TimerKind


def started(hive: HiveState, task: Task) -> None:
    """A task was placed: those that would go over a quota now leave the line."""
    for key in keys_of(task):
        if key in hive.book_of_quotas.quotas:
            _take_out(hive, key)


def settle(hive: HiveState) -> None:
    """Something ended: those that have room under their quotas again stand in line."""
    book = hive.book_of_quotas
    while book.freed:
        key, _ = book.freed.popitem()
        for task_id in list(book.out.get(key, ())):
            task = hive.tasks[task_id]
            book.let_in(task)
            if task.state is TaskState.QUEUED and task_id not in hive.queue:
                hive.enqueue(task)


def quota_set(hive: HiveState, event: QuotaSet) -> None:
    """An administrator changes what a user or project may have; what runs runs on."""
    hive.book_of_quotas.put(event.quota)
    hive.effects.append(SaveQuota(quota=event.quota))
    _take_out(hive, (event.quota.scope, event.quota.name))


def hours_due(hive: HiveState, owner: str) -> None:
    """GPU-hours are used up, or a new week has begun."""
    scope, _, name = owner.partition(":")
    key = QuotaScope(scope), name
    book = hive.book_of_quotas
    if key in book.meters:
        book.turn_meter(key)
        book.freed[key] = None
        _take_out(hive, key)


def save_hours(hive: HiveState) -> None:
    """Once for each meter that this step turned; it wakes up when its limit is reached."""
    book = hive.book_of_quotas
    for key in book.changed_meters:
        meter, quota = book.meters.get(key), book.quotas.get(key)
        owner, at_ms = f"{key[0].value}:{key[1]}", None
        if meter is not None and quota is not None and quota.weekly_gpu_hours is not None:
            hive.effects.append(SaveGpuHours(hours=meter))
            at_ms = meter.next_change_ms(hive.now_ms, quota.weekly_gpu_hours)
        if at_ms is None:
            hive.timers.cancel(TimerKind.GPU_HOURS, owner)
        else:
            hive.timers.set(TimerKind.GPU_HOURS, owner, at_ms)
    book.changed_meters.clear()


def load_hours(hive: HiveState, stored: Iterable[GpuHours]) -> None:
    """Take stored meters as they are; what ran on while nobody counted counts."""
    book = hive.book_of_quotas
    for hours in stored:
        key = QuotaScope(hours.scope), hours.name
        if key in book.meters:
            book.meters[key] = hours
            book.turn_meter(key)
    save_hours(hive)


def take_all_out(hive: HiveState) -> None:
    """After a restart: nobody over a quota stands in line."""
    for key in hive.book_of_quotas.quotas:
        _take_out(hive, key)
    hive.book_of_quotas.freed.clear()


def use_of(hive: HiveState, key: QuotaKey) -> Use:
    """What a user or project has now."""
    book = hive.book_of_quotas
    n_waiting = 0
    for task_id in book.waiting.get(key, ()):
        record = hive.arrays.get(task_id)
        counts = MemberCounts(waiting=1) if record is None else record.counts
        n_waiting += counts.waiting
    return Use(
        running_gpus=book.used_gpus(key),
        running_tasks=book.used_tasks(key),
        waiting_tasks=n_waiting,
        weekly_gpu_hours=round(_hours(hive, key), 1),
    )


def _hours(hive: HiveState, key: QuotaKey) -> float:
    meter = hive.book_of_quotas.meters.get(key)
    return 0.0 if meter is None else meter.used_at(hive.now_ms) / HOUR_MS


def _take_out(hive: HiveState, key: QuotaKey) -> None:
    book = hive.book_of_quotas
    for task_id in book.waiting.get(key, ()):
        if task_id in hive.queue and book.blocks(hive.tasks[task_id]) is not None:
            hive.dequeue(task_id)
            book.keep_out(hive.tasks[task_id])
