"""When the streams of a node are looked at: at once after a quiet time, else by the clock.

A stream that was read to its end is left to inotify, and what its task writes after a quiet time is
read at once. What follows closely is bunched: each time the next look is twice as far away, up to
``POLL_S``. All looks by the clock lie on one grid of times, so that many streams share a round and
a flood costs the same however it comes. Streams that wake the node too often, all together, are
looked at by the clock alone for a while. Belongs to the loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from .bell import Bell
from .inotify import Inotify
from .log_stream import Stream

#: Between two looks by the clock, at most.
POLL_S = 0.025
#: The first of the bunches is a sixteenth of that, each further one twice the one before.
STEPS = 5
#: What is written so long after the last read has not followed closely.
QUIET_S = 0.010
#: By the clock alone, a stream that did not grow for so many looks is left to inotify.
QUIET_POLLS = 8
#: So often in a second all streams together may be looked at between the clock's times.
HURRIES_MAX = 150
#: Then by the clock alone for so long, twice as long each time it comes again at once.
CALM_S_MIN, CALM_S_MAX = 1.0, 16.0


class Haste:
    """Whether a look may come before the clock's time; pure, times in seconds."""

    def __init__(self) -> None:
        self._second_s = 0.0
        self._n = 0
        self._calm_until_s = -CALM_S_MAX
        self._calm_s = CALM_S_MIN

    def is_off(self, now_s: float) -> bool:
        """Whether all is looked at by the clock."""
        return now_s < self._calm_until_s

    def may(self, now_s: float) -> bool:
        """Counts a look that would come early; False: it waits for the clock."""
        if self.is_off(now_s):
            return False
        if now_s - self._second_s >= 1.0:
            self._second_s, self._n = now_s, 0
        self._n += 1
        if self._n <= HURRIES_MAX:
            return True
        is_again = now_s - self._calm_until_s < 2.0
        self._calm_s = min(self._calm_s * 2, CALM_S_MAX) if is_again else CALM_S_MIN
        self._calm_until_s = now_s + self._calm_s
        return False


class LogWatch:
    """See the module's docstring. ``on_growth`` is called with each stream that has grown."""

    def __init__(
        self,
        on_growth: Callable[[Stream], None],
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_growth = on_growth
        self._clock_s = clock_s
        #: Nothing is looked at meanwhile.
        self.is_paused = True
        #: Looked at by the clock, each from its ``rests_until`` on.
        self.hot: dict[Stream, None] = {}
        self.inotify = Inotify()
        self._watched: dict[int, Stream] = {}
        self._haste = Haste()
        self._bell = Bell()

    def heat(self, stream: Stream, *, at_s: float = 0.0) -> None:
        """It is looked at, from this time on."""
        stream.quiet = 0
        stream.rests_until = at_s
        self._unwatch(stream)
        self.hot[stream] = None
        self._bell.ring()

    def caught_up(self, stream: Stream) -> None:
        """It was read to its end."""
        now_s = stream.read_at = self._clock_s()
        stream.quiet = 0
        if stream.step < STEPS and not self._haste.is_off(now_s) and self._leave(stream):
            return
        self.heat(stream, at_s=_on_grid(now_s, STEPS))

    def drop(self, stream: Stream) -> None:
        """It is not looked at any more."""
        self.hot.pop(stream, None)
        self._unwatch(stream)

    def look(self) -> None:
        """Looks at those whose time has come, or whose task has spoken after a quiet time."""
        now_s = self._clock_s()
        self._take_fired(now_s)
        if self.is_paused:
            return
        for stream in list(self.hot):
            if now_s < stream.rests_until:
                continue
            if stream.size() > stream.sent:
                del self.hot[stream]
                self._on_growth(stream)
                continue
            stream.quiet += 1
            is_quiet = stream.quiet >= QUIET_POLLS
            if (is_quiet or not self._haste.is_off(now_s)) and self._leave(stream):
                continue
            stream.rests_until = _on_grid(now_s, STEPS)
            if is_quiet:
                stream.quiet = 0
                stream.rests_until = now_s + POLL_S * QUIET_POLLS

    def sweep(self, streams: list[Stream]) -> None:
        """Finds those among them that grew without a notification."""
        for stream in streams:
            if stream.watch is not None and stream.size() > stream.sent:
                self.heat(stream)

    async def run(self) -> None:
        """Looks until cancelled."""
        loop = asyncio.get_running_loop()
        handle = self.inotify.fileno()
        if handle >= 0:
            loop.add_reader(handle, self._bell.ring)
        try:
            while True:
                await self._bell.wait(self._pause_s())
                self.look()
        finally:
            if handle >= 0:
                loop.remove_reader(handle)

    def close(self) -> None:
        """Frees its descriptor."""
        self.inotify.close()

    def _pause_s(self) -> float | None:
        if self.is_paused or not self.hot:
            return None
        return max(0.0, min([stream.rests_until for stream in self.hot]) - self._clock_s())

    def _take_fired(self, now_s: float) -> None:
        if not self.inotify.is_available:
            return
        for watch in self.inotify.fired():
            stream = self._watched.pop(watch, None)
            if stream is not None:
                stream.watch = None
                self._spoke(stream, now_s)

    def _spoke(self, stream: Stream, now_s: float) -> None:
        """Its task has written after it was read to its end."""
        follows_closely = now_s - stream.read_at < QUIET_S
        stream.step = min(stream.step + 1, STEPS) if follows_closely else 0
        if stream.step == STEPS or not self._haste.may(now_s):
            self.heat(stream, at_s=_on_grid(now_s, STEPS))
        else:
            self.heat(stream, at_s=_on_grid(now_s, stream.step) if follows_closely else 0.0)

    def _leave(self, stream: Stream) -> bool:
        """Leaves a stream to inotify; False where it cannot watch it."""
        watch = self.inotify.watch(stream.file.path)
        if watch is None:
            return False
        stream.watch = watch
        self._watched[watch] = stream
        self.hot.pop(stream, None)
        # It may have been written to between the look and the watch.
        if stream.size() > stream.sent:
            self._unwatch(stream)
            self._spoke(stream, self._clock_s())
        return True

    def _unwatch(self, stream: Stream) -> None:
        if stream.watch is not None:
            self.inotify.unwatch(stream.watch)
            self._watched.pop(stream.watch, None)
            stream.watch = None


def _on_grid(now_s: float, step: int) -> float:
    """The next time at which streams of this step are looked at."""
    gap_s = POLL_S / (1 << (STEPS - step))
    return (now_s // gap_s + 1) * gap_s
