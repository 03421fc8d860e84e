"""`fluxhive top`: GPUs and tasks, live, on a terminal."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable

import click

from fluxhive.cli import messages, options, output, session, show
from fluxhive.cli.columns import terminal_width
from fluxhive.cli.top_bar import ASCII, UNICODE, Glyphs
from fluxhive.cli.top_live import Live
from fluxhive.cli.top_model import Facts, Model, Wish
from fluxhive.cli.top_terminal import opened, styled
from fluxhive.cli.top_view import draw
from fluxhive.core.errors import FluxhiveError, InputError, NotFound
from fluxhive.core.progress import fold
from fluxhive.core.task import TaskState
from fluxhive.protocol.summary import Summary
from fluxhive.sdk import tasks as of_tasks
from fluxhive.sdk.calls import API, Calls

INTERVAL_S = 2.0
INTERVAL_S_MIN = 0.5
#: While the server tells what happens: how often that is shown, and how often all is read anew.
TOLD_S = 0.5
READ_S = 30.0
RECENT_MS = 600_000
#: Tasks that are read: those that run, and beside them the newest that wait or ended lately.
ACTIVE_MAX, OTHERS_MAX = 1000, 200
OUTPUT_TAIL_BYTES = 64 << 10
#: Lines of the one page that is printed where there is no terminal.
PAGE_LINES = 200


@click.command()
@click.option(
    "--interval",
    type=click.FloatRange(min=INTERVAL_S_MIN),
    default=INTERVAL_S,
    show_default=True,
    metavar="SECONDS",
    help="How often to ask the server, beside what it tells.",
)
@click.option("--once", "is_once", is_flag=True, help="Print it once and end.")
@click.option("--ascii", "is_ascii", is_flag=True, help="Draw bars with ASCII characters alone.")
@options.control_url
def command(*, interval: float, is_once: bool, is_ascii: bool, control_url: str | None) -> int:
    """Show GPUs and tasks, live. `?` tells the keys, `q` quits.

    A bar is a GPU's memory: what tasks use, in their owner's colour; what is reserved for them;
    what others use; what is free. Where output is no terminal it is printed once.
    """
    client = session.client(control_url)
    glyphs = ASCII if is_ascii or not _has_unicode() else UNICODE
    user = client.me().username
    if is_once or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        _print_once(read(client, user), glyphs)
        return 0
    if not sys.stdin.isatty() or sys.platform == "win32":
        raise InputError(
            "`top` needs a terminal for its keys",
            hint="`fluxhive top --once` prints it once, `fluxhive gpus --watch` again and again",
        )
    Top(client, user, glyphs, interval).run()
    return 0


def read(client: Calls, user: str) -> Facts:
    """What the server says now."""
    now_ms = int(time.time() * 1000)
    nodes = client.nodes()
    active = list(client.tasks(state=TaskState.ACTIVE, limit=ACTIVE_MAX))
    others = list(client.tasks(since_ms=now_ms - RECENT_MS, limit=OTHERS_MAX))
    found = {task.id: task for task in [*active, *others]}
    return Facts(
        nodes=nodes,
        tasks=tuple(found.values()),
        user=user,
        url=client.url,
        now_ms=now_ms,
        summary=_summary(client),
    )


def _summary(client: Calls) -> Summary | None:
    try:
        return client.transport.call("GET", f"{API}/summary", Summary)
    except NotFound:
        return None  # an older server


class Top:
    """The live view: one thread asks the server, one is told, this one draws and takes keys."""

    def __init__(self, client: Calls, user: str, glyphs: Glyphs, interval_s: float) -> None:
        self._client = client
        self._user = user
        self._glyphs = glyphs
        self._interval_s = interval_s
        self._model = Model()
        self._lock = threading.Lock()
        self._news: list[Callable[[], None]] = []
        self._wake_read, self._wake_write = os.pipe()
        self._ask_now = threading.Event()
        self._is_over = False
        self._live = Live()
        self._facts: Facts | None = None
        self._asked_at_s = self._counted_at_s = -math.inf
        self._is_counted = True

    def run(self) -> None:
        """Until `q`."""
        asker = threading.Thread(target=self._ask_always, name="top", daemon=True)
        asker.start()
        told = (self._client.transport,)
        threading.Thread(target=self._live.listen, args=told, name="told", daemon=True).start()
        is_coloured = messages.has_colour(sys.stdout)
        with opened(self._wake_read) as screen:
            while True:
                with self._lock:
                    news, self._news = self._news, []
                for tell in news:
                    tell()
                screen.draw(draw(self._model, *screen.size, self._glyphs), is_coloured=is_coloured)
                for key in screen.pressed():
                    wish = self._model.press(key)
                    if wish is not None and wish.verb == "quit":
                        self._is_over = True
                        return
                    if wish is not None:
                        threading.Thread(target=self._do, args=(wish,), daemon=True).start()

    def _ask_always(self) -> None:
        while not self._is_over:
            self._try(self._refresh)
            if self._ask_now.wait(min(TOLD_S, self._interval_s)):
                self._asked_at_s = -math.inf
            self._ask_now.clear()

    def _refresh(self) -> None:
        now_s, known, live = time.monotonic(), self._facts, self._live
        is_told = live.is_on and known is not None and not live.has_missed
        if now_s - self._asked_at_s >= (
            max(READ_S, self._interval_s) if is_told else self._interval_s
        ):
            self._asked_at_s, self._is_counted = now_s, True
            self._facts = None  # if this fails, all is read when it does not
            live.forget()
            self._facts = read(self._client, self._user)
        elif known is None or not is_told:
            return
        else:
            self._facts, is_changed = live.applied(known)
            self._is_counted &= not is_changed
            if not self._is_counted and now_s - self._counted_at_s >= self._interval_s:
                self._facts = self._facts._replace(summary=_summary(self._client))
                self._counted_at_s, self._is_counted = now_s, True
        facts = self._facts
        self._tell(lambda: self._model.refresh(facts))

    def _do(self, wish: Wish) -> None:
        self._try(lambda: self._carry_out(wish))

    def _carry_out(self, wish: Wish) -> None:
        """What a key wished for. May wait for the server."""
        if wish.verb == "cancel":
            task = self._client.cancel(wish.task_id)
            self._note(f"{task.id} is {task.word}")
            self._ask_now.set()
            return
        task = self._client.task(wish.task_id)
        if wish.verb == "logs":
            title, lines = f"end of the output of {task.id}", output_tail(self._client, task.id)
        else:
            title = f"{task.id} {task.name}"
            lines = output.aligned(show.facts(task, []))
        self._tell(lambda: self._model.show_text(title, lines))

    def _try(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except FluxhiveError as error:
            text = error.text
            if threading.current_thread().name == "top":
                self._tell(lambda: setattr(self._model, "trouble", text))
            else:
                self._note(text)

    def _note(self, text: str) -> None:
        self._tell(lambda: setattr(self._model, "note", text))

    def _tell(self, tell: Callable[[], None]) -> None:
        """Has the drawing thread do it, soon."""
        with self._lock:
            self._news.append(tell)
        os.write(self._wake_write, b".")


def output_tail(client: Calls, task_id: str) -> list[str]:
    """The last lines of a task's output, then of its errors."""
    if of_tasks.last_attempt(client.task(task_id)) is None:
        return ["it has not run yet"]
    lines: list[str] = []
    for stream in ("stdout", "stderr"):
        piece = client.logs(task_id, stream, tail_bytes=OUTPUT_TAIL_BYTES)
        if piece.data:
            lines += [f"── {stream} ──", *fold(piece.data.decode("utf-8", "replace")).splitlines()]
    return lines or ["it has written nothing yet"]


def _print_once(facts: Facts, glyphs: Glyphs) -> None:
    model = Model()
    model.refresh(facts)
    model.selected = ""
    lines = draw(model, terminal_width(), PAGE_LINES, glyphs)[:-1]
    while lines and not lines[-1]:
        lines.pop()
    is_coloured = messages.has_colour(sys.stdout)
    output.lines(styled(line, is_coloured=is_coloured).rstrip() for line in lines)


def _has_unicode() -> bool:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return encoding == "utf8"
