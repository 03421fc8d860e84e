"""What a node does with attempts that are sent ahead of a free place, told as short stories."""

from __future__ import annotations

import itertools

from fluxhive.core.outcome import ExitFacts
from tests.helpers.node_story import NodeStory, words


def row(*attempts: str) -> NodeStory:
    """A node on which the first runs and each other, ready, waits for the one before it."""
    node = NodeStory()
    node.runs(attempts[0])
    for before, attempt in itertools.pairwise(attempts):
        node.dispatch(attempt, after=before)
        node.ready(attempt)
    return node


def test_whoever_was_sent_ahead_starts_when_the_one_before_it_has_ended() -> None:
    node = row("t1.1", "t2.1", "t3.1")
    assert words(node.exits("t1.1")) == ["say ended t1.1: success", "spawn t2.1"]
    node.starts("t2.1")
    assert words(node.exits("t2.1")) == ["say ended t2.1: success", "spawn t3.1"]


def test_an_end_that_comes_before_the_workspace_is_ready_is_remembered() -> None:
    node = NodeStory()
    node.runs("t1.1")
    assert words(node.dispatch("t2.1", after="t1.1")) == ["say accepted t2.1", "prepare t2.1"]
    node.exits("t1.1")
    assert words(node.ready("t2.1")) == ["spawn t2.1"]


def test_one_that_is_cancelled_before_its_turn_leaves_its_place_in_the_row() -> None:
    node = row("t1.1", "t2.1", "t3.1")
    assert words(node.stop("t2.1")) == ["say ended t2.1: cancelled"]
    assert node.record("t3.1").waits_for == "t1.1"
    assert words(node.exits("t1.1")) == ["say ended t1.1: success", "spawn t3.1"]


def test_a_dispatch_that_crosses_the_end_of_the_one_before_it_takes_the_right_place() -> None:
    node = row("t1.1", "t2.1")
    node.stop("t2.1")
    node.dispatch("t3.1", after="t2.1")
    assert words(node.ready("t3.1")) == [], "t1.1 still runs"
    node.exits("t1.1")
    node.dispatch("t4.1", after="t1.1")
    assert words(node.ready("t4.1")) == ["spawn t4.1"], "t1.1 has ended already"


def test_who_waits_for_one_that_runs_on_is_handed_back() -> None:
    node = row("t1.1", "t2.1", "t3.1")
    node.dispatch("t4.1", after="t3.1", turn="1h")
    node.ready("t4.1")
    assert words(node.waits("5s")) == ["say refused t2.1", "say refused t3.1"]
    assert words(node.exits("t1.1")) == ["say ended t1.1: success", "spawn t4.1"]


def test_nobody_starts_for_whom_the_lease_is_over_when_the_turn_comes() -> None:
    node = NodeStory()
    node.runs("t1.1")
    node.dispatch("t2.1", after="t1.1", failover="20s", turn="1h")
    node.ready("t2.1")
    node.now_ms += 20_000
    assert words(node.exits("t1.1"))[:2] == [
        "say ended t1.1: success",
        "say ended t2.1: lease-expired",
    ]


def test_a_new_agent_hands_back_whose_turn_had_not_come() -> None:
    node = row("t1.1", "t2.1")
    node.restarts()
    node.starts("t1.1")
    never = ExitFacts(exec_error="ECANCELED", launch_detail="the agent ended before")
    assert words(node.exits("t2.1", facts=never)) == ["say refused t2.1"]
    assert words(node.exits("t1.1")) == ["say ended t1.1: success"]


def test_nobody_gets_a_turn_from_an_agent_that_cannot_know_whether_it_had_one() -> None:
    node = row("t1.1", "t2.1")
    node.restarts()
    assert words(node.exits("t1.1")) == ["say ended t1.1: success"]
    node.dispatch("t3.1", after="t2.1")
    assert words(node.ready("t3.1")) == []
    never = ExitFacts(exec_error="ECANCELED", launch_detail="the agent ended before")
    assert words(node.exits("t2.1", facts=never)) == ["say refused t2.1", "spawn t3.1"]


def test_a_new_agent_hands_nobody_back_before_it_has_looked_for_them() -> None:
    """A power cut may have taken the last word of its journal: whoever waited may have run."""
    node = row("t1.1", "t2.1")
    node.restarts()
    assert words(node.waits("1m")) == []
    facts = ExitFacts(exit_code=0)
    assert words(node.exits("t2.1", facts=facts)) == ["say ended t2.1: success"]
