"""Lines between nodes and the server as TCP makes them: in order, delayed, cut, stopped one way.

A connection never reorders or forges what it carries. What goes wrong is what TCP cannot prevent:
frames in flight are lost when it is cut, or arrive long after their sender has gone and dialled
anew; a line that is blocked one way holds frames back without telling anybody; an end may never
hear that the other is gone.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from fluxhive.core.values import Ms

from .agenda import Agenda

UP, DOWN = "up", "down"
#: What a frame takes on a good line, and at most on a bad one.
GOOD_MS, BAD_MS = 20, 8_000


class End:
    """One end of a connection: told of frames and of the close."""

    def __init__(self) -> None:
        self.on_frame: Callable[[str], None] = lambda frame: None
        self.on_close: Callable[[], None] = lambda: None
        #: Of frames that arrive after it has gone; nobody hears them, unless the world says so.
        self.on_late: Callable[[str], None] = lambda frame: None
        #: Nothing is told to it any more.
        self.is_gone = False


class Connection:
    """One TCP connection of a node; ``UP`` leads to the server."""

    def __init__(self, line: Line) -> None:
        self._line = line
        #: By way: the end that hears what goes there.
        self.ends = {UP: End(), DOWN: End()}
        self._last_at = {UP: 0, DOWN: 0}
        #: By way and number: frames and closes that wait for a blocked way to open.
        self._held: dict[str, dict[int, str | None]] = {UP: {}, DOWN: {}}
        #: By way: numbers of what has not been heard, in order, and what has come of it.
        self._unheard: dict[str, deque[int]] = {UP: deque(), DOWN: deque()}
        self._come: dict[str, dict[int, str | None]] = {UP: {}, DOWN: {}}
        self._n_put = 0
        #: By way: nothing sent from now on arrives, and nothing that would arrive after this.
        self._ends_at: dict[str, Ms | None] = {UP: None, DOWN: None}

    def send(self, way: str, frame: str) -> None:
        """Puts a frame on its way."""
        if self._ends_at[way] is None and not self.ends[_other(way)].is_gone:
            self._put(way, frame)

    def close(self, end_of: str) -> None:
        """The end that hears ``end_of`` goes away: what it sent still arrives, then the close."""
        if not self.ends[end_of].is_gone:
            self.ends[end_of].is_gone = True
            self._put(_other(end_of), None)

    def cut(self, *, tell: bool) -> None:
        """Broken in the middle: a part of what is in flight arrives, perhaps much later.

        Without ``tell`` neither end hears of it (a NAT that forgot): they find out by silence.
        """
        line = self._line
        for way in (UP, DOWN):
            if self._ends_at[way] is None:
                wait_ms = line.chance.choice((0, 0, 50, BAD_MS))
                self._ends_at[way] = line.agenda.now_ms + wait_ms
                if tell:
                    line.agenda.after(wait_ms + 1, self._tell_closed, way)
        line.n_cut += 1

    def lose_power(self) -> None:
        """The node's machine is off: what it had not sent yet never will be."""
        self._held[UP] = {}

    def release(self, way: str) -> None:
        """The way is open again: what was held back arrives when it is sent again."""
        held, self._held[way] = self._held[way], {}
        for number, frame in held.items():
            again_ms = self._line.chance.choice((0, 300, BAD_MS))
            self._carry(way, number, frame, again_ms=again_ms)

    def _put(self, way: str, frame: str | None) -> None:
        self._n_put += 1
        self._unheard[way].append(self._n_put)
        self._carry(way, self._n_put, frame)

    def _carry(self, way: str, number: int, frame: str | None, *, again_ms: Ms = 0) -> None:
        line = self._line
        if line.is_blocked[way]:
            self._held[way][number] = frame
            return
        at_ms = max(self._last_at[way], line.agenda.now_ms + line.delay_ms() + again_ms)
        self._last_at[way] = at_ms
        line.agenda.at(at_ms, self._arrive, way, number, frame)

    def _arrive(self, way: str, number: int, frame: str | None) -> None:
        line = self._line
        if line.is_blocked[way]:
            self._held[way][number] = frame
            return
        ends_at = self._ends_at[way]
        if ends_at is not None and line.agenda.now_ms > ends_at:
            line.n_lost += 1
            return
        come, unheard = self._come[way], self._unheard[way]
        come[number] = frame
        # What was held back on its way has others before it that were not.
        while unheard and unheard[0] in come:
            self._hear(way, come.pop(unheard.popleft()))

    def _hear(self, way: str, frame: str | None) -> None:
        end = self.ends[way]
        if frame is None:
            self._tell_closed(way)
        elif end.is_gone:
            end.on_late(frame)
        else:
            end.on_frame(frame)

    def _tell_closed(self, way: str) -> None:
        end = self.ends[way]
        if self._line.is_blocked[way]:
            self._put(way, None)
        elif not end.is_gone:
            end.is_gone = True
            end.on_close()
            self._put(_other(way), None)


class Line:
    """All connections of one node, and how the way between is now."""

    def __init__(self, agenda: Agenda, chance: random.Random) -> None:
        self.agenda = agenda
        self.chance = chance
        self.is_blocked = {UP: False, DOWN: False}
        #: True: some frames take up to eight seconds.
        self.is_bad = False
        #: The machine is suspended: nothing opens the line.
        self.sleeps = False
        self.connections: list[Connection] = []
        self.n_cut = 0
        self.n_lost = 0

    def connect(self) -> Connection:
        """A new connection; both ends are set by who dials and who listens."""
        self.connections = [
            each
            for each in self.connections
            if not (each.ends[UP].is_gone and each.ends[DOWN].is_gone)
        ]
        connection = Connection(self)
        self.connections.append(connection)
        return connection

    def block(self, *ways: str) -> None:
        """Nothing passes these ways; nobody is told."""
        for way in ways:
            self.is_blocked[way] = True

    def open(self) -> None:
        """Everything passes again, unless the machine sleeps."""
        self.is_bad = False
        if self.sleeps:
            return
        for way in (UP, DOWN):
            if self.is_blocked[way]:
                self.is_blocked[way] = False
                for connection in self.connections:
                    connection.release(way)

    def delay_ms(self) -> Ms:
        """How long the next frame takes."""
        if self.is_bad and self.chance.random() < 0.3:
            return self.chance.randrange(BAD_MS)
        return 1 + self.chance.randrange(GOOD_MS)


def _other(way: str) -> str:
    return DOWN if way == UP else UP
