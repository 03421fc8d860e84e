"""Options of `submit` about when a task may start and what becomes of it, and what they make of it.

Kept apart from what the task needs and from what it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from fluxhive.core.request import parse_duration_ms
from fluxhive.core.spec import OnOom
from fluxhive.core.task import TaskSpec
from fluxhive.sdk.array_text import check_places, read_array
from fluxhive.sdk.begin import parse_dependency, parse_time_ms

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--begin", metavar="WHEN", help="Not before 18:00, +2h, or an ISO time."),
    click.option(
        "--after", multiple=True, metavar="TASK[:ok|any|fail]", help="Once that task has ended so."
    ),
    click.option("--array", multiple=True, metavar="0-99|lr=1e-3,1e-4 …", help="Many tasks alike."),
    click.option("--zip", "is_zip", is_flag=True, help="First values together, then the second …"),
    click.option("--at-most", type=int, metavar="N", help="So many of an array run at once."),
    click.option(
        "--retry-on", metavar="CAUSES", help="Only for exit:3,signal:9,time-limit,host-oom…"
    ),
    click.option("--retry-elsewhere", is_flag=True, help="Another node first, after a failure."),
    click.option(
        "--oom",
        type=click.Choice([each.value for each in OnOom]),
        default=OnOom.GROW.value,
        help="Out of GPU memory: try again with more, or fail. Default: grow.",
    ),
    click.option("--backoff", metavar="TIME", help="First pause before a retry; doubles. As 10s."),
    click.option("--preemptible", is_flag=True, help="May make room for urgent tasks."),
    click.option("--min-run", metavar="TIME", help="Not before it ran so long. Default: 10m."),
    click.option(
        "--checkpoint-signal",
        metavar="NAME[@TIME]",
        help="Sent to save by, as USR1, when it makes room; TIME is --grace.",
    ),
    click.option("--grace", metavar="TIME", help="From the polite signal to the kill. As 90s."),
    click.option("--hold", is_flag=True, help="Not before it is released."),
)
ROOM_NAMES = ("preemptible", "min_run", "checkpoint_signal", "grace")
RETRY_NAMES = ("retry_on", "retry_elsewhere", "oom", "backoff")
#: What these options are called in what click has read; `hold` goes beside the spec.
QUEUE_NAMES = ("begin", "after", "array", "is_zip", "at_most", *RETRY_NAMES, *ROOM_NAMES)


def queue_options(command: Command) -> Command:
    """Adds the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def queued(spec: TaskSpec, given: dict[str, Any]) -> TaskSpec:
    """The spec with what these options say, by their ``QUEUE_NAMES``."""
    begin, causes, backoff = given["begin"], given["retry_on"], given["backoff"]
    asked = replace(
        _with_room(spec, given),
        begin_at_ms=None if begin is None else parse_time_ms(begin),
        # A list: Python 3.10 makes an empty tuple of a generator anew, which is no default then.
        after=tuple([parse_dependency(text) for text in given["after"]]),
        retry_on=() if causes is None else tuple(each.strip() for each in causes.split(",")),
        retry_elsewhere=given["retry_elsewhere"],
        oom=OnOom(given["oom"]),
        backoff_ms=spec.backoff_ms
        if backoff is None
        else parse_duration_ms(backoff, field="--backoff"),
        array=read_array(given["array"], is_zip=given["is_zip"], at_most=given["at_most"]),
    )
    return check_places(asked)


def _with_room(spec: TaskSpec, given: dict[str, Any]) -> TaskSpec:
    """What it does when urgent tasks want its room."""
    min_run, grace, name = given["min_run"], given["grace"], given["checkpoint_signal"]
    if name is not None and "@" in name:  # USR1@90s: so long before the kill
        name, _, before = name.partition("@")
        grace = before if grace is None else grace
    return replace(
        spec,
        preemptible=given["preemptible"],
        min_run_ms=spec.min_run_ms if min_run is None else _length(min_run, "--min-run"),
        grace_ms=spec.grace_ms if grace is None else _length(grace, "--grace"),
        checkpoint_signal=None if name is None else name.upper().removeprefix("SIG"),
    )


def _length(text: str, option: str) -> int:
    return 0 if text.strip("0") in ("", "s", "m", "h") else parse_duration_ms(text, field=option)
