"""What the hive only says: estimates of starts. A failure in one ends nothing, and is logged once.

The core decides without them, so that whatever goes wrong in a forecast costs that forecast alone:
the brain goes on, and who asked is told that no estimate could be made. Called by the brain after
each event and by rest/why.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from fluxhive.core.effects import HiveEffect
from fluxhive.core.events import HiveEvent
from fluxhive.core.outlook import Outlook
from fluxhive.core.task import TaskSpec
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import TaskId

log = logging.getLogger(__name__)

#: Failures that are known, by what they are and where; when there are more, all are logged anew.
KNOWN_MAX = 100
NO_ESTIMATE = "no estimate of its start could be made: the server's log says why"

_T = TypeVar("_T")


class Advice:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, int]] = set()

    def try_estimate(self, manager: TaskManager, event: HiveEvent) -> list[HiveEffect]:
        """What follows from putting an estimate to the test; nothing when that fails."""
        return self._asked(lambda: manager.try_estimate(event), "trial") or []

    def outlook(self, manager: TaskManager, task_id: TaskId) -> Outlook | None:
        """As the manager's; when that fails the reasons alone."""
        if manager.task(task_id) is None:
            return None
        told = self._asked(lambda: manager.outlook(task_id), "outlook")
        if told is not None:
            return told
        reasons = self._asked(lambda: manager.explain(task_id), "reasons") or []
        texts = [*(reason.text for reason in reasons), NO_ESTIMATE]
        return Outlook(summary="; ".join(texts), reasons=tuple(reasons))

    def dry_run(self, manager: TaskManager, spec: TaskSpec, owner: str) -> Outlook:
        """As the manager's; when that fails nothing but that."""
        told = self._asked(lambda: manager.dry_run(spec, owner), "dry run")
        return Outlook(summary=NO_ESTIMATE) if told is None else told

    def _asked(self, look: Callable[[], _T], what: str) -> _T | None:
        try:
            return look()
        except Exception as error:  # supervisor: what is only said must not stop the hive
            if self._is_new(error):
                log.exception("advice failed", extra={"about": what})
            return None

    def _is_new(self, error: Exception) -> bool:
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        where = ("", 0) if last is None else (last.tb_frame.f_code.co_filename, last.tb_lineno)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        is_new = (type(error).__name__, *where) not in self._known
        self._known.add((type(error).__name__, *where))
        return is_new
