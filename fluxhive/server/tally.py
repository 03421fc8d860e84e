"""Counts what people want to know first, as it changes: nothing is looked through to answer.

Fed by what the brain publishes, after it is stored. Ends are counted in slices of ten minutes, so
that a day of any number of tasks takes the same room.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush

import sqlalchemy as sa

from fluxhive.core.effects import Publish
from fluxhive.core.node import GpuState, NodeState
from fluxhive.core.task import Task, TaskState
from fluxhive.core.values import Ms, TaskId
from fluxhive.protocol.summary import CauseCount, EndCounts, GpuCounts, Summary, TaskCounts

from .brain import Brain
from .clock import HiveClock
from .store import listing

DAY_MS: Ms = 86_400_000
SLICE_MS: Ms = 600_000
#: A task that failed without an attempt, as one whose dependency failed.
NO_ATTEMPT = "not-started"


class Tally:
    """See the module's docstring. ``load`` first."""

    def __init__(self, brain: Brain, clock: HiveClock) -> None:
        self._brain = brain
        self._clock = clock
        self._state_of: dict[TaskId, TaskState] = {}
        self._counts: Counter[TaskState] = Counter()
        self._arrays: dict[TaskId, None] = {}
        #: Those in line by when they were submitted; who left it is dropped when it surfaces.
        self._in_line: list[tuple[Ms, TaskId]] = []
        #: By the number of the slice: ends by state, and failures by kind.
        self._ends: dict[int, Counter[TaskState]] = {}
        self._causes: dict[int, Counter[str]] = {}
        brain.on_publish(self._published)

    def load(self, ended: list[listing.Ended]) -> None:
        """Takes up what lives, and what ended before this start."""
        for task in self._brain.manager.tasks():
            if not task.state.is_final:
                self._note(task)
        for each in ended:
            slice_number = each.ended_at_ms // SLICE_MS
            self._add_end(slice_number, each.state, each.kind, each.n)

    def since_ms(self) -> Ms:
        """From when on ends are wanted at a start."""
        return self._clock.now_ms() - DAY_MS

    def _published(self, changes: list[Publish]) -> None:
        for change in changes:
            task = None if change.task_id is None else self._brain.manager.task(change.task_id)
            if task is not None:
                self._note(task)

    def _note(self, task: Task) -> None:
        before = self._state_of.get(task.id)
        if before is task.state:
            return
        if task.spec.array is not None:
            if task.state.is_final:
                self._arrays.pop(task.id, None)
            else:
                self._arrays[task.id] = None
        if before is not None:
            self._counts[before] -= 1
        if task.state.is_final:
            self._state_of.pop(task.id, None)
            if task.spec.array is None:
                self._end(task)
            return
        self._state_of[task.id] = task.state
        self._counts[task.state] += 1
        if task.state is TaskState.QUEUED:
            heappush(self._in_line, (task.submitted_at_ms, task.id))

    def _end(self, task: Task) -> None:
        kind = NO_ATTEMPT if task.outcome is None else task.outcome.kind.value
        slice_number = (task.ended_at_ms or 0) // SLICE_MS
        self._add_end(slice_number, task.state, kind, 1)

    def _add_end(self, slice_number: int, state: TaskState, kind: str, count: int) -> None:
        self._ends.setdefault(slice_number, Counter())[state] += count
        if state is TaskState.FAILED:
            self._causes.setdefault(slice_number, Counter())[kind] += count

    # ── asked ─────────────────────────────────────────────────────────────────────────────────

    def summary(self) -> Summary:
        """As it is now."""
        ends, causes = self._last_day()
        return Summary(
            now_ms=self._clock.now_ms(),
            gpus=self._gpus(),
            counts=self._task_counts(),
            oldest_wait_ms=self._oldest(),
            estimates=self._brain.manager.hive.starts.accuracy(),
            ended_24h=EndCounts(
                succeeded=ends[TaskState.SUCCEEDED],
                failed=ends[TaskState.FAILED],
                cancelled=ends[TaskState.CANCELLED],
            ),
            failed_24h=tuple(
                CauseCount(kind=kind, count=count)
                for kind, count in sorted(causes.items(), key=lambda item: (-item[1], item[0]))
            ),
        )

    def _task_counts(self) -> TaskCounts:
        found = Counter(self._counts)
        for array_id in self._arrays:
            # The array itself stands for its members that are no tasks of their own yet.
            state, members = self._state_of[array_id], self._brain.manager.members_of(array_id)
            found[state] -= 1
            if members is not None:
                waiting = TaskState.HELD if state is TaskState.HELD else TaskState.QUEUED
                found[waiting] += members.waiting
        return TaskCounts(
            held=found[TaskState.HELD],
            queued=found[TaskState.QUEUED],
            active=found[TaskState.ACTIVE],
        )

    def _oldest(self) -> Ms | None:
        while self._in_line:
            submitted_at_ms, task_id = self._in_line[0]
            if self._state_of.get(task_id) is TaskState.QUEUED:
                return submitted_at_ms
            heappop(self._in_line)
        return None

    def _last_day(self) -> tuple[Counter[TaskState], Counter[str]]:
        first = self.since_ms() // SLICE_MS
        for slices in (self._ends, self._causes):
            for number in [number for number in slices if number < first]:
                del slices[number]
        ends: Counter[TaskState] = Counter()
        for counted in self._ends.values():
            ends.update(counted)
        causes: Counter[str] = Counter()
        for kinds in self._causes.values():
            causes.update(kinds)
        return ends, causes

    def _gpus(self) -> GpuCounts:
        total = free = in_use = faulty = 0
        manager = self._brain.manager
        for node in manager.nodes():
            if node.state is NodeState.LOST:
                continue
            held = {gpu.uuid for gpu in manager.reserved_on(node.id).gpus if gpu.attempts}
            takes_work = node.state is NodeState.READY and not node.draining
            for gpu in node.inventory.gpus:
                total += 1
                is_well = gpu.state is GpuState.HEALTHY and not gpu.stale
                if gpu.uuid in held:
                    in_use += 1
                elif not is_well or node.state is NodeState.SILENT:
                    faulty += 1
                elif takes_work:
                    free += 1
        return GpuCounts(total=total, free=free, in_use=in_use, faulty=faulty)


def ended_since(connection: sa.Connection, since_ms: Ms) -> list[listing.Ended]:
    """What ended from then on, for ``load``."""
    return listing.ended_since(connection, since_ms, SLICE_MS, NO_ATTEMPT)
