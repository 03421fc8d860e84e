"""Tasks without GPUs count in shares, too: by CPUs or host memory, apart from GPUs."""

from __future__ import annotations

import pytest

from fluxhive.core import score, shares
from fluxhive.core.effects import SaveUsage
from fluxhive.core.fairshare import Of, keys_of
from fluxhive.core.values import AttemptId
from tests.helpers.hive import Hive


@pytest.fixture(autouse=True)
def _without_aging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares alone decide: what is learned of one's tasks would set others' before them."""
    monkeypatch.setattr(score, "stretch_ms", lambda *_: float("inf"))
    monkeypatch.setattr("fluxhive.core.need.stretch_ms", lambda *_: float("inf"))


def part(hive: Hive, owner: str, of: Of = Of.CPUS) -> float:
    user, _ = keys_of(owner, owner, of)
    return hive.manager.hive.accounts.part(user, hive.now_ms)


def test_who_used_many_cpus_goes_behind(hive: Hive) -> None:
    hive.node("n1", cpus=8)
    hive.submit("much", cpus=8)
    hive.submit("more", cpus=8)
    hive.submit("bob1", owner="bob", cpus=8)
    hive.starts("much.1")
    hive.waits("20m")
    hive.ends("much.1")
    assert hive.word("bob1") == "starting"
    assert hive.word("more") == "queued"


def test_what_is_charged_is_a_part_of_what_the_hive_has(hive: Hive) -> None:
    hive.node("n1", cpus=8)
    hive.node("n2", cpus=8)
    hive.submit("t1", cpus=4)
    hive.starts("t1.1")
    hive.waits("20m")
    assert part(hive, "ann") == pytest.approx(0.25)


def test_who_takes_little_cpu_and_much_memory_is_charged_for_the_memory(hive: Hive) -> None:
    hive.node("n1", cpus=8, memory="64G")
    hive.submit("t1", cpus=1, memory="32G")
    hive.starts("t1.1")
    hive.waits("20m")
    assert part(hive, "ann") == pytest.approx(0.5)


def test_use_of_cpus_sets_nobody_behind_for_gpus(hive: Hive) -> None:
    """Each thing for itself: neither a CPU sweep nor who runs one changes the shares of GPUs."""
    hive.node("n1", cpus=8, gpus=["80G"])
    hive.submit("sweep", cpus=7)
    hive.submit("cid1", owner="cid", gpus=1, exclusive=True)
    hive.starts("sweep.1")
    hive.starts("cid1.1")
    hive.submit("ann1", gpus=1, exclusive=True)
    hive.submit("bob1", owner="bob", gpus=1, exclusive=True)
    hive.waits("20m")
    hive.ends("cid1.1")
    assert hive.word("ann1") == "starting", "came first, and used no GPU"
    assert part(hive, "ann") > 0.8
    assert part(hive, "ann", Of.GPUS) == 0


def test_the_cpus_of_a_task_with_gpus_come_with_them(hive: Hive) -> None:
    hive.node("n1", cpus=8, gpus=["80G"])
    hive.submit("t1", gpus=1, exclusive=True, cpus=8)
    hive.starts("t1.1")
    hive.waits("20m")
    assert part(hive, "ann") == 0
    assert part(hive, "ann", Of.GPUS) == pytest.approx(1)


def test_who_was_sent_ahead_is_charged_from_his_turn_on(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    for number in range(6):
        hive.submit(f"r{number}")
        hive.starts(f"r{number}.1")
        hive.ends(f"r{number}.1", after="100ms")
    hive.submit("a")
    hive.starts("a.1")
    hive.submit("b")
    assert "b.1" in hive.manager.hive.attempts, "was not sent ahead"
    assert AttemptId("b.1") not in hive.manager.hive.charges
    hive.ends("a.1", after="100ms")
    assert hive.manager.hive.charges[AttemptId("b.1")].rate == shares.WHOLE


def test_an_edit_that_takes_its_gpu_away_moves_a_task_to_the_other_accounts(hive: Hive) -> None:
    """Law 28 counts the open tasks of each account anew after every step."""
    hive.node("n1", cpus=1, gpus=["80G"])
    hive.submit("a")
    hive.submit("b", gpus=1, exclusive=True)
    hive.edit("b", gpus=0, exclusive=False)
    assert hive.manager.hive.accounts.counted()["cpu-user:ann"] == (1_000, 2)
    hive.cancel("b")
    assert "user:ann" not in hive.manager.hive.accounts.counted()


def test_a_restored_hive_charges_the_same(hive: Hive) -> None:
    hive.node("n1", cpus=8)
    hive.submit("t1", cpus=4)
    hive.starts("t1.1")
    hive.waits("20m")
    before = part(hive, "ann")
    hive.restarts()
    assert part(hive, "ann") == pytest.approx(before)
    assert hive.manager.hive.accounts.counted()["cpu-user:ann"] == (4_000, 1)


def test_accounts_that_change_all_the_time_are_saved_once_a_minute(hive: Hive) -> None:
    hive.node("n1", cpus=1)
    for number in range(100):
        hive.submit(f"t{number}")
        hive.starts(f"t{number}.1")
        hive.ends(f"t{number}.1", after="3s")
    usages = [each.usage.key for each in hive.effects if isinstance(each, SaveUsage)]
    # At 0:00 the first start, and the first end, because nothing had been charged before it; then
    # the first change of each minute.
    assert usages.count("cpu-user:ann") == 7
