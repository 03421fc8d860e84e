"""What a node's executor remembers: its attempts, their deadlines, the newest epoch of each task.

``put`` is the only way an attempt changes. The indexes follow from the attempts alone, so that a
restored executor has the same ones. Not here: what follows what (executor.py).
"""

from __future__ import annotations

from msgspec.structs import replace

from .effects import NodeAttempt
from .events import ProcessStarted
from .executor_table import Happening, Stand, stand_of, told_phase
from .ids import task_of
from .node import HeldAttempt
from .values import AttemptId, GpuUuid, Ms, TaskId, Value

#: Tasks whose newest epoch is remembered after their attempts are forgotten: a repeat that comes
#: later than this many other tasks is stopped by its session alone.
EPOCHS_MAX = 10_000
_MAY_RUN = (Stand.LAUNCHING, Stand.RUNNING, Stand.STOPPING)
_LEASED = (Stand.PREPARING, Stand.WAITING, Stand.LAUNCHING, Stand.RUNNING)
_EARLY = (Stand.PREPARING, Stand.WITHDRAWN, Stand.WAITING)


class NodeSettings(Value, frozen=True, kw_only=True):
    """How one node treats its attempts."""

    #: With a contact older than this nothing is started.
    contact_max_age_ms: Ms = 15_000
    #: How long an end may wait for the memory of its GPUs; measured: it is back in milliseconds.
    memory_return_ms: Ms = 5_000


class ExecutorRecords:
    """Attempts by id, and what follows from them."""

    def __init__(self, *, memory_return_ms: Ms) -> None:
        self._memory_return_ms = memory_return_ms
        self.attempts: dict[AttemptId, NodeAttempt] = {}
        #: Not exited.
        self.live: dict[AttemptId, None] = {}
        #: Of each task those that have not exited: more than one after a journal was made anew.
        self._live_of_task: dict[TaskId, dict[AttemptId, None]] = {}
        #: Deadlines of their own, and what each is for.
        self.due: dict[AttemptId, tuple[Ms, Happening]] = {}
        #: Failover lengths of those that end with the node's contact.
        self.leased: dict[AttemptId, Ms] = {}
        self._newest_epoch: dict[TaskId, int] = {}
        #: By attempt: those that wait for its end.
        self._followers: dict[AttemptId, dict[AttemptId, None]] = {}

    def put(self, attempt: NodeAttempt) -> None:
        """Take the attempt as it is now."""
        attempt_id = attempt.dispatch.attempt_id
        stand = stand_of(attempt)
        self._index_turn(attempt, stand)
        self.attempts[attempt_id] = attempt
        task_id = task_of(attempt_id)
        if stand is not Stand.EXITED:
            self.live[attempt_id] = None
            self._live_of_task.setdefault(task_id, {})[attempt_id] = None
        elif attempt_id in self.live:
            del self.live[attempt_id]
            del self._live_of_task[task_id][attempt_id]
            if not self._live_of_task[task_id]:
                del self._live_of_task[task_id]
        due = self._deadline(attempt, stand)
        if due is None:
            self.due.pop(attempt_id, None)
        else:
            self.due[attempt_id] = due
        failover_ms = attempt.dispatch.failover_ms
        if failover_ms is not None and stand in _LEASED:
            self.leased[attempt_id] = failover_ms
        else:
            self.leased.pop(attempt_id, None)

    def turn_after(self, attempt_id: AttemptId | None) -> AttemptId | None:
        """Whom one waits for that is to take an attempt's place; None: for nobody.

        One that ended before its turn came has left its place in the row to the next.
        """
        while attempt_id is not None:
            attempt = self.attempts.get(attempt_id)
            if attempt is None:
                return None
            if stand_of(attempt) is not Stand.EXITED:
                return attempt_id
            attempt_id = attempt.waits_for
        return None

    def waiting(self) -> tuple[AttemptId, ...]:
        """Those that are ready and wait for the end of another."""
        return tuple(name for name in self.live if stand_of(self.attempts[name]) is Stand.WAITING)

    def followers(self, attempt_id: AttemptId) -> list[NodeAttempt]:
        """Those that wait for the end of an attempt."""
        return [self.attempts[each] for each in sorted(self._followers.get(attempt_id, ()))]

    def forget_rows(self) -> None:
        """Nobody's end gives those that wait now their turn, nor do they miss it: what is found of
        each decides."""
        self._followers = {}
        missed = [name for name, (_, what) in self.due.items() if what is Happening.TURN_MISSED]
        for attempt_id in missed:
            del self.due[attempt_id]

    def discard(self, attempt_id: AttemptId) -> None:
        """Forget an attempt that has exited; its epoch stays known."""
        del self.attempts[attempt_id]

    def held(self) -> tuple[HeldAttempt, ...]:
        """Every attempt as the server is told of it."""
        return tuple(
            HeldAttempt(
                attempt_id=attempt_id,
                epoch=attempt.dispatch.epoch,
                phase=told_phase(attempt),
                cpus=attempt.dispatch.reservation.cpus,
                memory_mib=attempt.dispatch.reservation.counted_memory_mib,
            )
            for attempt_id, attempt in self.attempts.items()
        )

    def remember(self, attempt_id: AttemptId, epoch: int) -> None:
        """This attempt was seen: older ones of its task, and itself once forgotten, never start."""
        task_id = task_of(attempt_id)
        # Taken out and put back in: the one forgotten first is the one seen longest ago.
        self._newest_epoch[task_id] = max(epoch, self._newest_epoch.pop(task_id, 0))
        if len(self._newest_epoch) > EPOCHS_MAX:
            del self._newest_epoch[next(iter(self._newest_epoch))]

    def newest_epoch(self, attempt_id: AttemptId) -> int:
        """The highest epoch seen of this attempt's task; 0: none was."""
        return self._newest_epoch.get(task_of(attempt_id), 0)

    def live_beside(self, attempt_id: AttemptId) -> AttemptId | None:
        """An attempt of the same task that has not exited; None: there is none."""
        return next(iter(self._live_of_task.get(task_of(attempt_id), ())), None)

    def by_due(self) -> list[tuple[AttemptId, Happening]]:
        """All deadlines of attempts, the earliest first: a restored node has the same order, though
        it took the attempts up in another, and of two ends the first is no neighbour of the other.
        """
        due = sorted((at, name, what) for name, (at, what) in self.due.items())
        return [(attempt_id, happening) for _, attempt_id, happening in due]

    def due_by(self, now_ms: Ms, contact_at_ms: Ms | None) -> list[tuple[AttemptId, Happening]]:
        """The deadlines that have passed, in the order in which they did."""
        due = [(at, name, what) for name, (at, what) in self.due.items() if at <= now_ms]
        if contact_at_ms is not None:
            due += [
                (contact_at_ms + failover_ms, attempt_id, Happening.LEASE_OVER)
                for attempt_id, failover_ms in self.leased.items()
                if contact_at_ms + failover_ms <= now_ms
            ]
        due.sort(key=lambda each: (each[0], each[1], each[2].value))
        return [(attempt_id, happening) for _, attempt_id, happening in due]

    def is_lease_over(self, attempt_id: AttemptId, now_ms: Ms, contact_at_ms: Ms | None) -> bool:
        """Whether the node has been out of contact for the attempt's failover length."""
        failover_ms = self.leased.get(attempt_id)
        return (
            failover_ms is not None
            and contact_at_ms is not None
            and contact_at_ms + failover_ms <= now_ms
        )

    def next_due(self, contact_at_ms: Ms | None) -> Ms | None:
        """The earliest deadline; None when there is none."""
        times = [due_ms for due_ms, _ in self.due.values()]
        if self.leased and contact_at_ms is not None:
            times.append(contact_at_ms + min(self.leased.values()))
        return min(times, default=None)

    def gpu_holders(self) -> dict[GpuUuid, tuple[AttemptId, ...]]:
        """By GPU: the attempts that may have processes on it."""
        holders: dict[GpuUuid, tuple[AttemptId, ...]] = {}
        for attempt_id in self.live:
            attempt = self.attempts[attempt_id]
            if stand_of(attempt) in _MAY_RUN:
                for share in attempt.dispatch.reservation.gpus:
                    holders[share.uuid] = (*holders.get(share.uuid, ()), attempt_id)
        return holders

    def _index_turn(self, attempt: NodeAttempt, stand: Stand) -> None:
        attempt_id = attempt.dispatch.attempt_id
        before = self.attempts.get(attempt_id)
        waited_for = None if before is None else before.waits_for
        if waited_for is not None:
            followers = self._followers.get(waited_for, {})
            followers.pop(attempt_id, None)
            if not followers:
                self._followers.pop(waited_for, None)
        if attempt.waits_for is not None and stand in _EARLY:
            self._followers.setdefault(attempt.waits_for, {})[attempt_id] = None

    def _deadline(self, attempt: NodeAttempt, stand: Stand) -> tuple[Ms, Happening] | None:
        dispatch = attempt.dispatch
        if stand is Stand.RUNNING and dispatch.time_limit_ms is not None:
            return (attempt.started_at_ms or 0) + dispatch.time_limit_ms, Happening.TIME_LIMIT_OVER
        if stand is Stand.STOPPING and not attempt.kill_sent:
            return (attempt.stopping_at_ms or 0) + dispatch.grace_ms, Happening.GRACE_OVER
        if stand is Stand.WAITING and attempt.turn_by_ms is not None:
            return attempt.turn_by_ms, Happening.TURN_MISSED
        if stand is Stand.CLEARING:
            waits_from_ms = attempt.exited_at_ms or 0
            return waits_from_ms + self._memory_return_ms, Happening.MEMORY_WAIT_OVER
        return None


def with_process(attempt: NodeAttempt, event: ProcessStarted) -> NodeAttempt:
    """The attempt with the process that its shim has told of."""
    return replace(attempt, pid=event.pid, started_at_ms=event.started_at_ms)
