"""Law 27, of bookings: counted anew from all of them. Called by invariants.py and step_laws.py."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from .hive_state import HiveState
from .task import Attempt


def check_bookings(hive: HiveState) -> None:
    """Raises ``AssertionError`` when two have one GPU at once, or a GPU knows of others."""
    for one, other in combinations(hive.bookings.values(), 2):
        apart = one.until_ms <= other.from_ms or other.until_ms <= one.from_ms
        apart = apart or not set(one.gpus) & set(other.gpus)
        assert apart, f"law 27: {one.id} and {other.id} have a GPU at one time"
    for record in hive.nodes.values():
        for uuid, gpu in record.gpus.items():
            known = [each.id for each in gpu.bookings]
            due = [each.id for each in hive.bookings.values() if uuid in each.gpus]
            assert sorted(known) == sorted(due), f"law 27: {uuid} is booked by {due}, not {known}"


def check_kept(hive: HiveState, fresh: Iterable[Attempt]) -> None:
    """Raises ``AssertionError`` when a new attempt has GPUs that others booked, for too long."""
    for attempt in fresh:
        task = hive.tasks[attempt.task_id]
        others = [
            each for each in hive.bookings.values() if not each.is_for(task.owner, task.project)
        ]
        for share in (share for held in attempt.reservations for share in held.gpus):
            for booking in others:
                done = attempt.expected_end_ms <= booking.from_ms
                kept = done or share.uuid not in booking.gpus
                assert kept, f"law 27: {attempt.id} is on {share.uuid}, which {booking.id} keeps"
