"""A wake-up for one waiter: rung any number of times, heard once, used again and again.

An ``anyio.Event`` would do, but has to be made anew for each wait, and a time limit around it costs
a cancel scope: together a fifth of what the agent spends on a task. The agent runs on asyncio in
any case (its WebSocket does).
"""

from __future__ import annotations

import asyncio


class Bell:
    """Belongs to the loop's thread; at most one task waits at a time."""

    def __init__(self) -> None:
        self._is_rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wakes the waiter, or whoever waits next."""
        self._is_rung = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self, limit_s: float | None = None) -> None:
        """Returns when it was rung since the last wait, or after ``limit_s`` seconds."""
        if not self._is_rung and (limit_s is None or limit_s > 0):
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiter = waiter
            timer = None if limit_s is None else loop.call_later(limit_s, _wake, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        self._is_rung = False


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
