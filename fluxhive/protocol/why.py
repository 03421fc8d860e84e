"""Answers about waiting: ``GET /tasks/{id}/why`` and ``POST /tasks/dry-run``."""

from __future__ import annotations

from fluxhive.core.outlook import Estimate, GpuCount
from fluxhive.core.remedies import Remedy
from fluxhive.core.task import TaskState
from fluxhive.core.values import Value

from .rest import ReasonView


class OutlookView(Value, frozen=True, kw_only=True):
    """Why a task waits, and what will come of it."""

    #: Empty for a task that was not submitted.
    id: str = ""
    name: str = ""
    owner: str
    state: TaskState | None = None
    word: str = ""
    #: In line, held or paused since then.
    submitted_at_ms: int | None = None
    #: All in one sentence.
    summary: str
    reasons: tuple[ReasonView, ...] = ()
    #: Its place among all tasks in line, from 1 on; absent when it is not in line.
    position: int | None = None
    n_in_line: int = 0
    #: Where the figure for GPU memory comes from; empty: no GPU is asked for.
    memory: str = ""
    #: What each GPU is for it now; the counts add up to all GPUs of the hive.
    gpus: tuple[GpuCount, ...] = ()
    estimate: Estimate | None = None
    #: Single changes with which it would start now.
    remedies: tuple[Remedy, ...] = ()
    #: What else helps, in words; for people.
    ways_out: tuple[str, ...] = ()
