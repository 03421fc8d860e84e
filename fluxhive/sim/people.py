"""The people of a simulated hive: they submit, cancel, hold, reprioritise, drain, and ask again
whenever they got no answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from fluxhive.core.events import (
    HiveEvent,
    NodeDrained,
    TaskCancelRequested,
    TaskHeld,
    TaskReleased,
    TaskReprioritised,
    TaskSubmitted,
)
from fluxhive.core.ids import task_id
from fluxhive.core.request import Request
from fluxhive.core.spec_check import apply_defaults, check_spec
from fluxhive.core.task import Priority, TaskSpec
from fluxhive.core.values import TaskId

from .runs import Fate

if TYPE_CHECKING:
    from .protocol_world import ProtocolWorld

ASK_AGAIN_MS = 1_500
#: In some histories people submit many tasks that are over in no time.
SHORT, SHORT_SHARE, SHORT_TASKS = "short", 0.4, 24
#: In half of these they cancel some at once, so that a stop meets what waits for its turn.
REGRET_SHARE = 0.25
Answered: TypeAlias = Callable[[], None]


class People:
    """See the module's docstring."""

    def __init__(self, world: ProtocolWorld, seed: int, n_tasks: int, until_ms: int) -> None:
        self._world = world
        self._chance = random.Random(seed * 104_729 + 2)
        self.specs: dict[TaskId, TaskSpec] = {}
        self._fates: dict[TaskId, Fate] = {}
        for _ in range(n_tasks):
            at_ms = self._chance.randrange(until_ms * 2 // 3)
            world.agenda.at(at_ms, self._submit, self._spec())
        for _ in range(n_tasks // 2):
            world.agenda.at(self._chance.randrange(until_ms), self._meddle)
        self._regret = random.Random(seed * 104_729 + 4)
        self._regret_share = self._regret.choice((0, REGRET_SHARE))
        self._short_chance = random.Random(seed * 104_729 + 3)
        if self._short_chance.random() < SHORT_SHARE:
            for _ in range(SHORT_TASKS):
                at_ms = self._short_chance.choice((0, until_ms // 3, until_ms // 2))
                at_ms += self._short_chance.randrange(500)
                world.agenda.at(at_ms, self._submit, self._short_spec())
                if self._regret.random() < self._regret_share:
                    world.agenda.at(at_ms + self._regret.randrange(1_000), self._cancel_short)

    def fate(self, name: TaskId) -> Fate:
        """What the next program of this task does."""
        chance = self._chance
        if self.specs[name].name == SHORT:
            lasts_ms = self._short_chance.choice((5, 5, 20, 60, 60, 60, 60, 60, 60, 8_000))
            return Fate(lasts_ms=lasts_ms, code=0, hears_ms=5)
        # Where people are mistaken, what runs on has to be seen running on.
        mean_ms = 400_000 if self._world.has_mistakes else 25_000
        return Fate(
            lasts_ms=int(chance.expovariate(1 / mean_ms)) + 5,
            code=0 if chance.random() < 0.8 else chance.randrange(1, 250),
            hears_ms=chance.choice((5, 500, 60_000)),
        )

    def _submit(self, spec: TaskSpec) -> None:
        """With an idempotency key: what was stored unanswered is found again, not made anew."""
        number = len(self.specs)
        name = task_id(number)
        self.specs[name] = spec
        world = self._world

        def done(stored: bool) -> None:
            if stored or name in world.server.store.tasks:
                world.witness.accepted_task(name, world.now_ms)
            else:
                world.agenda.after(ASK_AGAIN_MS, self._submit, spec)

        event = TaskSubmitted(task_id=name, number=number, owner="ann", spec=spec)
        world.server.post([event], done)

    def ask(self, events: list[HiveEvent], answered: Answered = lambda: None) -> None:
        """The same again until it is answered."""

        def done(stored: bool) -> None:
            if stored:
                answered()
            else:
                self._world.agenda.after(ASK_AGAIN_MS, self.ask, events, answered)

        self._world.server.post(events, done)

    def release(self, name: TaskId) -> None:
        """Takes back a hold, unless it is a restore's: whoever looks into that decides."""
        if self._world.backups.may_release(name):
            self.ask([TaskReleased(task_id=name, by="ann")])

    def _meddle(self) -> None:
        chance, world = self._chance, self._world
        node = chance.choice(world.nodes)
        drain = NodeDrained(node_id=node.id, on=True, by="root")
        if not self.specs or chance.random() < 0.15:
            self.ask([drain])
            again = NodeDrained(node_id=node.id, on=False, by="root")
            world.agenda.after(chance.randrange(60_000), self.ask, [again])
            return
        name = chance.choice(list(self.specs))
        what = chance.random()
        if what < 0.5:
            self.cancel(name)
        elif what < 0.8:

            def was_held() -> None:
                if world.is_healed:
                    # Nobody holds anything for good: what this asked for came very late.
                    self.release(name)

            self.ask([TaskHeld(task_id=name, by="ann")], was_held)
            world.agenda.after(chance.randrange(60_000), self.release, name)
        else:
            priority = chance.choice(list(Priority))
            self.ask([TaskReprioritised(task_id=name, priority=priority, by="ann")])

    def cancel(self, name: TaskId) -> None:
        """Somebody does not want it any more."""
        world = self._world

        def answered() -> None:
            if name in world.server.store.tasks:
                world.witness.cancel_answered(name, world.now_ms)

        self.ask([TaskCancelRequested(task_id=name, by="ann")], answered)

    def _cancel_short(self) -> None:
        """One of the last few that are over in no time, whatever became of it."""
        names = [name for name, spec in self.specs.items() if spec.name == SHORT]
        if names:
            self.cancel(self._regret.choice(names[-6:]))

    def _short_spec(self) -> TaskSpec:
        """One of many that are over in no time, so that they are sent ahead of free places."""
        chance = self._short_chance
        return apply_defaults(
            TaskSpec(
                command=("simulated",),
                name=SHORT,
                request=Request(cpus=1),
                retry=chance.choice((0, 2)),
                at_most_once=False,
                failover_ms=chance.choice((None, 10_000)),
            )
        )

    def _spec(self) -> TaskSpec:
        chance = self._chance
        gpus = chance.choice((0, 0, 1, 1, 2))
        share = 30_000 if gpus == 1 and chance.random() < 0.5 else None
        once = chance.random() < 0.15
        spec = TaskSpec(
            command=("simulated",),
            request=Request(
                gpus=gpus,
                gpu_memory_mib=share,
                cpus=chance.choice((1, 1, 2)),
                nodes=2 if chance.random() < 0.1 else 1,
            ),
            retry=0 if once else chance.choice((0, 0, 2)),
            restarts=chance.choice((5, 5, 1)),
            at_most_once=once,
            grace_ms=chance.choice((500, 3_000)),
            failover_ms=chance.choice((None, 10_000, 20_000, 30_000)),
            time_limit_ms=30_000 if chance.random() < 0.15 else None,
        )
        check_spec(spec)
        return apply_defaults(spec)
