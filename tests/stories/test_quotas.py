"""What a user or a project may have at once: a reason to wait, never a state."""

from __future__ import annotations

from fluxhive.core.array import ArraySpec
from fluxhive.core.gpu_hours import begin_of_week
from fluxhive.core.outlook import dry_run
from fluxhive.core.pieces import whole
from fluxhive.core.quota import QuotaScope
from fluxhive.core.spec import TaskSpec
from fluxhive.core.values import TaskId
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
    told = whole(dry_run(hive.manager.hive, TaskSpec(command=("a",)), "ann"))
    assert told.summary == "ann has 0 running tasks, at most 0 by quota"
    assert "room now" in whole(dry_run(hive.manager.hive, TaskSpec(command=("a",)), "bob")).summary


def test_gpu_hours_of_a_week_are_used_up_and_new_on_monday(hive: Hive) -> None:
    """The first Monday is four days after the beginning of hive time."""
    hive.node("n1", gpus=["40G"] * 4)
    hive.quota("user", "ann", weekly_gpu_hours=10)
    hive.submit("t1", gpus=2)
    hive.starts("t1.1")
    hive.submit("t2", gpus=2)
    hive.starts("t2.1")
    hive.waits("2h")
    hive.ends("t2.1")
    hive.submit("t3", gpus=4)
    assert hive.why("t3") == ["GPUS"]
    hive.waits("2h")
    assert hive.why_text("t3") == "ann has 12 GPU-hours this week, at most 10 by quota"
    assert hive.manager.use_of(QuotaScope.USER, "ann").weekly_gpu_hours == 12.0
    hive.ends("t1.1")
    hive.submit("t4")
    assert [hive.task(f"t{n}").attempts for n in (3, 4)] == [0, 1]
    hive.restarts()
    hive.rejoins("n1", "t4.1 running")
    assert hive.why("t3") == ["QUOTA_USER"]
    hive.waits("4d")
    (attempt,) = hive.manager.attempts_of(TaskId("t3"))
    assert attempt.reserved_at_ms == begin_of_week(hive.now_ms)
