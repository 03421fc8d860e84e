"""What fits where: GPUs whole and shared, foreign use, private and draining nodes."""

from __future__ import annotations

from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.policy import DECLARED
from fluxhive.core.values import NodeId
from tests.helpers.factories import gpu
from tests.helpers.hive import Hive

#: Memory as declared decides alone, not how busy the GPUs are.
DECLARED_HIVE = HiveSettings(policy=DECLARED)


def test_several_gpus_are_whole_and_on_one_node(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.node("n2", gpus=["40G", "80G", "80G", "80G"])
    hive.submit("t1", gpus=2)
    hive.submit("t2", gpus=3, gpu_memory="80G")
    hive.submit("t3", gpus=2)
    hive.sees(
        "dispatch t1.1 on n1 gpu0 81920 MiB, gpu1 81920 MiB alone",
        "dispatch t2.1 on n2 gpu1 81920 MiB, gpu2 81920 MiB, gpu3 81920 MiB alone",
        "t3 queued",
    )
    assert hive.why("t3") == ["GPUS"]
    hive.submit("t4", gpus=5)
    assert hive.why("t4") == ["NEVER"]
    assert hive.why_text("t4") == (
        "no node could hold it, even empty: it asks 5 GPUs, and the most on one node is 4"
    )


def test_an_exclusive_task_is_alone_whatever_it_asks(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpu_memory="10G", exclusive=True)
    hive.submit("t2", gpu_memory="10G")
    hive.sees("dispatch t1.1 on n1 gpu0 81920 MiB alone", "t2 queued")
    assert hive.why("t2") == ["MEMORY"]


def test_a_share_leaves_headroom_on_its_gpu(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpu_memory="81101M")
    hive.sees("dispatch t1.1 on n1 gpu0 81101 MiB")
    hive.ends("t1.1")
    hive.forgets()
    hive.submit("t2", gpu_memory="81102M")
    hive.sees("dispatch t2.1 on n1 gpu0 81920 MiB alone")
    hive.submit("t3", gpu_memory="81921M")
    assert hive.why("t3") == ["NEVER"]


def test_what_leaves_no_headroom_starts_on_the_first_gpu_after_there_was_none(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.drain("n1")
    hive.submit("t1", gpu_memory="81500M")
    hive.leaves("n1")
    hive.give_up("n1")
    hive.forgets()
    hive.node("n2", gpus=["80G"], only_for="ann")
    hive.sees("dispatch t1.1 on n2 gpu0 81920 MiB alone")


def test_a_share_goes_to_the_gpu_in_use_with_the_least_room() -> None:
    hive = Hive(DECLARED_HIVE)
    hive.node("n1", gpus=["80G", "80G", "80G"])
    hive.submit("t1", gpu_memory="70G")
    hive.submit("t2", gpu_memory="60G")
    hive.submit("t3", gpu_memory="5G")
    hive.submit("t4", gpu_memory="15G")
    hive.submit("t5", gpu_memory="15G")
    hive.sees(
        "dispatch t1.1 on n1 gpu0",
        "dispatch t2.1 on n1 gpu1",
        "dispatch t3.1 on n1 gpu0",
        "dispatch t4.1 on n1 gpu1",
        "dispatch t5.1 on n1 gpu2",
    )


def test_live_use_beyond_a_reservation_counts(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpu_memory="20G")
    hive.beat("n1", gpu("n1-gpu0", uses={"t1.1": "60G"}))
    hive.forgets()
    hive.submit("t2", gpu_memory="30G")
    hive.sees("t2 queued")
    hive.beat("n1", gpu("n1-gpu0", uses={"t1.1": "90G"}))
    reserved = hive.manager.reserved_on("n1")  # type: ignore[arg-type]
    assert reserved.gpus[0].overcommitted
    # What was raised comes down only once its use has settled.
    hive.beat("n1", gpu("n1-gpu0", uses={"t1.1": "10G"}))
    hive.sees("t1.1 reserved: uses 90.0 GiB of GPU memory: reserved 90.0 GiB instead of 60.0 GiB")


def test_what_the_last_reading_showed_of_an_ended_attempt_is_gone_with_it(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True)
    hive.beat("n1", gpu("n1-gpu0", uses={"t1.1": "70G"}))
    hive.submit("t2", gpus=1, exclusive=True)
    hive.forgets()
    hive.ends("t1.1")
    hive.sees("t1.1 ended", "t1 succeeded", "forget t1.1 on n1", "dispatch t2.1 on n1")


def test_memory_of_an_attempt_that_is_over_only_for_the_hive_counts_as_foreign(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True, failover="1m")
    hive.starts("t1.1")
    hive.beat("n1", gpu("n1-gpu0", uses={"t1.1": "70G"}))
    hive.leaves("n1")
    hive.waits("2m")
    hive.forgets()
    hive.rejoins("n1", "t1.1 running")
    hive.sees("n1 ready", "stop t1.1 on n1: fenced")
    assert hive.why("t1") == ["GPUS"]
    hive.beat("n1", gpu("n1-gpu0"))
    hive.sees("dispatch t1.2 on n1 gpu0 81920 MiB alone")


def test_foreign_use_takes_room_and_a_little_leaves_a_gpu_whole(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.beat("n1", gpu("n1-gpu0", foreign="2G"))
    hive.submit("t1", gpus=1, exclusive=True)
    hive.submit("t2", gpu_memory="70G")
    hive.sees("t1 queued", "dispatch t2.1 on n1 gpu0 71680 MiB")
    hive.ends("t2.1")
    hive.beat("n1", gpu("n1-gpu0", foreign="1G"))
    hive.sees("t2.1 ended", "t2 succeeded", "forget t2.1 on n1", "dispatch t1.1 on n1")


def test_a_faulty_or_stale_gpu_is_not_offered_and_the_others_are(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.beat("n1", gpu("n1-gpu0", state="faulty", why="Xid 79"), gpu("n1-gpu1", 1, stale=True))
    hive.sees("n1 ready: GPU 0 is faulty: Xid 79")
    hive.submit("t1", gpu_memory="1G")
    hive.sees("t1 queued")
    hive.beat("n1", gpu("n1-gpu1", 1))
    hive.sees("dispatch t1.1 on n1 gpu1 1024 MiB")


def test_a_gpu_that_a_heartbeat_leaves_out_has_no_reading(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.loses_gpu("n1", "n1-gpu0")
    hive.beat("n1")
    hive.submit("t1", gpus=1, exclusive=True)
    hive.submit("t2", gpus=1, exclusive=True)
    hive.sees("dispatch t1.1 on n1 gpu1 81920 MiB alone", "t2 queued")


def test_cpu_tasks_keep_off_gpu_nodes_while_others_have_room(hive: Hive) -> None:
    hive.node("gpus", gpus=["80G"], cpus=1)
    hive.node("large", cpus=8)
    hive.node("small", cpus=2)
    for name in ("t1", "t2", "t3"):
        hive.submit(name, cpus=1)
    hive.sees("dispatch t1.1 on small", "dispatch t2.1 on small", "dispatch t3.1 on large")


def test_host_memory_is_counted_when_asked_for(hive: Hive) -> None:
    hive.node("n1", memory="64G")
    hive.submit("t1", memory="40G")
    hive.submit("t2", memory="30G")
    hive.submit("t3")
    hive.sees("dispatch t1.1 on n1", "t2 queued", "dispatch t3.1 on n1")
    assert hive.why("t2") == ["HOST_MEMORY"]
    assert hive.why_text("t2") == ("needs 30.0 GiB of memory; the most free now is 24.0 GiB, on n1")


def test_a_held_gpu_that_is_read_again_counts_though_no_hello_named_it(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.submit("t1", gpus=1, exclusive=True)
    hive.starts("t1.1")
    (share,) = hive.attempt("t1.1").reservations[0].gpus
    hive.loses_gpu("n1", share.uuid)
    hive.rejoins("n1", "t1.1 running")
    assert len(hive.manager.hive.gpus_of_node[NodeId("n1")]) == 1
    hive.beat("n1", gpu(share.uuid, share.index, state="faulty"))
    assert len(hive.manager.hive.gpus_of_node[NodeId("n1")]) == 2


def test_a_private_node_that_comes_takes_all_that_its_owner_has_waiting(hive: Hive) -> None:
    for name in ("t1", "t2", "t3"):
        hive.submit(name, owner="bob")
    hive.node("n1", only_for="bob")
    assert [hive.task(name).attempts for name in ("t1", "t2", "t3")] == [1, 1, 1]


def test_a_private_node_serves_its_owner_until_it_is_accepted(hive: Hive) -> None:
    hive.submit("waits", owner="ann")
    hive.node("n1", only_for="bob")
    hive.submit("t1", owner="ann")
    hive.submit("t2", owner="bob")
    hive.sees("waits queued", "t1 queued", "dispatch t2.1 on n1")
    assert hive.why("t1") == ["NO_NODES"]
    hive.accept("n1")
    hive.sees(
        "n1 ready: accepted for everybody by root", "dispatch waits.1 on n1", "dispatch t1.1 on n1"
    )
    hive.accept("n1")
    hive.rejoins("n1", "t2.1 preparing", "waits.1 preparing", "t1.1 preparing")
    hive.forgets()
    hive.submit("t3", owner="ann")
    hive.sees("dispatch t3.1 on n1")


def test_a_draining_node_finishes_what_it_has_and_takes_nothing_new(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.runs_after_dispatch("t1.1")
    hive.drain("n1")
    hive.drain("n1")
    hive.submit("t2")
    hive.sees("n1 ready: drained by root", "t2 queued")
    assert hive.why("t2") == ["NODES_DOWN"]
    hive.ends("t1.1")
    hive.rejoins("n1")
    hive.sees("t1.1 ended", "t1 succeeded", "forget t1.1 on n1", "n1 ready: n1 joined")
    hive.undrain("n1")
    hive.undrain("n7")
    hive.sees("n1 ready: undrained by root", "dispatch t2.1 on n1")


def test_a_drain_with_a_date_ends_by_itself_and_says_why_until_then(hive: Hive) -> None:
    hive.node("n1")
    hive.drain("n1", reason="new power supply", until="2h")
    hive.submit("t1")
    hive.sees("n1 ready: drained by root for 2 h: new power supply", "t1 queued")
    hive.drain("n1")
    hive.sees()
    hive.waits("1h")
    hive.drain("n1", by="ann", reason="it takes longer", until="2h")
    hive.sees("n1 ready: drained by ann for 2 h: it takes longer")
    hive.waits("119m")
    hive.sees()
    hive.waits("1m")
    hive.sees("n1 ready: takes tasks again: the date has come", "dispatch t1.1 on n1")


def test_the_date_of_a_drain_outlives_server_and_agent(hive: Hive) -> None:
    hive.node("n1")
    hive.drain("n1", until="1h")
    hive.submit("t1")
    hive.restarts()
    hive.rejoins("n1")
    assert hive.why("t1") == ["NODES_DOWN"]
    hive.forgets()
    hive.waits("1h")
    hive.sees("n1 ready: takes tasks again: the date has come", "dispatch t1.1 on n1")


def test_a_task_that_no_node_could_ever_hold_waits_for_one_that_can(hive: Hive) -> None:
    hive.submit("t1", gpu_memory="96G")
    assert hive.why("t1") == ["NO_NODES"]
    hive.node("n1", gpus=["80G"])
    hive.sees("t1 queued")
    assert hive.why_text("t1") == (
        "no node could hold it, even empty: it asks 96.0 GiB on one GPU, "
        "and the most that can be given is 80.0 GiB"
    )
    hive.node("n2", gpus=["141G"])
    hive.sees("dispatch t1.1 on n2 gpu0 98304 MiB")
