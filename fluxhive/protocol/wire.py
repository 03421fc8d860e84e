"""Bytes on the agent's WebSocket: envelopes as text frames, log chunks as binary frames.

A text frame is ``{"ack": 17, "messages": [{"n": 41, "body": {"type": …}}, …]}``; ``n`` 0 or absent
is a message that is neither acknowledged nor sent again. A binary frame is a header of 22 bytes and
the bytes of one stream from one offset on.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw

from fluxhive.core.errors import RemoteError
from fluxhive.core.torchrun import PROCESSES_MAX
from fluxhive.core.values import Value

from .agent import AgentMessage, ServerMessage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: The major version; a dial that offers none of the server's is refused with a hint.
SUBPROTOCOL = "fluxhive.v1"
#: Largest text or binary frame that is sent: proxies in between cut at 1 MiB.
FRAME_BYTES = 256 * 1024
#: Largest frame that is accepted.
FRAME_BYTES_MAX = 1024 * 1024
#: Bytes of output in one log frame, before compression.
LOG_CHUNK_BYTES = 192 * 1024
MESSAGES_PER_FRAME = 256

#: Words a side may offer in ``Hello``/``Welcome``; absent means: not understood there.
CAPABILITY_ZSTD_LOGS = "zstd-logs"
#: The server takes the streams beside a task's output.
CAPABILITY_EXTRA_STREAMS = "extra-streams"
#: The server takes the output of each of several processes apart.
CAPABILITY_PROCESS_STREAMS = "process-streams"

STDOUT, STDERR, METRICS, RESULT = 0, 1, 2, 3
STREAM_NAMES = ("stdout", "stderr", "metrics", "result")
#: What a task writes beside its output: numbers of itself, and what its function gave back. Such a
#: stream exists from its first byte on; most attempts have none.
EXTRAS = (METRICS, RESULT)
#: From here on, two for each process of a node that has its output apart: its stdout, its stderr.
FIRST_OF_PROCESSES = len(STREAM_NAMES)
STREAMS_MAX = FIRST_OF_PROCESSES + 2 * PROCESSES_MAX

_RAW, _ZSTD = 1, 2
_LOG_HEADER = struct.Struct("!BIBQQ")

M = TypeVar("M")


def stream_of_process(process: int, stream: int) -> int:
    """The number of a process's stdout or stderr, the process by its number on the node."""
    return FIRST_OF_PROCESSES + 2 * process + stream


def process_of_stream(number: int) -> int | None:
    """Which process on the node writes a stream alone; None: it is the whole attempt's."""
    return None if number < FIRST_OF_PROCESSES else (number - FIRST_OF_PROCESSES) // 2


def streams_taken(capabilities: Collection[str]) -> int:
    """The server that welcomes with these words takes streams below this number."""
    if CAPABILITY_PROCESS_STREAMS in capabilities:
        return STREAMS_MAX
    return FIRST_OF_PROCESSES if CAPABILITY_EXTRA_STREAMS in capabilities else EXTRAS[0]


def stream_name(number: int) -> str:
    """What a stream is called, whoever writes it."""
    if number < FIRST_OF_PROCESSES:
        return STREAM_NAMES[number]
    return STREAM_NAMES[(number - FIRST_OF_PROCESSES) % 2]


class WireError(RemoteError):
    """The peer sent what is not FlowHive's protocol; the connection is closed."""


class Item(Value, frozen=True, kw_only=True):
    """One message of an envelope, its body not yet looked at."""

    n: int = 0
    body: Raw


class Envelope(Value, frozen=True, kw_only=True):
    """One text frame."""

    ack: int = 0
    messages: tuple[Item, ...] = ()


_encoder = msgspec.json.Encoder()
_envelopes = msgspec.json.Decoder(Envelope)


class Codec(Generic[M]):
    """Decodes the messages of one direction."""

    def __init__(self, union: Any) -> None:
        self._decoder = msgspec.json.Decoder(union)
        self._tags = msgspec.json.Decoder(dict[str, Any])
        #: Tags that a newer peer sent and that were skipped, with how often.
        self.skipped: dict[str, int] = {}

    def decode(self, body: bytes | Raw) -> M | None:
        """The message, or None for a tag that this version does not know.

        Raises ``WireError`` when it is not a message at all.
        """
        try:
            message: M = self._decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            if self._is_unknown_tag(body, error):
                return None
            raise WireError(f"not a message: {error}") from error
        return message

    def _is_unknown_tag(self, body: bytes | Raw, error: Exception) -> bool:
        if not str(error).endswith("at `$.type`") or "Invalid value" not in str(error):
            return False
        tag = str(self._tags.decode(body).get("type"))[:64]
        if len(self.skipped) < 64 or tag in self.skipped:
            self.skipped[tag] = self.skipped.get(tag, 0) + 1
        return True


def agent_codec() -> Codec[AgentMessage]:
    """Decodes what agents send."""
    return Codec(AgentMessage)


def server_codec() -> Codec[ServerMessage]:
    """Decodes what the server sends."""
    return Codec(ServerMessage)


def encode_message(message: AgentMessage | ServerMessage) -> bytes:
    """One message as JSON, without its number."""
    return _encoder.encode(message)


def encode_envelope(ack: int, items: list[tuple[int, bytes]]) -> str:
    """A text frame from an acknowledgement and numbered bodies that are encoded already."""
    envelope = Envelope(ack=ack, messages=tuple([Item(n=n, body=Raw(body)) for n, body in items]))
    return _encoder.encode(envelope).decode()


def decode_envelope(frame: str | bytes) -> Envelope:
    """Raises ``WireError`` for anything that is not an envelope."""
    try:
        return _envelopes.decode(frame)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise WireError(f"not an envelope: {error}") from error


class LogChunk(Value, frozen=True, kw_only=True):
    """Bytes of one stream of one attempt, from an offset on."""

    channel: int
    stream: int
    offset: int
    #: Wall clock of the node when the bytes were read.
    time_ms: int
    data: bytes


def encode_log(chunk: LogChunk, *, compress: bool = False) -> bytes:
    """A binary frame; compressed only where that makes it smaller."""
    kind, data = _RAW, chunk.data
    if compress and len(data) > 512:
        packed = zstd.compress(data, level=1)
        if len(packed) < len(data):
            kind, data = _ZSTD, packed
    header = _LOG_HEADER.pack(kind, chunk.channel, chunk.stream, chunk.offset, chunk.time_ms)
    return header + data


def decode_log(frame: bytes) -> LogChunk:
    """Raises ``WireError`` for a frame that is no log chunk or unpacks to too much."""
    if len(frame) < _LOG_HEADER.size:
        raise WireError(f"a log frame has at least {_LOG_HEADER.size} bytes: {len(frame)}")
    kind, channel, stream, offset, time_ms = _LOG_HEADER.unpack_from(frame)
    data = frame[_LOG_HEADER.size :]
    if kind == _ZSTD:
        data = _unpack(data)
    elif kind != _RAW:
        raise WireError(f"unknown kind of binary frame: {kind}")
    if stream >= STREAMS_MAX:
        raise WireError(f"unknown log stream: {stream}")
    if offset + len(data) > 2**62:
        raise WireError(f"log offset out of range: {offset}")
    return LogChunk(channel=channel, stream=stream, offset=offset, time_ms=time_ms, data=data)


def _unpack(data: bytes) -> bytes:
    """Bounded, so that a small frame cannot become a huge one."""
    unpacker = zstd.ZstdDecompressor()
    try:
        unpacked: bytes = unpacker.decompress(data, max_length=FRAME_BYTES_MAX)
    except zstd.ZstdError as error:
        raise WireError("a log frame that cannot be unpacked") from error
    if not unpacker.eof:
        raise WireError(f"a log frame that unpacks to more than {FRAME_BYTES_MAX} bytes")
    return unpacked
