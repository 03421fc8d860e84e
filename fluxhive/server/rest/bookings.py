"""``/api/v1/bookings``: GPUs kept for somebody between two points in time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path
from msgspec.structs import replace
from starlette.responses import Response

from fluxhive.core.booking import Booking, BookingWish
from fluxhive.core.errors import Conflict, InputError, NotFound
from fluxhive.core.events import BookingSet
from fluxhive.core.queueing_check import MAX_TIME_MS, check_project
from fluxhive.core.spec_check import MAX_COUNT
from fluxhive.protocol.bookings import BookedGpu, BookingPage, BookingRequest, BookingView
from fluxhive.server.auth import check_administrator
from fluxhive.server.bridge import answer, body_of, new_router, route
from fluxhive.server.services import Services

from .tasks import OfCaller, OfServices

router = new_router()


@route(router, "GET", "/bookings", gives=BookingPage)
async def list_bookings(caller: OfCaller, services: OfServices) -> Response:
    """List all bookings that are not over, the next first."""
    bookings = services.hive.brain.manager.bookings()
    bookings.sort(key=lambda booking: (booking.from_ms, booking.id))
    return answer(BookingPage(items=tuple(_view(services, each) for each in bookings)))


@route(router, "POST", "/bookings", takes=BookingRequest, gives=BookingView, status=201)
async def create_booking(
    body: Annotated[BookingRequest, Depends(body_of(BookingRequest))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Book GPUs for a user or a project, as an administrator.

    Others use them only if they are expected to be done before; who is still there then runs on.
    """
    check_administrator(caller)
    brain = services.hive.brain
    wish = _wish(body, caller.username, services.hive.clock.now_ms())
    booking = brain.manager.choose_booking(wish)
    if isinstance(booking, int):
        raise InputError(
            f"gpus: {wish.n_gpus} are wanted, and {booking} such as these can be booked then",
            hint="see `fluxhive booking ls`; book fewer, another time, or remove a booking",
            field="gpus",
            value=wish.n_gpus,
        )
    await brain.handle(BookingSet(booking=booking, by=caller.username))
    if booking not in brain.manager.bookings():
        raise Conflict(
            "somebody else was a moment faster and booked one of these GPUs",
            hint="book again: others are chosen then",
        )
    return answer(_view(services, booking), status=201)


@route(router, "DELETE", "/bookings/{booking_id}", gives=BookingView)
async def remove_booking(
    booking_id: Annotated[str, Path(description="Such as `b-7`.")],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Remove a booking, as an administrator: its GPUs are everybody's at once."""
    check_administrator(caller)
    brain = services.hive.brain
    found = [each for each in brain.manager.bookings() if each.id == booking_id]
    if not found:
        raise NotFound(
            f"there is no booking `{booking_id}`, or it is over",
            hint="see `fluxhive booking ls`",
        )
    over = replace(found[0], is_over=True)
    await brain.handle(BookingSet(booking=over, by=caller.username))
    return answer(_view(services, over))


def _wish(body: BookingRequest, by: str, now_ms: int) -> BookingWish:
    check_project(body.name, field="name")
    from_ms = now_ms if body.from_ms is None else body.from_ms
    if not 1 <= body.gpus <= MAX_COUNT:
        raise InputError(
            f"gpus: must be between 1 and {MAX_COUNT}: {body.gpus}",
            hint="write a whole number, such as 8",
            field="gpus",
            value=body.gpus,
        )
    if not max(from_ms, now_ms) < body.until_ms <= MAX_TIME_MS:
        raise InputError(
            f"until_ms: must be later than its begin and than now: {body.until_ms}",
            hint="milliseconds since 1970, such as 1795773600000",
            field="until_ms",
            value=body.until_ms,
        )
    return BookingWish(
        scope=body.scope,
        name=body.name,
        n_gpus=body.gpus,
        from_ms=from_ms,
        until_ms=body.until_ms,
        by=by,
        gpu_model=body.gpu_model,
        on_nodes=body.on_nodes,
    )


def _view(services: Services, booking: Booking) -> BookingView:
    where = {
        gpu.uuid: BookedGpu(node_id=node.id, label=node.label, index=gpu.index)
        for node in services.hive.brain.manager.nodes()
        for gpu in node.inventory.gpus
    }
    gpus = tuple(where[uuid] for uuid in booking.gpus if uuid in where)
    return BookingView(booking=booking, gpus=gpus)
