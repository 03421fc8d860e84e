"""The dashboard's channel (``/api/v1/feed``, a WebSocket): what is said both ways, as JSON text.

The browser says what it shows; the server says what changed of it, and how much changed besides.
"""

from __future__ import annotations

from typing import TypeAlias

from fluxhive.core.values import Tagged, Value

from .feed import ReadingsChanged
from .rest import NodeView, TaskView
from .summary import Summary

#: Most tasks that one page may watch.
WATCHED_MAX = 500


class WatchedLog(Value, frozen=True, kw_only=True):
    """The output that is being shown."""

    attempt: str
    rank: int = 0


class Watch(Tagged, frozen=True, kw_only=True):
    """From the browser: first of all, and whenever what it shows is another."""

    #: Ids of the tasks that it shows.
    tasks: tuple[str, ...] = ()
    log: WatchedLog | None = None
    #: In the first message, after a lost line: the last ``seq`` and ``boot`` that came; or those of
    #: the page, whose first answers are from then.
    since: int | None = None
    boot: str = ""


class Snapshot(Tagged, frozen=True, kw_only=True):
    """Begins a line: everything but tasks, as it is now."""

    seq: int
    #: Names this run of the server: numbers of another mean nothing here.
    boot: str
    summary: Summary
    nodes: tuple[NodeView, ...]


class Resumed(Tagged, frozen=True, kw_only=True):
    """Begins a line in place of a snapshot: what was missed follows as changes."""

    seq: int
    boot: str


class Changes(Tagged, frozen=True, kw_only=True):
    """What changed up to ``seq``, each thing once, as it is now."""

    seq: int
    #: Of the watched tasks, as in a brief list.
    tasks: tuple[TaskView, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    readings: tuple[ReadingsChanged, ...] = ()
    #: Ids of nodes that are gone.
    gone: tuple[str, ...] = ()
    summary: Summary | None = None
    #: How many tasks changed, watched or not.
    n_tasks: int = 0


class LogGrown(Tagged, frozen=True, kw_only=True):
    """The watched output is longer now, or over."""

    attempt: str
    rank: int
    #: Bytes of standard output and standard error, of all processes that have their own.
    sizes: tuple[int, int]
    complete: bool = False


class Alive(Tagged, frozen=True, kw_only=True):
    """Nothing changed for some seconds."""

    seq: int


LiveMessage: TypeAlias = Snapshot | Resumed | Changes | LogGrown | Alive
