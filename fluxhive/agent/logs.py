"""Ships what tasks print: tails their files from the server's mark on, never faster than it takes.

The tailer keeps no cursor of its own over a reconnect: ``resume`` tells it where the server stands.
When a stream is looked at is the watch's business (log_watch.py). The loop's thread calls
everything here except ``read``, which does the reading in a worker thread; one read is under way at
a time (the connection's writer does it).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable

import anyio

from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import LogGap, LogUpTo
from fluxhive.protocol.wire import EXTRAS, FIRST_OF_PROCESSES, METRICS, STDERR, STDOUT, STREAMS_MAX

from .log_file import is_disk_full
from .log_stream import Piece, Read, Stream, bound, read_at_once, read_piece, share_out
from .log_watch import LogWatch
from .log_window import Window
from .output_files import numbers_apart, output_path, processes_apart

log = logging.getLogger(__name__)

#: Everything is looked at this often, should a notification get lost (queue overflow, inotify(7)).
SWEEP_S = 5.0
#: Read at a time, so that control messages get their turn in between.
ROUND_BYTES = 1024 * 1024
#: How long a stream rests after its file could not be read or the server did not take it.
REST_S = 1.0
#: Disk is given back in steps: each is a system call and a note in the run directory …
FREE_STEP_BYTES = 4 * 1024 * 1024
#: … and this much below the durable mark stays, for the end's last lines.
KEPT_BYTES = 128 * 1024
#: Output of one stream that the node keeps while the server does not take it.
BACKLOG_BYTES = 8 * 1024**3


class LogTailer:
    """All streams of this node. ``on_ready`` is called whenever there is something to send."""

    def __init__(
        self,
        on_ready: Callable[[], None] = lambda: None,
        *,
        backlog_bytes: int = BACKLOG_BYTES,
    ) -> None:
        self.on_ready = on_ready
        #: Called with a place where output may be missing, while there is a session.
        self.on_flag: Callable[[LogGap], None] = lambda flag: None
        self.window = Window()
        #: The server takes streams below this number; what is written to others stays here.
        self.n_taken = STREAMS_MAX
        self._backlog_bytes = backlog_bytes
        self._is_disk_full = False
        #: Have bytes that the disk can have back.
        self._freeable: dict[Stream, None] = {}
        self._streams: dict[tuple[int, int], Stream] = {}
        self._channels: dict[AttemptId, int] = {}
        self._is_paused = True
        #: Have bytes to send, in the order in which it is their turn.
        self._ready: dict[Stream, None] = {}
        self._watch = LogWatch(self._make_ready)
        self._leaving: list[Stream] = []

    # ── which streams there are ───────────────────────────────────────────────────────────────

    def follow(self, attempt_id: AttemptId, channel: int, directory: str) -> None:
        """Begins to ship an attempt's output. Doing it again changes nothing."""
        if attempt_id in self._channels:
            return
        self._channels[attempt_id] = channel
        for number in (STDOUT, STDERR, *numbers_apart(processes_apart(directory))):
            self._open(attempt_id, channel, number, directory)

    def _open(self, attempt_id: AttemptId, channel: int, number: int, directory: str) -> Stream:
        path = output_path(directory, number)
        stream = Stream(attempt_id, channel, number, path, self._flagged)
        stream.is_muted = number >= self.n_taken
        self._streams[channel, number] = stream
        self._heat(stream)
        return stream

    def end(self, attempt_id: AttemptId, *lengths: int) -> None:
        """The attempt's processes are gone: its streams are this long and do not grow any more."""
        channel = self._channels.get(attempt_id)
        if channel is None:
            return
        directory = os.path.dirname(self._streams[channel, STDOUT].file.path)
        for number, length in enumerate(lengths):
            stream = self._streams.get((channel, number))
            if stream is None and length == 0:
                continue
            stream = stream or self._open(attempt_id, channel, number, directory)
            stream.end = length
            if not stream.file.is_itself:
                stream.flag("the log file was deleted or replaced by the task")
            self._watch.drop(stream)
            self._consider(stream)

    def lengths(self, attempt_id: AttemptId) -> tuple[int, ...] | None:
        """How long the streams of an attempt are that has just ended; None: not followed."""
        channel = self._channels.get(attempt_id)
        if channel is None:
            return None
        known = [self._streams.get((channel, number)) for number in self._numbers(channel)]
        streams = [it for it in known if it is not None and it.number not in EXTRAS]
        if any(stream.size() > 0 for stream in streams) and is_disk_full(streams[0].file.path):
            self._disk_is_full(streams)
        return tuple([stream.size() for stream in streams])

    def _numbers(self, channel: int) -> range:
        is_apart = (channel, FIRST_OF_PROCESSES) in self._streams
        return range(STREAMS_MAX if is_apart else FIRST_OF_PROCESSES)

    def forget(self, attempt_id: AttemptId) -> None:
        """The server has it all."""
        channel = self._channels.pop(attempt_id, None)
        if channel is None:
            return
        for number in self._numbers(channel):
            stream = self._streams.pop((channel, number), None)
            if stream is None:
                continue
            self._ready.pop(stream, None)
            self._freeable.pop(stream, None)
            self._watch.drop(stream)
            self.window.drop(stream.sent - stream.received)
            stream.received = stream.sent
            if stream.file.is_open:
                self._leaving.append(stream)

    # ── where the server stands ───────────────────────────────────────────────────────────────

    def resume(
        self, marks: Iterable[LogUpTo], *, way_s: float = 0.0, only_marked: bool = False
    ) -> None:
        """A new session: everything goes on from the server's marks, 0 where it names none.

        ``way_s``: how long the hello and its answer took. ``only_marked``: what the server names no
        mark of it does not know (a backup was restored), and would never answer for.
        """
        self._is_paused = self._watch.is_paused = False
        self.window = Window(way_s)
        self._ready.clear()
        known = {(mark.channel, mark.stream): mark for mark in marks}
        for key, stream in self._streams.items():
            stream.go_on(known.get(key))
            is_known = (stream.channel, STDOUT) in known or not only_marked
            stream.is_muted = not is_known or stream.number >= self.n_taken
            for flag in stream.flags:
                self.on_flag(flag)
            if stream.end is None:
                self._heat(stream)
            else:
                self._consider(stream)

    def pause(self) -> None:
        """The connection is gone: nothing is looked at until there is another."""
        self._is_paused = self._watch.is_paused = True
        self._ready.clear()

    def up_to(self, mark: LogUpTo) -> None:
        """The server says how much of a stream it has."""
        stream = self._streams.get((mark.channel, mark.stream))
        if stream is None:
            return
        is_news = mark.received > stream.received or mark.durable > stream.durable
        advance = mark.received - stream.received
        stream.durable = mark.durable
        stream.is_full = mark.is_full
        if stream.durable - stream.file.dropped >= FREE_STEP_BYTES + KEPT_BYTES:
            self._freeable[stream] = None
        if advance >= 0 and (is_news or stream.sent <= mark.received):
            stream.received = mark.received
            stream.sent = max(stream.sent, mark.received)
            self.window.arrived(advance, time.monotonic())
            if stream.end is not None and mark.received >= stream.end:
                self._ready.pop(stream, None)
                if stream.file.is_open:
                    self._leaving.append(stream)
        else:
            # It did not take what was sent (a frame beyond its mark, a full disk): back to there.
            self.window.drop(stream.sent - stream.received)
            stream.received = stream.sent = mark.received
            self._ready.pop(stream, None)
            self._heat(stream, at_s=time.monotonic() + REST_S)
        if self.has_work:
            self.on_ready()

    # ── sending, by the connection's writer ───────────────────────────────────────────────────

    @property
    def has_work(self) -> bool:
        """Whether ``plan`` would give something now."""
        return bool(self._ready) and self.window.free > 0 and not self._is_paused

    def plan(self) -> list[Piece]:
        """What to read and send next: one piece of each stream in turn, as the window allows."""
        for gone in self._leaving:
            gone.file.close()
        self._leaving.clear()
        free = min(self.window.free, ROUND_BYTES) if not self._is_paused else 0
        return share_out(self._ready, free, self.window.chunk)

    def read(self, pieces: Iterable[Piece], *, compress: bool) -> list[Read]:
        """Reads the pieces into frames. Blocks; for a worker thread."""
        self._free()
        reads: list[Read] = []
        finished: set[Stream] = set()
        for piece in pieces:
            if piece.stream in finished:
                continue
            reads.append(read_piece(piece, compress))
            if reads[-1].n_bytes < piece.length:
                finished.add(piece.stream)  # what comes after would leave a hole
        return reads

    def read_at_once(self, pieces: Iterable[Piece]) -> list[Read] | None:
        """The same in the loop, where that keeps nobody waiting; else None."""
        return None if self._freeable or self.window.is_slow else read_at_once(pieces)

    def sent(self, reads: Iterable[Read]) -> None:
        """These go out now. Call before anything else happens to the streams."""
        now = time.monotonic()
        for read in reads:
            stream = read.piece.stream
            if self._streams.get((stream.channel, stream.number)) is not stream:
                self._leaving.append(stream)
                continue
            stream.sent = read.piece.offset + read.n_bytes
            self.window.sent(read.n_bytes, now)
            self._ready.pop(stream, None)
            if read.gap is not None:
                stream.sent = read.gap.end
                if stream.end is None:
                    self._heat(stream, at_s=now + REST_S if stream.is_full else 0.0)
                else:
                    self._consider(stream)
            elif read.n_bytes == read.piece.length:
                self._consider(stream, assume_more=True)
            elif stream.end is None and (read.n_bytes or stream.size() <= stream.sent):
                self._watch.caught_up(stream)
            elif stream.end is None:
                self._heat(stream, at_s=now + REST_S)
            else:
                # It grew and ended while this was read: what it wrote last is still to be sent.
                self._consider(stream)

    # ── watching ──────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Looks at the streams for as long as the agent lives."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch.run, name="log-watch")
            group.start_soon(self._sweep, name="log-sweep")

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(SWEEP_S)
            live = [stream for stream in self._streams.values() if stream.end is None]
            self._find_metrics(live)
            self._watch.sweep(live)
            await anyio.to_thread.run_sync(self._bound_disk, live)
            if self._is_disk_full:
                self._disk_is_full(live)

    def _find_metrics(self, live: Iterable[Stream]) -> None:
        """Metrics of attempts that run are followed from when somebody sees that there are any."""
        for stream in live:
            directory = os.path.dirname(stream.file.path)
            is_new = stream.number == STDOUT and (stream.channel, METRICS) not in self._streams
            if is_new and os.path.lexists(output_path(directory, METRICS)):
                self._open(stream.attempt_id, stream.channel, METRICS, directory)

    def close(self) -> None:
        """Frees all descriptors."""
        self._watch.close()
        for stream in [*self._streams.values(), *self._leaving]:
            stream.file.close()

    # ── the node's disk ───────────────────────────────────────────────────────────────────────

    def _free(self) -> None:
        """Gives back what the server has for good. Blocks; for a worker thread."""
        for stream in list(self._freeable):
            self._freeable.pop(stream, None)
            stream.file.free(stream.durable - KEPT_BYTES)

    def _bound_disk(self, live: list[Stream]) -> None:
        """Keeps each stream's part of the disk within its bound. Blocks; for a worker thread."""
        self._is_disk_full = any(is_disk_full(stream.file.path) for stream in live[:1])
        for stream in live:
            if self._is_disk_full:
                stream.file.free(stream.durable - KEPT_BYTES)
            bound(stream, self._backlog_bytes)

    def _disk_is_full(self, streams: list[Stream]) -> None:
        for stream in streams:
            if stream.file.end():
                stream.flag("the node's disk was full")

    def _flagged(self, flag: LogGap) -> None:
        if not self._is_paused:  # or the next session tells it
            self.on_flag(flag)

    # ── where a stream stands ─────────────────────────────────────────────────────────────────

    def _heat(self, stream: Stream, *, at_s: float = 0.0) -> None:
        if stream.is_muted:
            self._watch.drop(stream)
        else:
            self._watch.heat(stream, at_s=at_s)

    def _make_ready(self, stream: Stream) -> None:
        self._watch.drop(stream)
        self._ready[stream] = None
        if self.has_work:
            self.on_ready()

    def _consider(self, stream: Stream, *, assume_more: bool = False) -> None:
        """Queues a stream that has more to send."""
        if self._is_paused or stream.is_muted:
            return
        has_more = assume_more if stream.end is None else stream.sent < stream.end
        if has_more:
            self._make_ready(stream)
        else:
            self._ready.pop(stream, None)
