"""The rank of a line in the queue: an integer, lower goes first; equal ranks go by submission.

With ``hive``, the score is a product: class, the user's and the project's share, and the response
ratio, which grows with the time waited against the time needed. It ages by itself, the short go
before the long, and nobody starves: whatever waits long enough overtakes everything that comes
fresh, of any class. Floats are used inside and rounded before anything is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from .fairshare import Accounts, Of, keys_of, projects_of, users_of
from .learning import Expected
from .lines import Line, LineKey, ShareKey, Weighs, share_key
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
        self._parts: dict[str, float] = {}
        if policy.order in (Order.HIVE, Order.FAIR):
            for of in Of:
                for kind in (users_of(of), projects_of(of)):
                    self._parts.update(accounts.factors(kind, now_ms))
        self._factors: dict[ShareKey, float] = {}
        #: With ``hive``: what a response ratio counts.
        self._weights: dict[Weighs, float] = {}

    def share_factor(self, key: ShareKey) -> float:
        """At most 1: how far user and project stay within their shares."""
        if key not in self._factors:
            policy, (owner, project, of) = self._policy, key
            user, of_project = keys_of(owner, project, of)
            self._factors[key] = float(
                self._parts.get(user, 1.0) ** policy.user_exponent
                * self._parts.get(of_project, 1.0) ** policy.project_exponent
            )
        return self._factors[key]

    def rank(self, line: Line) -> int:
        """Of the line's head as of now."""
        head = line.head
        assert head is not None, "a line of the queue is empty"
        if self._policy.order is Order.HIVE:
            weight = self._weights.get(line.weighs_as) or self._weight(line.weighs_as)
            ratio = 1.0 + (self._now_ms - head.submitted_at_ms) / line.need.stretch_ms
            return -int(weight * ratio * _GRAIN)
        return self.rank_of(line.key, line.need.expected, head.submitted_at_ms)

    def rank_all(self, lines: Iterable[Line]) -> None:
        """Of many lines' heads as of now."""
        if self._policy.order is not Order.HIVE:
            for line in lines:
                line.rank = self.rank(line)
            return
        # As ``rank``, without a call for each of tens of thousands.
        weights, now_ms = self._weights, self._now_ms
        for line in lines:
            weight = weights.get(line.weighs_as) or self._weight(line.weighs_as)
            head = line.head
            assert head is not None, "a line of the queue is empty"
            ratio = 1.0 + (now_ms - head.submitted_at_ms) / line.need.stretch_ms
            line.rank = -int(weight * ratio * _GRAIN)

    def _weight(self, weighs_as: Weighs) -> float:
        shares, priority = weighs_as
        weight = CLASS_BOOST[priority] * self.share_factor(shares)
        self._weights[weighs_as] = weight
        return weight

    def rank_of(self, key: LineKey, expected: Expected, submitted_at_ms: Ms) -> int:
        """Of a task of this line, submitted then."""
        waited_ms = self._now_ms - submitted_at_ms
        order = self._policy.order
        if order is Order.FIFO:
            return key.priority
        if order is Order.HIVE:
            factor = self.share_factor(share_key(key))
            ratio = response_ratio(self._policy, key.request, expected, waited_ms)
            return -int(CLASS_BOOST[key.priority] * factor * ratio * _GRAIN)
        if order is Order.FAIR:
            within = self.share_factor(share_key(key)) + waited_ms / _FAIR_AGE_MS
            return key.priority * _CLASS_STEP - int(within * _GRAIN)
        work = expected.duration_ms * n_gpus(key.request)
        return key.priority * _CLASS_STEP + int(work - self._policy.sjf_aging * waited_ms)

    def of_line(self, key: LineKey, expected: Expected) -> Callable[[Ms], int]:
        """``rank_of`` for many tasks of one line: by when they were submitted."""
        if self._policy.order is not Order.HIVE:
            return partial(self.rank_of, key, expected)
        factor = CLASS_BOOST[key.priority] * self.share_factor(share_key(key))
        stretch, now_ms = stretch_ms(self._policy, key.request, expected), self._now_ms

        def rank(submitted_at_ms: Ms) -> int:
            return -int(factor * (1.0 + (now_ms - submitted_at_ms) / stretch) * _GRAIN)

        return rank

    def rank_per_ms(self, key: LineKey, expected: Expected) -> float:
        """By how much such a task's rank changes while it waits, against who does not age."""
        if self._policy.order is not Order.HIVE:
            return 0.0  # All change alike, or none does.
        factor = self.share_factor(share_key(key))
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
