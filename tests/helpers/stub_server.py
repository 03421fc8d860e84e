"""A control server of canned answers behind the transport's two-method port: no socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from fluxhive.transport import Answer, Broken, Request

Route = Callable[[Request], Answer]


class StubServer:
    """Answers by (method, path below /api/v1); remembers what it was asked."""

    def __init__(self) -> None:
        self.routes: dict[tuple[str, str], list[Route]] = {}
        self.asked: list[Request] = []

    def on(self, method: str, path: str, *answers: object, status: int = 200) -> None:
        """These answers, one after the other, the last again and again."""
        self.routes[method, path] = [
            answer if callable(answer) else json_answer(answer, status) for answer in answers
        ]

    def send(self, request: Request) -> Answer:
        self.asked.append(request)
        path = urlsplit(request.url).path.partition("/api/v1")[2]
        if path == "/tasks/bulk":
            return json_answer(self._bulk(msgspec.json.decode(request.body or b"")))(request)
        routes = self.routes.get((request.method, path))
        if routes is None:
            problem = {"title": "Not found", "status": 404, "detail": f"nothing at {path}"}
            return problem_answer(problem, 404)(request)
        return (routes.pop(0) if len(routes) > 1 else routes[0])(request)

    def _bulk(self, asked: Any) -> dict[str, object]:
        """What the route of each single task says, together."""
        results: list[dict[str, object]] = []
        for name in asked["ids"]:
            url = f"http://hive.test/api/v1/tasks/{name}/{asked['action']}"
            answer = self.send(Request("POST", url, {}))
            told = msgspec.json.decode(b"".join(answer.pieces))
            is_done = answer.status == 200
            results.append({"id": name, "ok": is_done, ("task" if is_done else "problem"): told})
        return {"results": results}

    def close(self) -> None:
        return

    def bodies(self, method: str, path: str) -> list[dict[str, object]]:
        """The JSON bodies that were sent there."""
        return [
            msgspec.json.decode(request.body or b"null")
            for request in self.asked
            if request.method == method and urlsplit(request.url).path.endswith(path)
        ]

    def queries(self, path: str) -> list[dict[str, str]]:
        """The query parameters that were sent there."""
        found = [urlsplit(request.url) for request in self.asked]
        return [
            {name: values[0] for name, values in parse_qs(url.query).items()}
            for url in found
            if url.path.endswith(path)
        ]


def json_answer(body: object, status: int = 200) -> Route:
    data = msgspec.json.encode(body)
    return lambda _: _answer(status, {"content-type": "application/json"}, [data])


def problem_answer(body: object, status: int, headers: dict[str, str] | None = None) -> Route:
    data = msgspec.json.encode(body)
    kind = {"content-type": "application/problem+json", **(headers or {})}
    return lambda _: _answer(status, kind, [data])


def bytes_answer(data: bytes, headers: dict[str, str]) -> Route:
    return lambda _: _answer(200, headers, [data])


def stream_answer(*pieces: bytes, breaks: bool = False) -> Route:
    """Server-sent events in these pieces; `breaks`: the connection is lost after the last."""
    return lambda _: _answer(200, {"content-type": "text/event-stream"}, list(pieces), breaks)


def failing(error: Exception) -> Route:
    def fail(_: Request) -> Answer:
        raise error

    return fail


def event(kind: str, body: object) -> bytes:
    """One server-sent event."""
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"


def _answer(
    status: int, headers: dict[str, str], pieces: list[bytes], breaks: bool = False
) -> Answer:
    def given() -> Iterator[bytes]:
        yield from pieces
        if breaks:
            raise Broken("connection reset by peer")

    return Answer(status, headers, given(), lambda: None)
