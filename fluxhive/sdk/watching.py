"""Waits for many tasks at once: one connection to the server's feed, told to whoever waits.

A thread reads the feed. What ended while it was not connected is found by asking for it: after each
connection, all that is waited for is looked at once.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

import msgspec

from fluxhive.core.array import split_member
from fluxhive.core.errors import FluxhiveError, NotFound, RemoteError, Unreachable
from fluxhive.protocol.feed import TaskChanged
from fluxhive.protocol.rest import TaskView
from fluxhive.transport import Broken

from . import sse
from .calls import API, Calls
from .follow import PATIENCE_S, PAUSE_FIRST_S, PAUSE_MAX_S

log = logging.getLogger(__name__)

#: Ends that came before anybody waited for them, such as of a task whose submission was just
#: answered.
SEEN_MAX = 10_000

#: Told how a task stands at each change; once more with an error when nothing can be known.
Told = Callable[[TaskView | FluxhiveError], None]


class Watcher:
    """All that is waited for at one server. See the module's docstring."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Told]] = {}
        self._ended: OrderedDict[str, TaskView] = OrderedDict()
        self._is_connected = threading.Event()
        self._thread: threading.Thread | None = None
        #: Counts connections, and what was forgotten: an end may have been missed in between.
        self._connection = 0

    def begin(self) -> int:
        """Connects, if it is not. The number of the connection is given to ``add``."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="fluxhive-watcher", daemon=True
                )
                self._thread.start()
        self._is_connected.wait(10)  # without it, everything is looked at in its time
        return self._connection

    def add(self, task_id: str, told: Told, *, since: int | None = None) -> None:
        """Tells of a task until it has ended. ``since``: what ``begin`` gave before it was made."""
        with self._lock:
            self._waiting.setdefault(task_id, []).append(told)
            ended = self._ended.get(task_id)
            is_sure = since is not None and since == self._connection
        if ended is not None:
            self._tell(ended)
        elif not is_sure:
            self.begin()
            self._look(task_id)

    def _look(self, task_id: str) -> None:
        try:
            self._tell(self._calls.task(task_id))
        except NotFound as error:
            self._give_up([task_id], error)
        except (Unreachable, RemoteError):
            return  # the next connection looks again

    def _tell(self, view: TaskView) -> None:
        is_final = view.state.is_final
        with self._lock:
            told = list(self._waiting.get(view.id, ()))
            if is_final:
                self._waiting.pop(view.id, None)
                self._ended[view.id] = view
                if len(self._ended) > SEEN_MAX:
                    self._ended.popitem(last=False)
                    self._connection += 1  # whoever adds a task of before has to look
        for each in told:
            each(view)
        if is_final and view.spec.array is not None:
            # What never left the queue has no change of its own.
            for task_id in self._members_of(view.id):
                self._look(task_id)

    def _members_of(self, array_id: str) -> list[str]:
        with self._lock:
            waiting = list(self._waiting)
        return [each for each in waiting if (split_member(each) or ("", 0))[0] == array_id]

    def _give_up(self, task_ids: list[str], error: FluxhiveError) -> None:
        with self._lock:
            told = [each for task_id in task_ids for each in self._waiting.pop(task_id, ())]
        for each in told:
            each(error)

    # ── the thread ───────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        pause_s, lost_at_s = PAUSE_FIRST_S, time.monotonic()
        while True:
            try:
                for _ in self._one_connection():
                    pause_s, lost_at_s = PAUSE_FIRST_S, time.monotonic()
                if self._may_end():
                    return
                continue
            except (Broken, Unreachable, RemoteError) as error:
                problem = Unreachable(
                    f"no contact with {self._calls.url}: {error}",
                    hint="the tasks go on without us; ask for them again later",
                )
            except FluxhiveError as error:
                problem = Unreachable(error.text, hint=error.hint)
                lost_at_s = 0.0  # the token is refused: nothing mends by waiting
            self._is_connected.clear()
            if time.monotonic() - lost_at_s > PATIENCE_S:
                self._give_up(list(self._waiting), problem)
            if self._may_end():
                return
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _may_end(self) -> bool:
        with self._lock:
            if self._waiting:
                return False
            self._thread = None
            self._is_connected.clear()
            return True

    def _one_connection(self) -> Iterator[None]:
        """What comes on one connection, an item an event; ends when nobody waits any more.

        Raises ``Broken`` when the connection is lost.
        """
        answer = self._calls.transport.stream(f"{API}/events", accept="text/event-stream")
        try:
            pieces = iter(answer.pieces)
            first = next(pieces)  # from here on nothing is missed
            with self._lock:
                self._connection += 1
                self._ended.clear()
                waiting = list(self._waiting)
            self._is_connected.set()
            for task_id in waiting:
                self._look(task_id)
            for event in sse.events(itertools.chain((first,), pieces)):
                yield
                if event.kind == "task-changed":
                    self._tell(msgspec.json.decode(event.data, type=TaskChanged).task)
                elif event.kind == "lagged":
                    return  # too much was missed: begin anew
                elif event.kind == "alive" and not self._waiting:
                    return
            raise Broken("the server closed the connection")
        except StopIteration:
            raise Broken("the server closed the connection") from None
        except msgspec.DecodeError as error:
            raise RemoteError(f"the feed cannot be understood: {error}") from error
        finally:
            answer.close()


_lock = threading.Lock()


def watcher_of(calls: Calls) -> Watcher:
    """The one watcher of a client."""
    with _lock:
        if calls.watcher is None:
            calls.watcher = Watcher(calls)
        return calls.watcher
