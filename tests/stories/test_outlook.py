"""Why a task waits and when it is likely to start, told with figures; and what would help."""

from __future__ import annotations

from fluxhive.core.array import ArraySpec
from fluxhive.core.outlook import Outlook, dry_run, outlook
from fluxhive.core.pieces import whole
from fluxhive.core.request import Request
from fluxhive.core.retry import pause_text
from fluxhive.core.task import TaskSpec
from fluxhive.core.values import TaskId
from tests.helpers import factories
from tests.helpers.hive import Hive


def look(hive: Hive, name: str) -> Outlook:
    found = whole(outlook(hive.manager.hive, TaskId(name)))
    assert found is not None
    counted = sum(count.n_gpus for count in found.gpus)
    assert counted in (0, sum(len(record.gpus) for record in hive.manager.hive.nodes.values()))
    return found


def test_a_task_that_lacks_memory_is_told_where_how_much_and_when(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpu_memory="30G", time_limit="20m")
    hive.starts("t1.1")
    hive.submit("t2", gpu_memory="20G")
    told = look(hive, "t2")
    assert told.summary == (
        "needs 20.0 GiB on one GPU; the most free is 9.5 GiB on n1:0; "
        "in about 20 min, when t1 ends (judged by the time limit of t1)"
    )
    assert told.memory == "20.0 GiB on one GPU: as declared"
    assert [(count.standing.value, count.n_gpus) for count in told.gpus] == [("memory", 1)]
    assert (told.position, told.n_in_line) == (1, 1)
    assert [remedy.option for remedy in told.remedies] == ["--gpu-mem 9G"]
    assert told.estimate is not None
    assert told.estimate.after == "t1"


def test_earlier_runs_make_the_estimate_a_range(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    for number, length in enumerate(["5m", "10m", "15m", "20m", "25m"]):
        hive.submit(f"r{number}", gpus=1, exclusive=True)
        hive.starts(f"r{number}.1")
        hive.ends(f"r{number}.1", after=length)
    hive.submit("t1", gpus=1, exclusive=True)
    hive.starts("t1.1")
    hive.waits("1m")
    hive.submit("t2", gpus=1, exclusive=True)
    told = look(hive, "t2")
    assert told.summary.endswith("to 24 min, when t1 ends (judged by 5 earlier runs like t1)")
    assert told.estimate is not None
    assert told.estimate.likely_at_ms is not None
    assert told.estimate.latest_at_ms == hive.now_ms + 24 * 60_000
    assert told.estimate.earliest_at_ms < told.estimate.likely_at_ms
    # The longer it runs beyond all earlier runs, the longer it is likely to go on.
    hive.waits("29m")
    overdue = look(hive, "t2").estimate
    assert overdue is not None
    hive.waits("6m")
    more = look(hive, "t2").estimate
    assert more is not None
    assert more.likely_at_ms is not None
    assert overdue.likely_at_ms is not None
    assert more.likely_at_ms - hive.now_ms > overdue.likely_at_ms - (hive.now_ms - 6 * 60_000)


def test_those_before_it_start_first(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpus=1, exclusive=True, time_limit="10m")
    hive.starts("t1.1")
    hive.submit("t2", gpus=1, exclusive=True, time_limit="30m")
    hive.submit("t3", gpus=1, exclusive=True)
    told = look(hive, "t3")
    assert (told.position, told.n_in_line) == (2, 2)
    assert told.estimate is not None
    assert told.estimate.after == "t2"
    assert told.estimate.earliest_at_ms == hive.now_ms + 40 * 60_000


def test_without_anything_to_go_by_no_start_is_told(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpus=1, exclusive=True)
    hive.submit("t2", gpus=1, exclusive=True)
    told = look(hive, "t2")
    assert told.estimate is None
    assert told.summary.endswith("no telling when: nothing says how long t1 runs")


def test_every_gpu_is_counted_once_under_what_keeps_it_off(hive: Hive) -> None:
    hive.node("n1", gpus=["40G", "40G", "40G"])
    hive.node("n2", gpus=["40G"])
    hive.node("n3", gpus=["40G"], only_for="bob")
    hive.drain("n2")
    hive.submit("t1", gpus=1, exclusive=True)
    hive.submit("t2", gpu_memory="30G")
    hive.beat("n1", factories.gpu("n1-gpu2", 2, "40G", state="faulty"))
    hive.submit("t3", gpu_memory="20G")
    told = {count.standing.value: count.n_gpus for count in look(hive, "t3").gpus}
    assert told == {
        "memory": 1,
        "in-use": 1,
        "out-of-use": 1,
        "node-away": 1,
        "not-yours": 1,
    }


def test_remedies_are_changes_with_which_placement_would_place_it(hive: Hive) -> None:
    hive.node("n1", gpus=["40G", "40G", "40G"], cpus=4)
    hive.submit("t1", gpus=1, exclusive=True)
    hive.submit("t2", gpus=3)
    assert [remedy.option for remedy in look(hive, "t2").remedies] == ["--gpus 2"]
    hive.submit("t3", cpus=4)
    assert [remedy.option for remedy in look(hive, "t3").remedies] == ["--cpus 3"]
    for option, change in (("t2", {"gpus": 2}), ("t3", {"cpus": 3})):
        hive.edit(option, **change)
        assert hive.task(option).attempts == 1, option
        hive.cancel(option)
        hive.ends(f"{option}.1", "cancelled")


def test_a_dry_run_says_where_and_when_and_leaves_no_trace(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    before = hive.manager.snapshot()
    spec = TaskSpec(command=("a",), request=factories.request(gpu_memory="20G"))
    told = whole(dry_run(hive.manager.hive, spec, "ann"))
    assert told.summary == "there is room now; on n1:0"
    assert hive.manager.snapshot() == before
    hive.submit("t1", gpus=1, exclusive=True, time_limit="5m")
    hive.starts("t1.1")
    assert whole(dry_run(hive.manager.hive, spec, "ann")).summary == (
        "needs 20.0 GiB on one GPU, and none can be shared now; "
        "in about 5 min, when t1 ends (judged by the time limit of t1)"
    )


def test_what_does_not_wait_is_told_as_it_is(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2", after=("t1",))
    assert look(hive, "t2").summary == "needs t1 to succeed; it is starting"
    assert look(hive, "t1").summary == "attempt 1 on n1"
    assert whole(outlook(hive.manager.hive, TaskId("t9"))) is None
    assert whole(dry_run(hive.manager.hive, TaskSpec(command=("a",)), "ann")).gpus == ()


def test_a_member_of_an_array_is_told_like_its_array(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    hive.submit("t1", array=ArraySpec(count=3), time_limit="10m")
    hive.starts("t1[0].1")
    told = look(hive, "t1[2]")
    assert told.position == 1
    assert told.summary.endswith("when t1[0] ends (judged by the time limit of t1[0])")


def test_where_no_node_has_a_gpu_it_is_told_what_helps(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", gpus=1, gpu_memory="8G")
    told = look(hive, "t1")
    assert told.summary == (
        "no node could hold it, even empty: it asks 1 GPU, and the most on one node is 0"
    )
    assert told.remedies == ()
    assert told.ways_out == (
        "no node has a GPU: let such a machine join: `fluxhive run` there, "
        "or ask for none with `--gpus 0`",
    )


def test_in_an_empty_hive_the_first_machine_helps(hive: Hive) -> None:
    hive.submit("t1", gpus=1)
    assert look(hive, "t1").ways_out == (
        "let a machine join: `fluxhive run` there (docs/guides/add-a-node.md)",
    )


def test_a_node_that_nobody_is_called_is_said_with_those_that_are(hive: Hive) -> None:
    hive.node("gpu-a", gpus=["40G"])
    spec = TaskSpec(command=("x",), request=Request(cpus=1, on_nodes=("gpu-b",)))
    tried = whole(dry_run(hive.manager.hive, spec, "ada"))
    assert tried.summary == (
        "no node could hold it: it asks the node `gpu-b`, and no such node is there for it; "
        "the task waits for one"
    )
    assert tried.ways_out == ("nodes that are there: `gpu-a`",)


def test_a_node_of_somebody_else_is_said_to_be_that(hive: Hive) -> None:
    hive.node("gpu-a", only_for="bob")
    hive.node("gpu-c")
    spec = TaskSpec(command=("x",), request=Request(cpus=1, on_nodes=("gpu-a",)))
    assert whole(dry_run(hive.manager.hive, spec, "ada")).ways_out == (
        "`gpu-a` serves bob alone, until an administrator accepts it: fluxhive node accept gpu-a",
        "nodes that are there: `gpu-c`",
    )
    assert whole(dry_run(hive.manager.hive, spec, "bob")).ways_out == ()


def test_gpus_of_another_model_would_not_do(hive: Hive) -> None:
    hive.node("n1", gpus=["40G", "40G"])
    spec = TaskSpec(command=("x",), request=Request(cpus=1, gpus=1, gpu_model="b200"))
    tried = whole(dry_run(hive.manager.hive, spec, "ada"))
    assert [(count.standing.value, count.n_gpus) for count in tried.gpus] == [("not-chosen", 2)]
    (said,) = tried.ways_out
    assert said.startswith("models that are there: `")


def test_who_is_held_or_has_ended_is_told_the_way_on(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.starts("t1.1")
    hive.ends("t1.1", exit_code=1)
    assert look(hive, "t1").ways_out == (
        "submit it again, with changes where wanted: fluxhive rerun t1",
    )


def test_nodes_that_were_not_chosen_say_the_least_and_alone_end_in_no_estimate(hive: Hive) -> None:
    for name in ("n1", "n2", "n3"):
        hive.node(name, cpus=1)
        hive.submit(f"on-{name}", time_limit="10m")
        hive.starts(f"on-{name}.1")
    hive.submit("t1")
    hive.edit("t1", on_nodes=("n1",))
    assert hive.why("t1") == ["CPUS", "NOT_CHOSEN"]
    hive.edit("t1", on_nodes=("n9",))
    told = look(hive, "t1")
    assert told.summary == "it asks the node `n9`, and no such node is there for it"
    assert told.estimate is None
    assert told.ways_out == ("nodes that are there: `n1`, `n2` and `n3`",)


def test_a_pause_says_once_how_long_it_lasts_yet() -> None:
    ended = "attempt 1 ended: exit code 3; retry 1 of 6 in 28.9 s"
    assert pause_text(ended, 7_500) == "attempt 1 ended: exit code 3; retry 1 of 6 in 7.5 s"
    assert pause_text("released by ada", 7_500) == "released by ada; next try in 7.5 s"
