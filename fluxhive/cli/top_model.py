"""What `fluxhive top` shows, and what a key changes about it. No terminal, no network.

The model is given newer facts by `refresh` and keys by `press`; what a key wants done outside it
is returned as a `Wish`.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from fluxhive.core.ids import task_of
from fluxhive.core.task import TaskState
from fluxhive.core.values import AttemptId
from fluxhive.protocol.rest import NodeView, TaskView
from fluxhive.protocol.summary import Summary

#: Running first, then what waits, then what ended lately; the newest of each first.
_ORDER = {TaskState.ACTIVE: 0, TaskState.HELD: 1, TaskState.QUEUED: 1}
_LAST = 2
FILTER_LENGTH_MAX = 60


class Facts(NamedTuple):
    """What was read from the server, at one time."""

    nodes: tuple[NodeView, ...] = ()
    tasks: tuple[TaskView, ...] = ()
    user: str = ""
    url: str = ""
    now_ms: int = 0
    #: The hive counted by its server, arrays by their members; None: an older server counts not.
    summary: Summary | None = None


class Pane(Enum):
    """How much of the screen the GPUs take."""

    HALF = "half"
    FULL = "full"
    NONE = "none"


class Wish(NamedTuple):
    """What a key wants done: `quit`, `cancel`, `show` or `logs`, and of which task."""

    verb: str
    task_id: str = ""


class Model:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.facts: Facts | None = None
        #: Why the facts are not newer; empty while the server answers.
        self.trouble = ""
        self.filter = ""
        #: What was typed of a new filter; None: nobody is typing one.
        self.typed: str | None = None
        #: The task that a second key would cancel.
        self.asked: TaskView | None = None
        self.note = ""
        self.is_mine = False
        self.is_helping = False
        self.pane = Pane.HALF
        self.selected = ""
        #: First line of the list of tasks that is seen; the view keeps it where the selection is.
        self.first = 0
        self.page = 10
        #: Text over the whole screen, and its first line that is seen.
        self.text: list[str] | None = None
        self.text_title = ""
        self.text_first = 0
        self._owners: dict[str, str] = {}

    def refresh(self, facts: Facts) -> None:
        """Newer facts. The selection stays on its task, wherever that stands now."""
        self.facts = facts
        self.trouble = ""
        self._owners = {task.id: task.owner for task in facts.tasks}
        shown = self.shown()
        if all(task.id != self.selected for task in shown):
            self.selected = shown[0].id if shown else ""

    def show_text(self, title: str, lines: list[str]) -> None:
        """Puts a text over the screen until a key takes it away."""
        self.text_title, self.text, self.text_first = title, lines, 0

    def shown(self) -> list[TaskView]:
        """The tasks in their order, as the filter leaves them."""
        if self.facts is None:
            return []
        user, words = self.facts.user, self.filter.lower().split()
        found = [
            task
            for task in self.facts.tasks
            if (not self.is_mine or task.owner == user)
            and all(word in _searched(task) for word in words)
        ]
        return sorted(found, key=lambda task: (_ORDER.get(task.state, _LAST), -task.number))

    def owner_of(self, attempt_id: str) -> str | None:
        """Whose attempt it is; None where its task is not among those read."""
        task_id = str(task_of(AttemptId(attempt_id)))
        # A member of an array is listed with its array.
        return self._owners.get(task_id) or self._owners.get(task_id.partition("[")[0])

    def press(self, key: str) -> Wish | None:
        """What a key does: changes the model, or wishes for something outside."""
        self.note = ""
        if self.typed is not None:
            self._type(key)
            return None
        if self.asked is not None:
            asked, self.asked = self.asked, None
            return Wish("cancel", asked.id) if key in ("y", "Y") else None
        if self.text is not None:
            self._read(key)
            return None
        if self.is_helping:
            self.is_helping = False
            return None
        return self._command(key)

    def _command(self, key: str) -> Wish | None:
        if key in ("q", "ctrl-c", "ctrl-d"):
            return Wish("quit")
        if key in _STEPS:
            self._move(_STEPS[key])
        elif key in ("page-down", "page-up"):
            self._move(self.page if key == "page-down" else -self.page)
        elif key in ("home", "end"):
            self._move(-(10**6) if key == "home" else 10**6)
        elif key == "/":
            self.typed = self.filter
        elif key == "escape":
            self.filter = ""
        elif key == "m":
            self.is_mine = not self.is_mine
        elif key == "g":
            panes = list(Pane)
            self.pane = panes[(panes.index(self.pane) + 1) % len(panes)]
        elif key == "?":
            self.is_helping = True
        elif key in ("enter", "l") and self.selected:
            return Wish("show" if key == "enter" else "logs", self.selected)
        elif key == "c":
            self._ask()
        return None

    def _ask(self) -> None:
        task = next((task for task in self.shown() if task.id == self.selected), None)
        if task is None:
            self.note = "no task is selected"
        elif task.state.is_final:
            self.note = f"{task.id} has ended already"
        else:
            self.asked = task

    def _move(self, steps: int) -> None:
        ids = [task.id for task in self.shown()]
        if not ids:
            return
        at = ids.index(self.selected) if self.selected in ids else 0
        self.selected = ids[min(len(ids) - 1, max(0, at + steps))]

    def _type(self, key: str) -> None:
        assert self.typed is not None
        if key == "enter":
            self.filter, self.typed = self.typed.strip(), None
            self._move(0)
        elif key in ("escape", "ctrl-c"):
            self.typed = None
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif len(key) == 1 and key.isprintable():
            self.typed = (self.typed + key)[:FILTER_LENGTH_MAX]

    def _read(self, key: str) -> None:
        step = {
            **_STEPS,
            "page-down": self.page,
            " ": self.page,
            "page-up": -self.page,
            "home": -(10**6),
            "end": 10**6,
        }.get(key)
        if step is None:
            self.text = None
            return
        # The view knows how many lines there are at its width, and keeps it within them.
        self.text_first = max(0, self.text_first + step)


_STEPS = {"j": 1, "down": 1, "k": -1, "up": -1}


def _searched(task: TaskView) -> str:
    """All that the filter looks at, in lower case."""
    places = [attempt.node_label for attempt in task.attempts]
    return " ".join([task.id, task.name, task.owner, task.project, task.word, *places]).lower()
