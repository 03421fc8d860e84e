"""What a user or a project may have at once: a reason to wait, never a state."""

from __future__ import annotations

from fluxhive.core.array import ArraySpec
from fluxhive.core.outlook import dry_run
from fluxhive.core.quota import QuotaScope
from fluxhive.core.spec import TaskSpec
from tests.helpers.hive import Hive


def test_a_user_runs_no_more_tasks_than_the_quota_says(hive: Hive) -> None:
    hive.node("n1")
    hive.quota("user", "ann", running_tasks=2)
    for name in ("t1", "t2", "t3", "t4"):
        hive.submit(name)
    hive.submit("t5", owner="bob")
    assert [hive.task(f"t{n}").attempts for n in range(1, 6)] == [1, 1, 0, 0, 1]
    assert hive.word("t3") == "queued"
    assert hive.why("t3") == ["QUOTA_USER"]
    assert hive.why_text("t3") == "ann has 2 running tasks, at most 2 by quota"
    hive.ends("t1.1")
    assert [hive.task(f"t{n}").attempts for n in (3, 4)] == [1, 0]


def test_gpus_count_and_tasks_without_one_go_on(hive: Hive) -> None:
    hive.node("n1", gpus=["40G"] * 4)
    hive.quota("user", "ann", running_gpus=2)
    hive.submit("t1", gpus=2)
    hive.submit("t2", gpus=1)
    hive.submit("t3")
    assert [hive.task(f"t{n}").attempts for n in (1, 2, 3)] == [1, 0, 1]
    assert hive.why_text("t2") == "ann has 2 GPUs, at most 2 by quota"
    hive.submit("t4", gpus=3)
    hive.ends("t1.1")
    assert [hive.task(f"t{n}").attempts for n in (2, 4)] == [1, 0]


def test_a_project_has_a_quota_of_its_own(hive: Hive) -> None:
    hive.node("n1")
    hive.quota("project", "vision", running_tasks=1)
    hive.submit("t1", project="vision")
    hive.submit("t2", project="vision", owner="bob")
    hive.submit("t3")
    assert [hive.task(f"t{n}").attempts for n in (1, 2, 3)] == [1, 0, 1]
    assert hive.why("t2") == ["QUOTA_PROJECT"]
    hive.edit("t2", project="")
    assert hive.task("t2").attempts == 1


def test_a_higher_quota_lets_tasks_start_and_a_lower_one_stops_none(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.submit("t2")
    hive.quota("user", "ann", running_tasks=1)
    hive.submit("t3")
    assert hive.task("t2").state.value == "active"
    hive.ends("t1.1")
    assert hive.task("t3").attempts == 0
    hive.quota("user", "ann", running_tasks=2)
    assert hive.task("t3").attempts == 1
    hive.quota("user", "ann")
    hive.submit("t4")
    assert hive.task("t4").attempts == 1


def test_a_quota_and_what_it_counts_outlive_a_restart(hive: Hive) -> None:
    hive.node("n1")
    hive.quota("user", "ann", running_tasks=1)
    hive.submit("t1")
    hive.submit("t2")
    hive.restarts()
    hive.rejoins("n1", "t1.1 running")
    assert hive.why("t2") == ["QUOTA_USER"]
    hive.ends("t1.1")
    assert hive.task("t2").attempts == 1


def test_members_of_arrays_count_one_by_one(hive: Hive) -> None:
    hive.node("n1")
    hive.quota("user", "ann", running_tasks=2)
    hive.submit("t1", array=ArraySpec(count=4))
    hive.submit("t2")
    assert hive.task("t2").attempts == 0
    use = hive.manager.use_of(QuotaScope.USER, "ann")
    assert (use.running_tasks, use.waiting_tasks) == (2, 3)
    hive.ends("t1[0].1")
    assert hive.task("t1[2]").attempts == 1


def test_a_dry_run_knows_the_quota(hive: Hive) -> None:
    hive.node("n1")
    hive.quota("user", "ann", running_tasks=0)
    told = dry_run(hive.manager.hive, TaskSpec(command=("a",)), "ann")
    assert told.summary == "ann has 0 running tasks, at most 0 by quota"
    assert "room now" in dry_run(hive.manager.hive, TaskSpec(command=("a",)), "bob").summary
