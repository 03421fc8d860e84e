"""`hold`, `release`, `edit`, and the options of `submit` that say when a task may start."""

from __future__ import annotations

import json
import time

import pytest

from fluxhive.core.dependency import Change, Dependency, Edit, EndWanted
from fluxhive.core.errors import InputError
from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.core.values import TaskId
from fluxhive.protocol.rest import ReasonView
from fluxhive.sdk.begin import parse_time_ms
from tests.helpers import cli_views as views
from tests.helpers.cli_scene import set_scene
from tests.unit.cli.conftest import Cli

#: 2026-09-21 14:13:20 UTC.
NOON_MS = views.NOON_MS


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOON_MS / 1000)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


HELD = views.task(state=TaskState.HELD, word="held", reason="held by ada")


@pytest.mark.parametrize("verb", ["hold", "release"])
def test_holding_goes_on_after_one_that_fails(cli: Cli, verb: str) -> None:
    cli.server.on("POST", f"/tasks/t-7f3k/{verb}", HELD)
    done = cli.on_terminal(verb, "t-1", "t-7f3k")
    assert (done.code, done.out) == (3, "ID      NAME  STATE\nt-7f3k  vit   held\n")
    assert f"error: nothing at /tasks/t-1/{verb}" in done.err
    assert cli(verb, "t-7f3k", "-q").out == "t-7f3k\n"
    assert json.loads(cli(verb, "t-7f3k", "--json").out)["tasks"][0]["reason"] == "held by ada"


def test_edit_sends_what_was_named_and_nothing_else(cli: Cli) -> None:
    cli.server.on("PATCH", "/tasks/vit", HELD)
    line = (
        "edit vit -n v2 --project vision -p high --gpus 2 --gpu-mem all --exclusive --cpus 4 "
        "--mem any --time none --begin +2h --retry 1"
    )
    assert cli(*line.split()) == (0, "t-7f3k  vit  held  held by ada\n", "")
    assert cli("edit", "vit", "--gpu-mem", "12G", "--begin", "now", "-q").out == "t-7f3k\n"
    assert json.loads(cli("edit", "vit", "--shared", "--json").out)["state"] == "held"
    assert cli.server.bodies("PATCH", "/tasks/vit") == [
        {
            "name": "v2",
            "project": "vision",
            "priority": "high",
            "request": {
                "gpus": 2,
                "gpu_memory_mib": None,
                "exclusive": True,
                "cpus": 4,
                "memory_mib": None,
            },
            "time_limit_ms": None,
            "begin_at_ms": NOON_MS + 7_200_000,
            "retry": 1,
        },
        {"request": {"gpu_memory_mib": 12288}, "begin_at_ms": None},
        {"request": {"exclusive": False}},
    ]


def test_an_edit_of_nothing_says_what_to_name(cli: Cli) -> None:
    done = cli("edit", "vit")
    assert done.code == 2
    assert done.err.startswith("error: nothing to change was given\n\nhint: name it")
    assert not cli.server.asked


def test_submit_says_when_it_may_start(cli: Cli) -> None:
    cli.server.on("POST", "/tasks", HELD, status=201)
    line = "submit --begin 18:00 --after t-1 --after vit:any --after t-2:fail --hold -- a b"
    assert cli(*line.split()).out == "t-7f3k\tvit\theld\theld by ada\n"
    (body,) = cli.server.bodies("POST", "/tasks")
    assert body["begin_at_ms"] == NOON_MS + (3 * 3600 + 46 * 60 + 40) * 1000
    assert body["after"] == [
        {"task_id": "t-1"},
        {"task_id": "vit", "end": "any"},
        {"task_id": "t-2", "end": "fail"},
    ]
    assert cli.server.queries("/tasks") == [{"hold": "true"}]


@pytest.mark.parametrize("text", ["t-1:soon", ":ok", "a:b:c"])
def test_a_bad_dependency_is_named_with_its_remedy(cli: Cli, text: str) -> None:
    done = cli("submit", "--after", text, "--", "a")
    assert done.code == 2
    assert done.err == (
        f"error: `--after` is not a task and how it ends: `{text}`\n\n"
        "hint: write it as `t-7f3k`, `t-7f3k:any` or `t-7f3k:fail`\n"
    )


@pytest.mark.parametrize(
    ("text", "after_s"),
    [
        ("+90s", 90),
        ("14:14", 40),
        ("14:13:20", 86_400),
        ("9:00", 18 * 3600 + 46 * 60 + 40),
        ("2026-09-21T14:13:30Z", 10),
        ("2026-09-21T16:13:30+02:00", 10),
        ("2026-09-21T14:13:30", 10),
        ("2026-09-22", 9 * 3600 + 46 * 60 + 40),
        ("2026-09-21T14:13:00", -20),
    ],
)
def test_a_start_time_is_read(text: str, after_s: int) -> None:
    assert parse_time_ms(text) == NOON_MS + after_s * 1000


@pytest.mark.parametrize("text", ["", "soon", "25:00", "+", "+x", "2026-09-20", "0001-01-01"])
def test_a_bad_start_time_is_named_with_a_remedy(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_time_ms(text)
    assert caught.value.field == "--begin"
    assert caught.value.hint


def test_show_tells_what_holds_a_task_and_what_was_edited(cli: Cli) -> None:
    spec = TaskSpec(
        command=("a",),
        begin_at_ms=NOON_MS + 60_000,
        after=(Dependency(task_id=TaskId("t-1"), end=EndWanted.ANY),),
    )
    edit = Edit(at_ms=NOON_MS, by="bob", changes=(Change(field="request.cpus", old="1", new="2"),))
    waiting = (ReasonView(code="DEPENDS", text="needs t-1 to end; it is running"),)
    view = views.task(state=TaskState.HELD, spec=spec, edits=(edit,), waiting=waiting)
    cli.server.on("GET", "/tasks/t-7f3k", view)
    lines = cli("show", "t-7f3k").out.splitlines()
    assert "waits\tneeds t-1 to end; it is running" in lines
    assert "after\tt-1:any" in lines
    assert "not before\t2026-09-21 14:14:20 +0000" in lines
    assert "edited\t2026-09-21 14:13:20 +0000 by bob: request.cpus 1 → 2" in lines


def test_who_asks_for_no_gpu_asks_for_no_memory_of_one(cli: Cli) -> None:
    set_scene(cli.server)
    assert cli("edit", "t-7f3k", "--gpus", "0").code == 0
    assert cli.server.bodies("PATCH", "/tasks/t-7f3k") == [
        {"request": {"gpus": 0, "gpu_memory_mib": None, "exclusive": False}}
    ]
    assert cli("rerun", "t-7f3k", "--gpus", "0").code == 0
    (body,) = cli.server.bodies("POST", "/tasks")
    assert body["request"] == {}
