"""Bookings: certain GPUs kept for a user or a project between two points in time.

Others use them only if they are expected to be done before a booking begins; who is still there
then runs on. Whom it is for is treated like everybody on all other GPUs and at all other times. A
value that the store keeps; booking_desk.py chooses the GPUs and keeps the hive true to it.
"""

from __future__ import annotations

from collections.abc import Iterable

from .quota import QuotaScope
from .request import say_ms
from .values import GpuUuid, Ms, Value


class Booking(Value, frozen=True, kw_only=True):
    """GPUs for somebody, from one time (hive time) to another."""

    id: str
    scope: QuotaScope
    #: Of the user or the project.
    name: str
    gpus: tuple[GpuUuid, ...]
    from_ms: Ms
    until_ms: Ms
    #: Who made it.
    by: str
    #: Its time has passed, or it was cancelled.
    is_over: bool = False

    @property
    def whose(self) -> str:
        """``ann``, ``project vision``."""
        return self.name if self.scope is QuotaScope.USER else f"project {self.name}"

    def is_for(self, owner: str, project: str) -> bool:
        """Whether a task of this owner in this project may use it."""
        return self.name == (owner if self.scope is QuotaScope.USER else project)

    def meets(self, other: Booking) -> bool:
        """Whether both want a GPU at one time."""
        at_once = self.from_ms < other.until_ms and other.from_ms < self.until_ms
        return at_once and not set(self.gpus).isdisjoint(other.gpus)


class BookingWish(Value, frozen=True, kw_only=True):
    """What somebody wants to book."""

    scope: QuotaScope
    name: str
    n_gpus: int
    from_ms: Ms
    until_ms: Ms
    by: str
    #: A part of the GPUs' name; None: any.
    gpu_model: str | None = None
    #: Labels of the nodes they may be on; empty: any.
    on_nodes: tuple[str, ...] = ()


def number_of(booking: Booking) -> int:
    """``b-7`` → 7."""
    return int(booking.id.partition("-")[2])


def show_booking(bookings: Iterable[Booking], now_ms: Ms) -> str:
    """The next of them as a reason to wait: ``booked for ann (b-3), for another 2 h``."""
    first = min(bookings, key=lambda booking: (booking.from_ms, booking.id))
    if first.from_ms > now_ms:
        when = f"in {say_ms(first.from_ms - now_ms)}, and is needed longer"
    else:
        when = f"for another {say_ms(first.until_ms - now_ms)}"
    return f"booked for {first.whose} ({first.id}), {when}"
