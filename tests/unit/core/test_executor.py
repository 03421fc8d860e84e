"""What a node does with its attempts, told as short stories; every cell of its table is walked."""

from __future__ import annotations

import pytest

from fluxhive.core.effects import NodeAttempt, SaveHeld, Say
from fluxhive.core.events import (
    ContactRenewed,
    DiskChanged,
    ForgetReceived,
    ReadingTaken,
    SessionClosed,
    SessionOpened,
    StopReceived,
)
from fluxhive.core.executor import Executor
from fluxhive.core.executor_records import EPOCHS_MAX, ExecutorRecords
from fluxhive.core.executor_table import ON_HAPPENING, Happening, Move, Stand, stand_of
from fluxhive.core.node import HeldPhase
from fluxhive.core.outcome import ExitFacts, OutcomeKind, StopCause
from fluxhive.core.reports import AttemptEnded, AttemptRefused
from fluxhive.core.values import AttemptId
from tests.helpers.node_story import KILLED, SUCCESS, NodeStory, dispatch_of, gpu, words

CARD = gpu("A", 0, "80G")


def node_with_card() -> NodeStory:
    return NodeStory(gpus=[CARD])


def refusal(node: NodeStory, attempt: str = "t1.1") -> str:
    final = node.final(attempt)
    assert isinstance(final, AttemptRefused)
    return final.reason


# ── the table ─────────────────────────────────────────────────────────────────────────────────


def bring_to(stand: Stand) -> NodeStory:
    """A node on which attempt t1.1, which has a GPU, stands like this."""
    node = node_with_card()
    if stand is Stand.UNKNOWN:
        return node
    if stand is Stand.WAITING:
        node.dispatch("t0.1")
        node.dispatch(after="t0.1")
        node.ready()
        return node
    node.dispatch(gpus={"A": "20G"})
    if stand is Stand.WITHDRAWN:
        node.stop()
    if stand in (Stand.PREPARING, Stand.WITHDRAWN):
        return node
    node.ready()
    if stand is Stand.LAUNCHING:
        return node
    node.starts()
    if stand is Stand.STOPPING:
        node.stop()
    if stand in (Stand.RUNNING, Stand.STOPPING):
        return node
    node.exits()
    if stand is Stand.EXITED:
        node.reads(CARD)
    return node


def _end_of(node: NodeStory) -> dict[str, ExitFacts]:
    """What is found of an attempt that was being prepared is that it never started."""
    attempt = node.executor.attempt(AttemptId("t1.1"))
    is_early = stand_of(attempt) in (Stand.PREPARING, Stand.WAITING)
    return {"facts": ExitFacts(exec_error="ECANCELED")} if is_early else {}


#: What each move asks for, beyond saving what changed.
ASKS: dict[Move, list[str]] = {
    Move.NOTHING: [],
    Move.ADMIT: ["say accepted t1.1", "prepare t1.1"],
    Move.SAY_ACCEPTED: ["say accepted t1.1"],
    Move.SAY_STARTED: ["say started t1.1"],
    Move.SAY_FINAL: ["say ended t1.1: success"],
    Move.SAY_UNKNOWN: ["say ended t1.1: cancelled"],
    Move.LAUNCH: ["spawn t1.1"],
    Move.RUN: ["say started t1.1"],
    Move.NOT_LAUNCHED: ["say ended t1.1: launch-failed"],
    Move.HAND_BACK: ["say refused t1.1"],
    Move.WITHDRAW: [],
    Move.END_WITHDRAWN: ["say ended t1.1: cancelled"],
    Move.WITHDRAW_AND_END: ["say ended t1.1: cancelled"],
    Move.STOP: ["signal t1.1 cancel"],
    Move.STOP_AGAIN: ["kill t1.1"],
    Move.SIGNAL: ["signal t1.1 cancel"],
    Move.CLEAR: [],
    Move.CLEAR_AGAIN: [],
    Move.DISCARD: ["discard t1.1"],
}
BY_EVENT = {
    Happening.DISPATCH_RECEIVED: lambda node: node.dispatch(gpus={"A": "20G"}),
    Happening.STOP_RECEIVED: lambda node: node.stop(),
    Happening.FORGET_RECEIVED: lambda node: node.forget(),
    Happening.WORKSPACE_READY: lambda node: node.ready(),
    Happening.WORKSPACE_FAILED: lambda node: node.unready(),
    Happening.PROCESS_STARTED: lambda node: node.starts(),
    Happening.PROCESS_EXITED: lambda node: node.exits(**_end_of(node)),
}
SAVING = {
    Move.ADMIT,
    Move.LAUNCH,
    Move.RUN,
    Move.NOT_LAUNCHED,
    Move.HAND_BACK,
    Move.WITHDRAW,
    Move.END_WITHDRAWN,
    Move.WITHDRAW_AND_END,
    Move.STOP,
    Move.STOP_AGAIN,
    Move.CLEAR,
}


def test_the_table_has_every_cell() -> None:
    assert set(ON_HAPPENING) == set(Happening)
    for row in ON_HAPPENING.values():
        assert set(row) == set(Stand)


@pytest.mark.parametrize("stand", Stand)
@pytest.mark.parametrize("happening", BY_EVENT)
def test_every_cell_does_what_the_table_says(happening: Happening, stand: Stand) -> None:
    node = bring_to(stand)
    assert stand_of(node.executor.attempt(AttemptId("t1.1"))) is stand
    move = ON_HAPPENING[happening][stand]

    effects = BY_EVENT[happening](node)

    assert words(effects) == ASKS[move]
    saves = [effect for effect in effects if isinstance(effect, SaveHeld)]
    assert bool(saves) is (move in SAVING)
    assert effects[: len(saves)] == saves, "saves come first"


@pytest.mark.parametrize("stand", Stand)
def test_only_what_waits_for_something_has_a_deadline(stand: Stand) -> None:
    node = bring_to(stand)
    waits = {
        Stand.STOPPING: ["kill t1.1"],
        Stand.CLEARING: ["say ended t1.1: success"],
        Stand.WAITING: ["say refused t1.1"],
    }
    assert words(node.waits("1h")) == waits.get(stand, [])


# ── a life ────────────────────────────────────────────────────────────────────────────────────


def test_an_attempt_runs_from_dispatch_to_forget() -> None:
    node = NodeStory()
    assert words(node.dispatch()) == ["say accepted t1.1", "prepare t1.1"]
    assert words(node.ready()) == ["spawn t1.1"]
    assert words(node.starts()) == ["say started t1.1"]
    assert words(node.exits()) == ["say ended t1.1: success"]
    assert words(node.forget()) == ["discard t1.1"]
    assert node.executor.snapshot() == ()


def test_a_start_is_told_with_its_age() -> None:
    node = NodeStory()
    node.runs()
    node.waits("4s")
    (said,) = node.dispatch()
    assert said.report.age_ms == 4_000


def test_a_repeated_dispatch_is_answered_with_the_end_and_never_started_again() -> None:
    node = NodeStory()
    node.runs()
    node.exits(facts=ExitFacts(exit_code=3))
    first = node.final()
    assert words(node.dispatch()) == ["say ended t1.1: failure"]
    assert node.final() == first
    assert [word for word in words(node.seen) if word.startswith("spawn")] == ["spawn t1.1"]


def test_an_end_is_said_again_also_beside_a_later_attempt_of_the_task() -> None:
    """A server that went back to a backup asks for the earlier one, and knows only that."""
    node = NodeStory()
    node.runs()
    node.exits(facts=ExitFacts(exit_code=3))
    node.dispatch("t1.2", epoch=2)
    assert words(node.dispatch()) == ["say ended t1.1: failure"]


def test_a_dispatch_of_a_forgotten_attempt_starts_nothing() -> None:
    node = NodeStory()
    node.runs()
    node.exits()
    node.forget()
    assert node.dispatch() == []


def test_epochs_of_forgotten_tasks_are_remembered_within_a_bound() -> None:
    records = ExecutorRecords(memory_return_ms=0)
    for number in range(EPOCHS_MAX + 1):
        records.remember(AttemptId(f"t{number}.1"), 1)
    assert records.newest_epoch(AttemptId("t0.2")) == 0
    assert records.newest_epoch(AttemptId(f"t{EPOCHS_MAX}.2")) == 1


def test_messages_of_another_session_count_for_nothing() -> None:
    node = NodeStory()
    node.runs()
    node.reconnects()
    old = StopReceived(session=1, attempt_id=AttemptId("t1.1"), epoch=1, cause=StopCause.CANCEL)
    assert node.happens(old) == []
    assert node.happens(dispatch_of("t2.1", session=1)) == []
    node.exits()
    assert node.happens(ForgetReceived(session=1, attempt_ids=(AttemptId("t1.1"),))) == []
    node.happens(SessionClosed())
    assert node.dispatch("t3.1") == []


def test_a_lower_epoch_is_dropped() -> None:
    node = NodeStory()
    node.runs("t1.2")
    assert node.dispatch("t1.1") == []
    assert node.stop("t1.2", epoch=1) == []
    assert node.dispatch("t1.2", epoch=3) == []


def test_a_new_attempt_waits_until_the_one_before_is_over_here() -> None:
    node = NodeStory()
    node.runs("t1.1")
    assert words(node.dispatch("t1.2")) == ["say refused t1.2"]
    assert "t1.1" in refusal(node, "t1.2")
    node.exits("t1.1")
    assert words(node.dispatch("t1.3"))[0] == "say accepted t1.3"


# ── refusals ──────────────────────────────────────────────────────────────────────────────────


def test_out_of_contact_for_fifteen_seconds_it_starts_nothing() -> None:
    node = NodeStory()
    node.waits("15s")
    assert words(node.dispatch("t1.1"))[0] == "say accepted t1.1"
    node.waits("1ms")
    assert words(node.dispatch("t2.1")) == ["say refused t2.1"]
    assert "15 s ago" in refusal(node, "t2.1")


def test_without_any_contact_it_starts_nothing() -> None:
    node = NodeStory()
    node.executor = Executor()
    node.reconnects()
    assert words(node.dispatch()) == ["say refused t1.1"]


def test_a_contact_counts_from_when_the_heartbeat_was_sent() -> None:
    node = NodeStory()
    node.waits("20s")
    node.happens(ContactRenewed(sent_at_ms=node.now_ms - 16_000))
    assert words(node.dispatch()) == ["say refused t1.1"]


def test_a_contact_from_the_future_is_not_believed() -> None:
    node = NodeStory()
    node.happens(ContactRenewed(sent_at_ms=node.now_ms + 1_000_000))
    node.waits("16s")
    assert words(node.dispatch()) == ["say refused t1.1"]


def test_a_refused_attempt_stays_refused_until_it_is_forgotten() -> None:
    node = NodeStory()
    node.happens(DiskChanged(problem="the disk is full: 3 MiB are free"))
    assert words(node.dispatch()) == ["say refused t1.1"]
    assert refusal(node) == "the disk is full: 3 MiB are free"
    node.happens(DiskChanged())
    assert words(node.dispatch()) == ["say refused t1.1"]
    assert words(node.dispatch("t1.2"))[0] == "say accepted t1.2"


def test_an_attempt_for_another_node_is_refused() -> None:
    node = NodeStory()
    node.executor = Executor.restore((), node_id="n2")
    node.reconnects()
    node.contact()
    node.dispatch(node="n1")
    assert "another node" in refusal(node)


def test_a_missing_directory_sends_the_attempt_elsewhere() -> None:
    node = NodeStory()
    node.dispatch()
    assert words(node.unready(why="/data does not exist on n1", elsewhere=True)) == [
        "say refused t1.1"
    ]
    final = node.final()
    assert isinstance(final, AttemptRefused)
    assert final.permanent_here
    assert final.reason == "/data does not exist on n1"


def test_gpu_memory_in_foreign_use_refuses_with_the_reading() -> None:
    node = NodeStory(gpus=[gpu("A", 3, "80G", foreign="70G")])
    node.dispatch(gpus={"A": "20G"})
    assert refusal(node) == (
        "GPU 3 has 10.0 GiB free by its own reading and 20.0 GiB are wanted, "
        "70.0 GiB are foreign use"
    )


def test_memory_promised_to_others_is_not_free() -> None:
    node = node_with_card()
    node.runs("t1.1", gpus={"A": "50G"})
    node.dispatch("t2.1", gpus={"A": "40G"})
    assert "30.0 GiB free" in refusal(node, "t2.1")
    assert words(node.dispatch("t3.1", gpus={"A": "30G"}))[0] == "say accepted t3.1"


def test_an_attempt_that_took_more_than_reserved_leaves_less_to_others() -> None:
    node = node_with_card()
    node.runs("t1.1", gpus={"A": "10G"})
    node.reads(gpu("A", 0, "80G", uses={"t1.1": "65G"}))
    node.dispatch("t2.1", gpus={"A": "20G"})
    assert "15.0 GiB free" in refusal(node, "t2.1")


def test_a_whole_gpu_is_given_although_its_driver_uses_some() -> None:
    node = NodeStory(gpus=[gpu("A", 0, "80G", foreign=900)])
    assert words(node.dispatch(gpus={"A": "80G"}, exclusive=True))[0] == "say accepted t1.1"


def test_a_whole_gpu_is_not_given_while_another_attempt_has_a_part() -> None:
    node = node_with_card()
    node.runs("t1.1", gpus={"A": "1G"})
    node.dispatch("t2.1", gpus={"A": "80G"}, exclusive=True)
    assert refusal(node, "t2.1") == "GPU 0 is still held by t1.1"


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (gpu("A", state="faulty", why="GPU is lost"), "GPU 0 is faulty: GPU is lost"),
        (gpu("A", state="dirty", why="4.0 GiB are left"), "GPU 0 is dirty: 4.0 GiB are left"),
        (gpu("A", stale=True), "GPU 0 does not answer; its last reading is too old"),
        (gpu("B"), "GPU 0 (A) is not on the node"),
    ],
)
def test_a_gpu_out_of_use_refuses_with_the_reason(card, reason) -> None:  # type: ignore[no-untyped-def]
    node = NodeStory(gpus=[card])
    node.dispatch(gpus={"A": "1G"})
    assert refusal(node) == reason


def test_before_the_first_reading_only_cpu_attempts_are_taken() -> None:
    node = NodeStory()
    node.executor = Executor()
    node.reconnects()
    node.contact()
    node.dispatch("t1.1", gpus={"A": "1G"})
    assert "not read its GPUs" in refusal(node)
    assert words(node.dispatch("t2.1"))[0] == "say accepted t2.1"


# ── stopping ──────────────────────────────────────────────────────────────────────────────────


def test_the_stop_ladder_kills_at_the_end_of_the_grace() -> None:
    node = NodeStory()
    node.runs(grace="30s")
    assert words(node.stop()) == ["signal t1.1 cancel"]
    assert node.waits(29_999) == []
    assert words(node.waits("1ms")) == ["kill t1.1"]
    assert words(node.exits(facts=KILLED)) == ["say ended t1.1: cancelled"]


def test_a_second_stop_kills_at_once() -> None:
    node = NodeStory()
    node.runs()
    node.stop()
    assert words(node.stop()) == ["kill t1.1"]


def test_a_third_stop_kills_again() -> None:
    node = NodeStory()
    node.runs()
    node.stop()
    node.stop()
    assert words(node.stop()) == ["kill t1.1"]


def test_a_new_agent_repeats_a_kill_that_may_not_have_been_carried_out() -> None:
    node = NodeStory()
    node.runs()
    node.stop()
    node.stop()
    node.restarts()
    assert words(node.starts()) == ["signal t1.1 cancel", "kill t1.1"]


def test_a_stop_repeated_after_a_reconnect_leaves_the_grace() -> None:
    node = NodeStory()
    node.runs(grace="30s")
    node.stop()
    node.reconnects()
    assert node.stop() == []
    assert words(node.stop()) == ["kill t1.1"]


def test_stopped_before_its_start_it_never_runs() -> None:
    node = NodeStory()
    node.dispatch()
    node.stop()
    assert node.executor.held()[0].phase is HeldPhase.STOPPING
    assert words(node.ready()) == ["say ended t1.1: cancelled"]
    assert not any(word.startswith("spawn") for word in words(node.seen))


def test_a_program_that_starts_after_its_stop_is_signalled() -> None:
    node = NodeStory()
    node.dispatch()
    node.ready()
    assert words(node.stop()) == ["signal t1.1 cancel"]
    assert words(node.starts()) == ["signal t1.1 cancel"]
    assert node.record().pid == 4711


def test_the_time_limit_counts_from_the_start() -> None:
    node = NodeStory()
    node.dispatch(time_limit="10s", grace="5s")
    node.waits("7s")
    node.ready()
    node.starts()
    assert node.waits(9_999) == []
    assert words(node.waits("1ms")) == ["signal t1.1 time-limit"]
    assert words(node.waits("5s")) == ["kill t1.1"]
    assert words(node.exits(facts=KILLED)) == ["say ended t1.1: time-limit"]


def test_out_of_contact_for_its_failover_length_it_is_stopped() -> None:
    node = NodeStory()
    node.runs("t1.1", failover="60s")
    node.runs("t2.1")
    node.waits("30s")
    assert words(node.contact()) == [f"contact {node.now_ms}"]
    assert node.waits(59_999) == []
    assert words(node.waits("1ms")) == ["signal t1.1 lease"]
    assert words(node.exits(facts=KILLED)) == ["say ended t1.1: lease-expired"]
    assert stand_of(node.record("t2.1")) is Stand.RUNNING


def test_the_contact_is_written_for_a_new_attempt_with_failover() -> None:
    node = NodeStory()
    assert words(node.dispatch(failover="60s"))[1].startswith("contact ")


def test_what_ends_by_itself_while_a_stop_is_on_its_way_keeps_its_own_end() -> None:
    node = NodeStory()
    node.runs()
    node.stop(cause=StopCause.PREEMPT)
    assert words(node.exits(facts=SUCCESS)) == ["say ended t1.1: success"]


# ── ends ──────────────────────────────────────────────────────────────────────────────────────


def test_the_end_of_a_gpu_attempt_waits_for_its_memory() -> None:
    node = node_with_card()
    node.runs(gpus={"A": "20G"})
    assert words(node.exits()) == []
    assert node.executor.held()[0].phase is HeldPhase.STOPPING
    still = gpu("A", uses={"t1.1": "20G"}, state="dirty", why="20.0 GiB have not come back")
    assert node.reads(still) == []
    assert words(node.reads(CARD)) == ["say ended t1.1: success"]
    final = node.final()
    assert isinstance(final, AttemptEnded)
    assert final.dirty_gpus == ()


def test_a_restored_node_names_ends_of_one_moment_in_the_same_order() -> None:
    """It took the two up by their dispatches; the node of before saw the other end first."""
    node = node_with_card()
    for attempt in ("t2.1", "t1.1"):
        node.dispatch(attempt, gpus={"A": "20G"})
        node.ready(attempt)
        node.starts(attempt)
    node.exits("t1.1")
    node.exits("t2.1")
    restored = Executor.restore(node.executor.snapshot())
    restored.handle(SessionOpened(session=1), node.now_ms)
    restored.handle(ContactRenewed(sent_at_ms=node.now_ms), node.now_ms)
    reading = ReadingTaken(gpus=(CARD,))
    said = node.executor.handle(reading, node.now_ms)
    assert [each.report.attempt_id for each in said if isinstance(each, Say)] == ["t1.1", "t2.1"]
    told = restored.handle(reading, node.now_ms)
    assert [each for each in told if isinstance(each, Say)] == [
        each for each in said if isinstance(each, Say)
    ]


def test_memory_that_does_not_come_back_makes_its_gpu_dirty() -> None:
    node = NodeStory(gpus=[CARD, gpu("B", 1)])
    node.runs(gpus={"A": "80G", "B": "80G"}, exclusive=True)
    node.exits(facts=KILLED)
    node.reads(CARD, gpu("B", 1, uses={"t1.1": "3G"}, state="dirty"))
    assert node.waits(4_999) == []
    assert words(node.waits("1ms")) == ["say ended t1.1: failure"]
    final = node.final()
    assert isinstance(final, AttemptEnded)
    assert final.dirty_gpus == ("B",)


def test_an_unkillable_process_keeps_its_gpus_out_of_use() -> None:
    node = node_with_card()
    node.runs(gpus={"A": "20G"})
    node.stop()
    node.exits(facts=ExitFacts(unkillable=(99,)))
    final = node.final()
    assert isinstance(final, AttemptEnded)
    assert final.dirty_gpus == ("A",)
    assert final.outcome.kind is OutcomeKind.CANCELLED


def test_a_lost_gpu_is_named_as_the_cause_of_the_failure() -> None:
    node = node_with_card()
    node.runs(gpus={"A": "20G"})
    node.exits(facts=ExitFacts(exit_code=1))
    node.reads(gpu("A", state="faulty", why="GPU is lost"))
    final = node.final()
    assert isinstance(final, AttemptEnded)
    assert final.outcome.kind is OutcomeKind.GPU_FAULT
    assert final.outcome.detail == "GPU 0: GPU is lost"


def test_a_program_that_cannot_be_executed_has_no_memory_to_wait_for() -> None:
    node = node_with_card()
    node.dispatch(gpus={"A": "20G"})
    node.ready()
    facts = ExitFacts(exec_error="ENOENT", launch_detail="no such program: `pyton`")
    assert words(node.exits(facts=facts)) == ["say ended t1.1: launch-failed"]


def test_a_lost_supervisor_is_named() -> None:
    node = NodeStory()
    node.runs()
    assert words(node.exits(facts=ExitFacts(), supervisor_lost=True)) == [
        "say ended t1.1: supervisor-lost"
    ]


def test_after_a_reboot_everything_is_over_at_once() -> None:
    node = node_with_card()
    node.runs(gpus={"A": "20G"})
    node.restarts()
    node.now_ms = 5_000  # the boot clock began again
    assert words(node.exits(facts=ExitFacts(), rebooted=True)) == ["say ended t1.1: node-reboot"]


def test_a_reboot_ends_the_wait_for_memory_with_the_end_that_was_recorded() -> None:
    node = node_with_card()
    node.runs(gpus={"A": "20G"})
    node.exits(facts=ExitFacts(exit_code=3))
    node.executor = Executor.restore(node.executor.snapshot())
    assert words(node.exits(facts=ExitFacts(), rebooted=True)) == ["say ended t1.1: failure"]


def test_a_wait_for_memory_does_not_outlast_a_reboot_of_which_nobody_tells() -> None:
    node = node_with_card()
    node.runs(gpus={"A": "20G"})
    node.exits()
    node.executor = Executor.restore(node.executor.snapshot())
    node.now_ms = 2_000  # the boot clock began again
    assert words(node.exits()) == []
    assert words(node.waits("5s")) == ["say ended t1.1: success"]


def test_a_reboot_before_the_launch_is_a_reboot_since_the_journal_may_lag() -> None:
    node = NodeStory()
    node.dispatch()
    node.restarts()
    assert words(node.exits(facts=ExitFacts(), rebooted=True)) == ["say ended t1.1: node-reboot"]


def test_an_end_before_the_launch_counts_since_the_journal_may_lag() -> None:
    """It was launched and had ended when the power went; the journal had not got so far."""
    node = NodeStory()
    node.dispatch()
    node.restarts()
    assert words(node.exits(facts=ExitFacts(exit_code=3))) == ["say ended t1.1: failure"]


def test_what_was_prepared_for_too_long_is_not_launched_any_more() -> None:
    """A paused agent hears that the workspace is ready before it hears what time it is."""
    node = NodeStory()
    node.dispatch(failover="20s")
    node.now_ms += 25_000
    assert words(node.ready()) == ["say ended t1.1: lease-expired"]


def test_two_attempts_of_a_task_may_be_found_after_the_journal_was_lost() -> None:
    """Their run directories name both; each ends by itself."""
    dispatches = [dispatch_of(f"t1.{n}") for n in (1, 2)]
    held = [NodeAttempt(dispatch=each, phase=HeldPhase.LAUNCHING) for each in dispatches]
    node = NodeStory()
    node.executor = Executor.restore(held)
    for attempt_id in ("t1.1", "t1.2"):
        assert words(node.exits(attempt_id)) == [f"say ended {attempt_id}: success"]


def test_a_gpu_that_is_no_longer_read_counts_as_dirty() -> None:
    node = node_with_card()
    node.runs(gpus={"A": "20G"})
    node.exits()
    node.reads()
    node.waits("5s")
    final = node.final()
    assert isinstance(final, AttemptEnded)
    assert final.dirty_gpus == ("A",)


# ── restarts of the agent ─────────────────────────────────────────────────────────────────────


def test_a_new_agent_goes_on_where_the_old_one_was() -> None:
    node = NodeStory()
    node.runs(grace="30s")
    node.stop()
    node.restarts()
    assert words(node.starts()) == ["signal t1.1 cancel"]
    assert words(node.waits("30s")) == ["kill t1.1"]


def test_an_attempt_that_was_never_launched_is_handed_back_by_a_new_agent() -> None:
    for launched in (False, True):
        node = NodeStory()
        node.dispatch()
        if launched:
            node.ready()
        node.restarts()
        facts = ExitFacts(exec_error="ECANCELED", launch_detail="the agent ended before")
        assert words(node.exits(facts=facts)) == ["say refused t1.1"]


def test_an_end_that_waited_for_memory_is_not_lost_with_the_agent() -> None:
    node = node_with_card()
    node.runs(gpus={"A": "20G"})
    node.exits(facts=ExitFacts(exit_code=3))
    node.executor = Executor.restore(node.executor.snapshot())
    assert node.exits(facts=ExitFacts(), supervisor_lost=True) == []
    node.reads(CARD)
    final = node.final()
    assert isinstance(final, AttemptEnded)
    assert final.outcome.exit_code == 3


def test_only_attempts_that_may_have_processes_hold_gpus_for_the_monitor() -> None:
    node = NodeStory(gpus=[CARD])
    node.dispatch("t1.1", gpus={"A": "10G"})
    assert node.executor.gpu_holders() == {}
    node.ready("t1.1")
    assert node.executor.gpu_holders() == {"A": ("t1.1",)}
    node.exits("t1.1")
    assert node.executor.gpu_holders() == {}
