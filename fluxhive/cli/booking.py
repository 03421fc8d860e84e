"""`fluxhive booking`: GPUs kept for a user or a project between two points in time."""

from __future__ import annotations

import time

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.watch import watched
from fluxhive.core.errors import InputError
from fluxhive.core.quota import QuotaScope
from fluxhive.core.request import parse_duration_ms, show_indexes
from fluxhive.protocol.bookings import BookingRequest, BookingView
from fluxhive.sdk.begin import parse_time_ms, show_time

TITLES = ("ID", "FOR", "GPUS", "FROM", "UNTIL", "WHERE", "BY")


@click.group()
def command() -> None:
    """Show bookings of GPUs; add and remove them (for administrators)."""


@command.command("ls")
@watched
@options.control_url
@output.form_options
def list_bookings(*, control_url: str | None, form: output.Form) -> None:
    """List all bookings that are not over, the next first."""
    found = session.client(control_url).bookings()
    output.rows(
        form,
        "bookings",
        TITLES,
        [_row(each) for each in found],
        items=found,
        ids=[each.booking.id for each in found],
        none="nothing is booked; `fluxhive booking add --project NAME --gpus 8 --for 8h` would",
    )


@command.command("add")
@click.option("--user", help="Whose tasks may use the GPUs.")
@click.option("--project", help="The project whose tasks may use the GPUs.")
@click.option("--gpus", type=int, required=True, help="How many.")
@click.option(
    "--from",
    "begins",
    default="now",
    show_default=True,
    help="When it begins: `18:00`, `+2h`, `2026-12-24T08:00` or `now`.",
)
@click.option("--until", "ends", help="When it ends, written in the same way.")
@click.option("--for", "length", help="How long it lasts instead: `8h`, `2d`.")
@click.option("--gpu-model", help="Only GPUs of this model, a part of its name: `a100`.")
@click.option("--node", "nodes", multiple=True, metavar="LABEL", help="Only on these nodes.")
@options.control_url
def add(
    *,
    user: str | None,
    project: str | None,
    gpus: int,
    begins: str,
    ends: str | None,
    length: str | None,
    gpu_model: str | None,
    nodes: tuple[str, ...],
    control_url: str | None,
) -> None:
    """Book GPUs for a user or a project.

    Others use them only if they are expected to be done before; who is still there then runs on.
    """
    if (user is None) == (project is None):
        raise InputError(
            "a booking is for a user or for a project: name one of the two",
            hint="add `--user NAME` or `--project NAME`",
            field="--user",
        )
    from_ms = parse_time_ms(begins, field="--from")
    made = session.client(control_url).book(
        BookingRequest(
            scope=QuotaScope.PROJECT if user is None else QuotaScope.USER,
            name=user or project or "",
            gpus=gpus,
            from_ms=from_ms,
            until_ms=_until_ms(from_ms, ends, length),
            gpu_model=gpu_model,
            on_nodes=nodes,
        )
    )
    messages.say("  ".join(_row(made)))


@command.command("rm")
@click.argument("booking_id", metavar="ID")
@options.control_url
def remove(*, booking_id: str, control_url: str | None) -> None:
    """Remove a booking: its GPUs are everybody's at once."""
    gone = session.client(control_url).remove_booking(booking_id)
    messages.say(f"{gone.booking.id} is removed")


def _until_ms(from_ms: int | None, ends: str | None, length: str | None) -> int:
    if (ends is None) == (length is None):
        raise InputError(
            "a booking ends at a time, or after a time: name one of the two",
            hint="add `--for 8h` or `--until 18:00`",
            field="--until",
        )
    now_ms = int(time.time() * 1000)
    if length is not None:
        return (now_ms if from_ms is None else from_ms) + parse_duration_ms(length, field="--for")
    return parse_time_ms(ends or "", field="--until") or now_ms


def _row(view: BookingView) -> list[str]:
    booking = view.booking
    by_node: dict[str, list[int]] = {}
    for gpu in view.gpus:
        by_node.setdefault(gpu.label, []).append(gpu.index)
    return [
        booking.id,
        booking.whose,
        str(len(booking.gpus)),
        show_time(booking.from_ms),
        show_time(booking.until_ms),
        " ".join(f"{label}:{show_indexes(indexes)}" for label, indexes in by_node.items()),
        booking.by,
    ]
