"""Whether a submission still fits into the quotas of waiting tasks of its user and project."""

from __future__ import annotations

from collections.abc import Sequence

from fluxhive.core.errors import QuotaExceeded
from fluxhive.core.quota import QuotaScope
from fluxhive.core.task import TaskSpec

from .hive import Hive


def check_waiting(hive: Hive, specs: Sequence[TaskSpec], owner: str) -> None:
    """Raises ``QuotaExceeded`` when so many more tasks would be too many."""
    manager = hive.brain.manager
    for quota in manager.quotas():
        if quota.waiting_tasks is None:
            continue
        more = sum(
            1 if spec.array is None else spec.array.count
            for spec in specs
            if quota.name == (owner if quota.scope is QuotaScope.USER else spec.project or owner)
        )
        waiting = manager.use_of(quota.scope, quota.name).waiting_tasks
        if more and waiting + more > quota.waiting_tasks:
            whose = quota.name if quota.scope is QuotaScope.USER else f"project {quota.name}"
            raise QuotaExceeded(
                f"{whose} has {waiting} waiting tasks, and {more} more would be above the quota "
                f"of {quota.waiting_tasks}",
                hint="wait until some have started, cancel some, or ask an administrator: "
                f"fluxhive quota set {quota.scope.value} {quota.name} --waiting-tasks N",
            )
