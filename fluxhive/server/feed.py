"""Tells readers what changed, live: each has a bounded list of what it has not been told yet.

What waits is *which* task or node changed, not what it looked like: a reader that is slow is told
the newest state once. One that is too slow even for that is told how much it missed. Also wakes
those who wait for one task, and those who follow a log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

import anyio

from fluxhive.core.array import split_member
from fluxhive.core.effects import Publish
from fluxhive.core.ids import task_of
from fluxhive.core.values import AttemptId, NodeId, TaskId
from fluxhive.protocol.feed import FeedEvent, Lagged, NodeChanged, ReadingsChanged, TaskChanged

from .auth import Caller
from .hive import Hive
from .live_readings import LiveReadings
from .lookup import in_memory
from .sse import HEARTBEAT_S, comment, event_bytes
from .views import Views

#: Changes that may wait for one reader.
WAITING_MAX = 10_000
READERS_MAX = 1_000
#: How often readings are looked at; nodes send them each 1 to 5 s.
READINGS_INTERVAL_S = 1.0
#: Changes are gathered for so long: a task that starts at once is told once.
GATHER_S = 0.020

_Key = tuple[str, str]
_TASK, _NODE, _READINGS = "task", "node", "readings"


class Reader:
    """One reader of the feed."""

    def __init__(self) -> None:
        self._waiting: dict[_Key, None] = {}
        self._missed = 0
        self._news = anyio.Event()

    def add(self, key: _Key) -> None:
        """Something changed."""
        if len(self._waiting) >= WAITING_MAX and key not in self._waiting:
            # Told too late what happened first, it would miss what counts: let it read anew.
            self._missed += len(self._waiting)
            self._waiting.clear()
        # At the end: whoever changes often does not keep others waiting.
        self._waiting.pop(key, None)
        self._waiting[key] = None
        self._news.set()

    async def wait(self) -> None:
        """Until there is something to take."""
        await self._news.wait()

    def take(self) -> tuple[int, list[_Key]]:
        """How many changes were dropped, and all that wait."""
        self._news = anyio.Event()
        missed, self._missed = self._missed, 0
        keys, self._waiting = list(self._waiting), {}
        return missed, keys


class Feed:
    """See the module's docstring. ``run`` for as long as the server lives."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive
        self._readers: dict[Reader, None] = {}
        self._watchers: dict[TaskId, dict[anyio.Event, None]] = {}
        self._told: dict[NodeId, LiveReadings] = {}
        hive.brain.on_publish(self._published)

    def _published(self, changes: list[Publish]) -> None:
        """The brain's word, after it is stored. Never blocks."""
        for change in changes:
            task_id = change.task_id
            if change.attempt_id is not None:
                task_id = task_of(change.attempt_id)
                self._hive.logs.wake(change.attempt_id)
                self._reserved_anew(change.attempt_id)
            if task_id is not None:
                for event in self._watchers.get(task_id, ()):
                    event.set()
            if self._readers:
                key = (_NODE, change.node_id) if change.node_id else (_TASK, str(task_id))
                member = None if task_id is None else split_member(task_id)
                for reader in self._readers:
                    reader.add(key)
                    if member is not None:
                        # Its array is told by its numbers.
                        reader.add((_TASK, member[0]))

    def _reserved_anew(self, attempt_id: AttemptId) -> None:
        """What is reserved on an attempt's nodes is another now."""
        attempt = self._hive.brain.manager.attempt(attempt_id) if self._readers else None
        for member in () if attempt is None else attempt.members:
            for reader in self._readers:
                reader.add((_NODE, member.node_id))

    async def run(self) -> None:
        """Tells readers about new readings, until cancelled."""
        while True:
            await anyio.sleep(READINGS_INTERVAL_S)
            if not self._readers:
                self._told.clear()
                continue
            for node in self._hive.brain.manager.nodes():
                latest = self._hive.sessions.latest(node.id)
                if latest is not None and self._told.get(node.id) is not latest:
                    self._told[node.id] = latest
                    for reader in self._readers:
                        reader.add((_READINGS, node.id))

    # ── one task ──────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def watch(self, task_id: TaskId) -> Iterator[anyio.Event]:
        """An event that is set at the task's next change from now on."""
        event = anyio.Event()
        self._watchers.setdefault(task_id, {})[event] = None
        try:
            yield event
        finally:
            watching = self._watchers[task_id]
            del watching[event]
            if not watching:
                del self._watchers[task_id]

    # ── the stream ────────────────────────────────────────────────────────────────────────────

    @property
    def is_full(self) -> bool:
        """Whether there are as many readers as there may be."""
        return len(self._readers) >= READERS_MAX

    async def stream(self, caller: Caller) -> AsyncGenerator[bytes, None]:
        """What changes, as server-sent events, until the reader goes."""
        reader = Reader()
        self._readers[reader] = None
        try:
            yield comment("changes follow")
            while True:
                with anyio.move_on_after(HEARTBEAT_S) as scope:
                    await reader.wait()
                if scope.cancelled_caught:
                    # An event, not a comment: who waits for nothing any more ends by it.
                    yield event_bytes("alive", {})
                    continue
                await anyio.sleep(GATHER_S)
                missed, keys = reader.take()
                if missed:
                    yield event_bytes("lagged", Lagged(missed=missed))
                for start in range(0, len(keys), 100):
                    events = self._events(keys[start : start + 100], caller)
                    yield b"".join(event_bytes(_kind(event), event) for event in events)
        finally:
            del self._readers[reader]

    def _events(self, keys: list[_Key], caller: Caller) -> Iterator[FeedEvent]:
        """What to tell about these, as it is now."""
        views = Views(self._hive)
        manager = self._hive.brain.manager
        for kind, text in keys:
            if kind == _TASK:
                found = in_memory(self._hive, TaskId(text))
                if found is not None:
                    yield TaskChanged(task=views.task(found, caller))
                continue
            node = manager.node(NodeId(text))
            readings = self._hive.sessions.latest(NodeId(text))
            if node is not None and kind == _NODE:
                yield NodeChanged(node=views.node(node))
            elif node is not None and readings is not None:
                yield ReadingsChanged(node_id=node.id, gpus=readings.gpus)


def _kind(event: FeedEvent) -> str:
    return str(event.__struct_config__.tag)
