"""How a task shows itself: what it is, and nothing that somebody wrote as a page."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive import AuthError, Client, ResultLost, TaskFailed
from fluxhive.core.explain import WaitCode
from fluxhive.core.request import Reservation
from fluxhive.core.task import AttemptState, TaskState
from fluxhive.core.values import NodeId
from fluxhive.protocol.rest import AttemptView, Me, ReasonView, Role, TokenScope
from fluxhive.sdk.display import html_of, line_of
from fluxhive.sdk.failures import failure_of
from fluxhive.sdk.task_handle import Task
from fluxhive.transport import Transport
from tests.helpers.cli_views import succeeded, task
from tests.helpers.stub_server import StubServer, bytes_answer

WHOLE = {"x-log-offset": "0", "x-log-size": "11", "x-log-complete": "true"}


def test_what_people_wrote_is_escaped() -> None:
    view = task(name="<script>alert(1)</script>", reason='"><img src=x onerror=y>')
    html = html_of(view, 'http://hive/tasks/"><b>')
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert 'href="http://hive/tasks/&quot;&gt;&lt;b&gt;"' in html


def test_a_task_that_waits_says_for_what() -> None:
    waiting = (ReasonView(code=WaitCode.NEVER.value, text="needs 9 GPUs; <the> most is 4"),)
    html = html_of(task(reason="submitted", waiting=waiting), "http://hive/t/t-7f3k")
    assert "needs 9 GPUs; &lt;the&gt; most is 4" in html
    assert "submitted" not in html


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
    assert "http://hive/t/t-7f3k" in shown[-1]


def test_a_failure_shows_the_last_lines_and_can_be_pickled() -> None:
    import pickle

    view = replace(succeeded(), state=TaskState.FAILED, word="failed", reason="exit code 3")
    error = failure_of(view)
    assert isinstance(error, TaskFailed)
    assert str(error).splitlines()[0] == "task t-7f3k (vit) failed: exit code 3"
    assert "hint: all of its output: fluxhive logs t-7f3k" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_result_of_somebody_else_is_not_unpickled_without_being_told_to() -> None:
    server = StubServer()
    server.on("GET", "/auth/me", Me(username="bob", role=Role.MEMBER, scope=TokenScope.FULL))
    server.on("GET", "/tasks/t-7f3k/logs/result", bytes_answer(b"cos\nsystem\n", WHOLE))
    client = Client(transport=Transport("http://hive", sender=server))
    attempt = AttemptView(
        id="t-7f3k.1",
        number=1,
        epoch=1,
        state=AttemptState.ENDED,
        node_id="n",
        node_label="gpu-a",
        reservation=Reservation(node_id=NodeId("n")),
        reserved_at_ms=0,
    )
    view = succeeded()
    spec = replace(view.spec, function="evil.function")
    server.on("GET", "/tasks/t-7f3k", replace(view, spec=spec, attempts=(attempt,)))
    with pytest.raises(AuthError, match="is of ada, and you are bob"):
        client.task("t-7f3k").result()
    with pytest.raises(ResultLost, match="is no result of a function"):
        client.task("t-7f3k").trust().result()


def test_equal_handles_are_of_one_task() -> None:
    calls = Client(transport=Transport("http://hive", sender=StubServer())).calls
    assert Task(calls, "t-1") == Task(calls, "t-1")
    assert len({Task(calls, "t-1"), Task(calls, "t-1"), Task(calls, "t-2")}) == 2
