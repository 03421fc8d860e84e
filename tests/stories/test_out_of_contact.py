"""Silence ends nothing by itself; fences, persons and nodes do."""

from __future__ import annotations

from tests.helpers.hive import Hive


def test_three_missed_heartbeats_make_a_node_silent_and_one_makes_it_ready(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.quiet("n1")
    hive.waits("6s")
    hive.sees("n1 silent: not heard for 6.0 s")
    hive.submit("t1")
    hive.sees("t1 queued: submitted")
    assert hive.why("t1") == ["NODES_DOWN"]
    hive.heard("n1")
    hive.sees("n1 ready: heard again", "dispatch t1.1 on n1")


def test_a_node_with_heartbeats_is_never_silent(hive: Hive) -> None:
    hive.node("n1")
    hive.waits("10m")
    hive.sees_nothing()


def test_a_closed_connection_says_nothing_any_more(hive: Hive) -> None:
    hive.node("n1")
    hive.leaves("n1", "went away")
    hive.sees("n1 silent: out of contact: went away")
    hive.heard("n1")
    hive.leaves("n1")
    hive.sees_nothing()


def test_a_silent_node_loses_its_connection_when_its_fence_has_passed(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", failover="1m")
    hive.runs_after_dispatch("t1.1")
    hive.quiet("n1")
    hive.waits("2m")
    hive.sees(
        "n1 silent",
        "turn away n1: out of contact for longer",
        "t1.1 ended: node-lost: n1 is out of contact",
        "t1 queued: attempt 1 ended",
    )
    hive.ends("t1.1")
    hive.sees_nothing()
    assert hive.attempt("t1.1").late_report is None


def test_contact_before_the_fence_moves_it(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", failover="1m")
    hive.runs_after_dispatch("t1.1")
    hive.quiet("n1")
    hive.waits("90s")
    hive.heard("n1")
    hive.sees("n1 silent", "n1 ready: heard again")
    hive.quiet("n1")
    hive.waits("100s")
    hive.sees("n1 silent")
    hive.waits("10s")
    hive.sees("turn away n1", "t1.1 ended: node-lost", "t1 queued")


def test_a_node_that_is_heard_again_in_time_keeps_its_attempts(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", failover="1m")
    hive.runs_after_dispatch("t1.1")
    hive.quiet("n1")
    hive.waits("10s")
    hive.heard("n1")
    hive.waits("5m")
    hive.sees("n1 silent", "n1 ready: heard again")


def test_a_time_limit_does_not_stop_what_is_stopping(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", time_limit="1m")
    hive.runs_after_dispatch("t1.1")
    hive.cancel("t1")
    hive.forgets()
    hive.waits("10m")
    hive.sees_nothing()


def test_a_cancel_while_it_is_stopped_for_its_time_limit_sends_no_second_stop(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", time_limit="1m", retry=3)
    hive.runs_after_dispatch("t1.1")
    hive.waits("75s")
    hive.cancel("t1")
    hive.sees("t1.1 stopping", "stop t1.1 on n1: time-limit", "t1 active: being cancelled by ann")
    hive.ends("t1.1", "time-limit")
    hive.sees("t1.1 ended: cancelled", "t1 cancelled", "forget t1.1 on n1")


def test_every_state_ends_behind_the_fence(hive: Hive) -> None:
    hive.node("n1")
    for name in ("t1", "t2", "t3"):
        hive.submit(name, failover="1m")
    hive.accepts("t2.1")
    hive.cancel("t3")
    hive.leaves("n1")
    hive.forgets()
    hive.waits("2m")
    hive.sees(
        "t1.1 ended: node-lost",
        "t1 queued",
        "t2.1 ended: node-lost",
        "t2 queued",
        "t3.1 ended: cancelled",
        "t3 cancelled: cancelled by ann",
    )


def test_a_server_started_again_grants_every_attempt_its_full_length(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", failover="10m")
    hive.runs_after_dispatch("t1.1")
    hive.leaves("n1")
    hive.waits("11m")
    hive.sees("n1 silent")
    hive.restarts()
    hive.waits("11m")
    hive.sees_nothing()
    hive.waits("11s")
    hive.sees("t1.1 ended: node-lost", "t1 queued")


def test_a_fence_for_a_lost_attempt_outlives_the_server(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", failover="1m")
    hive.starts("t1.1")
    hive.rejoins("n1", journal="rebuilt")
    hive.forgets()
    hive.restarts()
    hive.waits("2m")
    hive.sees("t1.1 ended: node-lost", "t1 queued")


def test_a_node_in_contact_cannot_be_given_up(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.runs_after_dispatch("t1.1")
    hive.give_up("n1")
    hive.give_up("n7")
    hive.sees_nothing()


def test_a_node_given_up_while_connected_is_sent_away_and_may_come_back(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.accepts("t1.1")
    hive.forgets()
    hive.quiet("n1")
    hive.waits("6s")
    hive.give_up("n1")
    hive.sees(
        "n1 silent",
        "turn away n1: n1 was given up by root",
        "n1 lost: given up by root",
        "t1.1 ended: node-lost",
        "t1 queued",
    )
    hive.heard("n1")
    hive.sees_nothing()
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "stop t1.1 on n1: fenced")


def test_giving_up_ends_attempts_in_every_state(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2")
    hive.starts("t2.1")
    hive.cancel("t2")
    hive.leaves("n1")
    hive.forgets()
    hive.give_up("n1")
    hive.sees(
        "n1 lost", "t1.1 ended: node-lost", "t1 queued", "t2.1 ended: cancelled", "t2 cancelled"
    )


def test_the_brain_stops_what_its_node_did_not_stop_at_the_time_limit(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", time_limit="1m", retry=0)
    hive.runs_after_dispatch("t1.1")
    hive.waits("74s")
    hive.sees_nothing()
    hive.waits("2s")
    hive.sees("t1.1 stopping: time limit reached", "stop t1.1 on n1: time-limit")
    hive.ends("t1.1", "time-limit")
    hive.sees("t1.1 ended: time-limit", "t1 failed: time-limit", "forget t1.1 on n1")


def test_a_time_limit_is_watched_again_after_a_start_of_the_server(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", time_limit="1m")
    hive.runs_after_dispatch("t1.1")
    hive.restarts()
    hive.rejoins("n1", "t1.1 running")
    hive.waits("75s")
    hive.sees("n1 ready", "t1.1 stopping: time limit reached", "stop t1.1 on n1: time-limit")


def test_a_time_limit_counts_from_the_start_that_the_node_names(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", time_limit="1m")
    hive.waits("20s")
    hive.rejoins("n1", "t1.1 running")
    hive.forgets()
    hive.starts("t1.1", age="10s")
    hive.waits("66s")
    hive.sees("t1.1 running: process 4242", "t1.1 stopping: time limit reached", "stop t1.1 on n1")


def test_a_task_adrift_says_what_can_be_done(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.runs_after_dispatch("t1.1")
    hive.leaves("n1")
    hive.waits("10m")
    assert hive.why("t1") == ["ADRIFT"]
    assert hive.why_text("t1") == (
        "n1 has been out of contact for 10 min; the attempt runs on there: "
        "bring n1 back, or give it up if the machine is off"
    )


def test_what_ended_unheard_is_forgotten_after_its_last_word_not_after_its_first(
    hive: Hive,
) -> None:
    """Only the last says how much it printed; until then its node keeps that."""
    hive.node("n1")
    hive.submit("t1", failover="1m", restarts=0)
    hive.leaves("n1")
    hive.waits("2m")
    hive.forgets()
    hive.rejoins("n1", "t1.1 exited")
    hive.accepts("t1.1")
    hive.sees("n1 ready", "stop t1.1 on n1: fenced")
    hive.ends("t1.1")
    hive.sees("t1.1 ended: reported success after it had ended", "forget t1.1 on n1")


def test_of_a_gang_each_member_is_forgotten_after_its_own_last_word(hive: Hive) -> None:
    for node in ("n1", "n2"):
        hive.node(node)
    hive.submit("t1", nodes=2, failover="1m", restarts=0)
    for node in ("n1", "n2"):
        hive.starts("t1.1", on=node)
        hive.leaves(node)
    hive.waits("3m")
    hive.forgets()
    hive.rejoins("n1", "t1.1 exited")
    hive.ends("t1.1", on="n1")
    hive.sees(
        "n1 ready",
        "stop t1.1 on n1: fenced",
        "t1.1 ended: reported success after it had ended",
        "forget t1.1 on n1",
    )
    hive.rejoins("n2", "t1.1 exited")
    hive.sees("n2 ready", "stop t1.1 on n2: fenced")
    hive.ends("t1.1", on="n2")
    hive.sees("t1.1 ended: reported success after it had ended", "forget t1.1 on n2")
    hive.rejoins("n2", "t1.1 exited")
    hive.sees("n2 ready", "forget t1.1 on n2")
