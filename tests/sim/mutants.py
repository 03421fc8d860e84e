"""Versions of the protocol with one thing left out, each as plausible as the real one.

Each is planted into the real core (or, where noted, into what the simulator plays) and must be
caught by some history within the first seeds; a simulator that does not notice proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive.core import (
    admission,
    attempt_end,
    attempt_reports,
    executor,
    going_back,
    hello_check,
    node_contact,
    retry,
    task,
    task_orders,
)
from fluxhive.core.events import DispatchReceived, StopReceived
from fluxhive.core.executor_records import ExecutorRecords
from fluxhive.core.executor_table import ON_HAPPENING, Happening, Move, Stand
from fluxhive.core.hive_state import HiveState
from fluxhive.core.reactions import ON_ABSENT, ON_REPORT, Reaction
from fluxhive.core.task import AttemptState
from fluxhive.protocol.link import Link
from fluxhive.sim import backup, node_world, output
from fluxhive.sim.runs import Run

Patch = pytest.MonkeyPatch
MUTANTS: dict[str, Callable[[Patch], None]] = {}


def mutant(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Puts one on the list under its name."""
    MUTANTS[plant.__name__] = plant
    return plant


@mutant
def the_fence_is_too_short(patch: Patch) -> None:
    real = HiveState.fence_ms

    def short(self: HiveState, attempt: Any) -> int | None:
        fence_ms = real(self, attempt)
        return None if fence_ms is None else fence_ms // 4

    patch.setattr(HiveState, "fence_ms", short)


@mutant
def what_has_ended_can_end_again(patch: Patch) -> None:
    """No epoch fence: whatever a node reports late is believed."""
    patch.setitem(ON_REPORT["attempt-ended"], AttemptState.ENDED, Reaction.END)


@mutant
def a_repeated_dispatch_starts_again(patch: Patch) -> None:
    patch.setitem(ON_HAPPENING[Happening.DISPATCH_RECEIVED], Stand.EXITED, Move.LAUNCH)


@mutant
def an_end_is_said_only_once(patch: Patch) -> None:
    """Silent on a repeated dispatch, and nothing is sent again: each makes up for the other."""
    patch.setitem(ON_HAPPENING[Happening.DISPATCH_RECEIVED], Stand.EXITED, Move.NOTHING)
    real = Link.resumed

    def forgetful(self: Any) -> None:
        self._unacknowledged.clear()
        real(self)

    patch.setattr(Link, "resumed", forgetful)


@mutant
def nothing_ends_at_its_deadline(patch: Patch) -> None:
    """Neither the shim (played) nor the executor stops what is out of contact for too long."""
    patch.setattr(Run, "_deadline_ms", lambda self: task.NEVER_AT_MS)
    for stand in Stand:
        patch.setitem(ON_HAPPENING[Happening.LEASE_OVER], stand, Move.NOTHING)
    patch.setattr(ExecutorRecords, "is_lease_over", lambda *args: False)


@mutant
def a_stale_snapshot_is_believed(patch: Patch) -> None:
    patch.setattr(hello_check, "is_stale", lambda record, event, now_ms: False)


@mutant
def a_start_is_accepted_whatever_the_last_contact(patch: Patch) -> None:
    # What starts too late is killed at once otherwise: its grace is over, too.
    patch.setattr(Run, "_overdue_ms", lambda self: 0)
    patch.setattr(admission, "contact_problem", lambda *args: None)
    patch.setattr(ExecutorRecords, "is_lease_over", lambda *args: False)
    real = Run._deadline_ms

    def later(self: Run) -> int:
        return real(self) if self.started_at_boot_ms else task.NEVER_AT_MS

    patch.setattr(Run, "_deadline_ms", later)


@mutant
def what_was_given_up_by_mistake_is_not_stopped(patch: Patch) -> None:
    """No stop for attempts that a hello names and that have ended for the server."""
    real = HiveState.say_stop

    def silent(self: HiveState, node_id: Any, attempt_id: Any, epoch: int, cause: Any) -> None:
        if cause.value != "fenced":
            real(self, node_id, attempt_id, epoch, cause)

    patch.setattr(HiveState, "say_stop", silent)


@mutant
def a_journal_made_anew_is_taken_for_whole(patch: Patch) -> None:
    patch.setattr(hello_check, "is_whole", lambda known, event: True)
    # … and its agent does not look into the run directories either (played).
    patch.setattr("fluxhive.sim.agent_life.FINDS_RUNS", False)


@mutant
def an_absent_attempt_is_lost_although_it_was_only_reserved(patch: Patch) -> None:
    patch.setitem(ON_ABSENT[True], AttemptState.RESERVED, Reaction.NOTHING)


@mutant
def a_restart_forgets_what_was_granted(patch: Patch) -> None:
    """A server that comes back counts the fences from before it was down."""
    patch.setattr(node_contact, "grant_full_length", lambda *args: None)
    real = HiveState.load_node

    def as_stored(self: HiveState, node: Any) -> None:
        real(self, node)
        self.nodes[node.id].contact_at_ms = 0

    patch.setattr(HiveState, "load_node", as_stored)


@mutant
def a_cancel_of_what_runs_is_answered_and_forgotten(patch: Patch) -> None:
    real = task_orders.cancel_requested

    def later(hive: HiveState, event: Any) -> None:
        known = hive.tasks.get(event.task_id)
        if known is None or known.state is not task.TaskState.ACTIVE:
            real(hive, event)

    patch.setattr(task_orders, "cancel_requested", later)


@mutant
def a_lost_supervisor_may_be_started_again_where_once_was_promised(patch: Patch) -> None:

    real = retry._again

    def again(known: Any, ended: str, counted: Any, *, elsewhere: bool) -> Any:
        spec = replace(known.spec, at_most_once=False, restarts=5)
        return real(replace(known, spec=spec), ended, counted, elsewhere=elsewhere)

    patch.setattr(retry, "_again", again)


@mutant
def a_dispatch_has_no_session_number(patch: Patch) -> None:
    """Whatever arrives counts as of the session that is open."""
    real = executor.Executor.handle

    def today(self: executor.Executor, event: Any, now_ms: int) -> Any:
        if isinstance(event, DispatchReceived | StopReceived) and self._session is not None:
            event = replace(event, session=self._session)
        return real(self, event, now_ms)

    patch.setattr(executor.Executor, "handle", today)


@mutant
def a_report_has_no_session_number(patch: Patch) -> None:
    def anyone(hive: HiveState, node_id: Any, session: int) -> bool:
        record = hive.nodes.get(node_id)
        return record is not None and record.is_open

    patch.setattr(node_contact, "is_current", anyone)


@mutant
def the_clock_stops_while_a_machine_sleeps(patch: Patch) -> None:
    """CLOCK_MONOTONIC in place of CLOCK_BOOTTIME (played)."""
    patch.setattr(node_world, "COUNTS_SLEEP", False)


@mutant
def the_grace_counts_from_when_a_deadline_is_noticed(patch: Patch) -> None:
    """Of a machine that slept through it (played, as agent/shim.py does it)."""
    patch.setattr(Run, "_overdue_ms", lambda self: 0)


@mutant
def a_repeated_dispatch_is_not_answered_after_a_backup(patch: Patch) -> None:
    """Silent on a repeated START. Only a server that went back asks for what it had been told."""
    patch.setitem(ON_HAPPENING[Happening.DISPATCH_RECEIVED], Stand.EXITED, Move.NOTHING)


@mutant
def what_was_live_in_a_backup_is_tried_again_at_once(patch: Patch) -> None:
    patch.setattr(attempt_end, "_may_run_elsewhere", lambda hive, task: False)


@mutant
def what_was_reserved_in_a_backup_is_dispatched_again(patch: Patch) -> None:
    patch.setattr(backup, "attempt_gone_back", lambda attempt: attempt)


@mutant
def a_backup_goes_on_counting_where_it_was(patch: Patch) -> None:
    patch.setattr(backup, "JUMP", 0)
    patch.setattr(going_back, "ATTEMPTS_JUMP", 0)


@mutant
def output_is_written_wherever_it_comes(patch: Patch) -> None:
    """Appended without a look at its offset (played)."""
    patch.setattr(output, "CHECKS_OFFSETS", False)


@mutant
def output_is_called_stored_before_it_is(patch: Patch) -> None:
    """The node gives back what the server's disk does not have (played)."""
    patch.setattr(output, "FLUSHES_FIRST", False)


@mutant
def what_ended_unheard_is_forgotten_at_its_first_word(patch: Patch) -> None:
    patch.setattr(attempt_reports, "_word_is_to_come", lambda *args: False)
