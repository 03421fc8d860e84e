"""HTTP: what is repeated and what is not, problems as errors, and real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fluxhive.core import errors
from fluxhive.http_sender import proxy_for
from fluxhive.transport import Broken, Transport, Unsent, new_idempotency_key
from tests.helpers.stub_server import (
    StubServer,
    bytes_answer,
    failing,
    json_answer,
    problem_answer,
    stream_answer,
)


class Talk:
    """A transport to a stub, and how long it slept."""

    def __init__(self) -> None:
        self.server = StubServer()
        self.slept_s: list[float] = []
        self.transport = Transport(
            "http://hive:8001/", token="fh_u_x", sender=self.server, sleep=self.slept_s.append
        )


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_a_call_carries_token_json_and_what_is_asked(talk: Talk) -> None:
    talk.server.on("POST", "/tasks", {"id": "t-1"})
    query: dict[str, str | int | None] = {"a": 1, "b": None, "c": "x y&z"}
    body = {"command": ["é"]}
    got = talk.transport.call(
        "POST", "/api/v1/tasks", dict, query=query, body=body, idempotency_key="k1"
    )
    (asked,) = talk.server.asked
    assert got == {"id": "t-1"}
    assert asked.url == "http://hive:8001/api/v1/tasks?a=1&c=x+y%26z"
    assert asked.headers["Authorization"] == "Bearer fh_u_x"
    assert asked.headers["Idempotency-Key"] == "k1"
    assert asked.body == '{"command":["é"]}'.encode()


def test_a_server_that_is_not_there_yet_is_tried_again(talk: Talk) -> None:
    refused = failing(Unsent("connection refused"))
    talk.server.on("POST", "/tasks", refused, refused, json_answer({}))
    assert talk.transport.call("POST", "/api/v1/tasks", dict) == {}
    assert talk.slept_s == [0.2, 0.4]


def test_a_server_that_never_answers_is_unreachable(talk: Talk) -> None:
    talk.server.on("GET", "/tasks", failing(Unsent("connection refused")))
    with pytest.raises(errors.Unreachable) as caught:
        talk.transport.call("GET", "/api/v1/tasks", dict)
    assert str(caught.value) == (
        "no FlowHive server answers at http://hive:8001 (connection refused)"
    )
    assert "fluxhive up" in (caught.value.hint or "")
    assert len(talk.server.asked) == 4


def test_a_broken_post_is_repeated_only_under_an_idempotency_key(talk: Talk) -> None:
    broken = failing(Broken("connection reset by peer"))
    talk.server.on("POST", "/tasks", broken, json_answer({}))
    with pytest.raises(errors.RemoteError, match="broke: connection reset") as caught:
        talk.transport.call("POST", "/api/v1/tasks", dict)
    assert "not known" in (caught.value.hint or "")
    talk.server.on("POST", "/tasks", broken, json_answer({}))
    key = new_idempotency_key()
    assert talk.transport.call("POST", "/api/v1/tasks", dict, idempotency_key=key) == {}


def test_a_busy_server_is_given_the_time_it_asks_for(talk: Talk) -> None:
    def busy(seconds: str) -> object:
        return problem_answer({"title": "starting"}, 503, {"retry-after": seconds})

    talk.server.on("GET", "/tasks", busy("3"), busy("nonsense"), json_answer({}))
    assert talk.transport.call("GET", "/api/v1/tasks", dict) == {}
    assert talk.slept_s == [3.0, 0.4]
    talk.server.on("GET", "/tasks", busy("3600"))
    with pytest.raises(errors.Unreachable, match="starting"):
        talk.transport.call("GET", "/api/v1/tasks", dict)
    assert talk.slept_s == [3.0, 0.4]


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        (400, errors.InputError, 2),
        (401, errors.AuthError, 4),
        (403, errors.AuthError, 4),
        (404, errors.NotFound, 3),
        (409, errors.Conflict, 6),
        (413, errors.InputError, 2),
        (416, errors.InputError, 2),
        (422, errors.InputError, 2),
        (429, errors.QuotaExceeded, 7),
        (500, errors.RemoteError, 1),
        (503, errors.Unreachable, 5),
    ],
)
def test_a_problem_becomes_the_error_it_was(
    talk: Talk, status: int, kind: type[errors.FluxhiveError], exit_code: int
) -> None:
    told = {"title": "T", "status": status, "detail": "what", "hint": "do this", "field": "f"}
    talk.server.on("POST", "/tasks", problem_answer(told, status, {"retry-after": "9"}))
    with pytest.raises(errors.FluxhiveError) as caught:
        talk.transport.call("POST", "/api/v1/tasks", dict)
    error = caught.value
    assert (type(error), error.text, error.hint) == (kind, "what", "do this")
    assert error.exit_code == exit_code
    if isinstance(error, errors.InputError):
        assert error.field == "f"
    if isinstance(error, errors.QuotaExceeded):
        assert error.retry_after_s == 9
    if isinstance(error, errors.AuthError):
        assert error.http_status == status


def test_an_answer_of_somebody_elses_server_is_recognised(talk: Talk) -> None:
    talk.server.on("GET", "/x", bytes_answer(b"<html>hello", {"content-type": "text/html"}))
    with pytest.raises(errors.RemoteError, match="cannot be understood"):
        talk.transport.call("GET", "/api/v1/x", dict)
    problem = problem_answer("text, no object", 404)
    talk.server.on("GET", "/x", problem)
    with pytest.raises(errors.RemoteError, match="status 404 and no explanation"):
        talk.transport.call("GET", "/api/v1/x", dict)


def test_a_stream_gives_its_pieces_and_says_when_it_breaks(talk: Talk) -> None:
    talk.server.on("GET", "/x", stream_answer(b"a", b"b", breaks=True))
    answer = talk.transport.stream("/api/v1/x")
    assert next(answer.pieces) == b"a"
    assert next(answer.pieces) == b"b"
    with pytest.raises(Broken):
        next(answer.pieces)


# ── over real sockets ────────────────────────────────────────────────────────────────────────


class Handler(BaseHTTPRequestHandler):
    """Answers by path: whole, in chunks, broken off, redirected."""

    protocol_version = "HTTP/1.1"
    go_on = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\none\r\n")
            self.wfile.flush()
            assert self.go_on.wait(20), "nobody read the first piece"
            self.wfile.write(b"3\r\ntwo\r\n")
            self.wfile.flush()
            self.close_connection = True
        elif self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "https://elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            body = b'{"agent": "%s"}' % self.headers["User-Agent"].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_real_server_is_asked(url: str) -> None:
    transport = Transport(url)
    assert transport.call("GET", "/x", dict)["agent"].startswith("fluxhive/")
    with pytest.raises(errors.RemoteError) as caught:
        transport.call("GET", "/redirect", dict)
    assert "https://elsewhere" in (caught.value.hint or "")
    transport.close()


def test_a_piece_is_there_before_the_next_is_sent_and_a_cut_is_noticed(url: str) -> None:
    Handler.go_on.clear()
    transport = Transport(url)
    answer = transport.stream("/chunks")
    assert next(answer.pieces) == b"one"
    Handler.go_on.set()
    assert next(answer.pieces) == b"two"
    with pytest.raises(Broken):  # the last chunk, of length 0, never came
        next(answer.pieces)
    answer.close()
    transport.close()


def test_a_port_where_nobody_listens_is_said_in_words() -> None:
    transport = Transport("http://127.0.0.1:1", sleep=lambda _: None)
    with pytest.raises(errors.Unreachable, match="connection refused"):
        transport.call("GET", "/x", dict)


def test_a_server_without_tls_is_told_from_one_that_is_not_trusted(url: str) -> None:
    secure = url.replace("http:", "https:")
    with pytest.raises(errors.Unreachable, match="does not speak https") as caught:
        Transport(secure).call("GET", "/x", dict)
    assert (caught.value.hint or "").endswith(f"its address is {url}")


def test_a_proxy_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(errors.Unreachable) as caught:
        Transport("http://hive:8001", sleep=lambda _: None).call("GET", "/x", dict)
    assert "(the proxy http://127.0.0.1:1 failed: connection refused)" in caught.value.text
    assert (caught.value.hint or "").endswith("export no_proxy=hive")


def test_a_file_of_certificates_that_is_missing_is_named() -> None:
    transport = Transport("https://127.0.0.1:1", ca_file="/no/such.pem")
    with pytest.raises(errors.InputError, match=r"/no/such\.pem"):
        transport.call("GET", "/x", dict)


def test_a_proxy_is_used_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside")
    assert proxy_for("http://hive:8001") == "http://proxy:3128"
    assert proxy_for("http://inside:8001") is None
    assert proxy_for("http://127.0.0.1:8001") is None
    assert proxy_for("http://localhost:8001") is None
