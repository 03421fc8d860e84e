"""Agents of an older version: what they cannot do waits for others, all else runs on them."""

from __future__ import annotations

import pytest

from fluxhive.core.capability import CAPABILITIES, missing, needed, too_old
from fluxhive.core.code import CodeSnapshot
from fluxhive.core.explain import warnings
from fluxhive.core.spec import ExecutorKind, SecretForm, TaskSpec
from tests.helpers import factories
from tests.helpers.hive import Hive

#: What the agents of the version before capabilities said.
FIRST = ("zstd-logs",)


def test_a_task_waits_for_an_agent_that_can_do_it_and_others_run(hive: Hive) -> None:
    hive.node("old", capabilities=FIRST)
    hive.submit("t1", executor="torchrun")
    hive.sees("t1 queued: submitted")
    assert hive.why("t1") == ["AGENT_TOO_OLD"]
    assert hive.why_text("t1") == "the agent on old is too old for `--torchrun`: upgrade it"
    hive.submit("t2")
    hive.sees("dispatch t2.1 on old")
    hive.node("new")
    hive.sees("dispatch t1.1 on new")


def test_an_upgraded_agent_gets_what_waited_for_it(hive: Hive) -> None:
    hive.node("n1", capabilities=FIRST)
    hive.submit("t1", image="trainer")
    hive.sees("t1 queued: submitted")
    hive.rejoins("n1", capabilities=CAPABILITIES)
    hive.sees("n1 ready: n1 joined", "dispatch t1.1 on n1")


def test_equal_requests_wait_for_different_agents(hive: Hive) -> None:
    """Goal: what does not fit for one says nothing about the other, though both ask the same."""
    hive.node("n1", capabilities=(*FIRST, "python"), cpus=1)
    hive.submit("t1", executor="torchrun")
    hive.submit("t2", executor="python")
    hive.sees("t1 queued: submitted", "dispatch t2.1 on n1")


def test_an_attempt_on_its_way_does_not_reach_an_older_agent(hive: Hive) -> None:
    """The agent was put back to an older version before it had said a word about the attempt."""
    hive.node("n1")
    hive.submit("t1", executor="python")
    hive.sees("dispatch t1.1 on n1")
    hive.leaves("n1")
    hive.sees("n1 silent: out of contact")
    hive.rejoins("n1", capabilities=FIRST)
    why = "the agent on n1 is too old for `--python`: upgrade it"
    hive.sees(
        "n1 ready: n1 joined",
        f"t1.1 ended: refused: {why}",
        f"t1 queued: attempt 1 was refused: {why}; next try in 0.9 s",
    )
    assert hive.task("t1").retries_used == 0
    hive.rejoins("n1", capabilities=CAPABILITIES)
    hive.waits("1s")
    assert hive.word("t1") == "starting"


def test_what_runs_is_left_alone_by_an_older_agent_that_holds_it(hive: Hive) -> None:
    hive.node("n1")
    hive.submit("t1", executor="python")
    hive.starts("t1.1")
    hive.leaves("n1")
    hive.rejoins("n1", "t1.1 running", capabilities=FIRST)
    assert hive.word("t1") == "running"


def test_a_gang_needs_as_many_agents_that_know_gangs(hive: Hive) -> None:
    hive.node("n1")
    hive.node("n2", capabilities=FIRST)
    hive.submit("t1", nodes=2)
    assert hive.why("t1") == ["GANG", "AGENT_TOO_OLD"]
    hive.node("n3")
    assert hive.word("t1") == "starting"


def test_a_submission_is_warned(hive: Hive) -> None:
    spec = factories.spec(secrets={"TOKEN": SecretForm.VARIABLE})
    for label in ("n1", "n2"):
        hive.node(label, capabilities=FIRST)
    assert warnings(spec, hive.manager.nodes()) == [
        "the agents on n1 and n2 are too old for secrets: upgrade them; the task waits for that"
    ]
    hive.node("n3")
    assert warnings(spec, hive.manager.nodes()) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (factories.spec(), ()),
        (factories.spec(executor=ExecutorKind.SHELL), ()),
        (factories.spec(executor=ExecutorKind.PYTHON), ("python",)),
        (factories.spec(executor=ExecutorKind.TORCHRUN), ("torchrun",)),
        (factories.spec(image="trainer"), ("containers",)),
        (factories.spec(code=CodeSnapshot(sha256="0" * 64, n_bytes=1, n_files=1)), ("code",)),
        (factories.spec(secrets={"TOKEN": SecretForm.FILE}), ("secrets",)),
        (factories.spec(request=factories.request(nodes=2)), ("gangs",)),
        (factories.spec(checkpoint_signal="USR1"), ("checkpoint-signals",)),
    ],
)
def test_what_a_task_needs_of_an_agent(spec: TaskSpec, words: tuple[str, ...]) -> None:
    assert needed(spec) == words
    assert missing(words, CAPABILITIES) == ()


def test_a_sentence_names_few_nodes_and_all_that_is_lacking() -> None:
    labels = [f"n{number}" for number in range(9)]
    assert too_old(labels, ("code", "containers")) == (
        "the agents on n0, n1, n2 and 6 more nodes are too old for `--code` and containers: "
        "upgrade them"
    )
