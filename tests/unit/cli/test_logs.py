"""`fluxhive logs`: ranges, tails, ended tasks, and nothing that steers a terminal."""

from __future__ import annotations

import base64
import io

import pytest

from fluxhive.cli.follow import Printer
from fluxhive.cli.terminal import SEQUENCE_LENGTH_MAX, TerminalFilter
from fluxhive.protocol.rest import LogEnd, LogEvent
from fluxhive.transport import Request
from tests.helpers import cli_views as views
from tests.helpers.stub_server import bytes_answer, event, problem_answer, stream_answer
from tests.unit.cli.conftest import Cli


def piece(data: bytes, offset: int, size: int) -> object:
    headers = {"x-log-offset": str(offset), "x-log-size": str(size), "x-log-complete": "false"}
    return bytes_answer(data, headers)


def test_the_whole_of_a_running_task_is_read_in_ranges(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/bert", views.running())
    cli.server.on("GET", "/tasks/t-7d01/logs/stdout", piece(b"one ", 0, 7), piece(b"two", 4, 7))
    cli.server.on("GET", "/tasks/t-7d01/logs/stderr", piece(b"oh", 0, 2))
    assert cli("logs", "bert") == (0, "one two", "oh")
    asked = cli.server.queries("/logs/stdout")
    assert [(query["attempt"], query["offset"]) for query in asked] == [("1", "0"), ("1", "4")]


def test_the_last_lines_are_cut_from_the_tail(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/bert", views.running())
    cli.server.on("GET", "/tasks/t-7d01/logs/stdout", piece(b"f\na\nb\nc\n", 100, 108))
    assert cli("logs", "--stream", "stdout", "--tail", "2", "bert").out == "b\nc\n"
    assert cli("logs", "--stream", "stdout", "--tail", "0", "bert").out == ""


def test_an_ended_task_is_shown_whole_and_interleaved(cli: Cli) -> None:
    def log(stream: str, data: bytes) -> bytes:
        text = base64.b64encode(data).decode()
        return event(
            "log", LogEvent(attempt="t-7f3k.1", stream=stream, offset=0, time_ms=0, data=text)
        )

    cli.server.on("GET", "/tasks/vit", views.succeeded())
    end = event("end", LogEnd(task=views.succeeded()))
    stream = stream_answer(log("stderr", b"first\n"), log("stdout", b"second\n"), end)
    cli.server.on("GET", "/tasks/t-7f3k/logs/follow", stream)
    assert cli("logs", "vit") == (0, "second\n", "first\n")


def test_a_task_that_has_not_run_says_so(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/vit", views.task(reason="waits for a GPU"))
    done = cli("logs", "vit")
    assert done.code == 3
    assert done.err.startswith("error: t-7f3k has not run yet: waits for a GPU\n\nhint: wait")


def test_a_range_beyond_the_end_is_refused_with_the_size(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/vit", views.running())
    told = {"detail": "offset 999 is beyond the end: 4", "field": "offset"}
    cli.server.on("GET", "/tasks/t-7d01/logs/stdout", problem_answer(told, 416))
    done = cli("logs", "--stream", "stdout", "--offset", "999", "vit")
    assert (done.code, done.err) == (2, "error: offset 999 is beyond the end: 4\n")


@pytest.mark.parametrize(
    "arguments",
    [["-f", "--tail", "3"], ["--offset", "5"], ["--offset", "-1", "--stream", "stdout"]],
)
def test_options_that_exclude_each_other_are_refused(cli: Cli, arguments: list[str]) -> None:
    assert cli("logs", *arguments, "vit").code == 2
    assert cli.server.asked == []


# ── what may reach a terminal ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"plain \xc3\xa4 \xe2\x9c\x93\n", "plain ä ✓\n"),
        (b"\x1b[31mred\x1b[0m \x1b[38;5;1m8bit\x1b[m", "\x1b[31mred\x1b[0m \x1b[38;5;1m8bit\x1b[m"),
        (b"50%\r100%\tdone", "50%\r100%\tdone"),
        (b"a\x1b[2Jb\x1b[10;10Hc\x1b[?1049hd", "abcd"),
        (b"a\x1b]0;title\x07b\x1b]52;c;ZXZpbA==\x1b\\c\x1b]8;;http://x\x1b\\link", "abclink"),
        (b"a\x1bPdcs\x1b\\b\x1b_apc\x1b\\c\x1b^pm\x1b\\d\x1bXsos\x1b\\e", "abcde"),
        (b"a\xc2\x9b2Jb\xc2\x9d0;t\xc2\x9cc\xc2\x85d", "abcd"),
        (b"a\x07\x08\x0b\x0c\x7f\x00b", "ab"),
        (b"a\x1b(Bb\x1bcc\x1b7d", "abcd"),
        (b"\x1b[31;?5mx\x1b[>4;2my", "xy"),
        (b"\x1b]never ended\nnext line\n", "\nnext line\n"),
        (b"\xff\xfeok", "��ok"),
    ],
)
def test_only_text_and_colours_reach_the_terminal(written: bytes, shown: str) -> None:
    whole = TerminalFilter()
    assert whole.feed(written) == shown
    byte_by_byte = TerminalFilter()
    assert "".join(byte_by_byte.feed(written[i : i + 1]) for i in range(len(written))) == shown


def test_an_escape_that_never_ends_hides_only_so_much() -> None:
    kept = TerminalFilter()
    assert kept.feed(b"\x1b]" + b"x" * SEQUENCE_LENGTH_MAX + b"x" * 50).endswith("x" * 49)


def test_a_pipe_gets_the_bytes_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    target = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", target)
    Printer().write("t-1.1", "stdout", b"\x1b]0;t\x07\xff\x00")
    assert target.buffer.getvalue() == b"\x1b]0;t\x07\xff\x00"  # type: ignore[attr-defined]
    monkeypatch.setattr(target, "isatty", lambda: True)
    Printer().write("t-1.1", "stdout", b"\x1b]0;t\x07ok")
    assert target.buffer.getvalue().endswith(b"\xff\x00ok")  # type: ignore[attr-defined]
    Printer(is_raw=True).write("t-1.1", "stdout", b"\x1b]0;t\x07")
    assert target.buffer.getvalue().endswith(b"ok\x1b]0;t\x07")  # type: ignore[attr-defined]


def test_a_progress_bar_on_a_terminal_is_shown_as_it_stood_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", target)
    monkeypatch.setattr(target, "isatty", lambda: True)
    printer = Printer()
    printer.write("t-1.1", "stdout", b"start\n1%\r50%\r100%")
    printer.write("t-1.1", "stdout", b"\rdone\n")
    shown = target.buffer.getvalue()  # type: ignore[attr-defined]
    assert shown == b"start\n100%\r\x1b[Kdone\n"


def test_where_bytes_are_missing_a_line_says_so_and_no_zeros_are_printed(cli: Cli) -> None:
    headers = {"x-log-offset": "0", "x-log-size": "14", "x-log-gaps": "3-9, 14-14"}
    cli.server.on("GET", "/tasks/bert", views.running())
    cli.server.on(
        "GET", "/tasks/t-7d01/logs/stdout", bytes_answer(b"abc" + bytes(6) + b"defgh", headers)
    )
    done = cli("logs", "--stream", "stdout", "bert")
    assert done.out == "abcdefgh"
    assert "6 bytes are missing from byte 3 on (t-7d01.1, stdout)" in done.err


def test_a_request_for_logs_is_a_plain_get(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/bert", views.running())
    cli.server.on("GET", "/tasks/t-7d01/logs/stdout", piece(b"", 0, 0))
    cli("logs", "--stream", "stdout", "bert")
    last: Request = cli.server.asked[-1]
    assert last.method == "GET"
    assert last.body is None
