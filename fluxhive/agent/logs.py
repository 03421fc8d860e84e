"""Ships what tasks print: tails their files from the server's mark on, never faster than it takes.

The tailer keeps no cursor of its own over a reconnect: ``resume`` tells it where the server stands.
A stream is looked at by the clock while it grows, and by inotify once it is quiet, so that quiet
tasks cost nothing. The loop's thread calls everything here except ``read``, which does the reading
in a worker thread; one read is under way at a time (the connection's writer does it).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import anyio

from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import LogUpTo
from fluxhive.protocol.wire import STDERR, STDOUT, STREAM_NAMES

from .bell import Bell
from .inotify import Inotify
from .log_stream import Piece, Read, Stream, read_piece
from .log_window import Window

POLL_S = 0.025
#: A stream that did not grow for so many looks is left to inotify.
QUIET_POLLS = 8
#: Everything is looked at this often, should a notification get lost (queue overflow, inotify(7)).
SWEEP_S = 5.0
#: Read at a time, so that control messages get their turn in between.
ROUND_BYTES = 1024 * 1024
#: How long a stream rests after its file could not be read or the server did not take it.
REST_S = 1.0


class LogTailer:
    """All streams of this node. ``on_ready`` is called whenever there is something to send."""

    def __init__(self, on_ready: Callable[[], None] = lambda: None) -> None:
        self.on_ready = on_ready
        self.window = Window()
        self._streams: dict[tuple[int, int], Stream] = {}
        self._channels: dict[AttemptId, int] = {}
        self._is_paused = True
        #: Looked at by the clock.
        self._hot: dict[Stream, None] = {}
        #: Have bytes to send, in the order in which it is their turn.
        self._ready: dict[Stream, None] = {}
        self._watched: dict[int, Stream] = {}
        self._inotify = Inotify()
        self._leaving: list[Stream] = []
        self._bell = Bell()

    # ── which streams there are ───────────────────────────────────────────────────────────────

    def follow(self, attempt_id: AttemptId, channel: int, directory: str) -> None:
        """Begins to ship an attempt's output. Doing it again changes nothing."""
        if attempt_id in self._channels:
            return
        self._channels[attempt_id] = channel
        for number in (STDOUT, STDERR):
            path = f"{directory}/{STREAM_NAMES[number]}"
            stream = Stream(attempt_id, channel, number, path)
            self._streams[channel, number] = stream
            self._heat(stream)

    def end(self, attempt_id: AttemptId, stdout_bytes: int, stderr_bytes: int) -> None:
        """The attempt's processes are gone: its streams are this long and do not grow any more."""
        channel = self._channels.get(attempt_id)
        if channel is None:
            return
        for number, length in ((STDOUT, stdout_bytes), (STDERR, stderr_bytes)):
            stream = self._streams[channel, number]
            stream.end = length
            self._hot.pop(stream, None)
            self._unwatch(stream)
            self._consider(stream)

    def forget(self, attempt_id: AttemptId) -> None:
        """The server has it all."""
        channel = self._channels.pop(attempt_id, None)
        if channel is None:
            return
        for number in (STDOUT, STDERR):
            stream = self._streams.pop((channel, number))
            self._hot.pop(stream, None)
            self._ready.pop(stream, None)
            self._unwatch(stream)
            self.window.drop(stream.sent - stream.received)
            stream.received = stream.sent
            if stream.fd >= 0:
                self._leaving.append(stream)

    # ── where the server stands ───────────────────────────────────────────────────────────────

    def resume(self, marks: Iterable[LogUpTo]) -> None:
        """A new session: everything goes on from the server's marks, 0 where it names none."""
        self._is_paused = False
        self.window = Window()
        self._ready.clear()
        known = {(mark.channel, mark.stream): mark for mark in marks}
        for key, stream in self._streams.items():
            mark = known.get(key)
            stream.received = stream.sent = 0 if mark is None else mark.received
            stream.durable = 0 if mark is None else mark.durable
            stream.rests_until = 0.0
            if stream.end is None:
                self._unwatch(stream)
                self._heat(stream)
            else:
                self._consider(stream)

    def pause(self) -> None:
        """The connection is gone: nothing is looked at until there is another."""
        self._is_paused = True
        self._ready.clear()

    def up_to(self, mark: LogUpTo) -> None:
        """The server says how much of a stream it has."""
        stream = self._streams.get((mark.channel, mark.stream))
        if stream is None:
            return
        is_news = mark.received > stream.received or mark.durable > stream.durable
        advance = mark.received - stream.received
        stream.durable = mark.durable
        if advance >= 0 and (is_news or stream.sent <= mark.received):
            stream.received = mark.received
            stream.sent = max(stream.sent, mark.received)
            self.window.arrived(advance, time.monotonic())
            if stream.end is not None and mark.received >= stream.end:
                self._ready.pop(stream, None)
                if stream.fd >= 0:
                    self._leaving.append(stream)
        else:
            # It did not take what was sent (a frame beyond its mark, a full disk): back to there.
            self.window.drop(stream.sent - stream.received)
            stream.received = stream.sent = mark.received
            stream.rests_until = time.monotonic() + REST_S
            self._ready.pop(stream, None)
            self._heat(stream)
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
            gone.close()
        self._leaving.clear()
        pieces: list[Piece] = []
        free = min(self.window.free, ROUND_BYTES) if not self._is_paused else 0
        reached = {stream: stream.sent for stream in self._ready}
        while free > 0 and reached:
            for stream, offset in list(reached.items()):
                length = min(self.window.chunk, max(free, 0))
                if stream.end is not None:
                    length = min(length, stream.end - offset)
                if length <= 0:
                    del reached[stream]
                    continue
                pieces.append(Piece(stream, offset, length, stream.end))
                reached[stream] = offset + length
                free -= length
        return pieces

    def read(self, pieces: Iterable[Piece], *, compress: bool) -> list[Read]:
        """Reads the pieces into frames. Blocks; for a worker thread."""
        reads: list[Read] = []
        finished: set[Stream] = set()
        for piece in pieces:
            if piece.stream in finished:
                continue
            reads.append(read_piece(piece, compress))
            if reads[-1].n_bytes < piece.length:
                finished.add(piece.stream)  # what comes after would leave a hole
        return reads

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
            elif read.n_bytes == read.piece.length:
                self._consider(stream, assume_more=True)
            elif stream.end is None:
                stream.rests_until = 0.0 if read.n_bytes else now + REST_S
                self._heat(stream)

    # ── watching ──────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Looks at the streams for as long as the agent lives."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._poll, name="log-poll")
            group.start_soon(self._sweep, name="log-sweep")
            if self._inotify.is_available:
                group.start_soon(self._listen, name="log-inotify")

    async def _poll(self) -> None:
        while True:
            if not self._hot or self._is_paused:
                await self._bell.wait(SWEEP_S if self._hot else None)
            self._look()
            await anyio.sleep(POLL_S)

    def _look(self) -> None:
        if self._is_paused:
            return
        now = time.monotonic()
        for stream in list(self._hot):
            if now < stream.rests_until:
                continue
            if stream.size() > stream.sent:
                self._make_ready(stream)
                continue
            stream.quiet += 1
            if stream.quiet >= QUIET_POLLS:
                self._leave_to_inotify(stream)

    def _leave_to_inotify(self, stream: Stream) -> None:
        watch = self._inotify.watch(stream.path)
        if watch is None:
            stream.quiet = 0
            stream.rests_until = time.monotonic() + POLL_S * QUIET_POLLS
            return
        stream.watch = watch
        self._watched[watch] = stream
        del self._hot[stream]
        # It may have been written to between the look and the watch.
        if stream.size() > stream.sent:
            self._unwatch(stream)
            self._make_ready(stream)

    async def _listen(self) -> None:
        while True:
            await anyio.wait_readable(self._inotify.fileno())
            for watch in self._inotify.fired():
                stream = self._watched.pop(watch, None)
                if stream is not None:
                    stream.watch = None
                    self._heat(stream)
            self._look()

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(SWEEP_S)
            for stream in list(self._watched.values()):
                if stream.size() > stream.sent:
                    self._unwatch(stream)
                    self._heat(stream)

    def close(self) -> None:
        """Frees all descriptors."""
        self._inotify.close()
        for stream in [*self._streams.values(), *self._leaving]:
            stream.close()

    # ── where a stream stands ─────────────────────────────────────────────────────────────────

    def _heat(self, stream: Stream) -> None:
        stream.quiet = 0
        self._hot[stream] = None
        self._bell.ring()

    def _make_ready(self, stream: Stream) -> None:
        self._hot.pop(stream, None)
        self._ready[stream] = None
        if self.has_work:
            self.on_ready()

    def _consider(self, stream: Stream, *, assume_more: bool = False) -> None:
        """Queues a stream that has more to send."""
        if self._is_paused:
            return
        has_more = assume_more if stream.end is None else stream.sent < stream.end
        if has_more:
            self._make_ready(stream)
        else:
            self._ready.pop(stream, None)

    def _unwatch(self, stream: Stream) -> None:
        if stream.watch is not None:
            self._inotify.unwatch(stream.watch)
            self._watched.pop(stream.watch, None)
            stream.watch = None
