"""Log frames, and the stored message of every kind that must stay readable for ever."""

from __future__ import annotations

import struct
import typing
from pathlib import Path

import msgspec
import pytest

from fluxhive.protocol.agent import AgentMessage, ServerMessage
from fluxhive.protocol.wire import (
    FRAME_BYTES_MAX,
    STREAMS_MAX,
    LogChunk,
    WireError,
    decode_log,
    encode_log,
    zstd,
)

GOLDEN = Path(__file__).parents[2] / "protocol" / "golden" / "v1"
CHUNK = LogChunk(channel=7, stream=1, offset=2**40, time_ms=123, data=b"loss 0.1\n\xff\x00" * 400)


@pytest.mark.parametrize("compress", [False, True])
def test_a_log_chunk_survives_the_wire(compress: bool) -> None:
    assert decode_log(encode_log(CHUNK, compress=compress)) == CHUNK


def test_compression_is_used_only_where_it_helps() -> None:
    assert len(encode_log(CHUNK, compress=True)) < len(encode_log(CHUNK))


def header(kind: int, stream: int = 0, offset: int = 0) -> bytes:
    return struct.pack("!BIBQQ", kind, 1, stream, offset, 0)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x01",
        header(9) + b"x",
        header(1, stream=STREAMS_MAX) + b"x",
        header(1, offset=2**64 - 1) + b"x",
        header(2) + b"not zstd",
        header(2) + zstd.compress(b"\0" * (FRAME_BYTES_MAX + 1)),
    ],
    ids=["empty", "short", "kind", "stream", "offset", "garbage", "bomb"],
)
def test_a_bad_log_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        decode_log(frame)


MESSAGES = {
    cls.__struct_config__.tag: union
    for union in (AgentMessage, ServerMessage)
    for cls in typing.get_args(union)
}


def test_every_message_has_a_stored_example() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(MESSAGES)


@pytest.mark.parametrize("tag", sorted(MESSAGES))
def test_a_stored_message_is_still_read_as_it_was_meant(tag: str) -> None:
    stored = (GOLDEN / f"{tag}.json").read_bytes()
    message = msgspec.json.decode(stored, type=MESSAGES[tag])
    assert msgspec.json.decode(msgspec.json.encode(message)) == msgspec.json.decode(stored)


@pytest.mark.parametrize("tag", sorted(MESSAGES))
def test_fields_of_a_newer_peer_are_skipped(tag: str) -> None:
    fields = msgspec.json.decode((GOLDEN / f"{tag}.json").read_bytes())
    message = msgspec.convert(fields, type=MESSAGES[tag])
    newer = msgspec.json.encode({**fields, "field_of_next_year": [1, {"deep": None}]})
    assert msgspec.json.decode(newer, type=MESSAGES[tag]) == message
