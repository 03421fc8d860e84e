"""The reliable link, the same at both ends and without a socket: number, acknowledge, send again.

Messages are numbered in the order they are sent. What is received is acknowledged once its effects
are stored (``committed``), and what is not acknowledged is sent again after a reconnect
(``resumed``). Repeats are dropped by number. Messages without a number (heartbeats) are neither
acknowledged nor repeated.

The agent keeps one outgoing numbering over all its connections and starts and journals what it
sends; the server starts afresh with each session, because a new session makes the core say
everything that still counts again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from .agent import AgentMessage, ServerMessage
from .wire import (
    FRAME_BYTES,
    MESSAGES_PER_FRAME,
    Codec,
    WireError,
    decode_envelope,
    encode_envelope,
    encode_message,
)

M = TypeVar("M")

#: Most messages that wait for an acknowledgement before ``is_full`` asks the caller to slow down.
UNACKNOWLEDGED_MAX = 20_000


class Link(Generic[M]):
    """One end of a link; ``M`` is what it receives."""

    def __init__(
        self, codec: Codec[M], *, last_n: int = 0, unacknowledged: Iterable[tuple[int, bytes]] = ()
    ) -> None:
        self._codec = codec
        self._last_n = last_n
        self._unacknowledged: deque[tuple[int, bytes]] = deque(unacknowledged)
        self._unsent: deque[tuple[int, bytes]] = deque(self._unacknowledged)
        #: So many at the head of it are not numbered.
        self._n_unnumbered = 0
        self._received = 0
        self._committed = 0
        self._ack_sent = 0
        #: Highest number handed out by ``receive``.
        self._handed_out = 0
        #: Numbers of messages that were skipped, with what was handed out before each.
        self._skipped: deque[tuple[int, int]] = deque()
        if self._unacknowledged:
            self._last_n = max(last_n, self._unacknowledged[-1][0])

    @property
    def last_n(self) -> int:
        """Number of the newest message sent."""
        return self._last_n

    @property
    def acknowledged(self) -> int:
        """Everything up to this number has arrived and is stored at the peer."""
        return self._unacknowledged[0][0] - 1 if self._unacknowledged else self._last_n

    @property
    def is_full(self) -> bool:
        """Too much is unacknowledged: the peer does not keep up."""
        return len(self._unacknowledged) >= UNACKNOWLEDGED_MAX

    @property
    def unacknowledged(self) -> list[tuple[int, bytes]]:
        """What the peer has not acknowledged, in order."""
        return list(self._unacknowledged)

    def send(self, message: AgentMessage | ServerMessage) -> tuple[int, bytes]:
        """Numbers and queues a message; returns what a journal needs to send it again."""
        return self.send_encoded(encode_message(message))

    def send_encoded(self, body: bytes) -> tuple[int, bytes]:
        """The same for a message that is encoded already."""
        self._last_n += 1
        item = (self._last_n, body)
        self._unacknowledged.append(item)
        self._unsent.append(item)
        return item

    def send_unnumbered(self, message: AgentMessage | ServerMessage) -> None:
        """Queues a message that nobody acknowledges: ahead of the others, behind those like it."""
        self._unsent.insert(self._n_unnumbered, (0, encode_message(message)))
        self._n_unnumbered += 1

    def receive(self, frame: str | bytes) -> list[tuple[int, M]]:
        """The new messages of a text frame with their numbers (0: not numbered).

        The caller must call ``committed`` with the highest number once their effects are stored.
        Raises ``WireError``; the connection must then be closed.
        """
        envelope = decode_envelope(frame)
        self._acknowledged(envelope.ack)
        news: list[tuple[int, M]] = []
        for item in envelope.messages:
            if item.n and item.n <= self._received:
                continue
            message = self._codec.decode(item.body)
            self._received = max(self._received, item.n)
            if message is not None:
                news.append((item.n, message))
                self._handed_out = max(self._handed_out, item.n)
            elif item.n:
                # A newer peer's message that this side does not know: acknowledged by skipping,
                # once everything before it is stored.
                self._skipped.append((self._handed_out, item.n))
        self.committed(0)
        return news

    def committed(self, n: int) -> None:
        """Everything up to ``n`` is stored: the next frame acknowledges it."""
        self._committed = max(self._committed, n)
        while self._skipped and self._skipped[0][0] <= self._committed:
            self._committed = max(self._committed, self._skipped.popleft()[1])

    @property
    def has_frames(self) -> bool:
        """Whether there is anything to write now."""
        return bool(self._unsent) or self._committed > self._ack_sent

    def frames(self, *, most: int | None = None) -> list[str]:
        """Text frames to write now, in order; at most ``most`` of them."""
        frames: list[str] = []
        while self.has_frames and (most is None or len(frames) < most):
            items: list[tuple[int, bytes]] = []
            size = 0
            while self._unsent and len(items) < MESSAGES_PER_FRAME:
                if items and size + len(self._unsent[0][1]) > FRAME_BYTES:
                    break
                item = self._unsent.popleft()
                self._n_unnumbered -= not item[0]
                size += len(item[1]) + 16
                items.append(item)
            frames.append(encode_envelope(self._committed, items))
            self._ack_sent = self._committed
        return frames

    def resumed(self) -> None:
        """A new connection: everything unacknowledged is sent again, the peer numbers from 1."""
        self._unsent, self._n_unnumbered = deque(self._unacknowledged), 0
        self._received = self._committed = self._ack_sent = self._handed_out = 0
        self._skipped.clear()

    def _acknowledged(self, ack: int) -> None:
        if ack > self._last_n:
            raise WireError(f"acknowledges message {ack}, and only {self._last_n} were sent")
        while self._unacknowledged and self._unacknowledged[0][0] <= ack:
            self._unacknowledged.popleft()
