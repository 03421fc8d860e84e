"""What the commands that list and show print, whole: as a table, piped, as JSON, as ids."""

from __future__ import annotations

import json
import time

import pytest
from msgspec.structs import replace

from fluxhive.core.node import NodeState
from fluxhive.core.outcome import Outcome, OutcomeKind
from fluxhive.core.request import Reservation
from fluxhive.core.task import AttemptState, TaskState
from fluxhive.core.values import NodeId
from fluxhive.protocol.rest import NodePage, ReasonView, TaskPage
from tests.helpers import cli_views as views
from tests.unit.cli.conftest import Cli

ME = {"username": "ada", "role": "member", "scope": "full"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: views.NOON_MS / 1000 + 724)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_ps_lists_my_tasks_of_the_last_hour(cli: Cli) -> None:
    waiting = views.task(reason="waits for 20 GiB", id="t-9x\x1b[2J", name="")
    page = TaskPage(items=(views.running(), waiting, views.succeeded()))
    cli.server.on("GET", "/auth/me", ME)
    cli.server.on("GET", "/tasks", page)
    assert cli.on_terminal("ps").out == (
        "ID           NAME  USER  STATE      WHERE    GPU MEM            TIME    WHY\n"
        "t-7d01       bert  ada   running    gpu-a:2  17.8 GiB/20.0 GiB  12:04   -\n"
        "t-9x\\x1b[2J  -     ada   queued     -        -                  -       "
        "waits for 20 GiB\n"
        "t-7f3k       vit   ada   succeeded  gpu-a:2  -/20.0 GiB         12.3 s  -\n"
    )
    assert cli.server.queries("/tasks") == [
        {"owner": "ada", "since_ms": str(views.NOON_MS + 724_000 - 3_600_000), "limit": "200"}
    ]


def test_ps_piped_has_tabs_and_cuts_nothing(cli: Cli) -> None:
    cli.server.on("GET", "/tasks", TaskPage(items=(views.task(reason="r" * 300),)))
    done = cli("ps", "-a", "--all-time")
    assert done.out.splitlines()[1] == f"t-7f3k\tvit\tada\tqueued\t-\t-\t-\t{'r' * 300}"
    assert cli.server.queries("/tasks") == [{"limit": "200"}]


def test_ps_reads_all_pages(cli: Cli) -> None:
    first = TaskPage(items=(views.task(id="t-1"),), next="c1")
    cli.server.on("GET", "/tasks", first, TaskPage(items=(views.task(id="t-2"),)))
    assert cli("ps", "-a", "-q").out == "t-1\nt-2\n"
    assert cli.server.queries("/tasks")[1]["cursor"] == "c1"


def test_ps_as_json_has_every_field(cli: Cli) -> None:
    cli.server.on("GET", "/tasks", TaskPage(items=(views.task(),)))
    told = json.loads(cli("ps", "-a", "--json").out)
    assert told["schema"] == 1
    assert told["tasks"][0]["state"] == "queued"
    assert told["tasks"][0]["spec"]["retry"] == 0
    assert told["tasks"][0]["outcome"] is None


def test_show_tells_all_about_a_task(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/vit", views.succeeded())
    assert cli.on_terminal("show", "vit").out == (
        "id                     t-7f3k\n"
        "name                   vit\n"
        "user                   ada\n"
        "project                ada\n"
        "state                  succeeded\n"
        "command                python train.py\n"
        "directory              -\n"
        "request                1 CPU\n"
        "priority               normal\n"
        "retry                  0\n"
        "submitted              2026-09-21 14:13:20 +0000\n"
        "started                2026-09-21 14:13:22 +0000\n"
        "ran for                12.3 s\n"
        "ended                  2026-09-21 14:13:34 +0000\n"
        "used: CPU              11.0 s\n"
        "used: peak memory      80 MiB\n"
        "used: peak GPU memory  17.6 GiB\n"
        "attempt 1              success, on gpu-a:2, GPU memory -/20.0 GiB, exit code 0\n"
    )


def test_show_says_why_a_task_waits(cli: Cli) -> None:
    waiting = (ReasonView(code="NEVER", text="no node has 9 GPUs"),)
    cli.server.on("GET", "/tasks/t-7f3k", views.task(waiting=waiting))
    assert "waits\tno node has 9 GPUs\n" in cli("show", "t-7f3k").out
    told = json.loads(cli("show", "t-7f3k", "--json").out)
    assert told["waiting"] == [
        {"code": "NEVER", "text": "no node has 9 GPUs", "blockers": [], "until_ms": None}
    ]


def test_an_unknown_task_is_3(cli: Cli) -> None:
    done = cli("show", "t-zzzz")
    assert done.code == 3
    assert done.err.startswith("error: nothing at /tasks/t-zzzz\n")


def test_nodes_are_listed(cli: Cli) -> None:
    silent = views.node(
        id="n-2", label="gpu-b", state=NodeState.SILENT, gpus=(), attempts=(), problem="no driver"
    )
    cli.server.on("GET", "/nodes", NodePage(items=(views.node(), silent)))
    assert cli.on_terminal("nodes").out == (
        "ID   LABEL  STATE   CPUS  MEMORY             GPUS  TASKS  CONTACT    NOTE\n"
        "n-1  gpu-a  ready   1/16  8.8 GiB/128.0 GiB  1     1      0.8 s ago  -\n"
        "n-2  gpu-b  silent  1/16  8.8 GiB/128.0 GiB  0     0      0.8 s ago  no driver\n"
    )


def test_gpus_show_who_is_on_them(cli: Cli) -> None:
    cli.server.on("GET", "/nodes", NodePage(items=(views.node(),)))
    assert cli("gpus").out.splitlines()[1].split("\t") == [
        "gpu-a:2",
        "NVIDIA H100",
        "healthy",
        "97%",
        "20.0 GiB/80.0 GiB",
        "20.0 GiB",
        "61 °C",
        "350 W",
        "t-7f3k.1 17.8 GiB, others 512 MiB",
    ]
    told = json.loads(cli("gpus", "--json").out)["gpus"][0]
    assert (told["node_label"], told["gpu"]["report"]["utilization_percent"]) == ("gpu-a", 97)


def test_what_a_gpu_does_not_tell_is_a_dash(cli: Cli) -> None:
    bare = views.node().gpus[0].report
    bare = replace(bare, used_mib=None, utilization_percent=None, temperature_c=None, power_w=None)
    gpu = replace(views.node().gpus[0], report=bare)
    cli.server.on("GET", "/nodes", NodePage(items=(views.node(gpus=(gpu,)),)))
    cells = cli("gpus").out.splitlines()[1].split("\t")
    assert cells[3:8] == ["-", "-/80.0 GiB", "20.0 GiB", "-", "-"]


def test_cancel_goes_on_after_one_that_fails(cli: Cli) -> None:
    stopped = views.task(id="t-2", state=TaskState.CANCELLED, word="cancelled")
    cli.server.on("POST", "/tasks/t-2/cancel", stopped)
    done = cli("cancel", "t-1", "t-2")
    assert done.code == 3
    assert done.out == "ID\tNAME\tSTATE\nt-2\tvit\tcancelled\n"
    assert "error: nothing at /tasks/t-1/cancel" in done.err


def test_wait_gives_the_first_code_that_is_not_0(cli: Cli) -> None:
    failed = views.task(
        id="t-2",
        state=TaskState.FAILED,
        word="failed",
        reason="exit code 4",
        outcome=Outcome(kind=OutcomeKind.FAILURE, exit_code=4),
    )
    for name, view in (("t-7f3k", views.succeeded()), ("t-2", failed)):
        cli.server.on("GET", f"/tasks/{name}", view)
        cli.server.on("GET", f"/tasks/{name}/wait", views.running(), view)
    done = cli("wait", "t-7f3k", "t-2")
    assert done.code == 4
    assert done.err.splitlines()[1] == "t-2 failed: exit code 4"


def test_wait_gives_up_with_124(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/t-7d01", views.running())
    cli.server.on("GET", "/tasks/t-7d01/wait", views.running())
    done = cli("wait", "t-7d01", "--timeout", "1ms")
    assert (done.code, done.err) == (124, "t-7d01 is running after 1ms\n")


def test_an_attempt_of_a_plain_cpu_task_names_only_its_node(cli: Cli) -> None:
    ran = views.attempt(state=AttemptState.RUNNING, reservation=Reservation(node_id=NodeId("n-1")))
    cli.server.on("GET", "/tasks/t-7f3k", views.task(attempts=(ran,)))
    assert cli("show", "t-7f3k").out.splitlines()[-1] == "attempt 1\trunning, on gpu-a"
