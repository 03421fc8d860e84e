"""What a page of the dashboard asks first, answered in the page itself.

A browser far away would else wait for the script, then for each answer. The answers are the API's
own, asked inside as the person whose cookie the browser brought; without one, or where a page of
another site asks, there are none, and the script asks as ever, as it does for each answer that
fails or takes long: the page always comes to its end. They hold the hive's state: the page is never
kept (``Cache-Control: no-store``).
"""

from __future__ import annotations

import logging
import re
from urllib.parse import urlencode

import anyio
import msgspec
from starlette.requests import Request
from starlette.types import Message

from fluxhive.core.errors import AuthError

from . import request_ids
from .auth import Caller
from .browser import check_own_page, session_text
from .services import Services, services_of

log = logging.getLogger(__name__)

API = "/api/v1"
#: A longer one is asked for by the script: it would hold up the page.
ANSWER_BYTES_MAX = 256 * 1024
#: What takes longer is asked for by the script, too: the rest of the page is held up no more.
ANSWERED_WITHIN_S = 2.0
#: Ids, names and what else a task is called in an address without being escaped.
_TASK = re.compile(r"t/([A-Za-z0-9_-]{1,60})(?:/log)?")
#: The same figures as in ``web/src/pages/overview``; another question is merely asked again.
_MINE_SHOWN, _QUEUE_SHOWN, _FAILED_SHOWN, _PAGE_TASKS = 12, 10, 8, 200
_HOUR_MS = 3_600_000


def who_asks(request: Request) -> Caller | None:
    """Who is signed in, where a page of this very server or the person asks."""
    text = session_text(request.scope)
    if text is None:
        return None
    try:
        check_own_page(request.scope)
        return services_of(request).auth.caller_of_session(text)
    except AuthError:
        return None


async def first_answers(request: Request, view: str, caller: Caller | None) -> bytes:
    """A JSON object for a data block of the page: ``answers`` by address, and ``live``, from where
    on the channel tells what changes. Empty for who is not signed in."""
    if caller is None:
        return b"{}"
    services = services_of(request)
    # Taken before the answers: what changes meanwhile is told again rather than never.
    live = {"since": services.live.seq, "boot": services.live.boot}
    answers: dict[str, msgspec.Raw] = {}

    async def ask(address: str) -> None:
        try:
            found = await _ask(request, caller, address)
        except Exception:  # supervisor: the page comes to its end; its script is told what failed
            extra = {"request": request_ids.current()}
            log.exception("no first answer for %s", address, extra=extra)
            return
        if found is not None and len(found) <= ANSWER_BYTES_MAX:
            answers[address] = msgspec.Raw(found)

    with anyio.move_on_after(ANSWERED_WITHIN_S):
        async with anyio.create_task_group() as group:
            for address in addresses_of(view, request.url.query, caller, services):
                group.start_soon(ask, address)
    # In a data block nothing but the end of the block has a meaning (HTML, "script data state").
    return msgspec.json.encode({"live": live, "answers": answers}).replace(b"<", b"\\u003c")


def addresses_of(view: str, query: str, caller: Caller, services: Services) -> list[str]:
    """What the page at this address asks first, as its script writes it."""
    addresses = [f"{API}/auth/me"]
    if view == "":
        now_ms = services.hive.clock.now_ms()
        since_ms = (now_ms - 24 * _HOUR_MS) // _HOUR_MS * _HOUR_MS
        mine = {"owner": caller.username}
        addresses += [
            f"{API}/nodes",
            f"{API}/summary",
            _tasks(state="active", limit=1000, brief="true"),
            _tasks(**mine, state="active", limit=_MINE_SHOWN, brief="true"),
            _tasks(**mine, limit=_MINE_SHOWN, brief="true"),
            _tasks(order="queue", limit=_QUEUE_SHOWN, brief="true"),
            _tasks(
                state="failed", since_ms=since_ms, limit=_FAILED_SHOWN, order="ended", brief="true"
            ),
        ]
    elif view == "tasks" and not query:
        addresses += [_tasks(offset=0, limit=n, brief="true") for n in (_PAGE_TASKS, 1)]
    elif view in ("nodes", "gpus") or view.startswith("nodes/"):
        addresses += [f"{API}/nodes"]
    elif found := _TASK.fullmatch(view):
        addresses += [f"{API}/tasks/{found[1]}"]
    return addresses


def _tasks(**choice: str | int) -> str:
    return f"{API}/tasks?{urlencode(choice)}"


async def _ask(request: Request, caller: Caller, address: str) -> bytes | None:
    """An answer of the API to this caller; None: it is not what was hoped for."""
    path, _, query = address.partition("?")
    scope = {
        **request.scope,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [],
        "state": {**request.scope.get("state", {}), "caller": caller},
    }
    for made_by_the_first_route in ("endpoint", "path_params", "route"):
        scope.pop(made_by_the_first_route, None)
    status, parts = 0, []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await request.app.router(scope, receive, send)
    return b"".join(parts) if status == 200 else None
