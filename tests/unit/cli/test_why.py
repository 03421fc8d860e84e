"""`why` and `submit --dry-run`, whole."""

from __future__ import annotations

import json
import time

import pytest

from fluxhive.core.outlook import Estimate, GpuCount, GpuStanding
from fluxhive.core.remedies import Remedy
from fluxhive.core.task import TaskState
from fluxhive.core.values import TaskId
from fluxhive.protocol.rest import ReasonView
from fluxhive.protocol.why import OutlookView
from tests.helpers.cli_views import NOON_MS
from tests.unit.cli.conftest import Cli

WAITING = OutlookView(
    id="t-7f3k",
    name="vit",
    owner="ada",
    state=TaskState.QUEUED,
    word="queued",
    submitted_at_ms=NOON_MS,
    summary="needs 20.0 GiB on one GPU; the most free is 11.0 GiB on gpu-b:0; "
    "in about 14 to 20 min, when t-7d01 ends (judged by 6 earlier runs like t-7d01)",
    reasons=(
        ReasonView(code="MEMORY", text="needs 20.0 GiB on one GPU"),
        ReasonView(code="PRIORITY", text="2 tasks that ask the same go first"),
    ),
    position=3,
    n_in_line=41,
    memory="20.0 GiB on each GPU, as the author asked",
    gpus=(
        GpuCount(standing=GpuStanding.MEMORY, n_gpus=21),
        GpuCount(standing=GpuStanding.IN_USE, n_gpus=11),
    ),
    estimate=Estimate(
        earliest_at_ms=NOON_MS + 840_000,
        latest_at_ms=NOON_MS + 1_200_000,
        where="gpu-b:0",
        after=TaskId("t-7d01"),
    ),
    remedies=(Remedy(option="--gpu-mem 11G", where="gpu-b:0"),),
)


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_why_tells_it_all(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/vit/why", WAITING)
    assert cli.on_terminal("why", "vit").out == (
        "task             t-7f3k  vit  ada  queued\n"
        "outlook          needs 20.0 GiB on one GPU; the most free is 11.0 GiB on gpu-b:0; "
        "in about 14 to 20 min, when t-7d01 ends (judged by 6 earlier runs like t-7d01)\n"
        "also             2 tasks that ask the same go first\n"
        "GPU memory       20.0 GiB on each GPU, as the author asked\n"
        "GPUs             32: 21 too little free memory, 11 in use\n"
        "in line          3 of 41\n"
        "likely start     2026-09-21 14:27:20 +0000 to 2026-09-21 14:33:20 +0000, on gpu-b:0\n"
        "would start now  with --gpu-mem 11G, on gpu-b:0\n"
    )


def test_why_as_json_has_every_field(cli: Cli) -> None:
    cli.server.on("GET", "/tasks/vit/why", WAITING)
    told = json.loads(cli("why", "vit", "--json").out)
    assert told["schema"] == 1
    assert told["gpus"][0] == {"standing": "memory", "n_gpus": 21}
    assert told["estimate"]["after"] == "t-7d01"
    assert told["reasons"][1]["code"] == "PRIORITY"


def test_a_dry_run_submits_nothing(cli: Cli) -> None:
    tried = OutlookView(owner="ada", summary="there is room now; on gpu-a:2")
    cli.server.on("POST", "/tasks/dry-run", tried)
    done = cli("submit", "--dry-run", "--gpus", "1", "--", "a", "b")
    assert done.out == "task\t-  ada  not submitted\noutlook\tthere is room now; on gpu-a:2\n"
    (body,) = cli.server.bodies("POST", "/tasks/dry-run")
    assert body["request"] == {"gpus": 1}
    assert not cli.server.bodies("POST", "/tasks")


def test_why_of_an_unknown_task_is_3(cli: Cli) -> None:
    assert cli("why", "t-zzzz").code == 3
