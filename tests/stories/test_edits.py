"""What people change about a task that waits, and what it asked for at first."""

from __future__ import annotations

from tests.helpers.hive import Hive


def test_an_edit_lets_a_task_start(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"])
    hive.submit("t1", gpu_memory="60G")
    hive.forgets()
    assert hive.why("t1") == ["NEVER"]
    hive.edit("t1", gpu_memory_mib=20_480, name="small")
    hive.sees(
        "t1 queued: edited by ann: name none → small, request.gpu_memory_mib 61440 → 20480",
        "dispatch t1.1 on n1 gpu0 20480 MiB",
    )
    task = hive.task("t1")
    assert task.original is not None
    assert task.original.request.gpu_memory_mib == 61_440
    (edit,) = task.edits
    assert [change.field for change in edit.changes] == ["name", "request.gpu_memory_mib"]


def test_the_first_spec_stays_readable_after_several_edits(hive: Hive) -> None:
    hive.submit("t1", cpus=2)
    hive.edit("t1", cpus=3)
    hive.edit("t1", by="bob", cpus=4)
    hive.edit("t1", cpus=4)
    task = hive.task("t1")
    assert task.original is not None
    assert task.original.request.cpus == 2
    assert task.spec.request.cpus == 4
    assert [edit.by for edit in task.edits] == ["ann", "bob"]


def test_what_runs_or_has_ended_is_not_edited(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.forgets()
    hive.edit("t1", name="late")
    hive.sees_nothing()
    hive.ends("t1.1")
    hive.forgets()
    hive.edit("t1", name="late")
    hive.sees_nothing()


def test_an_edit_gives_and_takes_a_start_time(hive: Hive) -> None:
    hive.submit("t1")
    hive.edit("t1", begin_at_ms=hive.now_ms + 60_000)
    assert hive.task("t1").state.value == "held"
    hive.edit("t1", begin_at_ms=None)
    assert hive.task("t1").state.value == "queued"
    hive.hold("t1")
    hive.edit("t1", cpus=2)
    assert hive.task("t1").reason.endswith("request.cpus 1 → 2; held by ann")


def test_retries_are_not_edited_below_those_that_were_made(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=2, backoff="1m")
    hive.ends("t1.1", "failure")
    hive.forgets()
    hive.edit("t1", retry=0)
    hive.sees_nothing()
    hive.edit("t1", retry=1)
    hive.sees("t1 queued: edited by ann: retry 2 → 1")
