"""A node says hello again: what it holds, what it does not hold, and what that means."""

from __future__ import annotations

import pytest
from msgspec import structs

from fluxhive.core.task import NEVER_AT_MS
from tests.helpers.hive import Hive


def placed(hive: Hive, *, failover: str | None = None) -> None:
    """``t1.1`` is dispatched to ``n1``; its connection is gone."""
    hive.node("n1")
    hive.submit("t1", failover=failover)


def lost(hive: Hive) -> None:
    """``n1`` is out of contact."""
    hive.leaves("n1")
    hive.forgets()


def test_what_was_never_accepted_is_dispatched_again(hive: Hive) -> None:
    placed(hive)
    lost(hive)
    hive.rejoins("n1")
    hive.sees("n1 ready: n1 joined", "dispatch t1.1 on n1")
    assert hive.attempt("t1.1").epoch == 1


def test_what_was_accepted_and_is_gone_is_lost(hive: Hive) -> None:
    placed(hive)
    hive.accepts("t1.1")
    lost(hive)
    hive.rejoins("n1")
    hive.sees(
        "n1 ready",
        "t1.1 ended: node-lost: n1 came back without it",
        "t1 queued: attempt 1 ended: node-lost",
    )


def test_what_was_running_and_is_gone_is_lost(hive: Hive) -> None:
    placed(hive)
    hive.starts("t1.1")
    lost(hive)
    hive.rejoins("n1")
    hive.sees("n1 ready", "t1.1 ended: node-lost", "t1 queued: attempt 1 ended: node-lost")


def test_what_was_stopping_and_is_gone_is_cancelled(hive: Hive) -> None:
    placed(hive)
    hive.cancel("t1")
    lost(hive)
    hive.rejoins("n1")
    hive.sees("n1 ready", "t1.1 ended: cancelled", "t1 cancelled: cancelled by ann")


def test_what_had_ended_is_left_alone(hive: Hive) -> None:
    placed(hive)
    hive.ends("t1.1")
    lost(hive)
    hive.rejoins("n1")
    hive.sees("n1 ready")
    hive.rejoins("n1", journal="rebuilt")
    hive.sees("n1 ready")


def test_a_machine_that_was_started_again_says_that_all_is_over(hive: Hive) -> None:
    placed(hive)
    hive.starts("t1.1")
    lost(hive)
    hive.rejoins("n1", rebooted=True, journal="rebuilt")
    hive.sees("n1 ready", "t1.1 ended: node-reboot: n1 was started again", "t1 queued")


@pytest.mark.parametrize("phase", ["preparing", "launching", "stopping"])
def test_what_is_held_before_it_runs_was_accepted(hive: Hive, phase: str) -> None:
    placed(hive)
    lost(hive)
    hive.rejoins("n1", f"t1.1 {phase}")
    hive.sees("n1 ready", "t1.1 starting: accepted by n1")


def test_what_is_held_running_is_running(hive: Hive) -> None:
    placed(hive)
    lost(hive)
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "t1.1 running: running on n1")
    assert hive.attempt("t1.1").pid is None
    hive.starts("t1.1", pid=12)
    hive.sees("t1.1 running: process 12")


def test_a_hello_never_overrides_newer_knowledge(hive: Hive) -> None:
    placed(hive)
    hive.starts("t1.1")
    lost(hive)
    hive.rejoins("n1", "t1.1 preparing")
    hive.sees("n1 ready")
    assert hive.attempt("t1.1").state.value == "running"


def test_what_has_exited_is_asked_for_its_end(hive: Hive) -> None:
    placed(hive)
    lost(hive)
    hive.rejoins("n1", "t1.1 exited")
    hive.sees("n1 ready", "dispatch t1.1 on n1")
    hive.ends("t1.1")
    hive.sees("t1.1 ended: success", "t1 succeeded", "forget t1.1 on n1")


def test_what_is_to_stop_is_told_again(hive: Hive) -> None:
    placed(hive)
    hive.starts("t1.1")
    hive.cancel("t1")
    lost(hive)
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "stop t1.1 on n1: cancel")


def test_what_was_cancelled_while_out_of_contact_is_stopped_on_return(hive: Hive) -> None:
    placed(hive)
    hive.starts("t1.1")
    lost(hive)
    hive.cancel("t1")
    hive.sees("t1 active: being cancelled by ann", "t1.1 stopping: cancelled by ann")
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "stop t1.1 on n1: cancel")


def test_what_had_ended_is_stopped_or_forgotten(hive: Hive) -> None:
    placed(hive)
    hive.ends("t1.1")
    lost(hive)
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "stop t1.1 on n1: fenced")
    hive.rejoins("n1", "t1.1 exited")
    hive.sees("n1 ready", "forget t1.1 on n1")


def test_what_has_another_epoch_is_stopped_and_the_real_one_is_sent(hive: Hive) -> None:
    placed(hive)
    lost(hive)
    hive.rejoins("n1", "t1.1 running", epoch=99)
    hive.sees("n1 ready", "stop t1.1 on n1: fenced", "dispatch t1.1 on n1")


def test_what_nobody_knows_is_stopped_or_forgotten(hive: Hive) -> None:
    hive.node("n1")
    hive.rejoins("n1", "t8.1 running", "t9.1 exited")
    hive.sees("n1 ready", "stop t8.1 on n1: fenced", "forget t9.1 on n1")


def test_a_journal_made_anew_ends_nothing_before_the_fence(hive: Hive) -> None:
    placed(hive, failover="1m")
    hive.starts("t1.1")
    lost(hive)
    hive.rejoins("n1", journal="rebuilt")
    hive.sees("n1 ready", "t1.1 running: its node made its journal anew")
    assert hive.word("t1") == "adrift"
    # 1 minute and 5 %, 30 s of grace, 10 s of margin.
    hive.waits("102s")
    hive.sees_nothing()
    hive.waits("3s")
    hive.sees("t1.1 ended: node-lost", "t1 queued: attempt 1 ended", "dispatch t1.2 on n1")


def test_without_failover_a_journal_made_anew_waits_for_a_person(hive: Hive) -> None:
    placed(hive)
    hive.accepts("t1.1")
    lost(hive)
    hive.rejoins("n1", journal="rebuilt")
    hive.sees("n1 ready", "t1.1 starting: its node made its journal anew")
    assert hive.attempt("t1.1").fenced_at_ms == NEVER_AT_MS
    # The journal is whole by now, but it never knew the attempt.
    hive.rejoins("n1")
    hive.sees("n1 ready")
    hive.restarts()
    hive.rejoins("n1")
    hive.sees("n1 ready")
    assert hive.why("t1") == ["ADRIFT"]
    hive.leaves("n1")
    hive.give_up("n1")
    hive.sees("n1 silent", "n1 lost", "t1.1 ended: node-lost", "t1 queued")


def test_a_journal_made_anew_may_find_its_attempt_later(hive: Hive) -> None:
    placed(hive)
    hive.starts("t1.1")
    hive.rejoins("n1", journal="rebuilt")
    hive.forgets()
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "t1.1 running: found again on n1")
    assert hive.word("t1") == "running"


def test_every_state_is_kept_when_a_journal_was_made_anew(hive: Hive) -> None:
    placed(hive)
    hive.submit("t2")
    hive.cancel("t2")
    lost(hive)
    hive.rejoins("n1", journal="rebuilt")
    hive.sees(
        "n1 ready", "t1.1 reserved: its node", "t2.1 stopping: its node", "stop t2.1 on n1: cancel"
    )


def test_a_cancel_is_asked_for_again_of_a_node_that_does_not_know_the_task(hive: Hive) -> None:
    placed(hive)
    hive.accepts("t1.1")
    hive.leaves("n1")
    hive.cancel("t1")
    hive.forgets()
    # The word to stop was said to nobody, and no hello names what a lost journal does not know.
    hive.rejoins("n1", journal="rebuilt")
    hive.sees("n1 ready", "t1.1 stopping: its node", "stop t1.1 on n1: cancel")
    hive.rejoins("n1")
    hive.sees("n1 ready", "stop t1.1 on n1: cancel")
    hive.ends("t1.1", "cancelled")
    hive.sees("t1.1 ended: cancelled", "t1 cancelled", "forget t1.1 on n1")


def test_two_nodes_cannot_have_the_same_gpu(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.clones("n1", "n2")
    hive.sees("turn away n2: GPU n1-gpu0 already belongs to node n1 (n1)")
    hive.leaves("n1")
    hive.clones("n1", "n2")
    hive.sees("n1 silent", "n2 ready")
    hive.rejoins("n1")
    hive.sees("turn away n1: GPU n1-gpu0 already belongs to node n2 (n2)")


def test_a_heartbeat_does_not_bring_back_a_node_whose_gpus_went_to_another(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.quiet("n1")
    hive.waits("10s")
    hive.clones("n1", "n2")
    hive.sees("n1 silent", "turn away n1: its GPUs belong to node n2 (n2) now", "n2 ready")
    hive.heard("n1")
    hive.sees_nothing()


def test_a_gpu_whose_attempt_may_still_run_stays_with_its_node(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True)
    lost(hive)
    hive.clones("n1", "n2")
    hive.sees("turn away n2")


def test_an_old_hello_changes_nothing(hive: Hive) -> None:
    hive.node("n1")
    hive.handle(hive.hello_of("n1"))
    hive.sees_nothing()


def test_a_node_that_lost_a_gpu_keeps_count_of_what_is_held_there(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.submit("t1", gpus=2)
    hive.forgets()
    hive.loses_gpu("n1", "n1-gpu1")
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "t1.1 running")
    hive.ends("t1.1")
    hive.forgets()
    hive.submit("t2", gpus=2)
    hive.sees("t2 queued")
    assert hive.why("t2") == ["NEVER"]


def test_a_share_of_a_gpu_that_is_gone_costs_the_same_after_a_restart(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.submit("t1", gpu_memory="20G")
    hive.loses_gpu("n1", "n1-gpu0")
    hive.rejoins("n1", "t1.1 running")
    before = dict(hive.manager.hive.charges)
    hive.restarts()
    assert hive.manager.hive.charges == before


def test_a_journal_made_anew_is_news_only_once(hive: Hive) -> None:
    """Its agent says so in every hello of its life: what was placed since is in it, or nowhere."""
    hive.node("n1")
    hive.rejoins("n1", journal="rebuilt", journal_id="new")
    hive.submit("t1")
    hive.forgets()
    hive.rejoins("n1", journal="rebuilt", journal_id="new")
    hive.sees("n1 ready", "dispatch t1.1 on n1")
    hive.accepts("t1.1")
    hive.rejoins("n1", journal="rebuilt", journal_id="new")
    hive.sees("t1.1 starting", "n1 ready", "t1.1 ended: node-lost", "t1 queued")


def test_another_journal_than_before_is_made_anew_whatever_its_agent_says(hive: Hive) -> None:
    """Such as after a server was restored from a backup, or an agent that died before it told."""
    hive.node("n1")
    hive.rejoins("n1", journal_id="old")
    hive.submit("t1")
    hive.forgets()
    hive.rejoins("n1", journal="intact", journal_id="new")
    hive.sees("n1 ready", "t1.1 reserved: its node made its journal anew")
    hive.restarts()
    hive.rejoins("n1", journal="intact", journal_id="new")
    hive.sees("n1 ready")


def test_a_hello_that_was_long_on_its_way_is_no_news(hive: Hive) -> None:
    """A system goes on sending for an agent that has hung up: its hello names nothing yet."""
    hive.node("n1")
    hive.rejoins("n1", journal_id="one", sent_at_ms=1_000)
    hive.rejoins("n1", journal_id="two", sent_at_ms=3_000)
    hive.submit("t1")
    hive.starts("t1.1")
    hive.forgets()
    late = structs.replace(hive.hello_of("n1"), session=99, journal_id="one", sent_at_ms=2_000)
    effects = hive.manager.handle(late, hive.now_ms)
    assert [type(effect).__name__ for effect in effects] == ["TurnAway"]
    hive.rejoins("n1", "t1.1 running", journal_id="two", sent_at_ms=4_000)
    hive.sees("n1 ready")


def test_what_ended_out_of_sight_is_asked_for_its_end_before_it_is_forgotten(hive: Hive) -> None:
    """Only its word says how much it printed: forgotten at once, the rest of that would be lost."""
    placed(hive, failover="1m")
    hive.starts("t1.1")
    lost(hive)
    hive.cancel("t1")
    hive.waits("3m")
    hive.sees(
        "t1 active: being cancelled by ann",
        "t1.1 stopping: cancelled by ann",
        "t1.1 ended: cancelled",
        "t1 cancelled: cancelled by ann",
    )
    hive.rejoins("n1", "t1.1 exited")
    hive.sees("n1 ready", "stop t1.1 on n1: fenced")
    hive.ends("t1.1", "success")
    hive.sees("t1.1 ended: reported success after it had ended", "forget t1.1 on n1")
    hive.rejoins("n1", "t1.1 exited")
    hive.sees("n1 ready", "forget t1.1 on n1")


def test_a_hello_from_before_a_restart_of_the_machine_is_no_news_while_the_later_one_is_heard(
    hive: Hive,
) -> None:
    """A server that was stopped finds both waiting, and takes the earlier one last."""
    hive.node("n1")
    early = hive.hello_of("n1")
    hive.rejoins("n1", rebooted=True)
    hive.submit("t1")
    hive.starts("t1.1")
    hive.forgets()
    hive.handle(structs.replace(early, session=hive.hello_of("n1").session + 1))
    hive.sees("turn away n1: a later hello of this node was heard before this one")
    assert hive.attempt("t1.1").state.value == "running"
    hive.quiet("n1")
    hive.waits("12s")
    hive.handle(structs.replace(early, session=hive.hello_of("n1").session + 2))
    hive.sees("n1 silent", "n1 ready: n1 joined", "t1.1 ended: node-reboot", "t1 queued")
