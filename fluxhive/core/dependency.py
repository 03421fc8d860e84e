"""What a task waits for besides room: the ends of other tasks, and how they have to end.

Types alone; holds.py acts on them. A dependency names a task that existed when it was written, so
that tasks can never wait for each other in a circle.
"""

from __future__ import annotations

from enum import Enum

from .values import Ms, TaskId, Value


class EndWanted(Enum):
    """How the other task has to end."""

    #: It succeeded.
    OK = "ok"
    #: It ended, however.
    ANY = "any"
    #: It failed (being cancelled is not failing).
    FAIL = "fail"


class Dependency(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One other task, and how it has to end before this one may start."""

    task_id: TaskId
    end: EndWanted = EndWanted.OK


class Change(Value, frozen=True, kw_only=True):
    """One field of a spec before and after, as text."""

    field: str
    old: str
    new: str


class Edit(Value, frozen=True, kw_only=True):
    """Somebody changed what a waiting task asks for."""

    at_ms: Ms
    by: str
    changes: tuple[Change, ...]
