"""Who saw what really ran, and believes nobody: the claims that a simulated history is held to.

Told by the simulated kernel of every process that starts and ends, and by the simulated disk of
everything that the server stored and promised. Each claim raises ``Violation``. The numbers are
those of the claims:

 1 an attempt's program starts at most once on its node
 2 a task that succeeded has a process that ended with 0, and no other attempt is credited
 4 what has ended for the server runs nowhere
 5 where a person was mistaken about that, it is stopped once its node is back in contact
 6 final states and outcomes never change
 7 no two processes on a GPU that one of them has alone
 8 no two attempts of a task run at the same time
10 a reported exit code or signal is the process's own
13 epochs of a task grow
14 a task with ``--at-most-once`` is started at most once
16 an accepted task is never lost
17 programs without a GPU never have more CPUs than their node has, also those that were sent ahead;
   all its programs never more than half as much again
18 after a cancel was answered no new attempt is made; none is started whose node heard the stop
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from fluxhive.core.outcome import OutcomeKind
from fluxhive.core.request import Reservation
from fluxhive.core.task import Attempt, AttemptState, Task, TaskState
from fluxhive.core.values import AttemptId, GpuUuid, Ms, NodeId, TaskId


class Violation(AssertionError):
    """A claim does not hold in this history."""


class Process(Struct):
    """One program that ran on one node."""

    attempt_id: AttemptId
    task_id: TaskId
    node_id: NodeId
    started_at_ms: Ms
    reservation: Reservation
    ended_at_ms: Ms | None = None
    code: int | None = None
    signal: int | None = None


class Witness:
    """See the module's docstring."""

    def __init__(self, n_cpus: int) -> None:
        """Of a world whose nodes have so many CPUs."""
        self._n_cpus = n_cpus
        self.processes: dict[tuple[AttemptId, NodeId], Process] = {}
        self._living: dict[tuple[AttemptId, NodeId], Process] = {}
        self._on_gpu: dict[GpuUuid, dict[AttemptId, bool]] = {}
        self._once: dict[TaskId, AttemptId] = {}
        self._final: dict[TaskId, Task] = {}
        self._ended: dict[AttemptId, Attempt] = {}
        self._epochs: dict[TaskId, int] = {}
        #: Machines that sleep: what is on them runs no more than it is gone.
        self._frozen: set[NodeId] = set()
        self.accepted: dict[TaskId, Ms] = {}
        self.cancelled: dict[TaskId, Ms] = {}
        #: Attempts that a person took for gone although they were not: claims 4, 7, 8 and 14 were
        #: made to somebody who knows better.
        self.excused: set[AttemptId] = set()
        #: Attempts of a server that went back to a backup in which they are not: they ran then, or
        #: their dispatch was on its way.
        self.unknown: set[AttemptId] = set()
        #: Those of them that are gone by a person's word, who then lets their tasks start again.
        self.decided: set[AttemptId] = set()

    # ── the kernel ────────────────────────────────────────────────────────────────────────────

    def started(self, process: Process, *, at_most_once: bool) -> None:
        """A program begins to run."""
        key = (process.attempt_id, process.node_id)
        if key in self.processes:
            raise Violation(f"claim 1: {process.attempt_id} starts again on {process.node_id}")
        self._runs_alone(process)
        self._has_room(process)
        first = self._once.setdefault(process.task_id, process.attempt_id)
        excused = self.excused | self.decided
        if at_most_once and first != process.attempt_id and first not in excused:
            raise Violation(f"claim 14: {process.attempt_id} starts after {first}")
        if process.attempt_id in self._ended and process.attempt_id not in self.excused:
            raise Violation(f"claim 4: {process.attempt_id} starts after its end was stored")
        self.processes[key] = self._living[key] = process
        self._take_gpus(process)

    def ended(self, process: Process, now_ms: Ms, code: int | None, signal: int | None) -> None:
        """A program is gone."""
        process.ended_at_ms, process.code, process.signal = now_ms, code, signal
        del self._living[process.attempt_id, process.node_id]
        for share in process.reservation.gpus:
            self._on_gpu[share.uuid].pop(process.attempt_id, None)

    def _runs_alone(self, process: Process) -> None:
        for other in self._living.values():
            is_other = other.attempt_id != process.attempt_id
            is_other = is_other and other.node_id not in self._frozen
            if other.task_id == process.task_id and is_other and not self._excuses(process, other):
                raise Violation(f"claim 8: {process.attempt_id} runs beside {other.attempt_id}")

    def _has_room(self, process: Process) -> None:
        excused = self.excused | self.unknown
        beside = [
            each
            for each in (*self._living.values(), process)
            if each.node_id == process.node_id and each.attempt_id not in excused
        ]
        n_taken = sum(each.reservation.cpus for each in beside)
        n_alone = sum(each.reservation.cpus for each in beside if not each.reservation.gpus)
        if n_alone > self._n_cpus or n_taken > self._n_cpus * 3 // 2:
            names = ", ".join(each.attempt_id for each in beside)
            raise Violation(f"claim 17: {names} have {n_taken} CPUs of {process.node_id}")

    def freeze(self, node_id: NodeId) -> None:
        """A machine is suspended."""
        self._frozen.add(node_id)

    def thaw(self, node_id: NodeId) -> None:
        """It is awake, and has done what was long due: what runs now is held to the claims."""
        self._frozen.discard(node_id)
        for process in [each for each in self._living.values() if each.node_id == node_id]:
            self._runs_alone(process)
            is_over = process.attempt_id in self._ended
            if is_over and process.attempt_id not in self.excused:
                raise Violation(f"claim 4: {process.attempt_id} runs on after its machine slept")

    def runs(self, attempt_id: AttemptId) -> list[Process]:
        """The programs of an attempt that run now."""
        return [
            each
            for each in self._living.values()
            if each.attempt_id == attempt_id and each.node_id not in self._frozen
        ]

    @property
    def n_living(self) -> int:
        """How many programs run now."""
        return len(self._living)

    def strays(self) -> list[Process]:
        """Programs that run on although their attempt has ended, by somebody's mistake."""
        return [each for each in self._living.values() if each.attempt_id in self._ended]

    def _excuses(self, *processes: Process) -> bool:
        return any(each.attempt_id in self.excused for each in processes)

    def _take_gpus(self, process: Process) -> None:
        exclusive = process.reservation.exclusive
        for share in process.reservation.gpus:
            there = self._on_gpu.setdefault(share.uuid, {})
            for other, is_alone in there.items():
                excused = self.excused | self.unknown
                is_excused = other in excused or process.attempt_id in excused
                if (exclusive or is_alone) and not is_excused:
                    raise Violation(f"claim 7: {process.attempt_id} and {other} on {share.uuid}")
            there[process.attempt_id] = exclusive

    # ── the server's disk ─────────────────────────────────────────────────────────────────────

    def stored_attempt(self, attempt: Attempt) -> None:
        """The server has this on its disk."""
        before = self._ended.get(attempt.id)
        if before is not None:
            same = attempt.state is AttemptState.ENDED and attempt.outcome == before.outcome
            if not same:
                raise Violation(f"claim 6: {attempt.id} had ended as {before.outcome}")
            return
        if attempt.state is AttemptState.RESERVED:
            self._stored_new(attempt)
        elif attempt.state is AttemptState.ENDED:
            self._ended[attempt.id] = attempt
            living = self.runs(attempt.id)
            if living and attempt.id not in self.excused:
                raise Violation(f"claim 4: {attempt.id} ended ({attempt.outcome}) and {living} run")
            self._check_facts(attempt)

    def _stored_new(self, attempt: Attempt) -> None:
        newest = self._epochs.get(attempt.task_id, 0)
        if attempt.epoch < newest:
            raise Violation(f"claim 13: epoch {attempt.epoch} of {attempt.id} after {newest}")
        if attempt.epoch > newest and attempt.task_id in self.cancelled:
            raise Violation(f"claim 18: {attempt.id} was made after the cancel was answered")
        self._epochs[attempt.task_id] = attempt.epoch

    def _check_facts(self, attempt: Attempt) -> None:
        for member in attempt.members:
            process = self.processes.get((attempt.id, member.node_id))
            facts = member.facts
            told = (None, None) if facts is None else (facts.exit_code, facts.signal)
            if told == (None, None):
                continue
            if process is None or told != (process.code, process.signal):
                raise Violation(f"claim 10: {attempt.id} is said to have ended {told}: {process}")
        outcome = attempt.outcome
        if outcome is not None and outcome.kind is OutcomeKind.SUCCESS:
            for member in attempt.members:
                process = self.processes.get((attempt.id, member.node_id))
                if process is None or process.code != 0:
                    raise Violation(f"claim 2: {attempt.id} succeeded: {process}")
        if outcome is not None and outcome.kind is OutcomeKind.REFUSED and not attempt.gang:
            process = self.processes.get((attempt.id, attempt.node_id))
            if process is not None:
                raise Violation(f"claim 4: {attempt.id} was handed back and ran: {process}")

    def stored_task(self, task: Task) -> None:
        """The server has this on its disk."""
        before = self._final.get(task.id)
        if before is not None and task != before:
            raise Violation(f"claim 6: {task.id} was {before.state} and is {task.state}")
        if task.state.is_final:
            self._final[task.id] = task

    def accepted_task(self, task_id: TaskId, now_ms: Ms) -> None:
        """The submitter has the answer."""
        self.accepted.setdefault(task_id, now_ms)

    def cancel_answered(self, task_id: TaskId, now_ms: Ms) -> None:
        """Whoever cancelled has the answer."""
        if task_id not in self._final:
            self.cancelled.setdefault(task_id, now_ms)

    # ── a server that goes back ────────────────────────────────────────────────────────────────

    def remember(self) -> tuple[dict[Any, Any], ...]:
        """What the server's disk and answers have said up to now."""
        return tuple(dict(each) for each in self._told())

    def go_back(self, seen: tuple[dict[Any, Any], ...], lost: set[AttemptId]) -> None:
        """A backup was restored: nothing said since counts. ``lost`` are the attempts that the
        server does not know any more, running or with their dispatch on its way: they may share a
        GPU and CPUs (claims 7 and 17); that nothing of their task runs beside them is still
        asked."""
        for now, then in zip(self._told(), seen, strict=True):
            now.clear()
            now.update(then)
        self.unknown |= lost

    def _told(self) -> tuple[dict[Any, Any], ...]:
        return (self._once, self._final, self._ended, self._epochs, self.accepted, self.cancelled)

    # ── the end ───────────────────────────────────────────────────────────────────────────────

    def unfinished(self) -> list[TaskId]:
        """Accepted tasks that are not final on the server's disk."""
        return [task_id for task_id in self.accepted if task_id not in self._final]

    def conclude(self) -> None:
        """Everything is over: what was promised was kept."""
        if lost := self.unfinished():
            raise Violation(f"claim 16: accepted and never ended: {lost}")
        for task_id in self.cancelled:
            if self._final[task_id].state is not TaskState.CANCELLED:
                raise Violation(f"claim 18: {task_id} was cancelled and is not")
        credited: dict[TaskId, list[AttemptId]] = {}
        for attempt in self._ended.values():
            if attempt.outcome is not None and attempt.outcome.kind is OutcomeKind.SUCCESS:
                credited.setdefault(attempt.task_id, []).append(attempt.id)
        for task in self._final.values():
            n = len(credited.get(task.id, []))
            if n != (task.state is TaskState.SUCCEEDED):
                raise Violation(f"claim 2: {task.id} is {task.state} with {n} successes")
