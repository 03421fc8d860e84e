"""The thread that writes what nodes ship: frames go in, answers come out, the loop never blocks.

One thread for all nodes: it unpacks, checks whose channel it is, writes at the offset, and hands
all answers of one round back to the loop together. A slow disk makes answers late and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from fluxhive.core.values import AttemptId, NodeId
from fluxhive.protocol.agent import LogGap, LogUpTo
from fluxhive.protocol.wire import EXTRAS, STREAMS_MAX, LogChunk, WireError, decode_log

from .log_marks import file_name
from .log_stream import GAP_BYTES_MAX, Gap, LogStream

log = logging.getLogger(__name__)

#: Streams whose files stay open; others are opened again when bytes come.
OPEN_STREAMS_MAX = 256
#: Frames of one round: bounds how late the first answer of it is.
ROUND_FRAMES = 64
#: Bytes that are kept of metrics, and of a result with what says how it was made.
EXTRA_BYTES_MAX = 64 * 1024 * 1024 + 64 * 1024
#: Bytes of one node that may wait to be written. Agents keep below it (2 MiB are under way).
BACKLOG_BYTES_MAX = 8 * 1024 * 1024


class LogSource(Protocol):
    """A node's connection, as the writer sees it. All but ``node_id`` is called in the loop."""

    node_id: NodeId
    backlog_bytes: int

    def log_arrived(self, where: AttemptLogs, stream: int, *, refused: bool) -> None:
        """Bytes were written, or a frame was refused: the node goes back to the mark."""

    def log_broke(self, problem: str, *, foreign: bool) -> None:
        """What came is no log frame, or (``foreign``) one of another node's attempt."""


class AttemptLogs:
    """The streams of one member of an attempt, and whose they are."""

    __slots__ = (
        "attempt_id",
        "changed",
        "channel",
        "expected",
        "extras",
        "node_id",
        "rank",
        "streams",
    )

    def __init__(
        self,
        attempt_id: AttemptId,
        channel: int,
        node_id: NodeId,
        streams: tuple[LogStream, ...],
        *,
        rank: int = 0,
    ) -> None:
        self.attempt_id = attempt_id
        self.rank = rank
        self.channel = channel
        self.node_id = node_id
        self.streams = streams
        #: What is written beside the output, and that of its processes, by its number; most
        #: attempts have none.
        self.extras: dict[int, LogStream] = {}
        #: Lengths of the streams by the node's word about the end; None before it.
        self.expected: tuple[int, ...] | None = None
        #: Set and replaced when something arrives; None while nobody follows.
        self.changed: asyncio.Event | None = None

    def stream(self, number: int) -> LogStream:
        """One stream; one beside the output is made with its first frame."""
        if number < len(self.streams):
            return self.streams[number]
        if number not in self.extras:
            self.take_up(number)
        return self.extras[number]

    def known(self, number: int) -> LogStream | None:
        """One stream for readers, who make none; None: there is none yet."""
        return self.streams[number] if number < len(self.streams) else self.extras.get(number)

    def received(self, number: int) -> int:
        """How much of a stream is here."""
        known = self.known(number)
        return 0 if known is None else known.received

    def take_up(self, number: int, durable: int = 0, gaps: tuple[Gap, ...] = ()) -> None:
        """A stream beside the output, of which this much is here."""
        directory = os.path.dirname(self.streams[0].path)
        path = f"{directory}/{file_name(self.rank, number)}"
        quota = EXTRA_BYTES_MAX if number in EXTRAS else self.streams[0].quota
        self.extras[number] = LogStream(path, durable=durable, gaps=gaps, quota=quota)

    def all_streams(self) -> list[tuple[int, LogStream]]:
        """All that there are, by number."""
        return [*enumerate(self.streams), *self.extras.copy().items()]

    def is_whole(self) -> bool:
        """Whether all that its node speaks of, or else all that came, is here for good."""
        if self.expected is None:
            return all(stream.durable >= stream.received for _, stream in self.all_streams())
        durable = {number: stream.durable for number, stream in self.all_streams()}
        return all(durable.get(n, 0) >= length for n, length in enumerate(self.expected))

    def wake(self) -> None:
        """Wakes everybody who follows it."""
        if self.changed is not None:
            self.changed.set()
            self.changed = None


class Answer:
    """What became of one frame."""

    __slots__ = ("foreign", "n_bytes", "problem", "refused", "source", "stream", "where")

    def __init__(self, source: LogSource, n_bytes: int) -> None:
        self.source = source
        self.n_bytes = n_bytes
        #: None: nothing was written, and nothing is to be said.
        self.where: AttemptLogs | None = None
        self.stream = 0
        self.refused = False
        self.problem = ""
        self.foreign = False


_Job = tuple[LogSource, bytes | LogGap] | Callable[[], None]


class LogWriter:
    """See the module's docstring. ``channels`` is shared: the loop adds and removes."""

    def __init__(
        self, channels: dict[int, AttemptLogs], on_answers: Callable[[list[Answer]], None]
    ) -> None:
        self._channels = channels
        self._on_answers = on_answers
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._open: OrderedDict[LogStream, None] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        #: Why bytes cannot be written now; empty when they can.
        self.problem = ""

    def start(self) -> None:
        """Starts the thread; answers go to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="fluxhive-logs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Writes what waits and ends. Blocks."""
        if self._thread is not None and not self._is_closed:
            self._is_closed = True
            self._jobs.put(None)
            self._thread.join()

    def offer(self, source: LogSource, frame: bytes | LogGap) -> bool:
        """Queues a frame; False when the node sent more than it may before an answer."""
        n_bytes = len(frame) if isinstance(frame, bytes) else 0
        if source.backlog_bytes + n_bytes > BACKLOG_BYTES_MAX:
            return False
        source.backlog_bytes += n_bytes
        self._jobs.put((source, frame))
        return True

    def call(self, job: Callable[[], None]) -> None:
        """Runs ``job`` in the thread, behind what waits: streams change nowhere else."""
        self._jobs.put(job)

    def in_loop(self, job: Callable[[], None]) -> None:
        """Runs ``job`` in the loop; for jobs in the thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(job)
        except RuntimeError:
            log.warning("the loop of the logs is closed")

    # ── the thread ────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        answers: list[Answer] = []
        while (job := self._next_job(answers)) is not None:
            if callable(job):
                self._hand_back(answers)
                job()
            else:
                answers.append(self._one(*job))
        for stream in self._open:
            stream.close()

    def _next_job(self, answers: list[Answer]) -> _Job | None:
        """The next job; answers are handed back before it waits, and when there are many."""
        if len(answers) < ROUND_FRAMES:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                pass
            else:
                if job is None:
                    self._hand_back(answers)
                return job
        self._hand_back(answers)
        return self._jobs.get()

    def _hand_back(self, answers: list[Answer]) -> None:
        if answers:
            self.in_loop(partial(self._on_answers, answers[:]))
            answers.clear()

    def _one(self, source: LogSource, frame: bytes | LogGap) -> Answer:
        answer = Answer(source, len(frame) if isinstance(frame, bytes) else 0)
        try:
            found = decode_log(frame) if isinstance(frame, bytes) else _checked(frame)
        except WireError as error:
            answer.problem = error.text
            return answer
        where = self._channels.get(found.channel)
        if where is None:
            # Forgotten meanwhile, or of a hive that was lost: nobody asks for these bytes.
            return answer
        if where.node_id != source.node_id:
            answer.problem = f"output of {where.attempt_id}, which is not this node's"
            answer.foreign = True
            return answer
        is_flag = isinstance(found, LogGap) and found.start == found.end
        if is_flag and where.expected is not None and where.is_whole():
            # Its node, whose journal was set back, has found its run directory gone: we said so.
            return answer
        answer.where, answer.stream = where, found.stream
        stream = where.stream(found.stream)
        answer.refused = not self._write(stream, found)
        # Those who wait need not read it from the file again.
        stream.newest = None
        if where.changed is not None and isinstance(found, LogChunk):
            stream.newest = found.offset, found.time_ms, found.data
        return answer

    def _write(self, stream: LogStream, found: LogChunk | LogGap) -> bool:
        was_open = stream.is_open
        try:
            if isinstance(found, LogChunk):
                taken = stream.write(found.offset, found.data, found.time_ms)
            else:
                taken = stream.skip(Gap(start=found.start, end=found.end, reason=found.reason))
        except OSError as error:
            if not self.problem:
                log.error("cannot write output", extra={"path": stream.path, "error": str(error)})
            self.problem = f"output cannot be written: {error.strerror}"
            stream.close()
            return False
        if stream.is_open:
            self.problem = ""
            self._keep_open(stream, was_open=was_open)
        return taken

    def _keep_open(self, stream: LogStream, *, was_open: bool) -> None:
        if was_open and stream in self._open:
            self._open.move_to_end(stream)
            return
        self._open[stream] = None
        while len(self._open) > OPEN_STREAMS_MAX:
            oldest, _ = self._open.popitem(last=False)
            oldest.close()

    def release(self, streams: Iterable[LogStream]) -> None:
        """Closes files that nobody writes any more; in the thread (``call``)."""
        for stream in streams:
            self._open.pop(stream, None)
            stream.close()


def _checked(gap: LogGap) -> LogGap:
    if not 0 <= gap.start <= gap.end <= 2**62 or gap.end - gap.start > GAP_BYTES_MAX:
        raise WireError(f"not a gap: {gap.start} to {gap.end}")
    if not 0 <= gap.stream < STREAMS_MAX:
        raise WireError(f"unknown log stream: {gap.stream}")
    return gap


def mark(where: AttemptLogs, stream: int) -> LogUpTo:
    """The message that says how much of a stream is here."""
    found = where.stream(stream)
    return LogUpTo(
        channel=where.channel,
        stream=stream,
        received=found.received,
        durable=found.durable,
        is_full=found.is_full,
    )
