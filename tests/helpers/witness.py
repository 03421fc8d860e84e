"""A task that bears witness outside FlowHive: which attempt runs when, by the kernel's clock.

``witness_line`` is a shell line for a task; ``overlaps`` reads what it left and finds any moment at
which two attempts ran.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

BEAT_S = 0.05


class Life(NamedTuple):
    """When one attempt was seen alive first and last, in seconds since boot."""

    attempt: str
    first_s: float
    last_s: float


def witness_line(file: Path, go: Path, *, code: int = 7) -> str:
    """Beats until ``go`` exists, then ends with the code. Short lines appended are whole."""
    return (
        f"while [ ! -e {go} ]; do read up _ < /proc/uptime; "
        f'echo "$FLUXHIVE_ATTEMPT_ID $up" >> {file}; sleep {BEAT_S}; done; exit {code}'
    )


def lives(file: Path) -> list[Life]:
    """Every attempt that was seen, by its first beat."""
    beats: dict[str, list[float]] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        attempt, up_s = line.split()
        beats.setdefault(attempt, []).append(float(up_s))
    found = [Life(attempt, min(at), max(at)) for attempt, at in beats.items()]
    return sorted(found, key=lambda life: life.first_s)


def overlaps(file: Path) -> list[tuple[Life, Life]]:
    """Pairs of attempts that were alive at the same time."""
    found = lives(file)
    return [
        (one, two)
        for n, one in enumerate(found)
        for two in found[n + 1 :]
        if two.first_s <= one.last_s
    ]
