"""Draws `fluxhive top`: a model and the size of a screen in, lines of styled pieces out."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fluxhive.cli import ps
from fluxhive.cli.columns import cut, fitted, folded, width_of
from fluxhive.cli.messages import BOLD, DIM, RED, STATE_COLOURS, YELLOW, visible
from fluxhive.cli.top_bar import GREY, Glyphs, Span, colour_of
from fluxhive.cli.top_gpus import gpu_lines, gpu_summary
from fluxhive.cli.top_model import Facts, Model, Pane
from fluxhive.core.request import show_ms
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk import tasks as of_tasks

Line = list[Span]

REVERSE = "7"
TITLES = ("ID", "NAME", "USER", "STATE", "WHERE", "GPU GiB", "TIME", "WHY")
_N_ALWAYS = 4
"""So many columns, from the first on, say something of every task."""
_NOTHING = "-"
KEYS = "q quit  j/k move  Enter details  l output  c cancel  / filter  m mine  g GPUs  ? help"
KEYS_SHORT = "q quit  j/k  Enter  l output  c cancel  / filter  ? help"
#: Below this nothing can be told.
WIDTH_MIN, HEIGHT_MIN = 40, 6


def draw(model: Model, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """Exactly `height` lines, none wider than `width`."""
    if width < WIDTH_MIN or height < HEIGHT_MIN:
        return _filled([[Span(cut("the window is too small", width))]], height)
    if model.text is not None:
        return _filled(_text(model, model.text, width, height), height)
    if model.is_helping:
        return _filled(_help(glyphs), height)
    if model.facts is None:
        said = model.trouble or "asking the server …"
        return _filled(
            [
                [Span("fluxhive top", BOLD)],
                [],
                *([Span(line)] for line in folded(visible(said), width)),
            ],
            height,
        )
    facts = model.facts
    head = [_fit(_head(model, facts, width), width)]
    most = {Pane.HALF: (height - 3) // 2, Pane.FULL: height - 4, Pane.NONE: 0}[model.pane]
    gpus = gpu_lines(facts.nodes, width, most, glyphs, model.owner_of) if most else []
    left = height - len(head) - len(gpus) - 1
    body = _tasks(model, facts, width, left, glyphs)
    lines = [*head, *gpus, *body]
    lines = lines[: height - 1] + [[]] * (height - 1 - len(lines))
    return [*lines, _fit(_foot(model, width), width)]


def _head(model: Model, facts: Facts, width: int) -> Line:
    clock = time.strftime("%H:%M:%S", time.localtime(facts.now_ms / 1000))
    if model.trouble:
        return [Span("not up to date", RED), Span(f"  {clock}  {model.trouble}")]
    address = facts.url.partition("://")[2]
    parts = [gpu_summary(facts.nodes), *_counts(facts)]
    line = [Span(f"{facts.user}@{address}", BOLD), Span("  "), Span("  ".join(parts))]
    n_failed = 0 if facts.summary is None else facts.summary.ended_24h.failed
    if n_failed:
        line.append(Span(f"  {n_failed} failed today", RED))
    if sum(width_of(span.text) for span in line) > width:
        line[0] = Span(facts.user, BOLD)  # which server it is matters less than what failed
    room = width - sum(width_of(span.text) for span in line) - len(clock)
    return [*line, Span(" " * room), Span(clock, GREY)] if room > 1 else line


def _counts(facts: Facts) -> list[str]:
    """How many tasks run and wait: as the server counts them, or of those that were read."""
    states = [task.state for task in facts.tasks]
    n_running, n_waiting = states.count(TaskState.ACTIVE), states.count(TaskState.QUEUED)
    n_held = states.count(TaskState.HELD)
    queued = [task for task in facts.tasks if task.state is TaskState.QUEUED]
    oldest_ms = min((task.submitted_at_ms for task in queued), default=None)
    if facts.summary is not None:
        counts, oldest_ms = facts.summary.counts, facts.summary.oldest_wait_ms
        n_running, n_waiting, n_held = counts.active, counts.queued, counts.held
    wait = "" if oldest_ms is None else f" ({show_ms(max(0, facts.now_ms - oldest_ms))})"
    held = [f"{n_held} held"] if n_held else []
    return [f"{n_running} running", f"{n_waiting} waiting{wait}", *held]


def _tasks(model: Model, facts: Facts, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    shown = model.shown()
    title = f" tasks {len(shown)} "
    if model.filter or model.is_mine:
        said = [*(["mine"] if model.is_mine else []), *([model.filter] if model.filter else [])]
        title = f" tasks {len(shown)} of {len(facts.tasks)}: {', '.join(said)} "
    rule: Line = [
        Span(glyphs.rule * 2 + visible(title), GREY),
        Span(glyphs.rule * max(0, width - 2 - width_of(title)), GREY),
    ]
    room = height - 2
    if room < 1:
        return []
    if not shown:
        if facts.tasks:
            return [rule, [Span("no task matches; Esc shows all, m those of all users", DIM)]]
        begin = "fluxhive submit -- python train.py"
        return [rule, [Span("no task lives or ended lately; submit one: ", DIM), Span(begin)]]
    model.page = room
    at = next((n for n, task in enumerate(shown) if task.id == model.selected), 0)
    model.first = max(0, min(model.first, at, len(shown) - room), at - room + 1)
    seen = shown[model.first : model.first + room]
    titles, *rows = _columns([_row(task, facts.now_ms) for task in seen], width)
    lines: list[Line] = [rule, [Span("  ".join(titles), BOLD)]]
    for task, row in zip(seen, rows, strict=True):
        lines.append(_task_line(row, task, is_selected=task.id == model.selected, width=width))
    return [_fit(line, width) for line in lines]


def _columns(rows: list[list[str]], width: int) -> list[list[str]]:
    """Titles and rows, cut to the width. Who is nowhere says why in the place of where and how."""
    is_nowhere = [row[_N_ALWAYS:-1] == [_NOTHING] * (len(TITLES) - _N_ALWAYS - 1) for row in rows]
    told = [[*row[:-1], ""] if n else row for row, n in zip(rows, is_nowhere, strict=True)]
    titles, *cells = fitted([TITLES, *told], width)
    left = width - sum(width_of(cell) + 2 for cell in titles[:_N_ALWAYS])
    return [
        titles,
        *(
            [*cell[:_N_ALWAYS], cut(row[-1], left)] if n else cell
            for cell, row, n in zip(cells, rows, is_nowhere, strict=True)
        ),
    ]


def _task_line(row: Sequence[str], task: TaskView, *, is_selected: bool, width: int) -> Line:
    text = "  ".join(row)
    if is_selected:
        return [Span(text + " " * (width - width_of(text)), REVERSE)]
    styles = ["", "", colour_of(task.owner), STATE_COLOURS.get(task.word.partition(" ")[0], "")]
    spans: Line = []
    for n, cell in enumerate(row):
        spans += [Span(cell, styles[n] if n < len(styles) else ""), Span("  ")]
    return spans


def _row(task: TaskView, now_ms: int) -> list[str]:
    attempt = of_tasks.last_attempt(task)
    is_live = task.state is TaskState.ACTIVE
    cells = [
        task.id,
        task.name or "-",
        task.owner,
        task.word,
        ps.where(attempt) if is_live or task.state.is_final else _NOTHING,
        ps.gpu_memory(attempt).replace(" GiB", "") if is_live else _NOTHING,
        ps.running_time(task, now_ms),
        ps.why(task),
    ]
    return [visible(cell).replace("\n", " ") for cell in cells]


def _foot(model: Model, width: int) -> Line:
    if model.typed is not None:
        return [Span("filter: ", BOLD), Span(visible(model.typed)), Span("_", REVERSE)]
    if model.asked is not None:
        task = model.asked
        named = f"{task.id} {visible(task.name)}".strip()
        return [Span(f"cancel {named}, {task.word}?", YELLOW), Span("  y yes, any other key no")]
    if model.note:
        return [Span(model.note, YELLOW)]
    return [Span(KEYS if width_of(KEYS) <= width else KEYS_SHORT, DIM)]


def _text(model: Model, text: Sequence[str], width: int, height: int) -> list[Line]:
    model.page = height - 2
    lines = [piece for line in text for piece in folded(visible(line), width)]
    model.text_first = max(0, min(model.text_first, len(lines) - model.page))
    seen = lines[model.text_first : model.text_first + height - 2]
    end = model.text_first + len(seen)
    where = f"  {model.text_first + 1}-{end} of {len(lines)}" if len(lines) > height - 2 else ""
    keys = "j/k scroll, any other key goes back"
    body: list[Line] = [[Span(line)] for line in seen]
    body += [[]] * (height - 2 - len(body))
    return [[Span(cut(model.text_title, width), BOLD), Span(where, GREY)], *body, [Span(keys, DIM)]]


def _help(glyphs: Glyphs) -> list[Line]:
    keys = [
        ("q", "quit; tasks are not affected"),
        ("j k, arrows", "move; PgUp, PgDn, Home, End too"),
        ("Enter", "all about the task"),
        ("l", "the end of its output"),
        ("c", "cancel it, after a question"),
        ("/", "filter by id, name, user, project, state or node; words narrow it"),
        ("Esc", "no filter"),
        ("m", "only my tasks, or all"),
        ("g", "GPUs on half of the screen, on all of it, or not at all"),
    ]
    legend = [
        (glyphs.used, "GPU memory that a task uses, in its owner's colour"),
        (glyphs.reserved, "reserved by tasks and not used"),
        (glyphs.foreign, "used by processes outside FlowHive"),
        (glyphs.free, "free"),
        (glyphs.levels, "behind a bar: how busy the GPU is, from idle to busy"),
    ]
    lines: list[Line] = [[Span("fluxhive top", BOLD)], []]
    lines += [[Span(f"  {key:<13}", BOLD), Span(text)] for key, text in keys]
    lines.append([])
    lines += [[Span(f"  {glyph:<13}"), Span(text)] for glyph, text in legend]
    return [*lines, [], [Span("any key goes back", DIM)]]


def _fit(line: Line, width: int) -> Line:
    """The line cut to the width."""
    kept: Line = []
    for span in line:
        room = width - sum(width_of(each.text) for each in kept)
        if room <= 0:
            break
        kept.append(span._replace(text=cut(span.text, room)))
    return kept


def _filled(lines: list[Line], height: int) -> list[Line]:
    return lines[:height] + [[]] * (height - len(lines))
