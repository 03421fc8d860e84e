"""Retries for some causes and not for others, and away from the node that failed."""

from __future__ import annotations

import pytest

from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.retry_cause import is_named
from tests.helpers.hive import Hive


def test_a_failure_that_is_named_is_tried_again_and_another_is_not(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=3, retry_on=("exit:75", "time-limit"))
    hive.ends("t1.1", "failure", exit_code=75)
    assert hive.word("t1") == "retrying"
    hive.waits("5s")
    hive.ends("t1.2", "time-limit")
    hive.waits("5s")
    hive.ends("t1.3", "failure", exit_code=1)
    task = hive.task("t1")
    assert task.state.value == "failed"
    assert task.reason == ("exit code 1; it is tried again only for: exit:75, time-limit")


def test_what_is_not_its_fault_is_restarted_whatever_is_named(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1, retry_on=("exit:75",))
    hive.ends("t1.1", "node-reboot")
    assert hive.task("t1").restarts_used == 1


def test_a_retry_goes_elsewhere_first(hive: Hive) -> None:
    hive.node("n1", cpus=2)
    hive.node("n2", cpus=3)
    hive.submit("t1", retry=1, retry_elsewhere=True)
    assert hive.attempt("t1.1").node_id == "n1"
    hive.ends("t1.1", "failure")
    hive.waits("5s")
    assert hive.attempt("t1.2").node_id == "n2"


def test_it_stays_off_that_node_over_a_restart(hive: Hive) -> None:
    hive.node("n1", cpus=2)
    hive.node("n2", cpus=3)
    hive.submit("t1", retry=2, retry_elsewhere=True, backoff="5m")
    hive.ends("t1.1", "failure")
    hive.restarts()
    hive.rejoins("n1")
    hive.rejoins("n2")
    hive.drain("n2")
    hive.waits("10m")
    assert hive.task("t1").state.value == "queued"
    hive.undrain("n2")
    assert hive.attempt("t1.2").node_id == "n2"


def test_with_no_other_node_it_is_tried_where_it_failed(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", retry=1, retry_elsewhere=True)
    hive.ends("t1.1", "failure")
    hive.waits("5s")
    assert hive.task("t1").attempts == 2


@pytest.mark.parametrize(
    ("cause", "outcome", "named"),
    [
        ("exit:3", Outcome(kind=OutcomeKind.FAILURE, exit_code=3), True),
        ("exit:3", Outcome(kind=OutcomeKind.FAILURE, exit_code=4), False),
        ("exit:3-9", Outcome(kind=OutcomeKind.FAILURE, exit_code=9), True),
        ("signal:9", Outcome(kind=OutcomeKind.FAILURE, signal=9), True),
        ("signal:9", Outcome(kind=OutcomeKind.FAILURE, exit_code=9), False),
        ("exit:124", Outcome(kind=OutcomeKind.TIME_LIMIT, exit_code=124), False),
        ("failure", Outcome(kind=OutcomeKind.FAILURE, signal=6), True),
        ("time-limit", Outcome(kind=OutcomeKind.TIME_LIMIT), True),
        ("host-oom", Outcome(kind=OutcomeKind.HOST_OOM), True),
        ("launch-failed", Outcome(kind=OutcomeKind.LAUNCH_FAILED), True),
        ("launch-failed", Outcome(kind=OutcomeKind.FAILURE), False),
    ],
)
def test_each_cause_names_its_ends(cause: str, outcome: Outcome, named: bool) -> None:
    assert is_named((cause,), outcome) is named
    assert is_named((), outcome)
