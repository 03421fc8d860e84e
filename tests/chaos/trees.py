"""``python -m tests.chaos.trees N``: cancels N tasks whose processes have run away, and counts.

Each task leaves five escapees and one that ignores SIGTERM, half of them on a pretended GPU, where
attempts have a cgroup, half without. Printed: survivors (none may be), and how long after the grace
the last process of a tree was gone. Seen from outside, in /proc.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from fluxhive.core.request import Request
from tests.helpers.agent_hive import AgentHive
from tests.helpers.attempts import ESCAPEES, new_mark, pids_with_mark
from tests.helpers.cli_hive import until

#: Half of them want a CPU: as many as two cores have room for.
WAVE = 4
GRACE_MS = 500
#: Six with the mark among their arguments: the five, and the one that ignores SIGTERM.
N_MARKED = 6
GONE_S = 60.0
#: A tree that ignores SIGTERM on purpose, and its shell too: the whole ladder is climbed.
LINE = (
    """
trap '' TERM
sh -c "trap '' TERM; while :; do sleep 0.2; done" {mark} &
"""
    + ESCAPEES
    + "\nwhile :; do sleep 0.2; done"
)


class Tally(NamedTuple):
    """What was counted."""

    n: int
    n_survivors: int
    p50_s: float
    p99_s: float
    worst_s: float

    def __str__(self) -> str:
        return (
            f"{self.n} trees cancelled: {self.n_survivors} survivors; gone after the grace: "
            f"p50 {self.p50_s:.2f} s, p99 {self.p99_s:.2f} s, worst {self.worst_s:.2f} s"
        )


def cancel_trees(hive: AgentHive, n: int) -> Tally:
    """In waves; the hive has an agent with pretended GPUs."""
    late_s: list[float] = []
    n_survivors = 0
    for start in range(0, n, WAVE):
        late, survivors = _wave(hive, range(start, min(n, start + WAVE)))
        late_s += late
        n_survivors += survivors
    late_s.sort()
    return Tally(
        n=n,
        n_survivors=n_survivors,
        p50_s=statistics.median(late_s),
        p99_s=late_s[min(len(late_s) - 1, len(late_s) * 99 // 100)],
        worst_s=late_s[-1],
    )


def _wave(hive: AgentHive, numbers: range) -> tuple[list[float], int]:
    marks = {number: new_mark() for number in numbers}
    tasks = {
        number: hive.submit(
            LINE.format(mark=mark, python=sys.executable),
            grace_ms=GRACE_MS,
            request=Request(gpus=number % 2, cpus=1 - number % 2),
        )
        for number, mark in marks.items()
    }
    for number, mark in marks.items():
        until(lambda m=mark: len(pids_with_mark(m)) >= N_MARKED, what=f"the tree of {number}")
    due = {}
    for number, task in tasks.items():
        due[number] = time.monotonic() + GRACE_MS / 1000
        hive.cancel(task)
    late: dict[int, float] = {}
    until_s = time.monotonic() + GONE_S
    while len(late) < len(marks) and time.monotonic() < until_s:
        for number in marks.keys() - late.keys():
            if not pids_with_mark(marks[number]):
                late[number] = time.monotonic() - due[number]
    survivors = sum(len(pids_with_mark(mark)) for mark in marks.values())
    for task in tasks.values():
        assert hive.ended(task).state.value == "cancelled"
    return list(late.values()), survivors


def main() -> int:
    """The command."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="fluxhive-trees-") as home:
        hive = AgentHive(Path(home))
        try:
            hive.start_server()
            hive.start_agent(FLOWHIVE_FAKE_GPUS=f"{WAVE}x80G")
            tally = cancel_trees(hive, n)
        finally:
            hive.close()
    sys.stdout.write(f"{tally}\n")
    return 1 if tally.n_survivors else 0


if __name__ == "__main__":
    sys.exit(main())
