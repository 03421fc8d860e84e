"""`fluxhive top`: whole screens, read from files, and what keys do. Needs no terminal."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from fluxhive.cli.columns import folded, width_of
from fluxhive.cli.top_bar import ASCII, UNICODE, Glyphs, bar
from fluxhive.cli.top_model import Facts, Model, Pane, Wish
from fluxhive.cli.top_terminal import keys_of, styled
from fluxhive.cli.top_view import draw
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import GpuView
from fluxhive.protocol.summary import EndCounts, GpuCounts, Summary, TaskCounts
from tests.helpers import top_scene
from tests.helpers.cli_scene import set_scene
from tests.helpers.cli_views import NOON_MS
from tests.unit.cli.conftest import Cli

SCREENS = Path(__file__).parent / "screens"


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def model(facts: Facts | None = None) -> Model:
    made = Model()
    made.refresh(top_scene.small() if facts is None else facts)
    return made


def text_of(shown: Model, width: int = 80, height: int = 24, glyphs: Glyphs = UNICODE) -> str:
    lines = draw(shown, width, height, glyphs)
    texts = ["".join(span.text for span in line) for line in lines]
    assert len(texts) == height
    assert all(width_of(line) <= width for line in texts), texts
    return "".join(f"{line.rstrip()}\n" for line in texts)


@pytest.mark.parametrize(
    ("name", "facts", "width", "height", "glyphs"),
    [
        ("small-80x24", top_scene.small(), 80, 24, UNICODE),
        ("eight-nodes-of-eight-80x24", top_scene.large(), 80, 24, UNICODE),
        ("eight-nodes-of-eight-200x50", top_scene.large(), 200, 50, UNICODE),
        ("64-nodes-of-one-80x24", top_scene.large(64, 1), 80, 24, UNICODE),
        ("one-node-of-sixteen-80x24", top_scene.large(1, 16), 80, 24, UNICODE),
        ("two-nodes-of-four-ascii-80x24", top_scene.large(2, 4), 80, 24, ASCII),
        ("nobody-there-80x24", top_scene.empty(), 80, 24, UNICODE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_screen_looks_as_it_was_judged(
    name: str, facts: Facts, width: int, height: int, glyphs: Glyphs
) -> None:
    path = SCREENS / f"{name}.txt"
    found = text_of(model(facts), width, height, glyphs)
    if os.environ.get("FLUXHIVE_BLESS"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "height"), [(40, 6), (41, 24), (80, 7), (300, 120), (10, 2)])
def test_any_size_is_filled_and_never_exceeded(width: int, height: int) -> None:
    shown = model(top_scene.large())
    for pane in Pane:
        shown.pane = pane
        text_of(shown, width, height)
    shown.show_text("a title", ["x" * 500, "a b " * 100, ""])
    text_of(shown, width, height)
    shown.text, shown.is_helping = None, True
    if width >= 80:
        text_of(shown, width, height)


def test_the_parts_of_a_bar_stand_in_order_and_fill_it() -> None:
    gpu = top_scene.large(1, 5).nodes[0].gpus[4]
    spans = bar(gpu, 40, ASCII, lambda _: "ada")
    assert "".join(span.text for span in spans) == "#====oo" + "." * 33


def test_somebody_who_uses_little_is_seen_and_an_idle_driver_is_not() -> None:
    report = top_scene.large(1, 1).nodes[0].gpus[0].report
    idle = GpuView(report=replace(report, used_mib=500))
    assert bar(idle, 8, ASCII, lambda _: None)[0].text == "." * 8
    someone = GpuView(report=replace(report, used_mib=500, foreign_mib=300))
    assert bar(someone, 8, ASCII, lambda _: None)[0].text == "o"


def test_a_server_that_is_away_is_said_and_what_was_read_stays() -> None:
    shown = model()
    shown.trouble = "no FlowHive server answers at http://127.0.0.1:8001 (connection refused)"
    head, *rest = text_of(shown).splitlines()
    assert head.startswith("not up to date  14:25:24  no FlowHive server answers")
    assert any("t-7d01" in line for line in rest)
    waiting = Model()
    waiting.trouble = shown.trouble
    assert "no FlowHive server answers" in text_of(waiting)


def test_the_server_counts_where_it_can() -> None:
    counts, gpus = TaskCounts(held=2, queued=9_120, active=31), GpuCounts(total=4)
    ended = EndCounts(failed=3)
    summary = Summary(now_ms=0, gpus=gpus, counts=counts, oldest_wait_ms=NOON_MS, ended_24h=ended)
    head = text_of(model(top_scene.small()._replace(summary=summary)), 120).splitlines()[0]
    assert "31 running  9120 waiting (12:04)  2 held  3 failed today" in head


def test_the_selection_follows_its_task() -> None:
    shown = model()
    assert shown.selected == "t-7d01"
    shown.press("j")
    assert shown.selected == "t-7f3k"
    facts = top_scene.small()
    first = replace(facts.tasks[0], id="t-new0", number=99)
    shown.refresh(facts._replace(tasks=(first, *facts.tasks)))
    assert shown.selected == "t-7f3k"
    shown.refresh(facts._replace(tasks=facts.tasks[1:]))
    assert shown.selected == "t-7d01"


def test_cancel_asks_and_only_yes_is_yes() -> None:
    shown = model()
    assert shown.press("c") is None
    assert "cancel t-7d01 bert, running?" in text_of(shown)
    assert shown.press("enter") is None
    assert shown.press("c") is None
    assert shown.press("y") == Wish("cancel", "t-7d01")


def test_what_has_ended_is_not_cancelled() -> None:
    shown = model()
    shown.press("end")
    assert shown.selected == "t-b0t5"
    assert shown.press("c") is None
    assert "t-b0t5 has ended already" in text_of(shown)


def test_a_filter_is_typed_and_wants_all_of_its_words() -> None:
    shown = model()
    for key in ("/", *"ada queuex", "backspace", *"ed", "backspace", "backspace", "d", "enter"):
        assert shown.press(key) is None
    assert shown.filter == "ada queued"
    assert {task.state for task in shown.shown()} == {TaskState.QUEUED}
    assert shown.selected == "t-7f3k"
    shown.press("escape")
    assert len(shown.shown()) == 4


def test_keys_wish_for_what_the_network_is_needed_for() -> None:
    shown = model()
    assert shown.press("enter") == Wish("show", "t-7d01")
    assert shown.press("l") == Wish("logs", "t-7d01")
    assert shown.press("q") == Wish("quit")
    assert shown.press("ctrl-c") == Wish("quit")


def test_a_text_over_the_screen_scrolls_and_goes() -> None:
    shown = model()
    shown.show_text("output", [f"line {n}" for n in range(100)])
    assert "1-22 of 100" in text_of(shown)
    shown.press("end")
    assert "79-100 of 100" in text_of(shown)
    shown.press("k")
    assert "78-99 of 100" in text_of(shown)
    shown.press("x")
    assert "tasks 4" in text_of(shown)


def test_keys_come_whole_and_in_pieces() -> None:
    assert list(keys_of("j\x1b[A\x1bOB\x1b[5~\r\x7fü\x1b[1;5Cq\x1b")) == [
        *("j", "up", "down", "page-up", "enter", "backspace", "ü", "q", "escape")
    ]


def test_without_colours_only_the_selection_is_marked() -> None:
    lines = draw(model(), 80, 24, UNICODE)
    plain = "".join(styled(line, is_coloured=False) for line in lines)
    assert plain.count("\x1b[7m") == 1
    assert plain.count("\x1b") == 2
    coloured = "".join(styled(line, is_coloured=True) for line in lines)
    assert "\x1b[31mfailed\x1b[0m" in coloured.replace(" ", "")


def test_text_is_folded_at_blanks() -> None:
    assert folded("one two three", 8) == ["one two", "three"]
    assert folded("x" * 10, 4) == ["xxxx", "xxxx", "xx"]
    assert folded("学習学習", 5) == ["学習", "学習"]
    assert folded("", 5) == [""]


def test_without_a_terminal_it_is_printed_once(cli: Cli) -> None:
    set_scene(cli.server)
    done = cli("top")
    assert done.code == 0
    assert "t-7d01" in done.out
    assert "\x1b" not in done.out


def test_a_terminal_without_keys_is_told_the_other_ways(cli: Cli) -> None:
    set_scene(cli.server)
    done = cli.on_terminal("top")
    assert (done.code, done.out) == (2, "")
    assert "hint: `fluxhive top --once` prints it once" in done.err
