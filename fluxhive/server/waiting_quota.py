"""Whether a submission still fits into the quotas of waiting tasks of its user and project.

Asked by the brain in the moment in which it takes a submission in, with those that are on their way
to the hive and not counted there yet: of many at once, no more get in than may wait.
"""

from __future__ import annotations

from collections.abc import Mapping

from fluxhive.core.errors import QuotaExceeded
from fluxhive.core.quota import Quota, QuotaScope
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import TaskId

from .submissions import NewTasks


def check_waiting(manager: TaskManager, coming: Mapping[TaskId, NewTasks], new: NewTasks) -> None:
    """Raises ``QuotaExceeded`` when so many more tasks would be too many.

    ``coming``: what is on its way, by its first task, which the hive knows once it has arrived.
    """
    for quota in manager.quotas():
        if quota.waiting_tasks is None:
            continue
        more = _count(quota, new)
        if not more:
            continue
        waiting = manager.use_of(quota.scope, quota.name).waiting_tasks
        waiting += sum(
            _count(quota, each) for first, each in coming.items() if manager.task(first) is None
        )
        if waiting + more > quota.waiting_tasks:
            whose = quota.name if quota.scope is QuotaScope.USER else f"project {quota.name}"
            raise QuotaExceeded(
                f"{whose} has {waiting} waiting tasks, and {more} more would be above the quota "
                f"of {quota.waiting_tasks}",
                hint="wait until some have started, cancel some, or ask an administrator: "
                f"fluxhive quota set {quota.scope.value} {quota.name} --waiting-tasks N",
            )


def _count(quota: Quota, new: NewTasks) -> int:
    """Tasks of a submission that count against a quota, members of arrays each."""
    return sum(
        1 if spec.array is None else spec.array.count
        for spec in new.specs
        if quota.name
        == (new.owner if quota.scope is QuotaScope.USER else spec.project or new.owner)
    )
