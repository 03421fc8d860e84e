"""Takes bookings, keeps GPUs for them, and lets them go when their time is over.

``choose`` says which GPUs a booking would get and changes nothing; the booking then comes in as an
event, so that a replay books the same. Called by the server's ``/bookings``, task_manager.py and
hive_state.py (a node that joins may have booked GPUs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from . import line_up
from .booking import Booking, BookingWish, number_of, show_booking
from .effects import SaveBooking
from .events import BookingSet
from .node_record import NodeRecord
from .promises import free_at
from .request import Request, is_model
from .task import Task
from .timers import TimerKind
from .values import GpuUuid, NodeId

if TYPE_CHECKING:
    from .hive_state import HiveState


def choose(hive: HiveState, wish: BookingWish) -> Booking | int:
    """The booking it would be; or how many GPUs such as are wanted nobody has booked then.

    On as few nodes as will do; of a node, those that are expected to be free soonest.
    """
    last = max((number_of(booking) for booking in hive.bookings.values()), default=0)
    last = max(last, hive.last_booking)
    made = Booking(
        id=f"b-{last + 1}",
        scope=wish.scope,
        name=wish.name,
        gpus=(),
        from_ms=wish.from_ms,
        until_ms=wish.until_ms,
        by=wish.by,
    )
    by_node = sorted(
        ((_open(hive, record, wish, made), record) for record in hive.nodes.values()),
        key=lambda each: (-min(len(each[0]), wish.n_gpus), len(each[0]), each[1].node.id),
    )
    # A GPU that was moved is named by the node of before, too, until that one joins again.
    uuids = list(dict.fromkeys(uuid for some, _ in by_node for uuid in some))
    if len(uuids) < wish.n_gpus:
        return len(uuids)
    return replace(made, gpus=tuple(uuids[: wish.n_gpus]))


def booking_set(hive: HiveState, event: BookingSet) -> None:
    """A booking is made, or is over; one that meets another is not made."""
    new = event.booking
    old = hive.bookings.get(new.id)
    if new.is_over:
        if old is not None:
            over(hive, new.id)
        return
    known = old is not None or number_of(new) <= hive.last_booking
    if known or new.until_ms <= hive.now_ms:
        return
    if any(new.meets(other) for other in hive.bookings.values()):
        return
    load(hive, new)
    hive.effects.append(SaveBooking(booking=new))
    line_up.settle_all(hive)


def load(hive: HiveState, booking: Booking) -> None:
    """Take a booking as it is; a stored one after the attempts, for one of them may be on a booked
    GPU that its node does not name any more."""
    hive.last_booking = max(hive.last_booking, number_of(booking))
    if booking.is_over:
        return
    hive.bookings[booking.id] = booking
    for uuid in booking.gpus:
        hive.booked[uuid] = (*hive.booked.get(uuid, ()), booking)
    hive.timers.set(TimerKind.BOOKING, booking.id, max(booking.until_ms, hive.now_ms + 1))
    for record in hive.nodes.values():
        attach(hive, record)


def over(hive: HiveState, booking_id: str) -> None:
    """Its time has passed, or it was cancelled: its GPUs are everybody's."""
    booking = hive.bookings.pop(booking_id)
    hive.timers.cancel(TimerKind.BOOKING, booking_id)
    for uuid in booking.gpus:
        left = tuple(each for each in hive.booked[uuid] if each.id != booking_id)
        if left:
            hive.booked[uuid] = left
        else:
            del hive.booked[uuid]
    for record in hive.nodes.values():
        if not record.gpus.keys().isdisjoint(booking.gpus):
            attach(hive, record)
            hive.roomy[record.node.id] = record
    hive.effects.append(SaveBooking(booking=replace(booking, is_over=True)))
    line_up.settle_all(hive)


def attach(hive: HiveState, record: NodeRecord) -> None:
    """Write on a node's GPUs what is booked of them."""
    for uuid, gpu in record.gpus.items():
        gpu.bookings = hive.booked.get(uuid, ())


def why_booked(hive: HiveState, task: Task, node_ids: list[NodeId]) -> str:
    """Why a task is kept off these nodes by bookings for others."""
    gpus = [gpu for node_id in node_ids for gpu in hive.nodes[node_id].gpus.values()]
    others = [b for gpu in gpus for b in gpu.bookings if not b.is_for(task.owner, task.project)]
    where = "1 node" if len(node_ids) == 1 else f"{len(node_ids)} nodes"
    return f"what is free on {where} is {show_booking(others, hive.now_ms)}"


def _open(hive: HiveState, record: NodeRecord, wish: BookingWish, made: Booking) -> list[GpuUuid]:
    """The GPUs of a node that the booking could have."""
    node, request = record.node, Request(gpu_model=wish.gpu_model)
    if node.only_for is not None or (wish.on_nodes and node.label not in wish.on_nodes):
        return []
    gpus = [
        gpu
        for uuid, gpu in record.gpus.items()
        if gpu.report.total_mib
        and is_model(request, gpu.report.model)
        and not any(replace(made, gpus=(uuid,)).meets(other) for other in gpu.bookings)
    ]
    gpus.sort(key=lambda gpu: (free_at(hive, gpu), gpu.report.index, gpu.report.uuid))
    return [gpu.report.uuid for gpu in gpus]
