"""A node hands an attempt back: uncounted, tried elsewhere, and not again before it looks anew."""

from __future__ import annotations

from tests.helpers.factories import gpu
from tests.helpers.hive import Hive


def test_a_node_that_refused_is_asked_again_only_after_another_reading(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True)
    hive.refuses("t1.1", "3.0 GiB are in use on GPU 0")
    hive.forgets()
    hive.waits("10s")
    hive.sees_nothing()
    assert hive.why("t1") == ["AGENT_REFUSED"]
    hive.beat("n1", gpu("n1-gpu0", foreign="500M"))
    hive.sees("dispatch t1.2 on n1 gpu0 81920 MiB alone")


def test_a_node_whose_reading_never_differs_is_asked_again_after_a_minute(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True)
    hive.refuses("t1.1", "its disk is full")
    hive.forgets()
    hive.waits("59s")
    hive.sees_nothing()
    hive.waits("1s")
    hive.sees("dispatch t1.2 on n1")


def test_a_task_without_gpus_is_tried_again_after_the_pause(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.refuses("t1.1", "its last contact is older than 15 s")
    assert hive.why("t1") == ["AGENT_REFUSED"]
    hive.forgets()
    hive.waits("3s")
    hive.sees("dispatch t1.2 on n1")


def test_the_pause_grows_to_a_minute_and_starts_anew_after_another_end(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=9)
    pauses = []
    for number in range(1, 9):
        hive.refuses(f"t1.{number}", "not now")
        pauses.append(hive.task("t1").not_before_ms - hive.now_ms)
        hive.waits("62s")
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1000
    assert 45_000 <= pauses[-1] <= 60_000
    hive.ends("t1.9", "failure")
    assert hive.task("t1").refusals == 0
    assert hive.task("t1").retries_used == 1


def test_a_task_that_is_never_to_start_twice_may_still_be_handed_back(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", at_most_once=True)
    hive.refuses("t1.1", "not now")
    hive.forgets()
    hive.waits("3s")
    hive.sees("dispatch t1.2 on n1")


def test_a_missing_directory_excludes_the_node(hive: Hive) -> None:
    hive.node("n1", cpus=2)
    hive.node("n2", cpus=4)
    hive.submit("t1", workdir="/data")
    hive.refuses("t1.1", "there is no directory `/data` on n1", permanent=True)
    hive.waits("1s")
    hive.sees(
        "dispatch t1.1 on n1", "t1.1 ended: refused", "t1 queued", "forget t1.1 on n1",
        "dispatch t1.2 on n2",
    )  # fmt: skip
    hive.refuses("t1.2", "there is no directory `/data` on n2", permanent=True)
    hive.sees(
        "t1.2 ended: refused",
        "t1 failed: no node can run it: there is no directory `/data` on n2; "
        "submit it from a directory that exists on the nodes, or name one with `--workdir`",
        "forget t1.2 on n2",
    )


def test_a_busy_node_that_did_not_refuse_is_waited_for(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.node("n2", cpus=2)
    hive.submit("t1", cpus=2)
    hive.submit("t2")
    hive.refuses("t2.1", "no such program", permanent=True)
    hive.waits("1m")
    hive.sees(
        "dispatch t1.1 on n2",
        "dispatch t2.1 on n1",
        "t2.1 ended: refused",
        "t2 queued: attempt 1 was refused",
        "forget t2.1 on n1",
    )
    assert hive.why("t2") == ["CPUS", "AGENT_REFUSED"]
    hive.ends("t1.1")
    hive.sees("t1.1 ended", "t1 succeeded", "forget t1.1 on n2", "dispatch t2.2 on n2")


def test_an_exclusion_outlives_the_server(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.node("n2", cpus=2)
    hive.submit("t1", cpus=2)
    hive.submit("t2")
    hive.refuses("t2.1", "no such program", permanent=True)
    hive.forgets()
    hive.restarts()
    hive.rejoins("n1")
    hive.rejoins("n2", "t1.1 running")
    hive.waits("1m")
    hive.sees("n1 ready", "n2 ready", "t1.1 running")
    hive.ends("t1.1")
    hive.sees("t1.1 ended", "t1 succeeded", "forget t1.1 on n2", "dispatch t2.2 on n2")


def test_a_node_that_could_not_even_start_it_is_avoided_next_time(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.node("n2", cpus=2)
    hive.submit("t1")
    hive.ends("t1.1", "launch-failed", exec_error="EMFILE", detail="EMFILE")
    hive.waits("1s")
    hive.sees(
        "dispatch t1.1 on n1",
        "t1.1 ended: launch-failed: EMFILE",
        "t1 queued: attempt 1 ended: launch-failed: EMFILE; restart 1 of 5",
        "forget t1.1 on n1",
        "dispatch t1.2 on n2",
    )
