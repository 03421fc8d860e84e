"""One worker thread for what a disk may keep waiting: in order, one thing at a time.

As ``anyio.to_thread`` with a limiter of one, at half its price; the journal needs it twice a task.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_Done = Callable[[Any, BaseException | None], None]
_Work = tuple[Callable[[], Any], asyncio.AbstractEventLoop, _Done]
CLOSE_S = 10.0


class DiskThread:
    """Started by the first ``run``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. Cancelled while it is under way, it is still done."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.begin(work, partial(_settle, future))
        return await future

    def begin(
        self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """The same without a task that waits: ``done`` is called in the loop, with what it returned
        or with what it raised."""
        if self._thread is None:
            # A daemon: a disk that never answers must not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._queue.put((work, asyncio.get_running_loop(), done))

    def close(self) -> None:
        """Waits a while for what is under way."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            work, loop, done = item
            result: Any = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as raised:  # handed to whoever waits for it
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(done, result, error)


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
