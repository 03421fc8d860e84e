"""Takes tasks over a quota out of line, and puts them back when there is room under it again.

Called by placement_pass.py after each start, by task_manager.py at the end of each step, and when a
quota is set. Costs a look at each waiting task of the user or project concerned, and nothing where
neither has a quota.
"""

from __future__ import annotations

from .array import MemberCounts
from .effects import SaveQuota
from .events import QuotaSet
from .hive_state import HiveState
from .quota import QuotaKey, Use, keys_of
from .task import Task, TaskState


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
    )


def _take_out(hive: HiveState, key: QuotaKey) -> None:
    book = hive.book_of_quotas
    for task_id in book.waiting.get(key, ()):
        if task_id in hive.queue and book.blocks(hive.tasks[task_id]) is not None:
            hive.dequeue(task_id)
            book.keep_out(hive.tasks[task_id])
