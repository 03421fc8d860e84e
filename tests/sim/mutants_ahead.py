"""Mutants of sending ahead (see mutants.py): whose turn it is, on the node and for the server."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive.core import ahead, executor, turns
from fluxhive.core.executor_records import ExecutorRecords
from fluxhive.core.executor_table import ON_HAPPENING, Happening, Move, Stand
from fluxhive.core.hive_state import HiveState
from fluxhive.sim import agent_life

from .mutants import mutant

Patch = pytest.MonkeyPatch


@mutant
def who_was_sent_ahead_starts_at_once(patch: Patch) -> None:
    """As an agent would that does not know the word."""
    patch.setattr(ExecutorRecords, "turn_after", lambda self, attempt_id: None)


@mutant
def one_end_gives_a_turn_to_all_in_the_row(patch: Patch) -> None:
    real = ExecutorRecords.followers

    def all_behind(self: ExecutorRecords, attempt_id: Any) -> list[Any]:
        found = real(self, attempt_id)
        for each in found:
            found += real(self, each.dispatch.attempt_id)
        return found

    patch.setattr(ExecutorRecords, "followers", all_behind)


@mutant
def who_leaves_a_row_gives_a_turn(patch: Patch) -> None:
    """What ended before its turn counts as a place that became free."""
    real = executor.Executor._finish

    def leaving(self: executor.Executor, attempt: Any, final: Any) -> None:
        real(self, replace(attempt, waits_for=None), final)

    patch.setattr(executor.Executor, "_finish", leaving)


@mutant
def a_new_agent_gives_the_turns_of_the_one_before_it(patch: Patch) -> None:
    """A turn across a restart: whoever gets it may have had it before the power was cut.

    It also looks for the first of a row first (played): each makes up for the other.
    """
    patch.setattr(ExecutorRecords, "forget_rows", lambda self: None)
    patch.setattr(agent_life, "LAST_FIRST", False)


@mutant
def who_is_stopped_before_its_turn_waits_on(patch: Patch) -> None:
    patch.setitem(ON_HAPPENING[Happening.STOP_RECEIVED], Stand.WAITING, Move.NOTHING)


@mutant
def a_turn_brings_no_place(patch: Patch) -> None:
    """For the server, which gives the place to somebody else."""
    real = HiveState.put_attempt

    def bare(self: HiveState, attempt: Any, reason: str) -> None:
        if reason.startswith("its turn on"):
            attempt = replace(attempt, reservation=self.attempts[attempt.id].reservation)
        real(self, attempt, reason)

    patch.setattr(HiveState, "put_attempt", bare)


@mutant
def a_drained_node_is_sent_tasks_ahead(patch: Patch) -> None:
    patch.setattr(ahead, "_takes", lambda record, line, request: True)


@mutant
def two_are_sent_after_one(patch: Patch) -> None:
    real = turns.Turns.join

    def beside(self: turns.Turns, attempt_id: Any, after: Any, *times: int) -> None:
        real(self, attempt_id, after, *times)
        if after in self._row_of:
            self._row_of[after].last = after

    patch.setattr(turns.Turns, "join", beside)


@mutant
def a_server_that_starts_again_does_not_know_whose_turn_it_is(patch: Patch) -> None:
    real = turns.note

    def forgetful(hive: HiveState, attempt: Any) -> None:
        if not hive.is_loading:
            real(hive, attempt)

    patch.setattr(turns, "note", forgetful)
