"""The rank of a line in the queue: an integer, lower goes first; equal ranks go by submission.

With ``hive``, the score is a product: class, the user's and the project's share, and the response
ratio, which grows with the time waited against the time needed. It ages by itself, the short go
before the long, and nobody starves: whatever waits long enough overtakes everything that comes
fresh, of any class. Floats are used inside and rounded before anything is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from .fairshare import Accounts, project_key, user_key
from .learning import Expected
from .lines import Line, LineKey, Place
from .policy import DAY_MS, Order, Policy
from .request import Request
from .values import Ms

#: Each class counts sixteen times the one below it.
CLASS_BOOST = {0: 2.0**8, 1: 2.0**4, 2: 1.0, 3: 2.0**-4}
#: Ranks are compared as integers of this grain.
_GRAIN = 2**20
#: Classes lie further apart than anything within one, for orders that go by class first.
_CLASS_STEP = 2**60
#: Time that counts as much as a whole share, with ``fair``.
_FAIR_AGE_MS = 14 * DAY_MS


class Ranking:
    """The factors as of one moment; made anew for each ranking of the queue."""

    def __init__(self, policy: Policy, accounts: Accounts, now_ms: Ms) -> None:
        self._policy = policy
        self._now_ms = now_ms
        weighs = policy.order in (Order.HIVE, Order.FAIR)
        self._users = accounts.factors("user:", now_ms) if weighs else {}
        self._projects = accounts.factors("project:", now_ms) if weighs else {}
        self._factors: dict[tuple[str, str], float] = {}

    def share_factor(self, owner: str, project: str) -> float:
        """At most 1: how far user and project stay within their shares."""
        pair = owner, project
        if pair not in self._factors:
            policy = self._policy
            user = self._users.get(user_key(owner), 1.0)
            of_project = self._projects.get(project_key(project), 1.0)
            self._factors[pair] = float(
                user**policy.user_exponent * of_project**policy.project_exponent
            )
        return self._factors[pair]

    def rank(self, line: Line) -> int:
        """Of the line's head as of now."""
        head = line.head
        assert head is not None, "a line of the queue is empty"
        if self._policy.order is Order.HIVE:
            return self._score(line, head)
        return self.rank_of(line.key, line.need.expected, head.submitted_at_ms)

    def rank_all(self, lines: Iterable[Line]) -> None:
        """Of many lines' heads as of now."""
        for line in lines:
            line.rank = self.rank(line)

    def _score(self, line: Line, head: Place) -> int:
        """As ``rank_of`` with ``hive``, by what the line keeps."""
        key = line.key
        pair = key.owner, key.project
        factor = self._factors.get(pair)
        if factor is None:
            factor = self.share_factor(*pair)
        ratio = 1.0 + (self._now_ms - head.submitted_at_ms) / line.stretch_ms
        return -int(CLASS_BOOST[key.priority] * factor * ratio * _GRAIN)

    def rank_of(self, key: LineKey, expected: Expected, submitted_at_ms: Ms) -> int:
        """Of a task of this line, submitted then."""
        waited_ms = self._now_ms - submitted_at_ms
        order = self._policy.order
        if order is Order.FIFO:
            return key.priority
        if order is Order.HIVE:
            factor = self.share_factor(key.owner, key.project)
            ratio = response_ratio(self._policy, key.request, expected, waited_ms)
            return -int(CLASS_BOOST[key.priority] * factor * ratio * _GRAIN)
        if order is Order.FAIR:
            within = self.share_factor(key.owner, key.project) + waited_ms / _FAIR_AGE_MS
            return key.priority * _CLASS_STEP - int(within * _GRAIN)
        work = expected.duration_ms * n_gpus(key.request)
        return key.priority * _CLASS_STEP + int(work - self._policy.sjf_aging * waited_ms)

    def of_line(self, key: LineKey, expected: Expected) -> Callable[[Ms], int]:
        """``rank_of`` for many tasks of one line: by when they were submitted."""
        if self._policy.order is not Order.HIVE:
            return partial(self.rank_of, key, expected)
        factor = CLASS_BOOST[key.priority] * self.share_factor(key.owner, key.project)
        stretch, now_ms = stretch_ms(self._policy, key.request, expected), self._now_ms

        def rank(submitted_at_ms: Ms) -> int:
            return -int(factor * (1.0 + (now_ms - submitted_at_ms) / stretch) * _GRAIN)

        return rank

    def rank_per_ms(self, key: LineKey, expected: Expected) -> float:
        """By how much such a task's rank changes while it waits, against who does not age."""
        if self._policy.order is not Order.HIVE:
            return 0.0  # All change alike, or none does.
        factor = self.share_factor(key.owner, key.project)
        stretch = stretch_ms(self._policy, key.request, expected)
        return -CLASS_BOOST[key.priority] * factor * _GRAIN / stretch


def response_ratio(policy: Policy, request: Request, expected: Expected, waited_ms: Ms) -> float:
    """1 for who just came; doubles when he has waited as long as he needs."""
    return 1.0 + waited_ms / stretch_ms(policy, request, expected)


def stretch_ms(policy: Policy, request: Request, expected: Expected) -> float:
    """After waiting for so long a task counts twice as much as when it came."""
    scale: float = n_gpus(request) ** policy.gpus_exponent
    return expected.duration_ms * scale + policy.ratio_base_ms


def n_gpus(request: Request) -> int:
    """GPUs in all, at least 1."""
    return max(1, request.gpus * request.nodes)
