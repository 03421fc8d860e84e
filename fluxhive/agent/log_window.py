"""How much output may be on its way to the server at once: grows while it is taken fast.

Whatever is in the pipe goes before the next heartbeat, so the window shrinks until what is under
way waits for less than a second, on any line. How long the way itself takes does not count: a long
line needs more under way to be full. Pure; called by the log tailer.
"""

from __future__ import annotations

from fluxhive.protocol.wire import LOG_CHUNK_BYTES

#: One second of 64 kbit/s.
WINDOW_BYTES_MIN = 8 * 1024
#: Small, since nobody knows the line yet; a fast one has the most after seven answers.
WINDOW_BYTES_FIRST = 16 * 1024
WINDOW_BYTES_MAX = 2 * 1024 * 1024
CHUNK_BYTES_MIN = 2 * 1024
#: An answer that waited less lets the window grow, one that waited longer makes it smaller.
FAST_S, SLOW_S = 0.2, 1.0


class Window:
    """Bytes that were sent and not yet received by the server, and how many may be."""

    def __init__(self, way_s: float = 0.0) -> None:
        #: How long a word and its answer take while nothing else is under way.
        self._way_s = way_s
        self.limit = WINDOW_BYTES_FIRST
        self.in_flight = 0
        #: The line is slow: compressing is worth its time.
        self.is_slow = False
        self._sent = 0
        self._arrived = 0
        self._probe: tuple[int, float] | None = None

    @property
    def free(self) -> int:
        """How many bytes may be sent now."""
        return self.limit - self.in_flight

    @property
    def chunk(self) -> int:
        """How many bytes a frame should have at most."""
        return max(CHUNK_BYTES_MIN, min(LOG_CHUNK_BYTES, self.limit // 4))

    def sent(self, n_bytes: int, now_s: float) -> None:
        """So many bytes were handed to the connection."""
        self.in_flight += n_bytes
        self._sent += n_bytes
        if self._probe is None and n_bytes:
            self._probe = (self._sent, now_s)

    def arrived(self, n_bytes: int, now_s: float) -> None:
        """The server has so many more."""
        self._take_off(n_bytes)
        if self._probe is None or self._arrived < self._probe[0]:
            return
        took_s = now_s - self._probe[1]
        self._probe = None
        self.is_slow = took_s > FAST_S
        waited_s = took_s - self._way_s
        if took_s <= FAST_S:
            self.limit = min(self.limit * 2, WINDOW_BYTES_MAX)
        elif waited_s <= FAST_S:
            # Gently: what is added goes out at once, and the next heartbeat behind it.
            self.limit = min(self.limit * 5 // 4, WINDOW_BYTES_MAX)
        elif waited_s >= SLOW_S:
            self.limit = max(self.limit // 2, WINDOW_BYTES_MIN)

    def drop(self, n_bytes: int) -> None:
        """So many bytes under way do not count any more."""
        self._take_off(n_bytes)

    def _take_off(self, n_bytes: int) -> None:
        taken = min(n_bytes, self.in_flight)
        self.in_flight -= taken
        self._arrived += taken
