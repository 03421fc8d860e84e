"""Law 25, of quotas: counted anew from all tasks. Called by invariants.py and its steps."""

from __future__ import annotations

from collections.abc import Iterable

from .hive_state import HiveState
from .policy import HOUR_MS
from .quota import QuotaKey, keys_of, n_gpus
from .task import Attempt, TaskState


def check_quotas(hive: HiveState) -> None:
    """Raises ``AssertionError`` when use is counted wrongly, or who is over a quota is in line."""
    book = hive.book_of_quotas
    if not book.quotas:
        return
    for key in book.quotas:
        tasks, gpus = _use(hive, key)
        counted = book.used_tasks(key), book.used_gpus(key)
        assert counted == (tasks, gpus), f"law 25: {key} uses {tasks, gpus}, counted {counted}"
        meter = book.meters.get(key)
        metered = gpus if meter is None else meter.gpus
        assert metered == gpus, f"law 25: {key} uses {gpus} GPUs, and {metered} are metered"
    for task_id in hive.queue.task_ids():
        blocked = book.blocks(hive.tasks[task_id])
        assert blocked is None, f"law 25: {task_id} is in line beyond {blocked}"


def check_placed(hive: HiveState, fresh: Iterable[Attempt]) -> None:
    """Raises ``AssertionError`` when a new attempt went beyond a quota."""
    for attempt in fresh:
        for key in keys_of(hive.tasks[attempt.task_id]):
            quota = hive.book_of_quotas.quotas.get(key)
            if quota is None:
                continue
            tasks, gpus = _use(hive, key)
            within = quota.running_tasks is None or tasks <= quota.running_tasks
            assert within, f"law 25: {attempt.id} is one of {tasks} running tasks of {key}"
            gpus = gpus if n_gpus(hive.tasks[attempt.task_id]) else 0
            within = quota.running_gpus is None or gpus <= quota.running_gpus
            assert within, f"law 25: {attempt.id} has one of {gpus} GPUs of {key}"
            meter, hours = hive.book_of_quotas.meters.get(key), quota.weekly_gpu_hours
            if gpus and hours is not None:
                left = meter is not None and meter.used_at(hive.now_ms) < hours * HOUR_MS
                assert left, f"law 25: {attempt.id} goes beyond {hours} GPU-hours of {key}"


def _use(hive: HiveState, key: QuotaKey) -> tuple[int, int]:
    running = [
        task
        for task in hive.tasks.values()
        if task.state is TaskState.ACTIVE and task.spec.array is None and key in keys_of(task)
    ]
    return len(running), sum(n_gpus(task) for task in running)
