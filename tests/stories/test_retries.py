"""Which ends are tried again, how often, and which never."""

from __future__ import annotations

import pytest

from fluxhive.core.outcome import Blame, GpuOom, Outcome, OutcomeKind
from fluxhive.core.reports import AttemptEnded
from fluxhive.core.values import AttemptId
from tests.helpers.hive import Hive

OWN = ["failure", "time-limit", "host-oom", "launch-failed"]
NOT_ITS_FAULT = [
    "node-lost",
    "node-reboot",
    "supervisor-lost",
    "lease-expired",
    "gpu-fault",
    "gpu-oom",
    "preempted",
]


@pytest.mark.parametrize("kind", OWN)
def test_a_failure_of_its_own_is_not_tried_again_unless_asked(hive: Hive, kind: str) -> None:
    hive.node("n1")
    hive.submit("t1")
    hive.ends("t1.1", kind)
    assert hive.task("t1").state.value == "failed"
    hive.submit("t2", retry=2)
    for number in (1, 2, 3):
        hive.ends(f"t2.{number}", kind)
        hive.waits("10s")
    assert hive.task("t2").state.value == "failed"
    assert hive.task("t2").attempts == 3


@pytest.mark.parametrize("kind", NOT_ITS_FAULT)
def test_what_was_not_its_fault_is_tried_again_five_times(hive: Hive, kind: str) -> None:
    hive.node("n1")
    hive.submit("t1")
    for number in range(1, 7):
        assert hive.task("t1").state.value == "active"
        hive.ends(f"t1.{number}", kind)
        hive.waits("1m")
    assert hive.task("t1").state.value == "failed"
    assert hive.task("t1").attempts == 6


@pytest.mark.parametrize("kind", OWN + NOT_ITS_FAULT)
def test_at_most_once_means_once(hive: Hive, kind: str) -> None:
    hive.node("n1")
    hive.submit("t1", at_most_once=True)
    hive.ends("t1.1", kind)
    assert hive.task("t1").state.value == "failed"
    assert "it may be started only once" in hive.task("t1").reason


def test_retries_and_restarts_are_counted_apart(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1, restarts=1)
    for number, kind in enumerate(["gpu-fault", "failure"], start=1):
        hive.ends(f"t1.{number}", kind)
        hive.waits("10s")
    hive.ends("t1.3", "gpu-fault")
    assert hive.task("t1").state.value == "failed"
    assert hive.task("t1").attempts == 3


def test_no_time_passes_between_attempts_without_backoff(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1, backoff="1ms")
    hive.ends("t1.1", "failure")
    hive.forgets()
    hive.waits("1ms")
    hive.sees("dispatch t1.2 on n1")


def test_a_restart_waits_for_its_pause_over_a_start_of_the_server(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1, backoff="1m")
    hive.ends("t1.1", "failure")
    hive.forgets()
    hive.restarts()
    hive.rejoins("n1")
    hive.waits("30s")
    hive.sees("n1 ready")
    hive.waits("30s")
    hive.sees("dispatch t1.2 on n1")


def test_a_victim_of_a_neighbour_is_tried_again_free_of_charge_three_times(hive: Hive) -> None:
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpu_memory="20G", restarts=1)
    for number in range(1, 5):
        hive.waits("10m")
        assert (hive.task("t1").neighbour_ooms, hive.task("t1").restarts_used) == (number - 1, 0)
        hive.says(out_of_memory_by_a_neighbour(f"t1.{number}"))
    hive.waits("10m")
    assert (hive.task("t1").neighbour_ooms, hive.task("t1").restarts_used) == (3, 1)
    hive.says(out_of_memory_by_a_neighbour("t1.5"))
    assert hive.task("t1").state.value == "failed"


def test_out_of_gpu_memory_a_task_fails_where_that_was_asked(hive: Hive) -> None:
    """Its own doing, that is: what a neighbour did to it is made good for it as for any other."""
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpu_memory="8G", oom="fail")
    hive.submit("t2", gpu_memory="8G")
    hive.says(out_of_memory_by_a_neighbour("t1.1"))
    hive.waits("10m")
    hive.ends("t1.2", "gpu-oom", exit_code=1)
    hive.ends("t2.1", "gpu-oom", exit_code=1)
    assert hive.task("t1").state.value == "failed"
    assert hive.task("t1").reason.endswith("; it was to fail then (oom: fail)")
    assert not hive.task("t2").state.is_final


def out_of_memory_by_a_neighbour(attempt: str) -> AttemptEnded:
    oom = GpuOom(blame=Blame.NEIGHBOUR, culprit=AttemptId("t9.1"))
    number = int(attempt.split(".")[1])
    outcome = Outcome(kind=OutcomeKind.GPU_OOM, exit_code=1, oom=oom)
    return AttemptEnded(attempt_id=AttemptId(attempt), epoch=number, outcome=outcome)


def test_a_pause_that_is_over_unnoticed_is_over_once(hive: Hive) -> None:
    """A server that was slow hears something else of the task before the time that has passed."""
    hive.node("n1")
    hive.submit("t1", retry=1)
    hive.drain("n1")
    hive.ends("t1.1", "failure")
    hive.now_ms += 3_000
    hive.reprioritise("t1", "urgent")
    hive.forgets()
    hive.undrain("n1")
    hive.sees("n1 ready: undrained by root", "dispatch t1.2 on n1")
