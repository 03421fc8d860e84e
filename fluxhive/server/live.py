"""The dashboard's channel: one WebSocket a page, told what changed of what it shows.

Changes are numbered and kept once each, the newest last: a reader is nothing but the number up to
which it was told. A slow one is told the newest state of each thing, one that comes back is told
what it missed, and neither costs memory. What a page does not show is told as a count. Browsers
allow six streaming answers for all pages of a server, WebSockets are not among them.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Iterator

import anyio
import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from fluxhive.core.array import split_member
from fluxhive.core.effects import Publish
from fluxhive.core.ids import task_of
from fluxhive.core.values import AttemptId, NodeId, TaskId
from fluxhive.protocol.feed import ReadingsChanged
from fluxhive.protocol.live import (
    WATCHED_MAX,
    Alive,
    Changes,
    LiveMessage,
    LogGrown,
    Resumed,
    Snapshot,
    Watch,
)
from fluxhive.protocol.rest import LogStreamView, NodeView, TaskView
from fluxhive.protocol.summary import Summary

from .auth import Caller
from .hive import Hive
from .live_readings import LiveReadings
from .lookup import in_memory
from .tally import Tally
from .views import Views

log = logging.getLogger(__name__)

#: Things whose last change is remembered; who was away for longer begins anew.
REMEMBERED_MAX = 20_000
READERS_MAX = 1_000
#: Changes are gathered for so long: so often a page is told at most.
GATHER_S = 0.25
#: How often readings of GPUs and the length of a watched log are looked at.
LOOK_S = 1.0
LOG_LOOK_S = 0.25
ALIVE_S = 5.0
#: A page says first what it shows, and takes what it is told, within this time.
PATIENCE_S = 20.0
WATCH_LENGTH_MAX = 64 * 1024
#: Close codes: what came is not ours (RFC 6455 §7.4.1), try again later.
NOT_OURS, LATER = 1008, 1013

_Key = tuple[str, str]
_TASK, _NODE = "task", "node"
_decode = msgspec.json.Decoder(Watch).decode
_encode = msgspec.json.Encoder().encode


class Live:
    """What changed last, and who is to be woken by it."""

    def __init__(self, hive: Hive, tally: Tally) -> None:
        self.hive = hive
        self.tally = tally
        self.boot = secrets.token_hex(8)
        self.seq = 0
        #: By what changed; the newest at the end.
        self._seq_of: dict[_Key, int] = {}
        #: Changes up to this number may be forgotten.
        self.forgotten = 0
        self.readers: dict[LiveReader, None] = {}
        hive.brain.on_publish(self._published)

    def _published(self, changes: list[Publish]) -> None:
        for change in changes:
            task_id = change.task_id
            if change.attempt_id is not None:
                task_id = task_of(change.attempt_id)
                attempt = self.hive.brain.manager.attempt(change.attempt_id)
                # What is reserved on its nodes is another now.
                for member in () if attempt is None else attempt.members:
                    self._note((_NODE, member.node_id))
            if task_id is not None:
                self._note((_TASK, task_id))
                parts = split_member(task_id)
                if parts is not None:
                    self._note((_TASK, parts[0]))
            elif change.node_id is not None:
                self._note((_NODE, change.node_id))
        for reader in self.readers:
            reader.news.set()

    def _note(self, key: _Key) -> None:
        self.seq += 1
        self._seq_of.pop(key, None)
        self._seq_of[key] = self.seq
        if len(self._seq_of) > REMEMBERED_MAX:
            oldest = next(iter(self._seq_of))
            self.forgotten = self._seq_of.pop(oldest)

    def since(self, seq: int) -> Iterator[_Key]:
        """What changed after a number, the newest first."""
        for key in reversed(self._seq_of):
            if self._seq_of[key] <= seq:
                return
            yield key


class LiveReader:
    """One page."""

    def __init__(self, live: Live, caller: Caller, websocket: WebSocket) -> None:
        self.news = anyio.Event()
        self._live = live
        self._caller = caller
        self._websocket = websocket
        self._told = 0
        self._watch = Watch()
        #: Watched since a moment ago: told once as they are.
        self._fresh: set[str] = set()
        self._readings: dict[NodeId, LiveReadings] = {}
        self._summary: Summary | None = None
        self._log: LogGrown | None = None
        self._said_at_s = 0.0

    async def serve(self) -> None:
        """From the first word to the end of the line."""
        await self._websocket.accept()
        try:
            with anyio.fail_after(PATIENCE_S):
                await self._listen_once()
            self._live.readers[self] = None
            async with anyio.create_task_group() as group:
                group.start_soon(self._listen, group.cancel_scope)
                await self._tell_all()
                group.cancel_scope.cancel()
        except (WebSocketDisconnect, TimeoutError):
            return  # it said nothing, or nothing of ours
        finally:
            self._live.readers.pop(self, None)

    async def _tell_all(self) -> None:
        try:
            await self._begin()
            while True:
                await self._wait()
                await self._tell()
        except (WebSocketDisconnect, TimeoutError):
            return  # the page is gone, or takes nothing

    # ── what the page says ────────────────────────────────────────────────────────────────────

    async def _listen(self, scope: anyio.CancelScope) -> None:
        try:
            while True:
                await self._listen_once()
                self.news.set()
        except WebSocketDisconnect:
            scope.cancel()

    async def _listen_once(self) -> None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text = message.get("text") or ""
        try:
            watch = _decode(text) if len(text) <= WATCH_LENGTH_MAX else None
        except (msgspec.MsgspecError, ValueError):
            watch = None
        if watch is None or len(watch.tasks) > WATCHED_MAX:
            await self._websocket.close(NOT_OURS, "not a `watch` message of at most 500 tasks")
            raise WebSocketDisconnect(NOT_OURS)
        self._fresh |= set(watch.tasks) - set(self._watch.tasks)
        if watch.log != self._watch.log:
            self._log = None
        self._watch = watch

    # ── what it is told ───────────────────────────────────────────────────────────────────────

    async def _begin(self) -> None:
        live, watch = self._live, self._watch
        knows = watch.boot == live.boot and watch.since is not None
        if knows and live.forgotten <= (watch.since or 0) <= live.seq:
            self._told = watch.since or 0
            await self._say(Resumed(seq=self._told, boot=live.boot))
            self.news.set()
            return
        self._told = live.seq
        self._summary = live.tally.summary()
        views = Views(live.hive)
        nodes = live.hive.brain.manager.nodes()
        for node in nodes:
            self._look_at(node.id)
        await self._say(
            Snapshot(
                seq=self._told,
                boot=live.boot,
                summary=self._summary,
                nodes=tuple(views.node(node) for node in nodes),
            )
        )

    async def _wait(self) -> None:
        is_log_open = self._watch.log is not None and not (self._log and self._log.complete)
        with anyio.move_on_after(LOG_LOOK_S if is_log_open else LOOK_S):
            await self.news.wait()
            await anyio.sleep(GATHER_S)

    async def _tell(self) -> None:
        self.news = anyio.Event()
        changes = self._changes()
        if changes is not None:
            await self._say(changes)
        grown = self._log_grown()
        if grown is not None:
            self._log = grown
            await self._say(grown)
        if anyio.current_time() - self._said_at_s >= ALIVE_S:
            await self._say(Alive(seq=self._told))

    def _changes(self) -> Changes | None:
        live, views = self._live, Views(self._live.hive)
        manager = live.hive.brain.manager
        watched, wanted, node_ids, n_tasks = set(self._watch.tasks), self._fresh, [], 0
        for kind, name in live.since(self._told):
            if kind == _NODE:
                node_ids.append(NodeId(name))
                continue
            n_tasks += 1
            if name in watched:
                wanted.add(name)
        self._told, self._fresh = live.seq, set()
        nodes: list[NodeView] = []
        gone = [node_id for node_id in node_ids if manager.node(node_id) is None]
        nodes = [views.node(node) for each in node_ids if (node := manager.node(each)) is not None]
        readings = [
            ReadingsChanged(node_id=node.id, gpus=latest.gpus)
            for node in manager.nodes()
            if (latest := self._look_at(node.id)) is not None and node.id not in node_ids
        ]
        told = Changes(
            seq=self._told,
            tasks=tuple(self._tasks(views, wanted)),
            nodes=tuple(nodes),
            readings=tuple(readings),
            gone=tuple(gone),
            summary=self._new_summary() if n_tasks or node_ids else None,
            n_tasks=n_tasks,
        )
        is_empty = not (n_tasks or node_ids or readings or told.tasks)
        return None if is_empty else told

    def _tasks(self, views: Views, wanted: set[str]) -> list[TaskView]:
        # No generator: Python 3.10 makes an empty tuple of one anew, and that is no default then.
        found = (in_memory(self._live.hive, TaskId(name)) for name in sorted(wanted))
        return [views.brief(each, self._caller) for each in found if each is not None]

    def _new_summary(self) -> Summary | None:
        """As it is now; None: it is as it was."""
        before, self._summary = self._summary, self._live.tally.summary()
        if before is None:
            return self._summary
        same_time = msgspec.structs.replace(before, now_ms=self._summary.now_ms)
        return None if same_time == self._summary else self._summary

    def _look_at(self, node_id: NodeId) -> LiveReadings | None:
        """A node's readings when they are new."""
        latest = self._live.hive.sessions.latest(node_id)
        if latest is None or self._readings.get(node_id) is latest:
            return None
        self._readings[node_id] = latest
        return latest

    def _log_grown(self) -> LogGrown | None:
        log_, hive = self._watch.log, self._live.hive
        attempt = None if log_ is None else hive.brain.manager.attempt(AttemptId(log_.attempt))
        if log_ is None or attempt is None or not 0 <= log_.rank < len(attempt.members):
            return None
        views = hive.logs.streams(attempt, rank=log_.rank)
        grown = LogGrown(
            attempt=attempt.id,
            rank=log_.rank,
            sizes=(_size(views, "stdout"), _size(views, "stderr")),
            complete=bool(views) and all(view.complete for view in views),
        )
        return None if grown == self._log else grown

    async def _say(self, message: LiveMessage) -> None:
        with anyio.fail_after(PATIENCE_S):
            await self._websocket.send_text(_encode(message).decode())
        self._said_at_s = anyio.current_time()


def _size(views: Iterable[LogStreamView], name: str) -> int:
    """Bytes of all streams of a name: of the task itself and of its processes."""
    return sum(view.size for view in views if view.stream == name)


async def serve(live: Live, caller: Caller, websocket: WebSocket) -> None:
    """One page, from accept to close."""
    if len(live.readers) >= READERS_MAX:
        await websocket.accept()
        await websocket.close(LATER, "too many pages are open")
        return
    await LiveReader(live, caller, websocket).serve()
