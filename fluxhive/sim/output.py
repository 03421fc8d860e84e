"""What programs print, simulated: offsets, marks and holes between a node's disk and the server's.

Follows agent/logs.py and server/logs.py. A program prints as long as it runs. The agent sends what
was printed by offset, from where the server's mark is when a session begins; the server writes at
that offset, flushes each second and says how far its disk has it for good; below that mark the node
gives its disk back. A server that is killed here loses what it had not flushed. A byte is named by
its offset in the stream, so a file is known by the spans of the stream that stand in it one after
the other: no byte twice, none missing, and none asked for that the node has given back (claim 11).

Not here: quotas, and disks that lose what was flushed; both leave gaps that the server shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fluxhive.core.values import AttemptId, Ms, NodeId

from .network import DOWN
from .witness import Process, Violation

if TYPE_CHECKING:
    from .agent_life import AgentLife
    from .agent_line import AgentLine
    from .protocol_world import ProtocolWorld
    from .runs import Run
    from .server_world import SimSession

#: Begins frames of output and of marks, which are no messages.
WORDS = ("log ", "mark ")
SEND_EVERY_MS, FLUSH_EVERY_MS = 700, 1_000
FRAME_BYTES = 40
#: Whether the server drops what it has already, and flushes before it says so.
CHECKS_OFFSETS = FLUSHES_FIRST = True


class LogFile:
    """One stream on the server's disk."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []
        self.size = 0
        #: On the disk for good.
        self.flushed = 0

    def write(self, offset: int, n_bytes: int) -> None:
        """At that offset; what is there already stays, and nothing is written beyond the end."""
        start, end = offset, offset + n_bytes
        if CHECKS_OFFSETS:
            if start > self.size or end <= self.size:
                return
            start = self.size
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = (self.spans[-1][0], end)
        else:
            self.spans.append((start, end))
        self.size += end - start

    def lose_unflushed(self) -> None:
        """The machine of the server was killed."""
        if self.size > self.flushed:
            self.size = self.flushed
            self.spans = [(0, self.size)] if self.size else []


class SimOutput:
    """The server's end: all streams, kept over its lives."""

    def __init__(self, world: ProtocolWorld) -> None:
        self._world = world
        self.files: dict[tuple[AttemptId, NodeId], LogFile] = {}
        #: What an attempt printed in all, by its node's word.
        self.totals: dict[tuple[AttemptId, NodeId], int] = {}
        world.agenda.after(FLUSH_EVERY_MS, self._flush)

    def heard(self, session: SimSession, frame: str) -> None:
        """A piece of a stream."""
        _, name, offset, n_bytes = frame.split()
        file = self.files.setdefault((AttemptId(name), session.node_id), LogFile())
        self._world.sometimes("output came a second time", int(offset) < file.size)
        file.write(int(offset), int(n_bytes))

    def greet(self, session: SimSession, held: Iterable[AttemptId]) -> None:
        """Where to go on, for all that a hello names."""
        for attempt_id in held:
            self._say_mark(session, attempt_id)

    def crash(self) -> None:
        """The server is gone, and what it had not flushed with it."""
        for file in self.files.values():
            self._world.sometimes(
                "a server lost output that it had heard", file.size > file.flushed
            )
            file.lose_unflushed()

    def is_whole(self, attempt_id: AttemptId, node_id: NodeId) -> bool:
        """Whether all that an attempt printed on its node is on the disk for good."""
        key = (attempt_id, node_id)
        file = self.files.get(key)
        return (0 if file is None else file.flushed) >= self.totals.get(key, 0)

    def is_done(self) -> bool:
        """Whether all that was ever printed is on the disk for good."""
        return self._world.goes_back or all(
            (file := self.files.get(key)) is not None and file.flushed >= n_bytes
            for key, process in self._world.witness.processes.items()
            if (n_bytes := _all_of(process))
        )

    def conclude(self) -> None:
        """Everything is over: each byte is there once."""
        for (attempt_id, node_id), process in self._world.witness.processes.items():
            file = self.files.get((attempt_id, node_id)) or LogFile()
            n_bytes = _all_of(process)
            whole = [(0, n_bytes)] if n_bytes else []
            # Nobody need ask for the output of what a restored server does not know.
            prefix = [(0, file.size)] if file.size else []
            right = file.spans == (prefix if self._world.goes_back else whole)
            if not right:
                text = f"{attempt_id} on {node_id} printed {n_bytes} bytes, and {file.spans} came"
                raise Violation(f"claim 11: {text}")

    def _flush(self) -> None:
        world = self._world
        world.agenda.after(FLUSH_EVERY_MS, self._flush)
        if not world.server.is_up:
            return
        for (attempt_id, node_id), file in self.files.items():
            if file.flushed < file.size:
                if FLUSHES_FIRST:
                    file.flushed = file.size
                session = world.server.session_of(node_id)
                if session is not None:
                    self._say_mark(session, attempt_id)
                file.flushed = file.flushed if FLUSHES_FIRST else file.size // 2

    def _say_mark(self, session: SimSession, attempt_id: AttemptId) -> None:
        file = self.files.get((attempt_id, session.node_id)) or LogFile()
        durable = file.flushed if FLUSHES_FIRST else file.size
        session.connection.send(DOWN, f"mark {attempt_id} {file.size} {durable}")


class Pump:
    """The agent's end, for one connection after the other."""

    def __init__(self, life: AgentLife, line: AgentLine) -> None:
        self._life, self._line = life, line
        self._sent: dict[AttemptId, int] = {}
        self._waits: set[AttemptId] = set()

    def begin(self, held: Iterable[AttemptId]) -> None:
        """A hello is said: of what it names the server says where to go on."""
        self._sent, self._waits = {}, set(held)

    def heard(self, frame: str) -> None:
        """A mark: what is below it may be given back."""
        _, name, received, durable = frame.split()
        attempt_id = AttemptId(name)
        if attempt_id in self._waits:
            self._waits.discard(attempt_id)
            self._sent[attempt_id] = int(received)
        elif attempt_id in self._sent:
            # What it had on the way from an earlier connection has come, too.
            self._sent[attempt_id] = max(self._sent[attempt_id], int(received))
        run = self._life.node.runs.get(attempt_id)
        if run is not None:
            run.given_back = max(run.given_back, int(durable))

    def send(self) -> None:
        """What was printed since, of every stream whose mark is known."""
        for attempt_id, run in self._life.node.runs.items():
            is_held = self._life.executor.attempt(attempt_id) is not None
            if is_held and attempt_id not in self._waits:
                self._send(attempt_id, run)

    def _send(self, attempt_id: AttemptId, run: Run) -> None:
        at, end = self._sent.get(attempt_id, 0), run.n_printed()
        while at < end:
            if at < run.given_back:
                text = f"the server asks from {at} on, and {run.given_back} bytes were given back"
                raise Violation(f"claim 11: {attempt_id}: {text}")
            n_bytes = min(FRAME_BYTES, end - at)
            self._line.send_frame(f"log {attempt_id} {at} {n_bytes}")
            at += n_bytes
        self._sent[attempt_id] = at


def _all_of(process: Process) -> int:
    return printed(process.started_at_ms, process.ended_at_ms or 0)


def printed(started_at_ms: Ms, until_ms: Ms) -> int:
    """Bytes that a program prints in so long: one in 100 ms."""
    return max(0, until_ms - started_at_ms) // 100
