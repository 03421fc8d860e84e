"""Heartbeats that bring no news, on their way to the brain together.

The hive hears of a node each two seconds, and mostly nothing has changed. A step of the brain for
each would cost more than what it decides; so these wait a moment for each other. News never wait
(core/heartbeat.py says what is), and before time is looked at all that waits is handed in, so that
no node is silent that was heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from fluxhive.core.events import NodeReported
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import NodeId

#: How long a heartbeat waits for others at most.
GATHER_S = 0.25


class Heartbeats:
    """See the module's docstring. Belongs to the brain (brain.py)."""

    def __init__(self, manager: Callable[[], TaskManager], wake: Callable[[], None]) -> None:
        """``wake``: called when what has gathered is to be taken."""
        self._manager = manager
        self._wake = wake
        #: The newest of each node.
        self._gathered: dict[NodeId, NodeReported] = {}
        self._timer: asyncio.TimerHandle | None = None

    def takes(self, report: NodeReported) -> bool:
        """Takes a heartbeat without news; False: the brain must be told of it now."""
        manager = self._manager()
        if manager.is_news(report):
            self._gathered.pop(report.node_id, None)
            return False
        # Figures count where attempts are (learning goes by them); elsewhere only being there does.
        if report.gpus and not manager.holds_any(report.node_id):
            report = replace(report, gpus=())
        self._gathered[report.node_id] = report
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._due)
        return True

    def gathered(self) -> list[NodeReported]:
        """What has gathered since the last call, in no order that counts."""
        if not self._gathered:
            return []
        reports, self._gathered = list(self._gathered.values()), {}
        return reports

    def _due(self) -> None:
        self._timer = None
        if self._gathered:
            self._wake()
