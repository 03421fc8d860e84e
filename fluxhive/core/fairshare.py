"""Who had how much of the hive lately: use by user and project, decayed, against what it has.

Each account grows with what its attempts hold (in thousandths of a GPU, or of a CPU) and halves
every half-life; so does the hive's own capacity. Their ratio is the part of the hive that somebody
had: use of an idle hive does not count against him, because the ratio is to the capacity and not to
others' use. GPUs and CPUs have accounts of their own (``Of``). Counted anew only when a rate
changes; in between it follows from time alone.
"""

from __future__ import annotations

from enum import Enum
from math import exp, log

from .request import Request
from .values import Ms, Value


class Of(Enum):
    """What an account is of; the first part of its key."""

    #: Use by tasks with GPUs: of nothing but their GPUs.
    GPUS = ""
    #: Use by tasks without.
    CPUS = "cpu-"

    #: Each is there once: what tells it apart is enough, and asked for with every rank.
    __hash__ = object.__hash__


#: The accounts of what the hive has.
CAPACITY = {of: f"{of.value}capacity" for of in Of}
#: An account with less than this (thousandths x ms: ten minutes of one) is not in use.
_IDLE_BELOW = 1000.0 * 600_000
#: Of the changes of an account the first one in each minute is written down: so much is lost at
#: most, or counted twice, where the server is killed.
SAVE_EVERY_MS: Ms = 60_000


class Usage(Value, frozen=True, kw_only=True):
    """One account as the store keeps it."""

    key: str
    #: Thousandths of a GPU or CPU times milliseconds, decayed to ``at_ms``.
    charged: float
    at_ms: Ms


class _Account:
    __slots__ = ("at_ms", "charged", "n_open", "rate")

    def __init__(self, charged: float, at_ms: Ms) -> None:
        self.charged = charged
        self.at_ms = at_ms
        #: What its attempts hold now, in thousandths of a GPU or CPU.
        self.rate = 0
        #: Its tasks that have not ended.
        self.n_open = 0


class Accounts:
    """All accounts of a hive."""

    def __init__(self, half_life_ms: Ms) -> None:
        self._decay = log(2) / half_life_ms
        self._accounts: dict[str, _Account] = {}
        #: The same by the kind of their key (``user:``).
        self._of_kind: dict[str, dict[str, _Account]] = {}
        #: Those that changed in the step under way and are to be written down.
        self.changed: dict[str, None] = {}

    def load(self, usage: Usage) -> None:
        """Take a stored account as it is; rates follow from the attempts that are loaded."""
        account = self._of(usage.key, usage.at_ms)
        account.charged, account.at_ms = usage.charged, usage.at_ms

    def usages(self) -> tuple[Usage, ...]:
        """Every account, as the store keeps it."""
        return tuple(self.usage(key) for key in self._accounts)

    def usage(self, key: str) -> Usage:
        """One account, as the store keeps it."""
        account = self._accounts[key]
        return Usage(key=key, charged=account.charged, at_ms=account.at_ms)

    def counted(self) -> dict[str, tuple[int, int]]:
        """Of each account that is not at rest: what it holds now, and its tasks in all."""
        return {
            key: (account.rate, account.n_open)
            for key, account in self._accounts.items()
            if account.rate or account.n_open
        }

    def open_task(self, *keys: str, now_ms: Ms, by: int = 1) -> None:
        """So many more of its tasks have not ended."""
        for key in keys:
            self._of(key, now_ms).n_open += by

    def change_rate(self, *keys: str, by: int, now_ms: Ms) -> None:
        """From now on its attempts hold so many thousandths more."""
        if not by:
            return
        for key in keys:
            account = self._of(key, now_ms)
            if not account.charged or account.at_ms // SAVE_EVERY_MS != now_ms // SAVE_EVERY_MS:
                self.changed[key] = None
            account.charged = self._charged(account, now_ms)
            account.at_ms = now_ms
            account.rate += by

    def load_rate(self, *keys: str, by: int, now_ms: Ms) -> None:
        """As ``change_rate``, for what was held already when the account was stored."""
        for key in keys:
            self._of(key, now_ms).rate += by

    def part(self, key: str, now_ms: Ms) -> float:
        """What part of the hive it had lately, from 0 on; 0 when the hive has none of these."""
        of = Of.CPUS if key.startswith(Of.CPUS.value) else Of.GPUS
        account, capacity = self._accounts.get(key), self._accounts.get(CAPACITY[of])
        if account is None or capacity is None:
            return 0.0
        most = self._charged(capacity, now_ms)
        return self._charged(account, now_ms) / most if most > 0 else 0.0

    def factors(self, kind: str, now_ms: Ms) -> dict[str, float]:
        """By account of a kind (``user:``): at most 1, and below it what goes beyond its share."""
        parts = {
            key: self.part(key, now_ms)
            for key, account in self._of_kind.get(kind, {}).items()
            if self._is_active(account, now_ms)
        }
        if not parts:
            return {}
        share = 1.0 / len(parts)
        return {key: 2.0 ** (-max(0.0, part - share) / share) for key, part in parts.items()}

    def _is_active(self, account: _Account, now_ms: Ms) -> bool:
        return account.n_open > 0 or self._charged(account, now_ms) > _IDLE_BELOW

    def _charged(self, account: _Account, now_ms: Ms) -> float:
        if now_ms == account.at_ms:
            return account.charged
        kept = exp(-self._decay * (now_ms - account.at_ms))
        return account.charged * kept + account.rate / self._decay * (1.0 - kept)

    def _of(self, key: str, now_ms: Ms) -> _Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account(0.0, now_ms)
            kind = key[: key.find(":") + 1]
            self._of_kind.setdefault(kind, {})[key] = account
        return account


def kind_of(request: Request) -> Of:
    """The accounts that a task with this request goes by."""
    return Of.GPUS if request.gpus else Of.CPUS


def users_of(of: Of) -> str:
    """How the keys of users' accounts begin."""
    return f"{of.value}user:"


def projects_of(of: Of) -> str:
    """How the keys of projects' accounts begin."""
    return f"{of.value}project:"


def keys_of(owner: str, project: str, of: Of) -> tuple[str, str]:
    """The accounts of a user and of a project."""
    return users_of(of) + owner, projects_of(of) + project
