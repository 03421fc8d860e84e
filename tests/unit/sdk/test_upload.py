"""Uploads: in pieces, nothing twice, and on from where the server is after any break."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from fluxhive.core.errors import InputError, QuotaExceeded, RemoteError, Unreachable
from fluxhive.protocol.rest import BlobView
from fluxhive.sdk.upload import PIECE_BYTES, STALLED_S, upload
from fluxhive.transport import Request, Transport
from tests.helpers.stub_server import StubServer, json_answer, problem_answer

SHA = "ab" * 32
DATA = bytes(range(256)) * (PIECE_BYTES // 256 * 3 + 7)


class Blobs(StubServer):
    """Keeps what comes; breaks when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = b""
        self.offsets: list[int] = []
        self.breaks: list[Callable[[Request], None]] = []
        self.on("GET", f"/blobs/{SHA}", lambda request: json_answer(self.view())(request))
        self.on("PUT", f"/blobs/{SHA}", self.put)

    def view(self) -> BlobView:
        return BlobView(sha256=SHA, received=len(self.kept), complete=self.kept == DATA)

    def put(self, request: Request) -> object:
        if self.breaks:
            self.breaks.pop(0)(request)
        offset = int(self.queries(f"/blobs/{SHA}")[-1]["offset"])
        self.offsets.append(offset)
        assert request.body is not None
        if offset <= len(self.kept):
            self.kept = self.kept[:offset] + request.body
        return json_answer(self.view())(request)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


def send(blobs: Blobs, **parts: object) -> bool:
    transport = Transport("http://hive.test", sender=blobs, sleep=lambda s: None)  # type: ignore[arg-type]
    return upload(
        transport,
        io.BytesIO(DATA),
        SHA,
        len(DATA),
        sleep=lambda s: None,
        **parts,  # type: ignore[arg-type]
    )


def test_it_goes_in_pieces_and_progress_is_told(blobs: Blobs) -> None:
    told: list[int] = []
    assert send(blobs, on_progress=told.append)
    assert blobs.kept == DATA
    assert blobs.offsets == [0, PIECE_BYTES, 2 * PIECE_BYTES, 3 * PIECE_BYTES]
    assert told == [*blobs.offsets, len(DATA)]


def test_what_the_server_has_is_not_sent_again(blobs: Blobs) -> None:
    blobs.kept = DATA
    assert not send(blobs)
    assert blobs.offsets == []


def test_a_broken_one_goes_on_where_the_server_is(blobs: Blobs) -> None:
    blobs.kept = DATA[: PIECE_BYTES + 5]
    assert send(blobs)
    assert blobs.offsets[0] == PIECE_BYTES + 5
    assert blobs.kept == DATA


def test_a_server_that_lost_some_is_sent_that_again(blobs: Blobs) -> None:
    def lose(request: Request) -> None:
        blobs.kept = blobs.kept[:100]
        raise Unreachable("restarting")

    blobs.breaks = [lambda request: None, lose]
    assert send(blobs)
    assert blobs.offsets[:2] == [0, 100]
    assert blobs.kept == DATA


def test_one_that_stays_away_is_given_up(blobs: Blobs) -> None:
    now = [0.0]

    def away(request: Request) -> None:
        now[0] += 10
        blobs.breaks.append(away)
        raise RemoteError("gone")

    blobs.breaks = [away]
    with pytest.raises(RemoteError):
        send(blobs, clock=lambda: now[0])
    assert now[0] > STALLED_S


def test_damaged_bytes_are_sent_once_more_and_no_oftener(blobs: Blobs) -> None:
    def damaged(request: Request) -> None:
        blobs.kept = b""
        blobs.breaks.append(damaged)
        raise InputError("not this hash")

    blobs.breaks = [damaged]
    with pytest.raises(InputError):
        send(blobs)
    assert len([each for each in blobs.asked if each.method == "PUT"]) == 2


def test_a_quota_ends_it_at_once(blobs: Blobs) -> None:
    problem = {"title": "Too Many Requests", "status": 429, "detail": "too much"}
    blobs.on("PUT", f"/blobs/{SHA}", problem_answer(problem, 429))
    with pytest.raises(QuotaExceeded, match="too much"):
        send(blobs)
    assert [each.method for each in blobs.asked] == ["GET", "PUT"]
