"""What a node says about its attempts: effects of its executor, messages on the wire, news for
the brain. Declared once, for all three.
"""

from __future__ import annotations

from typing import TypeAlias

from .outcome import ExitFacts, Outcome
from .values import AttemptId, GpuUuid, Ms, Tagged


class AttemptAccepted(Tagged, frozen=True, kw_only=True):
    """The node has journalled that it will run this attempt."""

    attempt_id: AttemptId
    epoch: int


class AttemptRefused(Tagged, frozen=True, kw_only=True):
    """The node hands the attempt back, not started; no retry is consumed."""

    attempt_id: AttemptId
    epoch: int
    #: A sentence with the reading that caused it.
    reason: str
    #: True: about this node only (a missing directory): others may well run it.
    permanent_here: bool = False


class AttemptStarted(Tagged, frozen=True, kw_only=True):
    """The attempt's main process runs."""

    attempt_id: AttemptId
    epoch: int
    pid: int
    #: How long ago, by the node's clock, when this was said first.
    age_ms: Ms = 0


class AttemptEnded(Tagged, frozen=True, kw_only=True):
    """The attempt's processes are gone; final."""

    attempt_id: AttemptId
    epoch: int
    outcome: Outcome
    facts: ExitFacts = ExitFacts()
    #: GPUs whose memory has not come back; they stay out until a reading shows it.
    dirty_gpus: tuple[GpuUuid, ...] = ()


Report: TypeAlias = AttemptAccepted | AttemptRefused | AttemptStarted | AttemptEnded
