"""`fluxhive events`: what happened to tasks and nodes, and with -f what happens."""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

import click

from fluxhive.cli import messages, options, output, ps, session
from fluxhive.cli.messages import STATE_COLOURS, paint, visible
from fluxhive.core.request import parse_duration_ms
from fluxhive.protocol.feed import FeedEvent, Lagged, NodeChanged, TaskChanged
from fluxhive.protocol.rest import NodeView, TaskView
from fluxhive.sdk import tasks as of_tasks
from fluxhive.sdk.calls import Calls

#: Tasks whose past is listed at most; more are counted in a warning.
PAST_TASKS_MAX = 1000


class Happening(NamedTuple):
    """One line: what became of which task or node, and when."""

    at_ms: int
    what: str
    name: str
    owner: str
    word: str
    text: str = ""


@click.command()
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on as things happen.")
@click.option("-a", "--all", "is_all", is_flag=True, help="Tasks of all users, and the nodes.")
@click.option("--since", default="1h", show_default=True, metavar="TIME", help="How far back.")
@options.control_url
@output.form_options
def command(
    *,
    is_followed: bool,
    is_all: bool,
    since: str,
    control_url: str | None,
    form: output.Form,
) -> None:
    """List what happened to my tasks: submitted, started, ended. With -f as it happens.

    With -a also nodes that come, fall silent and go. Ctrl-C ends it, and nothing else.
    """
    since_ms = int(time.time() * 1000) - parse_duration_ms(since, field="--since")
    client = session.client(control_url)
    owner = None if is_all else client.me().username
    past = _past(client, owner, since_ms)
    if not is_followed:
        output.rows(
            form,
            "events",
            ("TIME", "TASK", "NAME", "USER", "STATE", "WHY"),
            [[_clock(each.at_ms), *_cells(each)] for each in past],
            items=[each._asdict() for each in past],
            ids=[each.what for each in past],
            none=f"nothing happened to {'any' if is_all else 'your'} tasks in the last {since}",
        )
        return
    for each in past:
        _print(each, form)
    _follow(client, owner, form)


def _past(client: Calls, owner: str | None, since_ms: int) -> list[Happening]:
    tasks = list(client.tasks(owner=owner, since_ms=since_ms, limit=PAST_TASKS_MAX))
    if len(tasks) == PAST_TASKS_MAX:
        messages.warn(f"only the newest {PAST_TASKS_MAX} tasks are looked at; `--since` asks less")
    found = [each for task in tasks for each in _story(task) if each.at_ms >= since_ms]
    return sorted(found, key=lambda each: each.at_ms)


def _story(task: TaskView) -> list[Happening]:
    """What is known of when a task was submitted, started and ended."""

    def at(at_ms: int, word: str, text: str = "") -> Happening:
        return Happening(at_ms, task.id, task.name, task.owner, word, text)

    found = [at(task.submitted_at_ms, "submitted")]
    for attempt in task.attempts:
        place = f"on {ps.where(attempt)}"
        if attempt.started_at_ms is not None:
            found.append(at(attempt.started_at_ms, "running", place))
        is_last = attempt is of_tasks.last_attempt(task) and task.state.is_final
        if attempt.ended_at_ms is not None and attempt.outcome is not None and not is_last:
            ended = f"attempt {attempt.number}: {attempt.outcome.kind.value}"
            found.append(at(attempt.ended_at_ms, "ended", ended))
    if task.ended_at_ms is not None:
        found.append(at(task.ended_at_ms, task.state.value, task.reason))
    return found


def _follow(client: Calls, owner: str | None, form: output.Form) -> None:
    """Prints changes until Ctrl-C."""
    from fluxhive.sdk.events import changes

    known: dict[str, tuple[str, str]] = {}
    for event in changes(client.transport, on_trouble=_tell_trouble):
        if isinstance(event, Lagged):
            messages.warn(f"{event.missed} changes came too fast to be told")
        happened = _happened(event, owner)
        # A task is told of whenever anything about it changes; people want to hear news.
        if happened is not None and known.get(happened.what) != (happened.word, happened.text):
            known[happened.what] = (happened.word, happened.text)
            _print(happened, form)


def _happened(event: FeedEvent, owner: str | None) -> Happening | None:
    now_ms = int(time.time() * 1000)
    if isinstance(event, TaskChanged) and owner in (None, event.task.owner):
        task = event.task
        text = ps.why(task) if task.word != "running" else f"on {_place(task)}"
        return Happening(now_ms, task.id, task.name, task.owner, task.word, text.strip("-"))
    if isinstance(event, NodeChanged) and owner is None:
        return _of_node(event.node, now_ms)
    return None


def _place(task: TaskView) -> str:
    return ps.where(of_tasks.last_attempt(task))


def _of_node(node: NodeView, now_ms: int) -> Happening:
    word = "draining" if node.draining else node.state.value
    return Happening(now_ms, node.id, node.label, "-", word, node.problem)


def _print(each: Happening, form: output.Form) -> None:
    if form.is_json or form.is_jsonl:
        output.json_line(each._asdict())
    elif form.is_quiet:
        output.lines([each.what])
    elif sys.stdout.isatty() or form.is_table:
        what, name, owner, word, text = (visible(cell) for cell in _cells(each))
        colour = STATE_COLOURS.get(word)
        state = f"{word:<10}" if colour is None else paint(f"{word:<10}", colour, sys.stdout)
        line = f"{_clock(each.at_ms)}  {what:<8}  {state}  {owner}  {name}  {text}"
        output.lines([line.rstrip()])
    else:
        output.lines(["\t".join(visible(cell) for cell in [_clock(each.at_ms), *_cells(each)])])


def _cells(each: Happening) -> list[str]:
    return [each.what, each.name or "-", each.owner, each.word, each.text or "-"]


def _clock(at_ms: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000))


def _tell_trouble(text: str) -> None:
    if text:
        messages.warn(f"lost the server ({text}); trying again")
    else:
        messages.say("the server is back; what changed meanwhile: fluxhive events")
