"""How a task shows itself: what it is, and nothing that somebody wrote as a page."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive import Client, TaskFailed
from fluxhive.core.task import TaskState
from fluxhive.sdk.display import html_of, line_of
from fluxhive.sdk.failures import failure_of
from fluxhive.sdk.task_handle import Task
from fluxhive.transport import Transport
from tests.helpers.cli_views import succeeded, task
from tests.helpers.stub_server import StubServer


def test_what_people_wrote_is_escaped() -> None:
    view = task(name="<script>alert(1)</script>", reason='"><img src=x onerror=y>')
    html = html_of(view, 'http://hive/tasks/"><b>')
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert 'href="http://hive/tasks/&quot;&gt;&lt;b&gt;"' in html


def test_a_line_says_what_and_where() -> None:
    assert line_of(task(name="vit")) == "t-7f3k vit queued"


def test_a_notebook_is_shown_how_it_stands_until_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = StubServer()
    server.on("GET", "/tasks/t-7f3k", task(), task(), succeeded())
    client = Client(transport=Transport("http://hive", sender=server))
    shown: list[str] = []

    class Handle:
        def update(self, thing: Any) -> None:
            shown.append(thing._repr_mimebundle_()["text/html"])

    display = ModuleType("IPython.display")
    display.display = lambda thing, display_id: (  # type: ignore[attr-defined]
        shown.append(thing._repr_mimebundle_()["text/html"]) or Handle()
    )
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    client.task("t-7f3k").show(every=0)
    assert "queued" in shown[0]
    assert "succeeded" in shown[-1]
    assert "http://hive/tasks/t-7f3k" in shown[-1]


def test_a_failure_shows_the_last_lines_and_can_be_pickled() -> None:
    import pickle

    view = replace(succeeded(), state=TaskState.FAILED, word="failed", reason="exit code 3")
    error = failure_of(view)
    assert isinstance(error, TaskFailed)
    assert str(error).splitlines()[0] == "task t-7f3k (vit) failed: exit code 3"
    assert "hint: all of its output: fluxhive logs t-7f3k" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_equal_handles_are_of_one_task() -> None:
    calls = Client(transport=Transport("http://hive", sender=StubServer())).calls
    assert Task(calls, "t-1") == Task(calls, "t-1")
    assert len({Task(calls, "t-1"), Task(calls, "t-1"), Task(calls, "t-2")}) == 2
