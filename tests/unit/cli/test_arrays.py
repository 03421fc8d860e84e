"""`submit --array`, and arrays in `ps` and `show`."""

from __future__ import annotations

import pytest

from fluxhive.cli.array import spread
from fluxhive.core.array import ArraySpec, MemberCounts, SweepVariable
from fluxhive.core.errors import InputError
from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.protocol.rest import ReasonView, TaskPage
from fluxhive.sdk.array_text import read_array
from tests.helpers import cli_views as views
from tests.unit.cli.conftest import Cli

COUNTS = MemberCounts(waiting=80, live=12, succeeded=8)
SPEC = ArraySpec(count=100, at_most=12, variables=(SweepVariable(name="seed", first=0, last=99),))
ARRAY = views.task(
    word="running", spec=TaskSpec(command=("a",), array=SPEC), members=COUNTS, reason="submitted"
)


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        ("--array 0-99", {"count": 100}),
        ("--array=5-7%2", {"first": 5, "count": 3, "at_most": 2}),
        (
            "--array lr=1e-3,1e-4 seed=0..4 --at-most 8",
            {
                "count": 10,
                "variables": [
                    {"name": "lr", "values": ["1e-3", "1e-4"]},
                    {"name": "seed", "first": 0, "last": 4},
                ],
                "at_most": 8,
            },
        ),
        (
            "--zip --array a=1,2 --array b=x,y",
            {
                "count": 2,
                "variables": [
                    {"name": "a", "values": ["1", "2"]},
                    {"name": "b", "values": ["x", "y"]},
                ],
                "zip": True,
            },
        ),
    ],
)
def test_an_array_is_sent_as_it_was_written(cli: Cli, line: str, sent: object) -> None:
    cli.server.on("POST", "/tasks", ARRAY, status=201)
    done = cli("submit", *line.split(), "--", "train", "x=1")
    assert done.out == "t-7f3k\tvit\trunning\t80 waiting, 12 active, 8 succeeded\n"
    (body,) = cli.server.bodies("POST", "/tasks")
    assert body["array"] == sent
    assert body["command"] == ["train", "x=1"]


@pytest.mark.parametrize(
    "line",
    [
        "--array 5",
        "--array 9-0",
        "--array 0-9 lr=1,2",
        "--array lr",
        "--array lr=",
        "--array lr=1..x",
        "--array lr=0.1..0.5",
        "--array 0-999999",
        "--array lr=1,2 seed=0..4 --zip",
        "--at-most 3",
        "--zip",
    ],
)
def test_a_bad_array_is_refused_before_it_is_sent(cli: Cli, line: str) -> None:
    done = cli("submit", *line.split(), "--", "a")
    assert done.code == 2
    assert "\nhint: " in done.err
    assert not cli.server.asked


def test_a_misspelt_place_is_refused_and_other_braces_are_not(cli: Cli) -> None:
    done = cli("submit", "--array", "seed=0..4", "--", "train --seed {sede}")
    assert done.code == 2
    assert "the command names `{sede}`, and the array has no such variable" in done.err
    assert "hint: did you mean `{seed}`" in done.err
    assert not cli.server.asked
    cli.server.on("POST", "/tasks", views.task())
    for command in ("awk '{print}' {seed} {seed2}", "echo ${sede}", "echo {other}"):
        assert cli("submit", "--array", "seed=0..4", "--", command).code == 0


def test_an_array_cannot_be_followed(cli: Cli) -> None:
    done = cli("submit", "-f", "--array", "0-9", "--", "a")
    assert (done.code, done.err.splitlines()[0]) == (
        2,
        "error: `-f` follows one task, and `--array` makes many",
    )


def test_values_of_one_option_end_with_the_next_option_or_the_command() -> None:
    line = "submit --array a=1 b=2 --env K=V c=3 -- d=4"
    assert " ".join(spread(line.split())) == ("submit --array a=1 --array b=2 --env K=V c=3 -- d=4")
    assert spread(["--array=a=1", "b=2"]) == ["--array=a=1", "--array", "b=2"]


def test_negative_ranges_and_empty_values_are_read() -> None:
    array = read_array(["t=-2..1"])
    assert array is not None
    assert [array.values_of(index)["t"] for index in range(4)] == ["-2", "-1", "0", "1"]
    empty = read_array(["flag=,--fast"])
    assert empty is not None
    assert empty.values_of(0) == {"flag": ""}
    with pytest.raises(InputError):
        read_array(["seed=4..0"])


def test_ps_shows_an_array_in_one_line(cli: Cli) -> None:
    waiting = (ReasonView(code="ARRAY_LIMIT", text="12 members of t-7f3k run"),)
    array = views.task(
        word="running", spec=ARRAY.spec, members=COUNTS, waiting=waiting, state=TaskState.QUEUED
    )
    cli.server.on("GET", "/tasks", TaskPage(items=(array,)))
    assert cli.on_terminal("ps", "-a").out == (
        "ID      NAME  USER  STATE    WHERE  GPU MEM  TIME  WHY\n"
        "t-7f3k  vit   ada   running  -      -        -     "
        "80 waiting, 12 active, 8 succeeded; 12 members of t-7f3k run\n"
    )


def test_ps_lists_the_members_of_an_array(cli: Cli) -> None:
    member = views.task(id="t-7f3k[5]")
    cli.server.on("GET", "/tasks", TaskPage(items=(member,)))
    assert cli("ps", "--array", "vit", "-q").out == "t-7f3k[5]\n"
    assert cli.server.queries("/tasks") == [{"array": "vit", "limit": "200"}]


def test_show_tells_how_members_stand_and_in_what_they_differ(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/vit", ARRAY)
    lines = cli("show", "vit").out.splitlines()
    assert "members\t100: 80 waiting, 12 active, 8 succeeded" in lines
    assert "varies\tseed=0,1,2,3,4,5,6,7,8,9,…" in lines
    assert "at most\t12 at once" in lines
    assert "see them\tfluxhive ps --array t-7f3k" in lines
