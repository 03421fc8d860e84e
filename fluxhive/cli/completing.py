"""What the shell offers where a command takes a task, a node or a secret's name.

The answers of the server are kept for five seconds: each press of the Tab key is a process of its
own, and people press it several times. Without a server there is nothing to offer, and no message.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from fluxhive import config, places
from fluxhive.core.errors import FluxhiveError

if TYPE_CHECKING:
    from fluxhive.protocol.rest import TaskView

KEPT_S = 5.0
#: Tasks that are offered: more than anybody reads.
OFFERED_MAX = 200
RECENT_MS = 86_400_000

#: What to type, and what it is, for shells that show that.
Offer = tuple[str, str]


class Offers:
    """Completes words that the server knows; for `shell_complete` of an argument or option."""

    def __init__(self, kind: str, ask: Callable[[], list[Offer]]) -> None:
        self._kind = kind
        self._ask = ask

    def __call__(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Those that begin with what stands there, the newest first."""
        try:
            offers = _kept(self._kind, self._ask)
        except (FluxhiveError, OSError):
            return []
        return [
            CompletionItem(value, help=help)
            for value, help in offers
            if value.startswith(incomplete)
        ]


def _kept(kind: str, ask: Callable[[], list[Offer]]) -> list[Offer]:
    """The offers of the last five seconds, or new ones."""
    url = config.load({}).control_base_url
    path = places.state_root() / "completion.json"
    found = _read(path)
    if found.get("url") != url or not 0 <= time.time() - found.get("at_s", 0) < KEPT_S:
        found = {"url": url, "at_s": time.time()}
    if kind not in found:
        found[kind] = ask()
        places.private_dir(path.parent)
        places.write_private(path, json.dumps(found).encode())
    return [(str(value), str(help)) for value, help in found[kind]]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _tasks() -> list[Offer]:
    from fluxhive.cli import session

    since_ms = int(time.time() * 1000) - RECENT_MS
    return _offered(list(session.client().tasks(since_ms=since_ms, limit=OFFERED_MAX)))


def _offered(found: list[TaskView]) -> list[Offer]:
    """By id, then by name: of several with one name the newest."""
    offers = [(task.id, f"{task.word} {task.name}".strip()) for task in found]
    named = {task.name: task for task in reversed(found) if task.name}
    return offers + [(name, f"{task.word} {task.id}") for name, task in named.items()]


def _live_tasks() -> list[Offer]:
    from fluxhive.cli import session
    from fluxhive.core.task import FINAL_STATES, TaskState

    states = [state for state in TaskState if state not in FINAL_STATES]
    client = session.client()
    # One may go from one state to the next between two questions.
    found = {
        task.id: task for state in states for task in client.tasks(state=state, limit=OFFERED_MAX)
    }
    return _offered(list(found.values()))


def _nodes() -> list[Offer]:
    from fluxhive.cli import session

    nodes = session.client().nodes()
    return [(node.label, f"{node.state.value}, {len(node.gpus)} GPUs") for node in nodes]


TASK_NAMES = Offers("tasks", _tasks)
LIVE_TASK_NAMES = Offers("live-tasks", _live_tasks)
"""Of those that have not ended: what can be cancelled, held, released or edited."""
NODE_NAMES = Offers("nodes", _nodes)
