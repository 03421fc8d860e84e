"""How much GPU memory each attempt was seen to use: the most, the mean, and how busy its GPU was.

Kept over the agent's death by its shell (``taken``, ``recall``): a peak that is forgotten would be
learned too low. Called by gpu_monitor.py.
"""

from __future__ import annotations

from msgspec import field
from msgspec.structs import replace

from .outcome import GpuPeak
from .values import AttemptId, GpuUuid, Mib, Value


class Tally(Value, frozen=True, kw_only=True):
    """What all readings of one attempt on one GPU come to."""

    peak_mib: Mib = 0
    n_readings: int = 0
    sum_mib: int = 0
    #: Readings in which the GPU said how busy it was, and the sum of what it said.
    n_percent: int = 0
    sum_percent: int = 0


class Tallies(Value, frozen=True, kw_only=True):
    """All of one attempt, by GPU: what has to survive the agent."""

    gpus: dict[GpuUuid, Tally] = field(default_factory=dict)


class GpuPeaks:
    """The tallies of the attempts that are not told yet."""

    def __init__(self) -> None:
        self._of: dict[AttemptId, dict[GpuUuid, Tally]] = {}
        #: Attempts whose peak has grown since it was taken last.
        self._grown: dict[AttemptId, None] = {}

    def note(
        self, attempt_id: AttemptId, uuid: GpuUuid, used_mib: Mib, percent: int | None
    ) -> None:
        """Take one reading of one attempt on one GPU."""
        tallies = self._of.setdefault(attempt_id, {})
        before = tallies.get(uuid) or Tally()
        if used_mib > before.peak_mib:
            self._grown[attempt_id] = None
        tallies[uuid] = Tally(
            peak_mib=max(used_mib, before.peak_mib),
            n_readings=before.n_readings + 1,
            sum_mib=before.sum_mib + used_mib,
            n_percent=before.n_percent + (percent is not None),
            sum_percent=before.sum_percent + (percent or 0),
        )

    def peaks(self, attempt_id: AttemptId) -> tuple[GpuPeak, ...]:
        """What is told about the attempt, by GPU."""
        return tuple(
            GpuPeak(
                uuid=uuid,
                peak_mib=tally.peak_mib,
                mean_mib=tally.sum_mib // tally.n_readings if tally.n_readings else None,
                utilization_percent=tally.sum_percent // tally.n_percent
                if tally.n_percent
                else None,
            )
            for uuid, tally in self._of.get(attempt_id, {}).items()
        )

    def taken(self) -> dict[AttemptId, Tallies]:
        """What has grown since the last call, to be written down."""
        grown, self._grown = self._grown, {}
        return {
            attempt_id: Tallies(gpus=dict(self._of[attempt_id]))
            for attempt_id in grown
            if attempt_id in self._of
        }

    def recall(self, attempt_id: AttemptId, tallies: Tallies) -> None:
        """What an earlier life of the agent wrote down."""
        known = self._of.setdefault(attempt_id, {})
        for uuid, tally in tallies.gpus.items():
            seen = known.get(uuid)
            known[uuid] = (
                tally
                if seen is None
                else replace(
                    tally,
                    peak_mib=max(tally.peak_mib, seen.peak_mib),
                    n_readings=tally.n_readings + seen.n_readings,
                    sum_mib=tally.sum_mib + seen.sum_mib,
                    n_percent=tally.n_percent + seen.n_percent,
                    sum_percent=tally.sum_percent + seen.sum_percent,
                )
            )

    def forget(self, attempt_id: AttemptId) -> None:
        """Its end is told."""
        self._of.pop(attempt_id, None)
        self._grown.pop(attempt_id, None)
