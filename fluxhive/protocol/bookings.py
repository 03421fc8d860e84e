"""Bookings as people make and see them: ``/bookings``."""

from __future__ import annotations

from fluxhive.core.booking import Booking
from fluxhive.core.quota import QuotaScope
from fluxhive.core.values import Ms, NodeId, Value

from .rest import Body


class BookingRequest(Body, frozen=True, kw_only=True):
    """``POST /bookings``: so many GPUs for a user or a project, from one time to another."""

    scope: QuotaScope
    name: str
    gpus: int
    #: Milliseconds since 1970; absent: now.
    from_ms: Ms | None = None
    until_ms: Ms
    #: A part of the GPUs' name, such as `a100`.
    gpu_model: str | None = None
    #: Labels of the nodes they may be on; empty: any.
    on_nodes: tuple[str, ...] = ()


class BookedGpu(Value, frozen=True, kw_only=True):
    """One GPU of a booking."""

    node_id: NodeId
    label: str
    index: int


class BookingView(Value, frozen=True, kw_only=True):
    """A booking and where its GPUs are."""

    booking: Booking
    gpus: tuple[BookedGpu, ...]


class BookingPage(Value, frozen=True, kw_only=True):
    """All bookings that are not over, the next first."""

    items: tuple[BookingView, ...]
