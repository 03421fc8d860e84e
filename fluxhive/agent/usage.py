"""Readings that the server has not taken note of yet, for its history of use.

Heartbeats carry them; a heartbeat's answer says that its samples have arrived. Out of contact two
looks become one again and again, so that a night without the server costs no more memory than ten
minutes and leaves no hole. Belongs to the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from fluxhive.core.node import AttemptUsage, GpuReport
from fluxhive.core.values import AttemptId, Mib, Ms
from fluxhive.protocol.agent import GpuSample

#: Of GPUs: ten minutes of readings a second apart, of all GPUs together.
LOOKS_MAX = 600
#: So many looks go with one heartbeat: what waits longer catches up within minutes.
LOOKS_PER_HEARTBEAT = 20


S = TypeVar("S")


class Backlog(Generic[S]):
    """Looks at several things, oldest first."""

    def __init__(self, key: Callable[[S], str], merge: Callable[[S, S], S]) -> None:
        """``key``: of what a sample is; ``merge``: makes one of two of the same."""
        self._key = key
        self._merge = merge
        self._looks: list[tuple[S, ...]] = []
        #: How many readings each look stands for, and how many the last one has so far.
        self._span = 1
        self._n_in_last = 0
        #: How many looks each heartbeat carried whose answer is not there yet, by its time.
        self._carried: dict[Ms, int] = {}

    def add(self, look: tuple[S, ...]) -> None:
        """A look was taken."""
        if not look:
            return
        # What is on its way already must not grow: its answer would take the rest along.
        is_carried = max(self._carried.values(), default=0) >= len(self._looks)
        if self._looks and self._n_in_last < self._span and not is_carried:
            self._looks[-1] = self._merged(self._looks[-1], look)
            self._n_in_last += 1
            return
        if len(self._looks) >= LOOKS_MAX:
            self._thin()
        self._looks.append(look)
        self._n_in_last = 1

    def for_heartbeat(self, sent_at_ms: Ms) -> tuple[S, ...]:
        """What goes with a heartbeat that is sent now."""
        looks = self._looks[:LOOKS_PER_HEARTBEAT]
        self._carried[sent_at_ms] = len(looks)
        return tuple(sample for look in looks for sample in look)

    def arrived(self, sent_at_ms: Ms) -> None:
        """The heartbeat of that time was answered."""
        n_looks = self._carried.pop(sent_at_ms, 0)
        del self._looks[:n_looks]
        if not self._looks:
            self._span, self._n_in_last = 1, 0
        # One that was sent between that one and its answer carried the same looks again.
        self._carried = {
            at_ms: max(0, n - n_looks) for at_ms, n in self._carried.items() if at_ms > sent_at_ms
        }

    def disconnected(self) -> None:
        """What was carried and not answered goes with the next session."""
        self._carried.clear()

    def _thin(self) -> None:
        """Two looks become one, all along."""
        looks = self._looks
        pairs = [self._merged(*looks[i : i + 2]) for i in range(0, len(looks) - 1, 2)]
        self._looks = pairs + looks[2 * len(pairs) :]
        self._span *= 2
        self._carried.clear()

    def _merged(self, first: tuple[S, ...], second: tuple[S, ...]) -> tuple[S, ...]:
        """The higher of both, at the time of the later: a peak is never thinned away."""
        merged = {self._key(sample): sample for sample in first}
        for sample in second:
            before = merged.get(self._key(sample))
            merged[self._key(sample)] = sample if before is None else self._merge(before, sample)
        return tuple(merged.values())


class Usage(Backlog[GpuSample]):
    """Readings of all GPUs."""

    def __init__(self) -> None:
        super().__init__(lambda sample: sample.uuid, _higher)

    def note(self, reports: Iterable[GpuReport], now_ms: Ms) -> None:
        """A reading was taken."""
        self.add(
            tuple(
                GpuSample(
                    at_ms=now_ms,
                    uuid=report.uuid,
                    used_mib=report.used_mib,
                    utilization_percent=report.utilization_percent,
                    attempts=report.attempts,
                )
                for report in reports
                if report.used_mib is not None and not report.stale
            )
        )


def _higher(first: GpuSample, second: GpuSample) -> GpuSample:
    used: dict[AttemptId, Mib] = {use.attempt_id: use.used_mib for use in first.attempts}
    for use in second.attempts:
        used[use.attempt_id] = max(use.used_mib, used.get(use.attempt_id, 0))
    percents = [
        sample.utilization_percent
        for sample in (first, second)
        if sample.utilization_percent is not None
    ]
    return GpuSample(
        at_ms=second.at_ms,
        uuid=second.uuid,
        used_mib=max(first.used_mib or 0, second.used_mib or 0),
        utilization_percent=sum(percents) // len(percents) if percents else None,
        attempts=tuple(
            AttemptUsage(attempt_id=attempt_id, used_mib=used_mib)
            for attempt_id, used_mib in used.items()
        ),
    )
