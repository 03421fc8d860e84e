"""How a task shows itself: a line in a terminal, a small table in a notebook.

Everything that people wrote is escaped: a name must not become a page.
"""

from __future__ import annotations

import time
from html import escape

from fluxhive.core.request import show_mib, show_ms
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import TaskView

from .tasks import last_attempt

#: Each with a sign, so that nobody needs the colour.
_LOOKS = {
    TaskState.SUCCEEDED: ("✓", "#2b8a3e"),
    TaskState.FAILED: ("✗", "#c92a2a"),
    TaskState.CANCELLED: ("⊘", "#868e96"),
    TaskState.ACTIVE: ("●", "#1971c2"),
}
_WAITS = ("○", "#e67700")


def line_of(task: TaskView) -> str:
    """``t-7f3k vit running on gpu-a:2``."""
    where = f"on {place}" if (place := _where(task)) else ""
    return " ".join(part for part in (task.id, task.name, task.word, where) if part)


def html_of(task: TaskView, url: str) -> str:
    """A table of what there is to say, with a link to its page."""
    sign, colour = _LOOKS.get(task.state, _WAITS)
    word = f'<b style="color:{colour}">{sign} {escape(task.word)}</b>'
    is_told = task.reason == ("submitted" if task.waiting else "success")
    rows = [("state", word + (f": {escape(task.reason)}" if task.reason and not is_told else ""))]
    rows += [("waits", escape(reason.text)) for reason in task.waiting]
    if task.spec.function:
        rows.append(("function", f"<code>{escape(task.spec.function)}</code>"))
    if place := _where(task):
        rows.append(("on", escape(place)))
    if task.started_at_ms is not None:
        end_ms = task.ended_at_ms or int(time.time() * 1000)
        rows.append(("time", show_ms(max(0, end_ms - task.started_at_ms))))
    if memory := _memory(task):
        rows.append(("GPU memory", memory))
    if task.members is not None:
        rows.append(("members", escape(str(task.members))))
    title = f"{escape(task.id)} {escape(task.name)}".strip()
    head = f'<a href="{escape(url, quote=True)}" target="_blank" rel="noopener">{title}</a>'
    body = "".join(
        f'<tr><td style="text-align:left;opacity:.7">{name}</td>'
        f'<td style="text-align:left">{value}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{head}</caption><tbody>{body}</tbody></table>"


def _where(task: TaskView) -> str:
    attempt = last_attempt(task)
    if attempt is None:
        return ""
    gpus = ",".join(str(share.index) for share in attempt.reservation.gpus)
    return attempt.node_label + (f":{gpus}" if gpus else "")


def _memory(task: TaskView) -> str:
    attempt = last_attempt(task)
    if attempt is None or not attempt.reservation.gpus:
        return ""
    reserved = sum(share.gpu_memory_mib for share in attempt.reservation.gpus)
    used = attempt.gpu_memory_used_mib
    return (f"{show_mib(used)} of " if used is not None else "") + show_mib(reserved)
