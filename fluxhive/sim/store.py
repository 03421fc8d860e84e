"""What a simulated server has on its disk of tasks, attempts and nodes."""

from __future__ import annotations

from fluxhive.core.node import Node
from fluxhive.core.task import Attempt, Task
from fluxhive.core.task_manager import HiveSnapshot
from fluxhive.core.values import AttemptId, NodeId, TaskId


class SimStore:
    """What the server has on its disk."""

    def __init__(self) -> None:
        self.tasks: dict[TaskId, Task] = {}
        self.attempts: dict[AttemptId, Attempt] = {}
        self.nodes: dict[NodeId, Node] = {}
        #: Log channels up to this one were given before a restore.
        self.last_channel = 0

    def copy(self) -> SimStore:
        """As it is now."""
        other = SimStore()
        other.tasks, other.attempts = dict(self.tasks), dict(self.attempts)
        other.nodes, other.last_channel = dict(self.nodes), self.last_channel
        return other

    def snapshot(self) -> HiveSnapshot:
        """All of it."""
        return HiveSnapshot(
            last_channel=self.last_channel,
            tasks=tuple(self.tasks.values()),
            attempts=tuple(self.attempts.values()),
            nodes=tuple(self.nodes.values()),
        )
