"""Readings folded into facts: whose memory is whose, and which GPUs are out of use."""

from __future__ import annotations

import pytest

from fluxhive.core.gpu_monitor import (
    RECOVERY_READINGS,
    XID_RECOVERY_READINGS,
    GpuMonitor,
    ProcessUse,
    Reading,
    Readings,
    Surroundings,
)
from fluxhive.core.node import GpuReport, GpuState
from fluxhive.core.values import AttemptId, GpuUuid

IDLE_MIB = 470


class Card:
    """One card and its monitor; processes are ``pid: mib``."""

    def __init__(self) -> None:
        self.monitor = GpuMonitor()
        self.holders: tuple[str, ...] = ()
        self.owners: dict[int, str | None] = {}
        self.unkillable: tuple[int, ...] = ()
        self.now_ms = 0

    def shows(
        self,
        processes: dict[int, int | None] | None = None,
        *,
        used_mib: int | None = None,
        reserved_mib: int | None = None,
        fault: str = "",
        xids: tuple[int, ...] = (),
        utilization: int | None = None,
        lists_processes: bool = True,
    ) -> GpuReport:
        listed = processes or {}
        if used_mib is None:
            used_mib = IDLE_MIB + sum(mib or 0 for mib in listed.values())
        reading = Reading(
            uuid=GpuUuid("A"),
            index=0,
            model="H100",
            total_mib=81_920,
            used_mib=used_mib,
            reserved_mib=reserved_mib,
            processes=tuple(ProcessUse(pid=pid, used_mib=mib) for pid, mib in listed.items())
            if lists_processes
            else None,
            fault=fault,
            xids=xids,
            utilization_percent=utilization,
        )
        return self.take(Readings(gpus=(reading,), driver="580"))

    def take(self, readings: Readings) -> GpuReport:
        around = Surroundings(
            owners={
                pid: None if owner is None else AttemptId(owner)
                for pid, owner in self.owners.items()
            },
            holders={GpuUuid("A"): tuple(AttemptId(each) for each in self.holders)},
            unkillable={GpuUuid("A"): self.unkillable} if self.unkillable else {},
            now_ms=self.now_ms,
        )
        (report,) = self.monitor.handle(readings, around)
        return report


def uses(report: GpuReport) -> dict[str, int]:
    return {use.attempt_id: use.used_mib for use in report.attempts}


# ── whose memory ──────────────────────────────────────────────────────────────────────────────


def test_an_idle_card_has_nothing_foreign_although_its_driver_uses_some() -> None:
    report = Card().shows()
    assert (report.used_mib, report.foreign_mib, report.attempts) == (IDLE_MIB, 0, ())
    assert report.state is GpuState.HEALTHY
    assert not report.stale


def test_where_the_driver_tells_its_own_part_apart_little_is_left_unasked() -> None:
    card = Card()
    assert card.shows(used_mib=15, reserved_mib=614).foreign_mib == 0
    assert card.shows(used_mib=500, reserved_mib=614).foreign_mib > 400
    assert card.shows(used_mib=500).foreign_mib == 0


def test_memory_goes_to_the_attempts_whose_processes_hold_it() -> None:
    card = Card()
    card.holders = ("t1.1", "t2.1")
    card.owners = {10: "t1.1", 11: "t1.1", 20: "t2.1"}
    report = card.shows({10: 4000, 11: 1000, 20: 700})
    assert uses(report) == {"t1.1": 5000, "t2.1": 700}
    assert report.foreign_mib == 0


def test_a_process_that_is_nobodys_is_foreign() -> None:
    card = Card()
    card.holders = ("t1.1",)
    card.owners = {10: "t1.1", 99: None}
    report = card.shows({10: 4000, 99: 3000})
    assert uses(report) == {"t1.1": 4000}
    assert report.foreign_mib == 3000


def test_memory_that_no_process_accounts_for_is_foreign_beyond_a_baseline() -> None:
    card = Card()
    card.holders = ("t1.1",)
    card.owners = {10: "t1.1"}
    assert card.shows({10: 4000}, used_mib=4000 + 600).foreign_mib == 0
    assert card.shows({10: 4000}, used_mib=4000 + 600 + 2500).foreign_mib == 2500


def test_in_a_container_the_only_attempt_has_it_all() -> None:
    card = Card()
    card.shows()
    card.holders = ("t1.1",)
    report = card.shows({31_337: 5000})
    assert uses(report) == {"t1.1": 5000 + IDLE_MIB - 600}
    assert report.foreign_mib == 0


def test_in_a_container_what_was_there_before_is_not_the_attempts() -> None:
    card = Card()
    before = card.shows({31_000: 8000}).foreign_mib
    card.holders = ("t1.1",)
    report = card.shows({31_000: 8000, 31_337: 5000})
    assert uses(report) == {"t1.1": 5000}
    assert report.foreign_mib == before


def test_in_a_container_with_several_attempts_nobody_can_tell() -> None:
    card = Card()
    card.shows()
    card.holders = ("t1.1", "t2.1")
    report = card.shows({31_337: 5000})
    assert uses(report) == {}
    assert report.foreign_mib == 5000 + IDLE_MIB - 600


@pytest.mark.parametrize("lists", [True, False])
def test_a_card_without_figures_by_process_gives_all_to_its_only_attempt(lists: bool) -> None:
    card = Card()
    card.shows(lists_processes=lists)
    card.holders = ("t1.1",)
    card.owners = {10: "t1.1"}
    report = card.shows({10: None} if lists else None, used_mib=6600, lists_processes=lists)
    assert uses(report) == {"t1.1": 6000}


def test_the_peak_is_the_most_that_was_seen() -> None:
    card = Card()
    card.holders, card.owners = ("t1.1",), {10: "t1.1"}
    for mib in (1000, 7000, 3000):
        card.shows({10: mib})
    (peak,) = card.monitor.peaks(AttemptId("t1.1"))
    assert (peak.uuid, peak.peak_mib) == ("A", 7000)
    card.monitor.forget(AttemptId("t1.1"))
    assert card.monitor.peaks(AttemptId("t1.1")) == ()


# ── dirty ─────────────────────────────────────────────────────────────────────────────────────


def test_memory_of_an_ended_attempt_keeps_its_card_dirty_until_it_is_back() -> None:
    card = Card()
    card.holders, card.owners = ("t1.1",), {10: "t1.1"}
    card.shows({10: 9000})
    card.holders = ()
    report = card.shows({10: 9000})
    assert report.state is GpuState.DIRTY
    assert report.state_reason == "8.8 GiB of t1.1 have not come back"
    assert card.shows().state is GpuState.HEALTHY


def test_memory_that_nobody_can_be_named_for_has_to_be_what_it_was_before() -> None:
    card = Card()
    card.shows({31_000: 2000})
    card.holders = ("t1.1",)
    card.shows({31_000: 2000, 31_337: 9000})
    card.holders = ()
    assert card.shows({31_000: 2000, 31_337: 9000}).state is GpuState.DIRTY
    assert card.shows({31_000: 2000}).state is GpuState.HEALTHY


def test_the_end_of_one_attempt_does_not_make_its_neighbours_memory_dirty() -> None:
    card = Card()
    card.holders, card.owners = ("t1.1", "t2.1"), {10: "t1.1", 20: "t2.1"}
    card.shows({10: 4000, 20: 5000})
    card.holders = ("t2.1",)
    assert card.shows({20: 5000}).state is GpuState.HEALTHY


def test_a_stranger_who_comes_as_an_attempt_goes_does_not_make_the_card_dirty() -> None:
    card = Card()
    card.holders, card.owners = ("t1.1",), {10: "t1.1"}
    card.shows({10: 4000})
    card.holders, card.owners = (), {99: None}
    report = card.shows({99: 4000})
    assert report.state is GpuState.HEALTHY
    assert report.foreign_mib == 4000


def test_an_unkillable_process_keeps_the_card_dirty_while_it_lives() -> None:
    card = Card()
    card.unkillable = (77,)
    report = card.shows()
    assert report.state is GpuState.DIRTY
    assert "77" in report.state_reason
    card.unkillable = ()
    assert card.shows().state is GpuState.HEALTHY


def test_memory_that_does_not_come_back_for_a_minute_calls_for_a_person() -> None:
    card = Card()
    card.holders, card.owners = ("t-1.1",), {7: "t-1.1"}
    card.shows({7: 20_000})
    card.holders = ()
    assert card.shows({7: 20_000}).state_reason == "19.5 GiB of t-1.1 have not come back"
    card.now_ms += 59_000
    assert ", for " not in card.shows({7: 20_000}).state_reason
    card.now_ms += 2_000
    told = card.shows({7: 20_000}).state_reason
    assert told == (
        "19.5 GiB of t-1.1 have not come back, for 1 min: end what holds it (`nvidia-smi` names it)"
    )
    assert card.shows({}).state is GpuState.HEALTHY
    card.holders = ("t-1.1",)
    card.shows({7: 20_000})
    card.holders = ()
    assert ", for " not in card.shows({7: 20_000}).state_reason


# ── faulty and stale ──────────────────────────────────────────────────────────────────────────


def test_a_lost_card_is_faulty_at_once_and_healthy_after_many_good_readings() -> None:
    card = Card()
    card.shows()
    lost = card.shows(fault="GPU is lost")
    assert lost.state is GpuState.FAULTY
    assert lost.state_reason == "GPU is lost"
    assert lost.used_mib is None
    for _ in range(RECOVERY_READINGS - 1):
        assert card.shows().state is GpuState.FAULTY
    assert card.shows().state is GpuState.HEALTHY


def test_one_lost_card_leaves_the_others_in_use() -> None:
    monitor = GpuMonitor()
    good = Reading(uuid=GpuUuid("B"), index=1, total_mib=100, used_mib=0, processes=())
    bad = Reading(uuid=GpuUuid("A"), index=0, total_mib=100, fault="GPU is lost")
    faulty, healthy = monitor.handle(Readings(gpus=(bad, good)))
    assert (faulty.uuid, faulty.state) == ("A", GpuState.FAULTY)
    assert (healthy.uuid, healthy.state) == ("B", GpuState.HEALTHY)


def test_a_card_that_disappears_is_faulty_and_keeps_its_place() -> None:
    card = Card()
    card.shows()
    other = Reading(uuid=GpuUuid("B"), index=0, total_mib=100, used_mib=0)
    reports = card.monitor.handle(Readings(gpus=(other,)))
    gone = next(report for report in reports if report.uuid == "A")
    assert gone.state is GpuState.FAULTY
    assert gone.total_mib == 81_920
    assert gone.state_reason == "the driver does not list it any more"


def test_a_driver_that_fails_takes_all_cards_with_its_own_words() -> None:
    card = Card()
    card.shows()
    report = card.take(Readings(driver="no NVIDIA GPUs: Driver/library version mismatch"))
    assert report.state is GpuState.FAULTY
    assert "mismatch" in report.state_reason


def test_when_the_driver_hangs_the_last_figures_stand_as_old_ones() -> None:
    card = Card()
    card.holders, card.owners = ("t1.1",), {10: "t1.1"}
    card.shows({10: 4000})
    report = card.take(Readings(stale=True))
    assert report.stale
    assert uses(report) == {"t1.1": 4000}
    assert not card.shows({10: 4000}).stale


def test_a_card_that_does_not_say_its_memory_is_stale() -> None:
    card = Card()
    card.shows()
    reading = Reading(uuid=GpuUuid("A"), index=0, total_mib=None, used_mib=None)
    assert card.take(Readings(gpus=(reading,))).stale


def test_reports_are_in_the_order_of_their_indexes() -> None:
    monitor = GpuMonitor()
    cards = [Reading(uuid=GpuUuid(name), index=i) for name, i in (("C", 2), ("A", 1), ("B", 0))]
    reports = monitor.handle(Readings(gpus=tuple(cards)))
    assert [report.uuid for report in reports] == ["B", "A", "C"]
    assert monitor.reports() == reports


@pytest.mark.parametrize("xid", [13, 31, 43, 45, 94])
def test_errors_that_are_a_programs_own_say_nothing_against_the_card(xid: int) -> None:
    assert Card().shows(xids=(xid,)).state is GpuState.HEALTHY


def test_errors_of_the_driver_are_kept_for_people_with_their_times() -> None:
    card = Card()
    card.now_ms = 5_000
    card.shows(xids=(31, 48))
    card.now_ms = 6_000
    card.shows()
    assert [(seen.at_ms, seen.number) for seen in card.monitor.xids()] == [(5_000, 31), (5_000, 48)]
    for card.now_ms in range(0, 200_000, 1_000):
        card.shows(xids=(13,))
    assert len(card.monitor.xids()) == 50
    assert card.monitor.xids()[-1].at_ms == 199_000


def test_an_xid_of_the_card_itself_takes_it_out_for_long() -> None:
    card = Card()
    card.shows()
    broken = card.shows(xids=(31, 48))
    assert broken.state is GpuState.FAULTY
    assert broken.state_reason == "Xid 48: uncorrectable memory error (double bit ECC)"
    assert card.shows(fault="GPU is lost").state_reason == "GPU is lost"
    for _ in range(XID_RECOVERY_READINGS - 1):
        assert card.shows().state is GpuState.FAULTY
    assert card.shows().state is GpuState.HEALTHY


# ── peaks ─────────────────────────────────────────────────────────────────────────────────────


def test_peak_and_mean_survive_the_agent_by_what_it_wrote_down() -> None:
    card = Card()
    card.holders, card.owners = ("t-1.1",), {7: "t-1.1"}
    card.shows({7: 20_000}, utilization=90)
    card.shows({7: 10_000}, utilization=50)
    written = card.monitor.seen.taken()
    assert card.monitor.seen.taken() == {}, "nothing has grown since"
    later = Card()
    later.holders, later.owners = card.holders, card.owners
    later.monitor.seen.recall(AttemptId("t-1.1"), written[AttemptId("t-1.1")])
    later.shows({7: 6_000})
    (peak,) = later.monitor.peaks(AttemptId("t-1.1"))
    assert (peak.peak_mib, peak.mean_mib, peak.utilization_percent) == (20_000, 12_000, 70)
