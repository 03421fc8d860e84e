"""What `fluxhive top` is told as it happens, so that it need not read all lists again and again.

`listen` runs in a thread of its own and gathers what the server's event stream tells; `applied`
brings facts that were read before up to date. Where there is no stream, as when the server is away,
`is_on` is false and the lists are read as often as without it.
"""

from __future__ import annotations

import threading
import time

from msgspec.structs import replace

from fluxhive.cli.top_model import Facts
from fluxhive.core.array import split_member
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.node import GpuReport
from fluxhive.core.values import TaskId
from fluxhive.protocol.feed import FeedEvent, NodeChanged, ReadingsChanged, TaskChanged
from fluxhive.protocol.rest import NodeView, TaskView
from fluxhive.sdk.events import changes
from fluxhive.transport import Transport


class Live:
    """See the module's docstring."""

    def __init__(self) -> None:
        #: Whether what happens is told now.
        self.is_on = False
        #: Whether something was missed: the lists have to be read.
        self.has_missed = False
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskView] = {}
        self._nodes: dict[str, NodeView] = {}
        self._readings: dict[str, tuple[GpuReport, ...]] = {}

    def listen(self, transport: Transport) -> None:
        """Gathers, for as long as the server has such a stream."""
        try:
            for event in changes(transport, on_trouble=self._trouble):
                self.note(event)
        except FluxhiveError:
            self.is_on = False

    def _trouble(self, text: str) -> None:
        self.is_on = not text
        self.has_missed = True

    def note(self, event: FeedEvent) -> None:
        """Something happened."""
        with self._lock:
            self.is_on = True
            if isinstance(event, TaskChanged):
                # A member of an array is listed with its array.
                if split_member(TaskId(event.task.id)) is None:
                    self._tasks[event.task.id] = event.task
            elif isinstance(event, NodeChanged):
                self._nodes[event.node.id] = event.node
                self._readings.pop(event.node.id, None)
            elif isinstance(event, ReadingsChanged):
                self._readings[event.node_id] = event.gpus
            else:
                self.has_missed = True

    def forget(self) -> None:
        """The lists are about to be read: they tell all that was noted until now."""
        with self._lock:
            self.has_missed = False
            self._tasks, self._nodes, self._readings = {}, {}, {}

    def applied(self, facts: Facts) -> tuple[Facts, bool]:
        """The facts with all that was noted since; whether a task or a node changed."""
        with self._lock:
            tasks, self._tasks = self._tasks, {}
            nodes, self._nodes = self._nodes, {}
            readings, self._readings = self._readings, {}
        known = {task.id: task for task in facts.tasks}
        places = {node.id: node for node in facts.nodes}
        for node_id, reports in readings.items():
            if node_id in places and node_id not in nodes:
                places[node_id] = _with_readings(places[node_id], reports)
        new = facts._replace(
            tasks=tuple({**known, **tasks}.values()),
            nodes=tuple({**places, **nodes}.values()),
            now_ms=int(time.time() * 1000),
        )
        return new, bool(tasks or nodes)


def _with_readings(node: NodeView, reports: tuple[GpuReport, ...]) -> NodeView:
    newest = {report.uuid: report for report in reports}
    gpus = tuple(replace(gpu, report=newest.get(gpu.report.uuid, gpu.report)) for gpu in node.gpus)
    return replace(node, gpus=gpus)
