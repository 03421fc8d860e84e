"""What happens when in a simulated world: a heap of actions in the order of their time.

Ties go by the order in which they were noted, so that the same seed is the same history.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from fluxhive.core.values import Ms


class Agenda:
    """Actions and their times; ``now_ms`` moves from one to the next."""

    def __init__(self, start_ms: Ms = 0) -> None:
        self.now_ms: Ms = start_ms
        #: How many actions were carried out.
        self.n_done = 0
        self._n_noted = 0
        self._heap: list[tuple[Ms, int, Callable[..., None], tuple[Any, ...]]] = []

    def __len__(self) -> int:
        """How many actions are still to come."""
        return len(self._heap)

    def at(self, at_ms: Ms, action: Callable[..., None], *arguments: Any) -> None:
        """Carry the action out at that time; at once when that is past."""
        self._n_noted += 1
        heappush(self._heap, (max(at_ms, self.now_ms), self._n_noted, action, arguments))

    def after(self, delay_ms: Ms, action: Callable[..., None], *arguments: Any) -> None:
        """Carry the action out so much later."""
        self.at(self.now_ms + delay_ms, action, *arguments)

    def next_at_ms(self) -> Ms | None:
        """When the next action is due; None when there is none."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> bool:
        """Carries the next action out; False when there is none."""
        if not self._heap:
            return False
        self.now_ms, _, action, arguments = heappop(self._heap)
        self.n_done += 1
        action(*arguments)
        return True
