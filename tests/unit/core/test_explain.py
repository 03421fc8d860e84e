"""Words, reasons and warnings that people read."""

from __future__ import annotations

from fluxhive.core.explain import WaitCode, warnings
from fluxhive.core.request import Request
from fluxhive.core.values import GpuUuid, NodeId, TaskId
from tests.helpers import factories
from tests.helpers.hive import Hive


def test_each_place_in_a_life_has_its_word(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1)
    words = [hive.word("t1")]
    hive.accepts("t1.1")
    words.append(hive.word("t1"))
    hive.starts("t1.1")
    words.append(hive.word("t1"))
    hive.quiet("n1")
    hive.waits("6s")
    words.append(hive.word("t1"))
    hive.heard("n1")
    words.append(hive.word("t1"))
    hive.ends("t1.1", "failure")
    words.append(hive.word("t1"))
    hive.waits("1s")
    hive.cancel("t1")
    words.append(hive.word("t1"))
    hive.ends("t1.2")
    words.append(hive.word("t1"))
    assert words == [
        "starting",
        "starting",
        "running",
        "adrift",
        "running",
        "retrying",
        "stopping",
        "cancelled",
    ]


def test_what_was_handed_back_is_queued_not_retrying(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.refuses("t1.1", "no")
    assert hive.word("t1") == "queued"


def test_who_does_not_wait_has_no_reason(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    assert hive.why("t1") == []
    hive.ends("t1.1")
    assert hive.why("t1") == []
    assert hive.why("unknown") == []


def test_the_reason_of_most_nodes_comes_first(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.node("n2", gpus=["80G"])
    hive.node("n3", gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True)
    hive.submit("t2", gpus=1, exclusive=True)
    hive.submit("t3", gpu_memory="60G")
    hive.submit("t4", gpu_memory="70G")
    reasons = hive.manager.explain(TaskId("t4"))
    assert [reason.code for reason in reasons] == [WaitCode.MEMORY]
    assert len(reasons[0].misfits) == 3
    hive.drain("n2")
    reasons = hive.manager.explain(TaskId("t4"))
    assert [reason.code for reason in reasons] == [WaitCode.MEMORY, WaitCode.NODES_DOWN]
    assert reasons[0].text == (
        "needs 70.0 GiB of GPU memory per GPU; the most free now is 19.2 GiB, on n3"
    )
    assert reasons[1].text == "1 node that could hold it: out of contact or draining"


def test_sentences_count_correctly(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"], cpus=1)
    hive.submit("t1", gpus=1, exclusive=True)
    hive.submit("t2", gpus=1, exclusive=True, cpus=0)
    hive.submit("t3", gpus=1, exclusive=True, cpus=0)
    hive.submit("t4", gpus=1, exclusive=True, cpus=0)
    hive.submit("t5")
    text = [reason.text for reason in hive.manager.explain(TaskId("t3"))]
    assert text == [
        "needs 1 free GPU; the most on one node now: 0",
        "1 task that asks the same goes first",
    ]
    text = [reason.text for reason in hive.manager.explain(TaskId("t4"))]
    assert text[1] == "2 tasks that ask the same go first"
    assert hive.why_text("t5") == "needs 1 free CPU; the most on one node now: 0"


def test_a_node_for_somebody_else_is_no_node(hive: Hive) -> None:
    hive.submit("t1", owner="ann")
    assert hive.why_text("t1") == "no node has joined yet"
    hive.node("n1", only_for="bob")
    assert hive.why_text("t1") == "no node serves its owner"


def test_a_submission_is_warned_when_no_node_could_hold_it(hive: Hive) -> None:
    def warn(request: Request, owner: str | None = None) -> list[str]:
        return warnings(factories.spec(request=request), hive.manager.nodes(), owner)

    assert warn(Request()) == ["no node has joined yet: the task waits until one does"]
    hive.node("n1", gpus=["40G", "40G"], cpus=4, memory="8G")
    hive.node("n2", only_for="bob", cpus=64)
    assert warn(Request()) == []
    assert warn(Request(cpus=9)) == []
    cases = {
        Request(cpus=9): "it asks 9 CPUs, and the most on one node is 4",
        Request(memory_mib=9000): "it asks 8.8 GiB of memory, and the most is 8.0 GiB",
        Request(gpus=3): "it asks 3 GPUs, and the most on one node is 2",
        Request(gpus=2, gpu_memory_mib=50_000): (
            "it asks 48.8 GiB each, and the most that can be given is 40.0 GiB"
        ),
    }
    for request, why in cases.items():
        expected = f"no node could hold it: {why}; the task waits for one"
        assert warn(request, "ann") == [expected]


def test_reasons_can_be_sent(hive: Hive) -> None:
    import msgspec

    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpu_memory="60G")
    sent = msgspec.json.decode(msgspec.json.encode(hive.manager.explain(TaskId("t1"))))
    assert sent[0]["code"] == "NEVER"
    assert sent[0]["misfits"][0]["node_id"] == NodeId("n1")


def test_a_gpu_that_is_out_of_use_is_named_with_its_reason(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    record = hive.manager.hive.nodes[NodeId("n1")]
    record.mark_dirty((GpuUuid("n1-gpu0"),), "memory of t0.1 is not back")
    hive.submit("t1", gpus=1)
    (reason,) = hive.manager.explain(TaskId("t1"))
    assert reason.text.endswith("; GPU 0 of n1 is dirty: memory of t0.1 is not back")
