"""How true estimates of starts were, and how wide one must be to be true.

The rollouts (forecast.py) leave out what nobody knows: who will come later, which runs will be
longer than any before. So what was said is compared with what came, and the next estimate goes from
where few starts were earlier to where few were later, by the ones most like it. What is compared
are trials that the hive makes by itself (trials.py). Kept in one record of what is learned.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from .learning import Learned, Told
from .task import Task, TaskState
from .values import Ms, TaskId, Value

if TYPE_CHECKING:
    from .hive_state import HiveState

#: Where it stands among what is learned; no signature looks like this.
KEY = "starts"
#: Estimates remembered that were put to the test, and those that are waiting for it.
CAME_MAX = 200
OPEN_MAX = 60
#: An estimate goes by so many that were most like it; with fewer, by the rollouts alone.
LIKE_MAX = 40
LIKE_MIN = 10
#: Of a hundred starts so many may be earlier than the range, and than its end.
EARLIER_PERCENT, WITHIN_PERCENT = 8, 90
#: The newest estimates by which people are told how good they are.
LATELY = 40
#: Nobody counts so little as an error; added to each wait, so that ratios of short ones are tame.
SLACK_MS: Ms = 60_000
SHORT_MS: Ms = 2 * SLACK_MS


class Question(NamedTuple):
    """What is asked, as far as it matters for how true the answer will be."""

    #: For so long it has waited already.
    waited_ms: Ms
    is_gang: bool


class Wait(NamedTuple):
    """How long somebody will wait."""

    earliest_ms: Ms
    likely_ms: Ms
    latest_ms: Ms


class Accuracy(Value, frozen=True, kw_only=True):
    """How the newest estimates that came to the test did."""

    #: How many there are, and how many of the starts lay within their range, before, and after it.
    n_estimates: int = 0
    n_right: int = 0
    n_earlier: int = 0
    n_later: int = 0
    #: The same in one sentence.
    text: str = ""


class StartRecord:
    """What was said and what came of it, the newest last."""

    def __init__(self) -> None:
        self.came: deque[Told] = deque(maxlen=CAME_MAX)
        #: Those whose tasks still wait.
        self.open: dict[TaskId, Told] = {}
        #: When one was tried last, whatever came of it, by whether its task had waited.
        self._tried_at_ms: dict[bool, Ms] = {True: 0, False: 0}
        #: When one was told last, by whether its task had waited; None: to be looked for. It is
        #: asked in each step.
        self._last_at_ms: dict[bool, Ms] | None = None

    def load(self, record: Learned) -> None:
        """Take what was stored."""
        self.came.extend(told for told in record.starts if told.came_ms is not None)
        self.open = {told.task_id: told for told in record.starts if told.came_ms is None}
        self._last_at_ms = None

    def tell(self, told: Told) -> None:
        """Something was said of a task that waits."""
        self.open[told.task_id] = told
        self._last_at_ms = None

    def tried(self, *, has_waited: bool, at_ms: Ms) -> None:
        """The next one comes after its time also where nothing is told of this one."""
        self._tried_at_ms[has_waited] = at_ms

    def stored(self, now_ms: Ms) -> Learned:
        """What the store keeps."""
        return Learned(key=KEY, seen_at_ms=now_ms, starts=(*self.came, *self.open.values()))

    def last_at_ms(self, *, has_waited: bool) -> Ms:
        """When the last was tried of a task that just came, or of one that had waited."""
        if self._last_at_ms is None:
            last_at_ms = {True: 0, False: 0}
            for told in (*self.came, *self.open.values()):
                had_waited = told.waited_ms > 0
                last_at_ms[had_waited] = max(last_at_ms[had_waited], told.told_at_ms)
            self._last_at_ms = last_at_ms
        return max(self._last_at_ms[has_waited], self._tried_at_ms[has_waited])

    def left(self, task: Task, now_ms: Ms) -> None:
        """A task of which something was told waits no more: it starts, or it never will so."""
        told = self.open.pop(task.id)
        self._last_at_ms = None
        if task.state is TaskState.ACTIVE:
            self.came.append(replace(told, came_ms=now_ms - told.told_at_ms))

    def range_of(self, waits_ms: tuple[Ms, ...], question: Question, now_ms: Ms) -> Wait:
        """The range to tell when the rollouts say so, the shortest wait first."""
        middle_ms = waits_ms[len(waits_ms) // 2]
        ratios = self._ratios_like(middle_ms, question, now_ms)
        if sum(is_over for _, is_over in ratios) < LIKE_MIN:
            return Wait(waits_ms[0], middle_ms, waits_ms[-1])
        parts = [_reached_by(ratios, each) for each in (EARLIER_PERCENT, 50, WITHIN_PERCENT)]
        return Wait(*(max(0, (middle_ms + SHORT_MS) * part // 1000 - SHORT_MS) for part in parts))

    def accuracy(self) -> Accuracy:
        """How good estimates have been lately."""
        lately = list(self.came)[-LATELY:]
        n_earlier = sum(is_earlier(told) for told in lately)
        n_later = sum(is_later(told) for told in lately)
        n_right = len(lately) - n_earlier - n_later
        if not lately:
            text = "no estimate has been put to the test here yet"
        elif len(lately) == 1:
            text = f"the only estimate so far was {'right' if n_right else 'wrong'}"
        else:
            text = f"of the last {len(lately)} estimates {n_right} were right"
            if n_right < len(lately):
                text += f"; {n_earlier} started earlier, {n_later} later"
        return Accuracy(
            n_estimates=len(lately),
            n_right=n_right,
            n_earlier=n_earlier,
            n_later=n_later,
            text=text,
        )

    def _ratios_like(self, middle_ms: Ms, question: Question, now_ms: Ms) -> list[tuple[int, bool]]:
        """The wait against the rollouts' of the estimates most like it, in thousandths, in order.

        With each whether it is over: who still waits is known to wait at least so long.
        """
        known = [(told, told.came_ms or 0, True) for told in self.came]
        known += [(told, now_ms - told.told_at_ms, False) for told in self.open.values()]
        known.sort(key=lambda each: -each[0].told_at_ms)
        known.sort(key=lambda each: _distance(each[0], middle_ms, question))
        return sorted(
            ((waited_ms + SHORT_MS) * 1000 // (told.middle_ms + SHORT_MS), is_over)
            for told, waited_ms, is_over in known[:LIKE_MAX]
        )


def _reached_by(ratios: list[tuple[int, bool]], percent: int) -> int:
    """The ratio within which so many of a hundred are over, those that still wait counted in.

    Kaplan and Meier's estimate: each end takes its part of who was left then, whoever still waits
    leaves without an end. One is added for the one that is asked about.
    """
    wanted = percent * (len(ratios) + 1) / (100 * len(ratios))
    left = 1.0
    for position, (ratio, is_over) in enumerate(ratios):
        if is_over:
            n_left = len(ratios) - position
            left *= (n_left - 1) / n_left
            # Not for the last digit of a sum of parts.
            if 1.0 - left >= wanted - 1e-9:
                return ratio
    return ratios[-1][0]


def load(hive: HiveState, record: Learned) -> None:
    """Take a stored record in, whatever it is about."""
    if record.key == KEY:
        hive.starts.load(record)
    else:
        hive.book.load(record)


def lessons(hive: HiveState) -> tuple[Learned, ...]:
    """All that was learned, for the store."""
    starts = hive.starts.stored(hive.now_ms)
    return (*hive.book.records.values(), *((starts,) if starts.starts else ()))


def is_earlier(told: Told) -> bool:
    """Whether it started earlier than was said."""
    return told.came_ms is not None and told.came_ms < told.earliest_ms - SLACK_MS


def is_later(told: Told) -> bool:
    """Whether it started later than was said."""
    return told.came_ms is not None and told.came_ms > told.latest_ms + SLACK_MS


def _distance(told: Told, middle_ms: Ms, question: Question) -> int:
    """How little another estimate says about this one."""
    apart = abs(_size(told.middle_ms) - _size(middle_ms))
    if told.is_gang != question.is_gang:
        apart += 3
    return apart + abs(_size(told.waited_ms) - _size(question.waited_ms)) // 2


def _size(length_ms: Ms) -> int:
    """Lengths that differ by less than about two times are of one size."""
    return ((length_ms + SHORT_MS) // SLACK_MS).bit_length()
