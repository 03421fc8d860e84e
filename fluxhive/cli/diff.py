"""`fluxhive diff`: what differs between two tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import msgspec

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.cli.follow import usage
from fluxhive.cli.ps import where
from fluxhive.core.request import show_mib, show_ms
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk import tasks

ABSENT = "-"


@click.command()
@click.argument("first", shell_complete=TASK_NAMES, metavar="A")
@click.argument("second", shell_complete=TASK_NAMES, metavar="B")
@click.option("--all", "is_all", is_flag=True, help="Also what is the same in both.")
@options.control_url
@output.form_options
def command(
    *, first: str, second: str, is_all: bool, control_url: str | None, form: output.Form
) -> int:
    """Show what differs between two tasks: command, code, environment, needs, and how they went.

    Code is compared as a whole, by its hash. Ends with 0 when they were asked for alike, else
    with 1, as diff does.
    """
    client = session.client(control_url)
    old, new = client.task(first), client.task(second)
    asked, went = [_both(old, new, look) for look in (_asked, _went)]
    found = [*asked, *went]
    shown = found if is_all else [each for each in found if each[1] != each[2]]
    output.rows(
        form,
        "differences",
        ("WHAT", old.id, new.id),
        shown,
        items=[{"what": what, "first": one, "second": two} for what, one, two in shown],
        ids=[what for what, _, _ in shown],
    )
    is_alike = all(one == two for _, one, two in asked)
    if is_alike and not form.is_data:
        messages.say(f"{old.id} and {new.id} were asked for alike")
    return 0 if is_alike else 1


def _both(old: TaskView, new: TaskView, look: Any) -> list[tuple[str, str, str]]:
    """What each of the two says of everything that one of them names."""
    one, two = dict(look(old)), dict(look(new))
    names = [*one, *(name for name in two if name not in one)]
    return [(name, one.get(name, ABSENT), two.get(name, ABSENT)) for name in names]


def _asked(task: TaskView) -> Iterator[tuple[str, str]]:
    """What was asked for, value by value, in the words of the spec; defaults are left out."""
    spec = msgspec.to_builtins(task.spec)
    spec.pop("command")
    # A word each: one changed argument is one line.
    yield from ((f"command[{n}]", word) for n, word in enumerate(task.spec.command))
    yield from _leaves("", spec)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list):
        yield name, ", ".join(str(each) for each in value)
    elif name.endswith("_mib") and isinstance(value, int):
        yield name.removesuffix("_mib"), show_mib(value)
    elif name.endswith("_ms") and isinstance(value, int):
        yield name.removesuffix("_ms"), show_ms(value)
    else:
        yield name, str(value)


def _went(task: TaskView) -> Iterator[tuple[str, str]]:
    """How it went: state, place, and what it took."""
    yield "state", task.word
    attempt = tasks.last_attempt(task)
    yield "where", where(attempt)
    yield "attempts", str(len(task.attempts))
    if task.state.is_final and task.reason:
        yield "ended", task.reason
    yield from usage(task)
