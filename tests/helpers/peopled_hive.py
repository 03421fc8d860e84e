"""The people of a story: what they submit, cancel, hold, drain. Nodes and time: hive.py."""

from __future__ import annotations

from msgspec import structs

from fluxhive.core.array import ArraySpec, check_array
from fluxhive.core.booking import Booking, BookingWish
from fluxhive.core.events import (
    BookingSet,
    NodeAccepted,
    NodeDrained,
    NodeGivenUp,
    QuotaSet,
    TaskCancelRequested,
    TaskEdited,
    TaskHeld,
    TaskReleased,
    TaskReprioritised,
    TaskSubmitted,
)
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.quota import Quota, QuotaScope
from fluxhive.core.spec import DEFAULT_MIN_RUN_MS, ExecutorKind, OnOom
from fluxhive.core.spec_check import apply_defaults, check_spec
from fluxhive.core.task import Priority, TaskSpec
from fluxhive.core.values import NodeId, TaskId

from . import factories
from .factories import ms
from .told_hive import ToldHive


class PeopledHive(ToldHive):
    """A hive and its people."""

    def __init__(self, settings: HiveSettings) -> None:
        super().__init__(settings)
        self._number = 0

    # ── people ────────────────────────────────────────────────────────────────────────────────

    def submit(
        self,
        name: str,
        *,
        owner: str = "ann",
        held_by: str | None = None,
        priority: str = "normal",
        gpus: int | None = None,
        gpu_memory: str | int | None = None,
        exclusive: bool = False,
        cpus: int = 1,
        memory: str | int | None = None,
        retry: int = 0,
        restarts: int = 5,
        backoff: str = "1s",
        time_limit: str | None = None,
        failover: str | None = None,
        at_most_once: bool = False,
        workdir: str | None = None,
        nodes: int = 1,
        project: str = "",
        begin: str | None = None,
        after: tuple[str, ...] = (),
        settled: tuple[str, ...] = (),
        array: ArraySpec | None = None,
        retry_on: tuple[str, ...] = (),
        retry_elsewhere: bool = False,
        preemptible: bool = False,
        min_run: str | None = None,
        executor: str = "exec",
        image: str | None = None,
        oom: str = "grow",
    ) -> None:
        """A task is submitted; its id is the name. ``begin`` from now, ``after`` as ``t1:any``."""
        spec = TaskSpec(
            command=("true",),
            executor=ExecutorKind(executor),
            image=image,
            request=factories.request(
                gpus=gpus,
                gpu_memory=gpu_memory,
                exclusive=exclusive,
                cpus=cpus,
                memory=memory,
                nodes=nodes,
            ),
            priority=Priority(priority),
            retry=retry,
            restarts=restarts,
            backoff_ms=ms(backoff) or 0,
            time_limit_ms=ms(time_limit),
            failover_ms=ms(failover),
            at_most_once=at_most_once,
            workdir=workdir,
            project=project,
            begin_at_ms=None if begin is None else self.now_ms + (ms(begin) or 0),
            after=tuple(factories.dependency(text) for text in after),
            array=array,
            retry_on=retry_on,
            retry_elsewhere=retry_elsewhere,
            preemptible=preemptible,
            oom=OnOom(oom),
            min_run_ms=DEFAULT_MIN_RUN_MS if min_run is None else ms(min_run) or 0,
        )
        check_spec(spec)
        self._number += 1
        self.handle(
            TaskSubmitted(
                task_id=TaskId(name),
                number=self._number,
                owner=owner,
                spec=apply_defaults(spec),
                held_by=held_by,
                settled=tuple(TaskId(task) for task in settled),
            )
        )
        # The numbers that follow an array's are its members'.
        self._number += 0 if array is None else check_array(array).count

    def edit(self, task: str, /, by: str = "ann", **changes: object) -> None:
        """Somebody changes what a task asks; fields of the request are named as they are."""
        old = self.task(task).spec
        parts = {key: changes.pop(key) for key in list(changes) if hasattr(old.request, key)}
        new = structs.replace(old, request=structs.replace(old.request, **parts), **changes)
        check_spec(new)
        self.handle(TaskEdited(task_id=TaskId(task), spec=new, by=by))

    def quota(self, scope: str, name: str, **limits: int) -> None:
        """An administrator says what a user or a project may have."""
        quota = Quota(scope=QuotaScope(scope), name=name, **limits)
        self.handle(QuotaSet(quota=quota, by="root"))

    def book(
        self, scope: str, name: str, n_gpus: int, *, begins: str | None = None, lasts: str
    ) -> str:
        """An administrator books GPUs, from so long from now on; the booking's id."""
        from_ms = self.now_ms + (factories.ms(begins) or 0)
        wish = BookingWish(
            scope=QuotaScope(scope),
            name=name,
            n_gpus=n_gpus,
            from_ms=from_ms,
            until_ms=from_ms + (factories.ms(lasts) or 0),
            by="root",
        )
        booking = self.manager.choose_booking(wish)
        assert isinstance(booking, Booking), f"{booking} GPUs can be booked"
        self.handle(BookingSet(booking=booking, by="root"))
        return booking.id

    def remove_booking(self, booking_id: str) -> None:
        """An administrator gives a booking's GPUs back to everybody."""
        over = structs.replace(self.manager.hive.bookings[booking_id], is_over=True)
        self.handle(BookingSet(booking=over, by="root"))

    def cancel(self, name: str, by: str = "ann") -> None:
        """Somebody cancels a task."""
        self.handle(TaskCancelRequested(task_id=TaskId(name), by=by))

    def hold(self, name: str, by: str = "ann") -> None:
        """Somebody holds a task."""
        self.handle(TaskHeld(task_id=TaskId(name), by=by))

    def release(self, name: str, by: str = "ann") -> None:
        """Somebody takes the hold away."""
        self.handle(TaskReleased(task_id=TaskId(name), by=by))

    def reprioritise(self, name: str, priority: str, by: str = "ann") -> None:
        """Somebody changes a task's priority."""
        self.handle(TaskReprioritised(task_id=TaskId(name), priority=Priority(priority), by=by))

    def drain(self, node: str, by: str = "root", *, reason: str = "", until: str = "") -> None:
        """No new attempts on the node; ``until``: for so long."""
        until_ms = self.now_ms + (ms(until) or 0) if until else None
        self.handle(
            NodeDrained(node_id=NodeId(node), on=True, by=by, reason=reason, until_ms=until_ms)
        )

    def undrain(self, node: str, by: str = "root") -> None:
        """New attempts on the node again."""
        self.handle(NodeDrained(node_id=NodeId(node), on=False, by=by))

    def accept(self, node: str, by: str = "root") -> None:
        """The node may serve everybody."""
        self.handle(NodeAccepted(node_id=NodeId(node), by=by))

    def give_up(self, node: str, by: str = "root") -> None:
        """Somebody vouches that the machine is off."""
        self.handle(NodeGivenUp(node_id=NodeId(node), by=by))
