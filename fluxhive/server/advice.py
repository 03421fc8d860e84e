"""What the hive only says: estimates of starts. A failure in one ends nothing, and is logged once.

The core decides without them, so that whatever goes wrong in a forecast costs that forecast alone:
the brain goes on, and who asked is told that no estimate could be made. All of it is
done a piece at a time, and the hive goes on in between. Called by the brain after each event and by
rest/why.py.
"""

from __future__ import annotations

import logging
from typing import TypeVar

import anyio.lowlevel

from fluxhive.core.effects import HiveEffect
from fluxhive.core.events import HiveEvent
from fluxhive.core.outlook import Outlook
from fluxhive.core.pieces import Pieces
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
        #: The trial under way, and whose it is.
        self._trial: Pieces[list[HiveEffect]] | None = None
        self._of: TaskManager | None = None

    def go_on(self, manager: TaskManager, event: HiveEvent) -> list[HiveEffect]:
        """One piece of putting an estimate to the test; what follows once it is whole."""
        if self._trial is None or self._of is not manager:
            self._trial, self._of = manager.trial(event), manager
        is_over, effects = self._piece(self._trial, "trial")
        if not is_over:
            return []
        self._trial = None
        return effects or []

    async def outlook(self, manager: TaskManager, task_id: TaskId) -> Outlook | None:
        """As the manager's; when that fails the reasons alone."""
        if manager.task(task_id) is None:
            return None
        told = await self._whole(manager.outlook(task_id), "outlook")
        if told is not None:
            return told
        reasons = manager.explain(task_id)
        texts = [*(reason.text for reason in reasons), NO_ESTIMATE]
        return Outlook(summary="; ".join(texts), reasons=tuple(reasons))

    async def dry_run(self, manager: TaskManager, spec: TaskSpec, owner: str) -> Outlook:
        """As the manager's; when that fails nothing but that."""
        told = await self._whole(manager.dry_run(spec, owner), "dry run")
        return Outlook(summary=NO_ESTIMATE) if told is None else told

    async def _whole(self, pieces: Pieces[_T], what: str) -> _T | None:
        """The hive goes on between the pieces."""
        while True:
            is_over, answer = self._piece(pieces, what)
            if is_over:
                return answer
            await anyio.lowlevel.checkpoint()

    def _piece(self, pieces: Pieces[_T], what: str) -> tuple[bool, _T | None]:
        """Whether it is over, and the answer; None: it failed."""
        try:
            next(pieces)
        except StopIteration as over:
            return True, over.value
        except Exception as error:  # supervisor: what is only said must not stop the hive
            if self._is_new(error):
                log.exception("advice failed", extra={"about": what})
            return True, None
        return False, None

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
