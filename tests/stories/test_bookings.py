"""GPUs kept for a user or a project for a time: others use them only if they are done before."""

from __future__ import annotations

import pytest

from fluxhive.core import placement
from fluxhive.core.booking import Booking, BookingWish
from fluxhive.core.outlook import dry_run
from fluxhive.core.pieces import whole
from fluxhive.core.quota import QuotaScope
from fluxhive.core.spec import TaskSpec
from tests.helpers import factories
from tests.helpers.hive import Hive


def booked_gpus_are_for_whom_they_were_booked() -> Hive:
    hive = Hive()
    hive.node("n1", gpus=["80G"])
    hive.book("project", "vision", 1, lasts="4h")
    hive.submit("other", gpus=1)
    assert hive.task("other").attempts == 0
    return hive


def test_booked_gpus_are_for_whom_they_were_booked() -> None:
    hive = booked_gpus_are_for_whom_they_were_booked()
    assert hive.why("other") == ["BOOKED"]
    assert hive.why_text("other") == (
        "what is free on 1 node is booked for project vision (b-1), for another 4 h"
    )
    hive.submit("theirs", gpus=1, owner="bob", project="vision")
    assert (hive.task("other").attempts, hive.task("theirs").attempts) == (0, 1)


def test_that_is_not_only_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "kept_as", lambda *_: None)
    with pytest.raises(AssertionError):
        booked_gpus_are_for_whom_they_were_booked()


def test_before_it_begins_the_gpus_are_used_by_who_will_be_done(hive: Hive) -> None:
    """Of cid's tasks it is known that they take ten minutes; of ann's nothing is: an hour or so."""
    hive.node("n1", gpus=["80G"])
    for name in ("c1", "c2"):
        hive.submit(name, gpus=1, exclusive=True, owner="cid")
        hive.starts(f"{name}.1")
        hive.waits("10m")
        hive.ends(f"{name}.1")
    hive.book("user", "bob", 1, begins="30m", lasts="4h")
    hive.submit("long", gpus=1, exclusive=True)
    hive.submit("short", gpus=1, exclusive=True, owner="cid")
    assert (hive.task("long").attempts, hive.task("short").attempts) == (0, 1)
    assert hive.why_text("long").startswith("needs 1 free GPU")
    hive.ends("short.1")
    assert hive.why_text("long") == (
        "what is free on 1 node is booked for bob (b-1), in 30 min, and is needed longer"
    )


def test_when_it_is_over_or_cancelled_the_gpus_are_everybodys(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.book("user", "bob", 1, lasts="1h")
    second = hive.book("user", "cid", 1, lasts="5h")
    for name in ("t1", "t2"):
        hive.submit(name, gpus=1, exclusive=True)
    assert hive.task("t1").attempts == 0
    hive.waits("1h")
    assert (hive.task("t1").attempts, hive.task("t2").attempts) == (1, 0)
    hive.remove_booking(second)
    assert hive.task("t2").attempts == 1
    assert hive.manager.bookings() == []


def test_it_is_kept_over_a_restart_and_a_node_that_joins_again(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.book("user", "bob", 1, lasts="4h")
    hive.restarts()
    hive.rejoins("n1")
    hive.submit("t1", gpus=1)
    assert hive.why("t1") == ["BOOKED"]
    hive.waits("4h")
    assert hive.task("t1").attempts == 1


def test_it_is_kept_over_a_restart_where_a_task_holds_a_gpu_that_its_node_lost(hive: Hive) -> None:
    hive.node("n1", gpus=["80G", "80G"])
    hive.book("user", "bob", 2, begins="2h", lasts="4h")
    hive.submit("t1", gpus=1, exclusive=True, owner="bob")
    hive.starts("t1.1")
    (share,) = hive.attempt("t1.1").reservations[0].gpus
    hive.loses_gpu("n1", share.uuid)
    hive.rejoins("n1", "t1.1 running")
    hive.restarts()
    assert [booking.id for booking in hive.manager.bookings()] == ["b-1"]


def test_a_gpu_that_two_nodes_name_is_booked_once(hive: Hive) -> None:
    """It was moved, and the node of before has not joined since."""
    hive.node("n1", gpus=["80G"])
    hive.leaves("n1")
    hive.clones("n1", "n2")
    wish = BookingWish(
        scope=QuotaScope.USER,
        name="bob",
        n_gpus=2,
        from_ms=hive.now_ms,
        until_ms=hive.now_ms + 3_600_000,
        by="root",
    )
    assert hive.manager.choose_booking(wish) == 1


def test_a_gpu_is_booked_once_at_a_time(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.book("user", "bob", 1, begins="2h", lasts="1h")

    def chosen(begins: str, lasts: str) -> Booking | int:
        from_ms = hive.now_ms + (factories.ms(begins) or 0)
        until_ms = from_ms + (factories.ms(lasts) or 0)
        return hive.manager.choose_booking(
            BookingWish(
                scope=QuotaScope.USER,
                name="cid",
                n_gpus=1,
                from_ms=from_ms,
                until_ms=until_ms,
                by="root",
            )
        )

    assert chosen("1h", "90m") == 0
    before, after = chosen("1h", "1h"), chosen("3h", "1h")
    assert isinstance(before, Booking)
    assert isinstance(after, Booking)
    assert (before.id, after.id) == ("b-2", "b-2")


def test_they_are_taken_on_as_few_nodes_as_will_do(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.node("n2", gpus=["80G"] * 4)
    hive.node("n3", gpus=["80G"] * 2)
    hive.submit("busy", gpus=1, gpu_memory="10G", exclusive=True)
    hive.book("user", "bob", 2, lasts="1h")
    assert hive.manager.bookings()[0].gpus == ("n3-gpu0", "n3-gpu1")


def test_a_dry_run_and_an_estimate_know_of_it(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.book("project", "vision", 1, lasts="4h")
    spec = TaskSpec(command=("a",), request=factories.request(gpus=1))
    told = whole(dry_run(hive.manager.hive, spec, "ann"))
    assert told.estimate is not None
    assert told.estimate.after == "b-1"
    assert "when b-1 ends (a booking for project vision)" in told.summary
    assert [(count.standing.value, count.n_gpus) for count in told.gpus] == [("booked", 1)]
