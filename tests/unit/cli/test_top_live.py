"""What `top` is told as it happens, put over what it had read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from fluxhive.cli import top_live
from fluxhive.cli.top_live import Live
from fluxhive.core.errors import Unreachable
from fluxhive.core.task import TaskState
from fluxhive.protocol.feed import FeedEvent, Lagged, NodeChanged, ReadingsChanged, TaskChanged
from fluxhive.transport import Transport
from tests.helpers import top_scene


def test_changes_go_over_what_was_read_and_are_told_once() -> None:
    facts, live = top_scene.small(), Live()
    old = facts.tasks[0]
    new = replace(old, id="t-new", number=99)
    live.note(TaskChanged(task=replace(old, state=TaskState.SUCCEEDED)))
    live.note(TaskChanged(task=new))
    live.note(NodeChanged(node=replace(facts.nodes[1], label="renamed")))
    found, is_changed = live.applied(facts)
    assert is_changed
    assert found.tasks[0].state is TaskState.SUCCEEDED
    assert [task.id for task in found.tasks] == [*(task.id for task in facts.tasks), "t-new"]
    assert [node.label for node in found.nodes][1] == "renamed"
    assert live.applied(found)[1] is False


def test_a_member_of_an_array_is_not_listed_beside_its_array() -> None:
    facts, live = top_scene.small(), Live()
    live.note(TaskChanged(task=replace(facts.tasks[0], id="t-5w33[0]")))
    assert live.applied(facts)[0].tasks == facts.tasks


def test_readings_replace_those_of_their_gpu_alone() -> None:
    facts, live = top_scene.small(), Live()
    node = facts.nodes[0]
    first = replace(node.gpus[0].report, utilization_percent=3)
    live.note(ReadingsChanged(node_id=node.id, gpus=(first,)))
    live.note(ReadingsChanged(node_id="n-unknown", gpus=(first,)))
    found, is_changed = live.applied(facts)
    assert not is_changed
    assert found.nodes[0].gpus[0].report == first
    assert found.nodes[0].gpus[1:] == node.gpus[1:]
    assert found.nodes[1:] == facts.nodes[1:]


def test_what_was_missed_or_lost_has_all_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live()
    live.note(Lagged(missed=7))
    assert (live.is_on, live.has_missed) == (True, True)
    live.forget()
    assert not live.has_missed
    seen = []

    def lost(_: Transport, *, on_trouble: Callable[[str], None]) -> Iterator[FeedEvent]:
        on_trouble("gone")
        seen.append((live.is_on, live.has_missed))
        on_trouble("")
        seen.append((live.is_on, live.has_missed))
        raise Unreachable("no such stream")
        yield

    monkeypatch.setattr(top_live, "changes", lost)
    live.listen(Transport("http://hive"))
    assert seen == [(False, True), (True, True)]
    assert not live.is_on
