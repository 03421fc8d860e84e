"""A simulated server that goes back to a backup, and the people who then decide.

Follows server/backup.py: a restore jumps ahead with every number that must never be used twice, and
holds what was queued. What was accepted or has ended since is not known any more, so the witness
goes back, too; what it goes on asking is that no attempt starts twice, that no two attempts of a
task run at once, and that everything that is known ends.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from fluxhive.core.events import HiveEvent, TaskReleased, UnknownEnded
from fluxhive.core.going_back import HELD_BY_RESTORE, JUMP, attempt_gone_back, task_gone_back
from fluxhive.core.ids import task_of
from fluxhive.core.node import NodeState
from fluxhive.core.values import Ms, TaskId

from .store import SimStore

if TYPE_CHECKING:
    from .protocol_world import ProtocolWorld

DECIDE_MS = 5_000
#: So long after the world has healed a person ends what the hive does not know.
PATIENCE_MS = 120_000


class Backups:
    """Makes one and restores it, once in a history."""

    def __init__(self, world: ProtocolWorld, seed: int) -> None:
        self._world = world
        self._healed_ms: Ms = 0
        if world.goes_back:
            chance = random.Random(seed * 15_485_863 + 3)
            made_at_ms = chance.randrange(20_000, 200_000)
            world.agenda.at(made_at_ms, self._make, chance.choice((2_000, 20_000, 120_000)))

    def _make(self, restore_after_ms: Ms) -> None:
        world = self._world
        store, seen = world.server.store.copy(), world.witness.remember()
        world.agenda.after(restore_after_ms, self._restore, store, seen)

    def _restore(self, store: SimStore, seen: tuple[dict[Any, Any], ...]) -> None:
        world = self._world
        if world.is_healed:
            return
        world.tell("a backup is restored")
        world.server.crash()
        lost = set(world.server.store.attempts) - set(store.attempts)
        world.server.store = jumped(store)
        world.faults.counts["backup restored"] += 1
        world.witness.go_back(seen, lost)
        world.server.start()
        world.agenda.after(DECIDE_MS, self._decide)

    def may_release(self, name: TaskId) -> bool:
        """Whoever takes a hold back for another reason leaves these alone."""
        task = self._world.server.store.tasks.get(name)
        return task is None or task.held_by != HELD_BY_RESTORE

    def _decide(self) -> None:
        """Once every node has said what it holds: what runs nowhere may start, what has ended is
        forgotten; what runs on is left alone for as long as anybody has patience."""
        world, server = self._world, self._world.server
        world.agenda.after(DECIDE_MS, self._decide)
        self._healed_ms += DECIDE_MS if world.is_healed else 0
        if not server.is_up:
            return
        manager = server.manager
        known = {node.id: node for node in manager.nodes()}
        for node in world.nodes:
            if node.id not in known or known[node.id].state is not NodeState.READY:
                return
        events: list[HiveEvent] = []
        unknown: set[TaskId] = set()
        for node in world.nodes:
            held = manager.unknown_on(node.id)
            world.sometimes("a node held what a restored server did not know", bool(held))
            living = [each for each in held if world.witness.runs(each)]
            if held and (not living or self._healed_ms > PATIENCE_MS):
                events.append(UnknownEnded(node_id=node.id, by="root"))
                world.witness.decided.update(held)
            unknown.update(task_of(each) for each in held)
        for task in manager.tasks():
            if task.held_by == HELD_BY_RESTORE and task.id not in unknown:
                world.sometimes("a task that a restore held was released")
                events.append(TaskReleased(task_id=task.id, by="ann"))
        if events:
            server.post(events)


def jumped(store: SimStore) -> SimStore:
    """As a restore leaves it."""
    new = store.copy()
    channel = max((each.channel for each in store.attempts.values()), default=0)
    new.last_channel = max(store.last_channel, channel) + JUMP
    for node in store.nodes.values():
        new.nodes[node.id] = replace(node, session=node.session + JUMP)
    for task in store.tasks.values():
        new.tasks[task.id] = task_gone_back(task, hold=True)
    for attempt in store.attempts.values():
        new.attempts[attempt.id] = attempt_gone_back(attempt)
    return new
