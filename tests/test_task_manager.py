"""START HERE. The hive told in about a dozen short stories.

A story hands in what happens (a task is submitted, a node says that an attempt ended, time passes)
and looks at everything that comes of it. ``hive.sees`` must name *all* effects since the last look,
in order; the laws of ``fluxhive/core/invariants.py`` are checked after every step. How the lines
read stands at the head of ``tests/helpers/hive.py``.
"""

from __future__ import annotations

from tests.helpers.factories import gpu
from tests.helpers.hive import Hive


def test_a_task_is_placed_runs_and_succeeds(hive: Hive) -> None:
    hive.node("n1", cpus=4)
    hive.submit("t1")
    hive.sees("dispatch t1.1 on n1")
    hive.accepts("t1.1")
    hive.sees("t1.1 starting: accepted by n1")
    hive.starts("t1.1", pid=77)
    hive.sees("t1.1 running: running on n1, process 77")
    assert hive.word("t1") == "running"
    hive.ends("t1.1", "success", after="5m")
    hive.sees("t1.1 ended: success", "t1 succeeded: success", "forget t1.1 on n1")
    assert hive.manager.reserved_on("n1").cpus == 0


def test_tasks_wait_in_order_and_start_as_room_appears(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1")
    hive.sees("dispatch t1.1 on n1")
    hive.submit("t2")
    hive.submit("t3", priority="high")
    hive.sees("t2 queued: submitted", "t3 queued: submitted")
    assert hive.why("t2") == ["CPUS", "PRIORITY"]
    hive.ends("t1.1")
    hive.sees(
        "t1.1 ended: success",
        "t1 succeeded: success",
        "forget t1.1 on n1",
        "dispatch t3.1 on n1",
    )
    hive.ends("t3.1")
    hive.sees("t3.1 ended", "t3 succeeded", "forget t3.1 on n1", "dispatch t2.1 on n1")


def test_a_small_task_starts_past_a_large_one_that_does_not_fit(hive: Hive) -> None:
    hive.node("n1", cpus=4)
    hive.submit("t1", cpus=3)
    hive.submit("big", cpus=4)
    hive.submit("small", cpus=1)
    hive.sees("dispatch t1.1 on n1", "big queued: submitted", "dispatch small.1 on n1")
    assert hive.why_text("big") == "needs 4 free CPUs; the most on one node now: 0"


def test_tasks_share_a_gpu_by_memory_the_fullest_that_fits_first(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    # Of tasks of which nothing is known, two would have too much to do on one GPU: while one is
    # empty they part.
    hive.submit("t1", gpu_memory="20G")
    hive.submit("t2", gpu_memory="50G")
    hive.submit("t3", gpu_memory="25G")
    hive.submit("t4", gpu_memory="35G")
    hive.sees(
        "dispatch t1.1 on n1 gpu0 20480 MiB",
        "dispatch t2.1 on n1 gpu1 51200 MiB",
        "dispatch t3.1 on n1 gpu1 25600 MiB",
        "dispatch t4.1 on n1 gpu0 35840 MiB",
    )
    hive.submit("whole", gpus=1, exclusive=True)
    hive.sees("whole queued: submitted")
    assert hive.why("whole") == ["GPUS"]
    hive.ends("t3.1")
    hive.ends("t2.1")
    hive.sees(
        "t3.1 ended",
        "t3 succeeded",
        "forget t3.1 on n1",
        "t2.1 ended",
        "t2 succeeded",
        "forget t2.1 on n1",
        "dispatch whole.1 on n1 gpu1 81920 MiB alone",
    )


def test_a_failed_task_is_tried_again_as_often_as_asked(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1, backoff="10s")
    hive.sees("dispatch t1.1 on n1")
    hive.ends("t1.1", "failure", exit_code=3)
    hive.sees(
        "t1.1 ended: exit code 3",
        "t1 queued: attempt 1 ended: exit code 3; retry 1 of 1 in 8.5 s",
        "forget t1.1 on n1",
    )
    assert hive.word("t1") == "retrying"
    assert hive.why("t1") == ["RETRY_BACKOFF"]
    hive.waits("10s")
    hive.sees("dispatch t1.2 on n1")
    hive.ends("t1.2", "failure", exit_code=3)
    hive.sees(
        "t1.2 ended: exit code 3",
        "t1 failed: exit code 3 (attempt 2)",
        "forget t1.2 on n1",
    )


def test_an_end_that_was_not_its_fault_is_no_retry(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.runs_after_dispatch("t1.1")
    hive.ends("t1.1", "gpu-fault", detail="Xid 79 on GPU 0")
    hive.sees(
        "t1.1 ended: gpu-fault: Xid 79 on GPU 0",
        "t1 queued: attempt 1 ended: gpu-fault: Xid 79 on GPU 0; restart 1 of 5",
        "forget t1.1 on n1",
    )
    hive.waits("1s")
    hive.sees("dispatch t1.2 on n1")
    assert (hive.task("t1").retries_used, hive.task("t1").restarts_used) == (0, 1)


def test_a_cancelled_task_is_stopped_and_stays_cancelled_whatever_it_says(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=3)
    hive.runs_after_dispatch("t1.1")
    hive.cancel("t1", by="ann")
    hive.sees(
        "t1 active: being cancelled by ann",
        "t1.1 stopping: cancelled by ann",
        "stop t1.1 on n1: cancel",
    )
    assert hive.word("t1") == "stopping"
    hive.ends("t1.1", "success")
    hive.sees("t1.1 ended: cancelled", "t1 cancelled: cancelled by ann", "forget t1.1 on n1")
    hive.cancel("t1")
    hive.sees_nothing()


def test_a_refused_attempt_is_tried_on_another_node(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.node("n2", cpus=2)
    hive.submit("t1")
    hive.sees("dispatch t1.1 on n1")
    hive.refuses("t1.1", "its disk is full")
    hive.sees(
        "t1.1 ended: refused: its disk is full",
        "t1 queued: attempt 1 was refused: its disk is full; next try in",
        "forget t1.1 on n1",
    )
    hive.waits("1s")
    hive.sees("dispatch t1.2 on n2")


def test_a_node_out_of_contact_keeps_its_tasks_and_is_adopted_on_return(hive: Hive) -> None:
    hive.node("n1")
    hive.node("n2")
    hive.submit("t1")
    hive.runs_after_dispatch("t1.1")
    hive.leaves("n1")
    hive.sees("n1 silent: out of contact: connection reset")
    assert hive.word("t1") == "adrift"
    hive.waits("30m")
    hive.sees_nothing()
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready: n1 joined")
    assert hive.word("t1") == "running"


def test_with_failover_a_lost_node_is_fenced_before_the_task_runs_elsewhere(hive: Hive) -> None:
    hive.node("n1")
    hive.node("n2", cpus=16)
    hive.submit("t1", failover="10m")
    hive.runs_after_dispatch("t1.1")
    hive.leaves("n1")
    # 10 minutes, 5 % for the clock, 30 s of grace, 10 s of margin: 11 minutes 10 seconds.
    hive.waits("669s")
    hive.sees("n1 silent")
    hive.waits("3s")
    hive.sees(
        "t1.1 ended: node-lost", "t1 queued: attempt 1 ended: node-lost", "dispatch t1.2 on n2"
    )
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "stop t1.1 on n1: fenced")
    hive.ends("t1.1", "success")
    hive.sees("t1.1 ended: reported success after it had ended: not credited", "forget t1.1 on n1")
    assert hive.task("t1").state.value == "active"


def test_a_given_up_node_gives_its_tasks_to_others(hive: Hive) -> None:
    hive.node("n1")
    hive.node("n2", cpus=16)
    hive.submit("t1")
    hive.runs_after_dispatch("t1.1")
    hive.leaves("n1")
    hive.give_up("n1", by="root")
    hive.waits("1s")
    hive.sees(
        "n1 silent",
        "n1 lost: given up by root",
        "t1.1 ended: node-lost: n1 was given up by root",
        "t1 queued",
        "dispatch t1.2 on n2",
    )


def test_a_dirty_gpu_is_out_of_use_until_its_memory_is_back(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True)
    hive.runs_after_dispatch("t1.1")
    hive.submit("t2", gpus=1, exclusive=True)
    hive.ends("t1.1", "failure", dirty=("n1-gpu0",))
    hive.sees(
        "t2 queued: submitted",
        "n1 ready: memory of t1.1 is not back on its GPU",
        "t1.1 ended: exit code 1",
        "t1 failed: exit code 1",
        "forget t1.1 on n1",
    )
    hive.beat("n1", gpu("n1-gpu0", state="dirty", why="1.2 GiB left"))
    hive.sees_nothing()
    hive.beat("n1", gpu("n1-gpu0"))
    hive.sees("n1 ready: GPU 0 is healthy", "dispatch t2.1 on n1 gpu0 81920 MiB alone")


def test_a_server_that_was_started_again_loses_nothing(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1")
    hive.runs_after_dispatch("t1.1")
    hive.submit("t2")
    hive.sees("t2 queued")
    hive.restarts()
    hive.waits("1m")
    hive.sees_nothing()
    assert hive.word("t1") == "adrift"
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready: n1 joined")
    hive.ends("t1.1")
    hive.sees("t1.1 ended", "t1 succeeded", "forget t1.1 on n1", "dispatch t2.1 on n1")
