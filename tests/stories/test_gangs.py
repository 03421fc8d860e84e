"""A gang: one attempt on several nodes at once. All or nothing, and one member's end ends all."""

from __future__ import annotations

import pytest

from tests.helpers.factories import gpu
from tests.helpers.hive import Hive


def two_nodes(hive: Hive) -> None:
    """Two nodes of one GPU, and a gang that runs on both."""
    hive.node("n1", gpus=["80G"])
    hive.node("n2", gpus=["80G"])
    hive.submit("t1", gpus=1, nodes=2)
    hive.sees(
        "dispatch t1.1 rank 0 on n1 gpu0 81920 MiB alone",
        "dispatch t1.1 rank 1 on n2 gpu0 81920 MiB alone",
    )


def running_gang(hive: Hive) -> None:
    """The same, running."""
    two_nodes(hive)
    for node in ("n1", "n2"):
        hive.accepts("t1.1", on=node)
        hive.starts("t1.1", on=node)
    hive.forgets()


def test_a_gang_runs_once_all_of_it_runs_and_succeeds_once_all_of_it_has(hive: Hive) -> None:
    two_nodes(hive)
    hive.accepts("t1.1", on="n2")
    hive.sees("t1.1 reserved: accepted by n2")
    hive.starts("t1.1", pid=7, on="n2")
    hive.sees("t1.1 reserved: running on n2, process 7")
    hive.accepts("t1.1", on="n1")
    hive.sees("t1.1 starting: accepted by n1")
    assert hive.word("t1") == "starting"
    hive.starts("t1.1", pid=8, on="n1")
    hive.sees("t1.1 running: running on n1, process 8")
    assert hive.attempt("t1.1").pid == 8
    hive.ends("t1.1", on="n2")
    hive.sees("t1.1 stopping: rank 1 on n2 ended: success", "forget t1.1 on n2")
    hive.ends("t1.1", on="n1")
    hive.sees("t1.1 ended: success", "t1 succeeded: success", "forget t1.1 on n1")


def test_a_gang_takes_all_of_its_nodes_or_none(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("gang", gpus=1, nodes=2)
    hive.sees("gang queued: submitted")
    assert hive.why("gang") == ["NEVER"]
    assert hive.why_text("gang") == "it asks 2 nodes, and only 1 could hold their part of it"
    hive.submit("small", gpu_memory="10G")
    hive.sees("dispatch small.1 on n1 gpu0 10240 MiB")
    hive.node("n2", gpus=["80G"])
    assert hive.why("gang") == ["GANG", "GPUS"]
    text = "needs 2 nodes with room at once; 1 with room now"
    assert hive.why_text("gang") == text
    hive.ends("small.1")
    hive.sees(
        "small.1 ended: success",
        "small succeeded",
        "forget small.1 on n1",
        "dispatch gang.1 rank 0 on n1 gpu0 81920 MiB alone",
        "dispatch gang.1 rank 1 on n2 gpu0 81920 MiB alone",
    )


def test_nobody_shares_a_gpu_with_a_gang(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.node("n2", gpus=["80G"])
    hive.submit("gang", gpus=1, gpu_memory="10G", nodes=2)
    hive.sees(
        "dispatch gang.1 rank 0 on n1 gpu0 81920 MiB alone",
        "dispatch gang.1 rank 1 on n2 gpu0 81920 MiB alone",
    )
    hive.submit("small", gpu_memory="10G")
    hive.sees("small queued: submitted")


def test_a_member_that_fails_ends_the_others_and_is_named(hive: Hive) -> None:
    running_gang(hive)
    hive.ends("t1.1", "failure", exit_code=3, on="n2")
    hive.sees(
        "t1.1 stopping: rank 1 on n2 ended: exit code 3",
        "stop t1.1 on n1: gang",
        "forget t1.1 on n2",
    )
    assert hive.manager.reserved_on("n2").gpus[0].reserved_mib == 81_920
    hive.ends("t1.1", "cancelled", on="n1")
    hive.sees(
        "t1.1 ended: exit code 3 (rank 1 on n2)",
        "t1 failed: exit code 3 (rank 1 on n2)",
        "forget t1.1 on n1",
    )
    assert hive.attempt("t1.1").cause_rank == 1
    assert hive.manager.reserved_on("n2").gpus[0].reserved_mib == 0


def test_who_falls_over_a_dead_peer_does_not_take_the_blame(hive: Hive) -> None:
    running_gang(hive)
    hive.ends("t1.1", "failure", exit_code=1, on="n1")
    hive.ends("t1.1", "gpu-oom", exit_code=1, detail="ran out of GPU memory", on="n2")
    assert hive.task("t1").reason.startswith(
        "gpu-oom: ran out of GPU memory (rank 1 on n2): the largest GPU here has 80.0 GiB"
    )
    assert hive.attempt("t1.1").cause_rank == 1


def test_a_member_that_refuses_hands_the_whole_gang_back(hive: Hive) -> None:
    two_nodes(hive)
    hive.accepts("t1.1", on="n1")
    hive.forgets()
    hive.refuses("t1.1", "GPU 0 is not free", on="n2")
    hive.sees(
        "t1.1 stopping: rank 1 on n2 ended: refused: GPU 0 is not free",
        "stop t1.1 on n1: gang",
        "forget t1.1 on n2",
    )
    hive.ends("t1.1", "cancelled", on="n1")
    hive.sees(
        "t1.1 ended: refused: GPU 0 is not free (rank 1 on n2)",
        "t1 queued: attempt 1 was refused: GPU 0 is not free (rank 1 on n2); next try in",
        "forget t1.1 on n1",
    )
    assert (hive.task("t1").retries_used, hive.task("t1").restarts_used) == (0, 0)
    # Its node is asked again with its next different reading.
    hive.waits("2s")
    hive.sees_nothing()
    hive.beat("n2", gpu("n2-gpu0", foreign="100M"))
    hive.sees("dispatch t1.2 rank 0 on n1", "dispatch t1.2 rank 1 on n2")


def test_a_gang_of_which_a_part_ran_is_not_tried_again_when_it_may_run_once(hive: Hive) -> None:
    hive.node("n1")
    hive.node("n2")
    hive.submit("t1", nodes=2, at_most_once=True)
    hive.starts("t1.1", on="n1")
    hive.forgets()
    hive.refuses("t1.1", "no space left", on="n2")
    hive.ends("t1.1", "cancelled", on="n1")
    hive.sees(
        "t1.1 stopping: rank 1 on n2 ended: refused: no space left",
        "stop t1.1 on n1: gang",
        "forget t1.1 on n2",
        "t1.1 ended: refused: no space left (rank 1 on n2)",
        "t1 failed: refused: no space left (rank 1 on n2); a part of it may have run",
        "forget t1.1 on n1",
    )


def test_a_node_without_what_a_gang_needs_is_no_choice_for_it(hive: Hive) -> None:
    two_nodes(hive)
    hive.refuses("t1.1", "/data is not here", permanent=True, on="n2")
    hive.ends("t1.1", "cancelled", on="n1")
    assert hive.task("t1").state.value == "failed"
    assert hive.task("t1").reason.startswith("no node can run it: /data is not here (rank 1 on n2)")


def test_cancel_stops_every_member(hive: Hive) -> None:
    running_gang(hive)
    hive.cancel("t1")
    hive.sees(
        "t1 active: being cancelled by ann",
        "t1.1 stopping: cancelled by ann",
        "stop t1.1 on n1: cancel",
        "stop t1.1 on n2: cancel",
    )
    hive.ends("t1.1", "cancelled", detail="stopped on request", on="n2")
    hive.sees("t1.1 stopping: rank 1 on n2 ended: cancelled", "forget t1.1 on n2")
    hive.ends("t1.1", "cancelled", detail="stopped on request", on="n1")
    hive.sees(
        "t1.1 ended: cancelled: stopped on request (rank 1 on n2)",
        "t1 cancelled: cancelled by ann",
        "forget t1.1 on n1",
    )


def test_members_have_time_to_finish_after_another_ended_well(hive: Hive) -> None:
    running_gang(hive)
    hive.ends("t1.1", on="n2")
    hive.forgets()
    hive.waits("9m")
    hive.sees_nothing()
    hive.waits("2m")
    hive.sees("t1.1 stopping: others had ended long before", "stop t1.1 on n1: gang")
    hive.ends("t1.1", "cancelled", on="n1")
    hive.sees(
        "t1.1 ended: rank 0 on n1 did not end with the others",
        "t1 failed: rank 0 on n1 did not end with the others",
        "forget t1.1 on n1",
    )


def test_a_gang_that_finishes_is_still_cancelled(hive: Hive) -> None:
    running_gang(hive)
    hive.ends("t1.1", on="n2")
    hive.forgets()
    hive.cancel("t1")
    hive.sees(
        "t1 active: being cancelled by ann",
        "t1.1 stopping: cancelled by ann",
        "stop t1.1 on n1: cancel",
    )


def test_late_and_repeated_reports_are_about_the_member_that_says_them(hive: Hive) -> None:
    running_gang(hive)
    hive.ends("t1.1", "failure", on="n2")
    hive.forgets()
    hive.ends("t1.1", "failure", on="n2")
    hive.sees("forget t1.1 on n2")
    hive.starts("t1.1", on="n2")
    hive.sees("stop t1.1 on n2: fenced")
    hive.accepts("t1.1", on="n1")
    hive.sees_nothing()


def test_a_gang_with_a_silent_node_is_adrift_and_waits_for_it(hive: Hive) -> None:
    running_gang(hive)
    hive.quiet("n2")
    hive.waits("10s")
    hive.forgets()
    assert hive.word("t1") == "adrift"
    assert hive.why_text("t1").startswith("n2 has been out of contact for")
    hive.ends("t1.1", "failure", on="n1")
    hive.sees(
        "t1.1 stopping: rank 0 on n1 ended: exit code 1", "stop t1.1 on n2", "forget t1.1 on n1"
    )
    hive.waits("1h")
    hive.sees_nothing()
    hive.rejoins("n2", "t1.1 running")
    hive.sees("n2 ready", "stop t1.1 on n2: gang")
    hive.ends("t1.1", "cancelled", on="n2")
    hive.sees("t1.1 ended: exit code 1", "t1 failed", "forget t1.1 on n2")


def test_a_node_given_up_ends_its_member_and_so_the_gang(hive: Hive) -> None:
    running_gang(hive)
    hive.leaves("n2")
    hive.forgets()
    hive.give_up("n2")
    hive.sees(
        "n2 lost: given up by root",
        "t1.1 stopping: rank 1 on n2 ended: node-lost: n2 was given up by root",
        "stop t1.1 on n1: gang",
    )
    hive.ends("t1.1", "cancelled", on="n1")
    hive.sees("t1.1 ended: node-lost", "t1 queued: attempt 1 ended: node-lost", "forget t1.1 on n1")


def test_each_member_has_its_own_fence(hive: Hive) -> None:
    hive.node("n1")
    hive.node("n2")
    hive.submit("t1", nodes=2, failover="10m")
    hive.forgets()
    for node in ("n1", "n2"):
        hive.accepts("t1.1", on=node)
        hive.starts("t1.1", on=node)
    hive.quiet("n2")
    hive.waits("5m")
    hive.quiet("n1")
    hive.waits("6m")
    hive.forgets()
    hive.waits("1m")
    hive.sees(
        "turn away n2",
        "t1.1 stopping: rank 1 on n2 ended: node-lost",
        "stop t1.1 on n1: gang",
    )
    hive.waits("5m")
    hive.sees("turn away n1", "t1.1 ended: node-lost", "t1 queued: attempt 1 ended: node-lost")


def test_members_whose_fences_pass_together_end_together(hive: Hive) -> None:
    for node in ("n1", "n2", "n3"):
        hive.node(node)
    hive.submit("t1", nodes=3, failover="10m")
    for node in ("n1", "n2", "n3"):
        hive.accepts("t1.1", on=node)
        hive.starts("t1.1", on=node)
    hive.quiet("n1")
    hive.quiet("n2")
    hive.waits("11m")
    hive.forgets()
    hive.waits("1m")
    hive.sees(
        "turn away n1",
        "t1.1 stopping: rank 0 on n1 ended: node-lost",
        "stop t1.1 on n2: gang",
        "stop t1.1 on n3: gang",
        "turn away n2",
        "t1.1 stopping: rank 1 on n2 ended: node-lost",
    )
    hive.ends("t1.1", "cancelled", on="n3")
    hive.sees("t1.1 ended: node-lost", "t1 queued: attempt 1 ended: node-lost", "forget t1.1 on n3")


def test_a_member_that_its_node_does_not_know_is_dispatched_again_alone(hive: Hive) -> None:
    two_nodes(hive)
    hive.accepts("t1.1", on="n1")
    hive.forgets()
    hive.rejoins("n2")
    hive.sees("n2 ready", "dispatch t1.1 rank 1 on n2 gpu0 81920 MiB alone")
    hive.rejoins("n1", "t1.1 launching")
    hive.sees("n1 ready")


def test_a_node_that_was_restarted_ends_the_gang(hive: Hive) -> None:
    running_gang(hive)
    hive.rejoins("n2", rebooted=True)
    hive.sees(
        "n2 ready",
        "t1.1 stopping: rank 1 on n2 ended: node-reboot: n2 was started again",
        "stop t1.1 on n1: gang",
    )


@pytest.mark.parametrize("first", ["n1", "n2"])
def test_a_restored_hive_goes_on_with_a_gang_that_is_ending(first: str) -> None:
    hive = Hive()
    running_gang(hive)
    other = "n2" if first == "n1" else "n1"
    hive.ends("t1.1", "failure", on=first)
    hive.forgets()
    hive.restarts()
    hive.rejoins(first)
    hive.rejoins(other, "t1.1 running")
    hive.sees(f"{first} ready", f"{other} ready", f"stop t1.1 on {other}: gang")
    hive.ends("t1.1", "cancelled", on=other)
    hive.sees("t1.1 ended: exit code 1", "t1 failed", f"forget t1.1 on {other}")


def test_gangs_on_one_node_meet_at_different_ports(hive: Hive) -> None:
    hive.node("n1", address="10.0.0.1")
    hive.node("n2", address="10.0.0.2")
    for name in ("t1", "t2", "t3"):
        hive.submit(name, nodes=2)
    ports = {hive.attempt(f"{name}.1").rendezvous_port for name in ("t1", "t2", "t3")}
    assert len(ports) == 3
    assert all(29_500 <= port <= 30_499 for port in ports)
    told = {
        effect.rendezvous.address
        for effect in hive.effects
        if type(effect).__name__ == "Dispatch" and effect.rendezvous is not None
    }
    assert told == {"10.0.0.1"}


def test_a_port_that_somebody_else_holds_costs_no_retry(hive: Hive) -> None:
    two_nodes(hive)
    port = hive.attempt("t1.1").rendezvous_port
    detail = f"EADDRINUSE: port {port} is taken"
    hive.ends("t1.1", "launch-failed", detail=detail, on="n1")
    hive.ends("t1.1", "cancelled", on="n2")
    assert hive.task("t1").reason.startswith(f"attempt 1 was launch-failed: {detail}")
    assert (hive.task("t1").retries_used, hive.task("t1").restarts_used) == (0, 0)
    hive.waits("2s")
    assert hive.attempt("t1.2").rendezvous_port not in (0, port)


def test_a_promise_outlives_the_server_until_its_nodes_have_joined(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.submit("long", gpus=1)
    hive.runs_after_dispatch("long.1")
    hive.submit("gang", gpus=2)
    hive.waits("11m")
    promise = hive.task("gang").promise
    assert promise is not None
    hive.restarts()
    hive.submit("other", gpus=1)
    assert hive.task("gang").promise == promise
    hive.rejoins("n1", "long.1 running")
    assert hive.task("gang").promise == promise
