"""Mistakes about gangs to put into the brain, one at a time (test_planted_bugs.py)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive.core import attempt_end, attempt_reports, deadlines, node_contact, placement_pass
from fluxhive.core.hive_state import HiveState
from fluxhive.core.node import NodeState
from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.placement import find
from fluxhive.core.task import Attempt, AttemptState, Member
from fluxhive.core.values import NodeId

from .planted_bugs import bug

Patch = pytest.MonkeyPatch


@bug
def a_gang_is_placed_by_half(patch: Patch) -> None:
    def half(hive: HiveState, key: Any, terms: Any) -> Any:
        nodes = hive.nodes.values()
        whole = find(key.request, key.owner, key.excluded, nodes, terms)
        if whole is None and key.request.nodes > 1:
            fewer = replace(key.request, nodes=key.request.nodes - 1)
            return find(fewer, key.owner, key.excluded, nodes, terms)
        return whole

    patch.setattr(placement_pass, "find_room", half)


@bug
def a_gang_is_dispatched_by_half(patch: Patch) -> None:
    real = HiveState.say_dispatch

    def first_alone(self: HiveState, attempt: Attempt, member: Member) -> None:
        if member.rank == 0 or self.effects[-1].__class__.__name__ != "Dispatch":
            real(self, attempt, member)

    patch.setattr(HiveState, "say_dispatch", first_alone)


@bug
def a_gang_that_fits_is_left_waiting(patch: Patch) -> None:
    real = placement_pass.find_room

    def never(hive: HiveState, key: Any, terms: Any) -> Any:
        return None if key.request.nodes > 1 else real(hive, key, terms)

    patch.setattr(placement_pass, "find_room", never)


@bug
def one_member_that_fails_does_not_stop_the_others(patch: Patch) -> None:
    def alone(hive: HiveState, attempt: Attempt, ended: Member) -> None:
        hive.put_attempt(attempt, "one member ended")

    patch.setattr(attempt_end, "_end_others", alone)


@bug
def a_member_that_ended_gives_its_room_back_before_the_others(patch: Patch) -> None:
    real = attempt_end._end_others

    def early(hive: HiveState, attempt: Attempt, ended: Member) -> None:
        real(hive, attempt, ended)
        hive.nodes[ended.node_id].let_go(attempt.id)

    patch.setattr(attempt_end, "_end_others", early)


@bug
def the_first_end_is_the_end_of_the_gang(patch: Patch) -> None:
    def at_once(hive: HiveState, attempt: Attempt, ended: Member) -> None:
        rest = [m for m in attempt.members if m.state is not AttemptState.ENDED]
        gone = [
            replace(m, state=AttemptState.ENDED, outcome=Outcome(kind=OutcomeKind.CANCELLED))
            for m in rest
        ]
        attempt_end._end_attempt(hive, attempt_end.with_members(attempt, *gone))

    patch.setattr(attempt_end, "_end_others", at_once)


@bug
def a_gang_succeeds_though_a_member_failed(patch: Patch) -> None:
    def kind(attempt: Attempt, described: str, label: str) -> Outcome:
        return Outcome(kind=OutcomeKind.SUCCESS)

    patch.setattr(attempt_end, "outcome_of", kind)


@bug
def a_node_speaks_for_another_member(patch: Patch) -> None:
    real = Attempt.member_on

    def first(self: Attempt, node_id: NodeId) -> Member | None:
        return self.members[0] if self.gang else real(self, node_id)

    patch.setattr(Attempt, "member_on", first)


@bug
def a_member_that_ended_is_dispatched_again(patch: Patch) -> None:
    real = node_contact._settle_absent

    def eager(hive: HiveState, attempt: Attempt, member: Member, **known: bool) -> None:
        if member.state is AttemptState.ENDED:
            hive.attempts[attempt.id] = replace(attempt, epoch=attempt.epoch + 1)
            hive.say_dispatch(hive.attempts[attempt.id], member)
        else:
            real(hive, attempt, member, **known)

    patch.setattr(node_contact, "_settle_absent", eager)


@bug
def a_gang_on_a_silent_node_ends_with_its_other_members(patch: Patch) -> None:
    real = attempt_reports._ended

    def hasty(hive: HiveState, attempt: Attempt, member: Member, report: Any) -> None:
        real(hive, attempt, member, report)
        for other in hive.attempts[attempt.id].gang:
            now = hive.attempts[attempt.id]
            silent = hive.nodes[other.node_id].node.state is NodeState.SILENT
            if silent and now.gang[other.rank].state is not AttemptState.ENDED:
                node_contact._lost(hive, now, now.gang[other.rank], "silent")

    patch.setattr(attempt_reports, "_ended", hasty)


@bug
def members_that_linger_are_never_stopped(patch: Patch) -> None:
    patch.setattr(deadlines, "watch_linger", lambda hive, attempt: None)
