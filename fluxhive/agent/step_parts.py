"""The effects of a step by what becomes of them, sorted in one pass: a part of the hands."""

from __future__ import annotations

from collections.abc import Iterable

from fluxhive.core.effects import (
    Discard,
    KillTree,
    NodeAttempt,
    NodeEffect,
    PrepareWorkspace,
    SaveHeld,
    Say,
    Signal,
    Spawn,
    WriteContact,
)
from fluxhive.core.reports import Report
from fluxhive.core.values import AttemptId


class StepParts:
    """What is journalled, what is carried out at once, and what follows the journal."""

    __slots__ = ("contact_at_ms", "dropped", "held", "later", "now", "prepared", "reports")

    def __init__(self, effects: Iterable[NodeEffect]) -> None:
        #: For the journal: attempts as they are now, those that are forgotten, what is said.
        self.held: dict[AttemptId, NodeAttempt] = {}
        self.dropped: list[AttemptId] = []
        self.reports: list[Report] = []
        #: The latest that is to be written for the shims; None: nothing is.
        self.contact_at_ms: int | None = None
        #: What starts or ends a process, and the rest of what is carried out, each in order.
        self.now: list[Spawn | Signal | KillTree] = []
        self.later: list[Say | PrepareWorkspace | Discard] = []
        #: Whose workspaces are made.
        self.prepared: list[AttemptId] = []
        for effect in effects:
            if isinstance(effect, SaveHeld):
                self.held[effect.held.dispatch.attempt_id] = effect.held
            elif isinstance(effect, Say):
                self.reports.append(effect.report)
                self.later.append(effect)
            elif isinstance(effect, PrepareWorkspace):
                self.prepared.append(effect.attempt_id)
                self.later.append(effect)
            elif isinstance(effect, Discard):
                self.dropped.append(effect.attempt_id)
                self.held.pop(effect.attempt_id, None)
                self.later.append(effect)
            elif isinstance(effect, WriteContact):
                self.contact_at_ms = max(effect.contact_at_ms, self.contact_at_ms or 0)
            else:
                self.now.append(effect)
