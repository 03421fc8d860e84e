"""Output of arrays and gangs: each line behind its mark, nothing lost, in whole lines."""

from __future__ import annotations

import base64

from msgspec.structs import replace

from fluxhive.cli.marked_lines import MarkedLines, Source
from fluxhive.core.array import ArraySpec, MemberCounts
from fluxhive.core.request import Request
from fluxhive.core.task import ExecutorKind, TaskSpec, TaskState
from fluxhive.protocol.rest import LogEnd, LogEvent, TaskPage, TaskView
from tests.helpers import cli_views as views
from tests.helpers.stub_server import bytes_answer, event, problem_answer, stream_answer
from tests.unit.cli.conftest import Cli

ARRAY = views.task(
    id="t-5w33",
    state=TaskState.SUCCEEDED,
    word="succeeded",
    spec=TaskSpec(command=("x",), array=ArraySpec(count=2)),
    members=MemberCounts(succeeded=2),
)


def member(index: int) -> TaskView:
    task_id = f"t-5w33[{index}]"
    ran = views.attempt(id=f"{task_id}.1")
    return replace(views.succeeded(), id=task_id, member_index=index, attempts=(ran,))


def wrote(task: TaskView, text: bytes, stream: str = "stdout") -> bytes:
    data = base64.b64encode(text).decode()
    attempt = task.attempts[0].id
    return event("log", LogEvent(attempt=attempt, stream=stream, offset=0, time_ms=1, data=data))


def set_array(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/t-5w33", ARRAY)
    cli.server.on("GET", "/tasks", TaskPage(items=(member(1), member(0))))
    for index in (0, 1):
        task = member(index)
        pieces = [wrote(task, b"begins\nno end"), event("end", LogEnd(task=task))]
        path = f"/tasks/t-5w33%5B{index}%5D"
        cli.server.on("GET", path, task)
        cli.server.on("GET", f"{path}/logs/follow", stream_answer(*pieces))
        headers = {"x-log-offset": "0", "x-log-size": "8"}
        cli.server.on("GET", f"{path}/logs/stdout", bytes_answer(b"one\ntwo\n", headers))


def test_members_of_an_array_are_followed_together(cli: Cli) -> None:
    set_array(cli)
    done = cli("logs", "-f", "t-5w33")
    assert sorted(done.out.splitlines()) == [
        *("[0] begins", "[0] no end", "[1] begins", "[1] no end"),
    ]
    assert (done.code, done.err) == (0, "t-5w33 succeeded\n")


def test_what_is_stored_of_an_array_is_printed_member_by_member(cli: Cli) -> None:
    set_array(cli)
    done = cli("logs", "t-5w33", "--stream", "stdout")
    assert done.out == "[0] one\n[0] two\n[1] one\n[1] two\n"
    assert cli("logs", "t-5w33", "--stream", "stdout", "--tail", "1").out == "[0] two\n[1] two\n"


def test_a_member_that_cannot_be_followed_is_named_and_the_others_go_on(cli: Cli) -> None:
    set_array(cli)
    gone = problem_answer({"detail": "its output was removed"}, 404)
    cli.server.on("GET", "/tasks/t-5w33%5B0%5D/logs/follow", gone)
    done = cli("logs", "-f", "t-5w33")
    assert done.out == "[1] begins\n[1] no end\n"
    assert "warning: [0] its output was removed" in done.err


def test_all_ranks_of_a_gang_are_followed_and_one_alone_when_named(cli: Cli) -> None:
    spec = TaskSpec(command=("x",), request=Request(nodes=2))
    gang = replace(views.succeeded(), spec=spec)
    cli.server.on("GET", "/tasks/t-7f3k", gang)
    stream = stream_answer(wrote(gang, b"hello\n"), event("end", LogEnd(task=gang)))
    cli.server.on("GET", "/tasks/t-7f3k/logs/follow", stream)
    assert sorted(cli("logs", "-f", "t-7f3k").out.splitlines()) == [
        *("[rank 0] hello", "[rank 1] hello"),
    ]
    assert cli("logs", "-f", "t-7f3k", "--rank", "1").out == "hello\n"
    assert cli.server.queries("/logs/follow")[-1] == {"rank": "1"}


def test_processes_of_torchrun_stand_behind_their_ranks_and_one_alone_as_it_wrote(
    cli: Cli,
) -> None:
    spec = TaskSpec(command=("x",), executor=ExecutorKind.TORCHRUN, nproc_per_node=2)
    task = replace(views.succeeded(), spec=spec)

    def said(process: int | None, data: bytes, offset: int = 0) -> bytes:
        text = base64.b64encode(data).decode()
        told = LogEvent(attempt="t-7f3k.1", stream="stdout", offset=offset, time_ms=0, data=text)
        return event("log", replace(told, process=process))

    end = event("end", LogEnd(task=task))
    cli.server.on("GET", "/tasks/t-7f3k", task)
    parts = (said(1, b"one, "), said(None, b"torchrun\n"), said(0, b"zero"), said(1, b"two\n", 5))
    cli.server.on("GET", "/tasks/t-7f3k/logs/follow", stream_answer(*parts, end))
    assert cli("logs", "t-7f3k").out == "torchrun\n[rank 1] one, two\n[rank 0] zero\n"
    alone = stream_answer(said(1, b"one, "), said(1, b"two", 5), end)
    cli.server.on("GET", "/tasks/t-7f3k/logs/follow", alone)
    assert cli("logs", "--rank", "1", "t-7f3k").out == "one, two"
    assert cli.server.queries("/logs/follow")[-1] == {"process": "1"}


def test_an_endless_line_is_printed_in_pieces(cli: Cli) -> None:
    lines, source = MarkedLines(), Source("t-1", 0, "[0]")
    for _ in range(3):
        lines.write(source, "stdout", b"x" * 40_000)
    lines.end(source)
    printed = cli.printed()
    assert [len(line) for line in printed] == [80_004, 40_004]
