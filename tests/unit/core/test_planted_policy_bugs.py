"""Each rule of the policy is worth what notices that it is gone: one rule broken, one story told.

Goal: show that no rule is only written down. Method: the story holds with the rule; with the rule
broken the same story fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fluxhive.core import (
    hive_state,
    lines,
    need,
    oom_repair,
    placement,
    promises,
    score,
    share_laws,
    shares,
    use_watch,
)
from fluxhive.core.fairshare import Accounts, Of
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.outcome import Blame, GpuOom
from tests.helpers.factories import gpu
from tests.helpers.hive import Hive
from tests.stories import test_learned_memory as learned_memory
from tests.stories import test_preemption as preemption
from tests.stories import test_shares_of_cpus as shares_of_cpus

Patch = pytest.MonkeyPatch


def old_low_overtakes_fresh_normal() -> None:
    """Aging: a low task that waited sixteen times its length goes before a fresh normal one."""
    hive = Hive()
    hive.node("n1", cpus=1)
    hive.submit("holder")
    hive.submit("old", owner="bob", priority="low")
    hive.waits("48h")
    hive.submit("fresh", owner="cid")
    hive.ends("holder.1")
    assert hive.word("old") == "starting"


def without_aging(monkeypatch: Patch) -> None:
    for module in (score, need):
        monkeypatch.setattr(module, "stretch_ms", lambda *_: float("inf"))


def test_aging(monkeypatch: Patch) -> None:
    old_low_overtakes_fresh_normal()
    without_aging(monkeypatch)
    fails(old_low_overtakes_fresh_normal)


def who_used_much_goes_after_who_used_little() -> None:
    hive = Hive()
    hive.node("n1", gpus=["80G"])
    hive.submit("much", owner="ann", gpus=1, exclusive=True)
    hive.submit("ann2", owner="ann", gpus=1, exclusive=True)
    hive.submit("bob1", owner="bob", gpus=1, exclusive=True)
    hive.starts("much.1")
    hive.waits("20h")
    hive.ends("much.1")
    assert hive.word("bob1") == "starting"


def test_fair_share_is_not_reversed(monkeypatch: Patch) -> None:
    # What is learned of ann's task would set bob's before hers, whatever the shares say.
    without_aging(monkeypatch)
    who_used_much_goes_after_who_used_little()
    real = Accounts.factors

    def reversed_(self: Accounts, kind: str, now_ms: int) -> dict[str, float]:
        return {key: 1 / factor for key, factor in real(self, kind, now_ms).items()}

    monkeypatch.setattr(Accounts, "factors", reversed_)
    fails(who_used_much_goes_after_who_used_little)
    fails(lambda: shares_of_cpus.test_who_used_many_cpus_goes_behind(Hive()))


def test_use_of_cpus_counts(monkeypatch: Patch) -> None:
    without_aging(monkeypatch)
    shares_of_cpus.test_who_used_many_cpus_goes_behind(Hive())
    monkeypatch.setattr(shares, "_cost_of_cpus", lambda *_: 0)
    fails(lambda: shares_of_cpus.test_who_used_many_cpus_goes_behind(Hive()))


def test_use_of_cpus_does_not_count_for_gpus(monkeypatch: Patch) -> None:
    without_aging(monkeypatch)
    shares_of_cpus.test_use_of_cpus_sets_nobody_behind_for_gpus(Hive())
    # All in the accounts of GPUs, as so many thousandths.
    for module in (shares, lines, share_laws):
        monkeypatch.setattr(module, "kind_of", lambda _: Of.GPUS)
    fails(lambda: shares_of_cpus.test_use_of_cpus_sets_nobody_behind_for_gpus(Hive()))


def test_what_an_edit_changes_is_moved_between_accounts(monkeypatch: Patch) -> None:
    name = "test_an_edit_that_takes_its_gpu_away_moves_a_task_to_the_other_accounts"
    getattr(shares_of_cpus, name)(Hive())
    monkeypatch.setattr(hive_state, "reopen_task", lambda *_: None)
    with pytest.raises(AssertionError, match="law 28"):
        getattr(shares_of_cpus, name)(Hive())


def a_victim_is_tried_again_free_of_charge() -> None:
    hive = Hive()
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpu_memory="20G")
    hive.submit("t2", gpu_memory="20G")
    oom = GpuOom(blame=Blame.NEIGHBOUR, used_mib=9_000, reserved_mib=20_480)
    hive.ends("t1.1", "gpu-oom", exit_code=1, oom=oom)
    task = hive.task("t1")
    assert task.state.value == "queued"
    assert (task.restarts_used, task.neighbour_ooms) == (0, 1)
    assert task.least_gpu_memory_mib == 0


def test_a_victim_is_not_billed(monkeypatch: Patch) -> None:
    a_victim_is_tried_again_free_of_charge()
    real = oom_repair.repair

    def all_own(task: Any, attempt: Any, outcome: Any, **sizes: int) -> Any:
        from msgspec.structs import replace

        own = replace(outcome, oom=replace(outcome.oom, blame=Blame.OWN))
        return real(task, attempt, own, **sizes)

    monkeypatch.setattr("fluxhive.core.attempt_end.repair", all_own)
    fails(a_victim_is_tried_again_free_of_charge)


def a_reservation_holds_until_use_has_settled() -> None:
    hive = Hive()
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpu_memory="60G")
    hive.runs_after_dispatch("t1.1")
    hive.submit("t2", gpu_memory="50G")
    hive.beat("n1", gpu("n1-gpu0", uses={"t1.1": "2G"}))
    hive.waits("1m")
    hive.beat("n1", gpu("n1-gpu0", uses={"t1.1": "10G"}))
    hive.waits("100s")
    assert hive.word("t2") == "queued", "its use grew less than two minutes ago"
    hive.waits("3m")
    assert hive.word("t2") == "starting"


def test_a_reservation_is_not_released_at_once(monkeypatch: Patch) -> None:
    a_reservation_holds_until_use_has_settled()
    monkeypatch.setattr(use_watch, "SETTLED_AFTER_MS", 1)
    monkeypatch.setattr(use_watch, "STILL_FOR_MS", 1)
    fails(a_reservation_holds_until_use_has_settled)


def small_tasks_do_not_starve_a_gang() -> None:
    """Two GPUs; one-hour tasks keep coming; the gang starts when its promised GPUs have drained."""
    hive = Hive()
    hive.node("n1", gpus=["80G", "80G"])
    for name in ("a0", "b0"):
        hive.submit(name, gpus=1, exclusive=True)
        hive.runs_after_dispatch(f"{name}.1")
    hive.submit("gang", gpus=2)
    hive.waits("20m")
    for step in range(3):
        hive.submit(f"a{step + 1}", gpus=1, exclusive=True)
        hive.submit(f"b{step + 1}", gpus=1, exclusive=True)
        for name in (f"a{step}", f"b{step}"):
            if hive.word(name) == "running":
                hive.ends(f"{name}.1")
                hive.waits("30m")
        if hive.word("gang") == "starting":
            return
        for name in (f"a{step + 1}", f"b{step + 1}"):
            if hive.word(name) == "starting":
                hive.starts(f"{name}.1")
    raise AssertionError("the gang starves")


def test_a_promise_keeps_a_gang_from_starving(monkeypatch: Patch) -> None:
    small_tasks_do_not_starve_a_gang()
    monkeypatch.setattr(promises, "promise_more", lambda hive: None)
    fails(small_tasks_do_not_starve_a_gang)


def the_first_gang_in_line_is_promised_first() -> None:
    """One node; of two gangs the later one is of a higher class."""
    hive = Hive()
    hive.node("n1", gpus=["80G", "80G"])
    hive.submit("long", gpus=1, exclusive=True)
    hive.submit("older", owner="bob", gpus=2)
    hive.submit("higher", owner="cid", gpus=2, priority="high")
    hive.waits("11m")
    assert hive.task("higher").promise is not None
    assert hive.task("older").promise is None


def test_promises_go_by_the_order_of_the_queue(monkeypatch: Patch) -> None:
    the_first_gang_in_line_is_promised_first()
    monkeypatch.setattr(score.Ranking, "rank", lambda self, line: 0)
    fails(the_first_gang_in_line_is_promised_first)


def a_promise_does_not_slip() -> None:
    hive = Hive()
    hive.node("n1", gpus=["80G", "80G"])
    hive.submit("long", gpus=1, exclusive=True)
    hive.runs_after_dispatch("long.1")
    hive.submit("gang", gpus=2)
    hive.waits("11m")
    first = hive.task("gang").promise
    assert first is not None
    hive.waits("30h")
    hive.submit("hint")
    now = hive.task("gang").promise
    assert now is not None
    assert now.at_ms <= first.at_ms, "a promise moved to later"


def test_a_promise_never_slips(monkeypatch: Patch) -> None:
    a_promise_does_not_slip()
    from msgspec.structs import replace

    def slipping(hive: Any) -> None:
        for task_id in list(hive.promises):
            task = hive.tasks[task_id]
            later = replace(task.promise, at_ms=hive.now_ms + 3_600_000)
            hive.put_task(replace(task, promise=later))

    monkeypatch.setattr(promises, "redate", slipping)
    fails(a_promise_does_not_slip)


def busy_tasks_do_not_pile_up_on_one_gpu() -> None:
    """Unknown tasks count as 70 % each: two fit under the guard of 200 %, three do not."""
    hive = Hive()
    hive.node("n1", gpus=["80G"])
    for name in ("t1", "t2", "t3"):
        hive.submit(name, gpu_memory="5G")
    assert hive.word("t2") == "starting"
    assert hive.why("t3") == ["SHARE_GUARD"]


def test_the_guard_on_utilization(monkeypatch: Patch) -> None:
    busy_tasks_do_not_pile_up_on_one_gpu()
    real = placement._look_for_share

    def unguarded(request: Any, record: Any, terms: Any) -> Any:
        return real(request, record, terms._replace(utilization_percent=0))

    monkeypatch.setattr(placement, "_look_for_share", unguarded)
    fails(busy_tasks_do_not_pile_up_on_one_gpu)


def test_host_memory_is_learned(monkeypatch: Patch) -> None:
    learned_memory.test_who_took_much_waits_for_room()
    monkeypatch.setattr(need, "host_memory_mib", lambda *_: 0)
    fails(learned_memory.test_who_took_much_waits_for_room)


def test_learned_host_memory_keeps_nobody_off_for_ever(monkeypatch: Patch) -> None:
    learned_memory.test_what_was_learned_keeps_nobody_off_an_empty_node()

    def uncapped(request: Any, record: Any, terms: Any) -> int:
        return int(request.memory_mib or terms.learned_memory_mib)

    monkeypatch.setattr(placement, "wanted_memory_mib", uncapped)
    fails(learned_memory.test_what_was_learned_keeps_nobody_off_an_empty_node)


def test_an_overdue_promise_makes_room(monkeypatch: Patch) -> None:
    hive = Hive(HiveSettings(preemption=True))
    preemption.test_an_overdue_promise_is_kept_by_who_may_give_way(hive)
    monkeypatch.setattr(promises, "overdue", lambda hive: [])
    again = Hive(HiveSettings(preemption=True))
    fails(lambda: preemption.test_an_overdue_promise_is_kept_by_who_may_give_way(again))


def fails(story: Callable[[], None]) -> None:
    """With its rule broken the story does not hold."""
    with pytest.raises(AssertionError):
        story()
