"""What every story needs whatever it tells: the laws, the lines to look at, the rows walked.

Not here: who does what (hive.py).
"""

from __future__ import annotations

from fluxhive.core.effects import (
    Dispatch,
    Forget,
    HiveEffect,
    Publish,
    SaveAttempt,
    SaveTask,
    Stop,
    TurnAway,
)
from fluxhive.core.events import (
    HiveEvent,
    NodeJoined,
    NodeReported,
    NodeSaid,
    TimePassed,
)
from fluxhive.core.explain import word
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.invariants import check
from fluxhive.core.node import Journal
from fluxhive.core.pieces import whole
from fluxhive.core.step_laws import StepLaws
from fluxhive.core.task import Attempt, AttemptState, Task
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import AttemptId, TaskId, kebab

Row = tuple[str, object, object]


class ToldHive:
    """The hive, its clock, and all that came of every event so far."""

    def __init__(self, settings: HiveSettings) -> None:
        self.settings = settings
        self.manager = TaskManager(settings=settings)
        self.now_ms = 1_000_000
        #: Every effect so far, for digests.
        self.effects: list[HiveEffect] = []
        #: Rows of the four tables that were walked.
        self.walked: set[Row] = set()
        self._laws = StepLaws()
        self._unseen: list[str] = []
        self._story: list[str] = []

    # ── looking ───────────────────────────────────────────────────────────────────────────────

    def sees(self, *expected: str) -> None:
        """These effects, and no others, came since the last look, in this order.

        A line may leave out its end from a colon, a comma or a space on.
        """
        unseen, self._unseen = self._unseen, []
        matches = len(unseen) == len(expected) and all(
            real == wanted or (real.startswith(wanted) and real[len(wanted)] in " :;,")
            for real, wanted in zip(unseen, expected, strict=True)
        )
        if not matches:
            wanted_text = "\n    ".join(expected) or "nothing"
            got = "\n    ".join(unseen) or "nothing"
            story = "\n    ".join(self._story)
            raise AssertionError(
                f"\nexpected:\n    {wanted_text}\ngot:\n    {got}\nthe story:\n    {story}"
            )

    def sees_nothing(self) -> None:
        """Nothing came of it."""
        self.sees()

    def forgets(self) -> None:
        """What came since the last look is not what this story is about."""
        self._unseen = []

    def task(self, name: str) -> Task:
        """A task that must exist."""
        task = self.manager.task(TaskId(name))
        assert task is not None, f"no task {name}"
        return task

    def attempt(self, name: str) -> Attempt:
        """An attempt that must exist."""
        attempt = self.manager.attempt(AttemptId(name))
        assert attempt is not None, f"no attempt {name}"
        return attempt

    def word(self, name: str) -> str:
        """What people are shown of a task."""
        task = self.task(name)
        attempts = [one for one in self.manager.attempts_of(task.id) if one.outcome is None]
        live = attempts[0] if attempts else None
        nodes = [self.manager.node(member.node_id) for member in live.members] if live else []
        return word(task, live, nodes)

    def why(self, name: str) -> list[str]:
        """Codes of the reasons why a task waits."""
        return [reason.code.value for reason in self.manager.explain(TaskId(name))]

    def why_text(self, name: str) -> str:
        """The main reason's sentence."""
        return self.manager.explain(TaskId(name))[0].text

    def handle(self, event: HiveEvent) -> list[HiveEffect]:
        """Any event: handled, checked against every law, and written into the story."""
        self._note_rows(event)
        before = {task.id: task.state for task in self.manager.tasks()}
        stands = {attempt.id: attempt.state for attempt in self.manager.hive.attempts.values()}
        effects = self.manager.handle(event, self.now_ms) + whole(self.manager.trial(event))
        self._laws.after(self.manager, event, self.now_ms, effects)
        check(self.manager, full=True)
        self.effects.extend(effects)
        self._note_moves(before, stands, effects)
        lines = _tell(effects)
        self._unseen.extend(lines)
        if lines or not isinstance(event, NodeReported | TimePassed):
            clock = (self.now_ms - 1_000_000) / 1000
            self._story.append(f"{clock:9.3f} s  {kebab(type(event).__name__)}")
            self._story.extend(f"             → {line}" for line in lines)
        return effects

    def _note_rows(self, event: HiveEvent) -> None:
        if isinstance(event, NodeSaid):
            attempt = self.manager.attempt(event.report.attempt_id)
            member = None if attempt is None else attempt.member_on(event.node_id)
            node = self.manager.node(event.node_id)
            current = node is not None and node.session == event.session
            same = attempt is not None and attempt.epoch == event.report.epoch
            if member is not None and current and same:
                self.walked.add(("report", kebab(type(event.report).__name__), member.state))
        elif isinstance(event, NodeJoined):
            held = {claim.attempt_id for claim in event.held}
            intact = event.journal is Journal.INTACT
            for attempt in self.manager.hive.attempts.values():
                member = attempt.member_on(event.node_id)
                if member is not None and attempt.id not in held:
                    self.walked.add(("absent", intact, member.state))

    def _note_moves(
        self,
        tasks: dict[TaskId, object],
        attempts: dict[AttemptId, AttemptState],
        effects: list[HiveEffect],
    ) -> None:
        for effect in effects:
            if isinstance(effect, SaveTask):
                task = effect.task
                if tasks.get(task.id) is not task.state:
                    self.walked.add(("task", tasks.get(task.id), task.state))
                tasks[task.id] = task.state
            elif isinstance(effect, SaveAttempt):
                attempt = effect.attempt
                if attempts.get(attempt.id) is not attempt.state:
                    self.walked.add(("attempt", attempts.get(attempt.id), attempt.state))
                attempts[attempt.id] = attempt.state


def _tell(effects: list[HiveEffect]) -> list[str]:
    dispatched = {effect.attempt.task_id for effect in effects if isinstance(effect, Dispatch)}
    lines: list[str] = []
    for effect in effects:
        text = _line(effect)
        if isinstance(effect, Publish):
            starts = effect.task_id in dispatched
            if effect.state == "reserved" and effect.reason.startswith("placed"):
                continue
            if starts and (effect.state == "active" or effect.reason == "submitted"):
                continue
        if text:
            lines.append(text)
    return lines


def _line(effect: HiveEffect) -> str:
    if isinstance(effect, Publish):
        who = effect.task_id or effect.attempt_id or effect.node_id
        return f"{who} {effect.state}" + (f": {effect.reason}" if effect.reason else "")
    if isinstance(effect, Dispatch):
        held = effect.attempt.members[effect.rank].reservation
        shares = [f" gpu{share.index} {share.gpu_memory_mib} MiB" for share in held.gpus]
        alone = " alone" if held.exclusive else ""
        rank = f" rank {effect.rank}" if effect.attempt.gang else ""
        who = f"{effect.attempt.id}{rank} on {effect.node_id}"
        return f"dispatch {who}" + ",".join(shares) + alone
    if isinstance(effect, Stop):
        return f"stop {effect.attempt_id} on {effect.node_id}: {effect.cause.value}"
    if isinstance(effect, Forget):
        return f"forget {effect.attempt_id} on {effect.node_id}"
    if isinstance(effect, TurnAway):
        return f"turn away {effect.node_id}: {effect.reason}"
    return ""
