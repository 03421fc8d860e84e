"""One worker thread for what a disk may keep waiting: in order, one thing at a time.

As ``anyio.to_thread`` with a limiter of one, at half its price; the journal needs it twice a task.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_Work = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
CLOSE_S = 10.0


class DiskThread:
    """Started by the first ``run``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. Cancelled while it is under way, it is still done."""
        if self._thread is None:
            # A daemon: a disk that never answers must not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((work, loop, future))
        return await future

    def close(self) -> None:
        """Waits a while for what is under way."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_S)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            work, loop, future = item
            result: Any = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as raised:  # handed to whoever waits for it
                error = raised
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
