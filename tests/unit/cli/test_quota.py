"""`quota ls` and `quota set`."""

from __future__ import annotations

import json

from fluxhive.core.quota import Quota, QuotaScope, Use
from fluxhive.protocol.quotas import QuotaPage, QuotaView
from tests.unit.cli.conftest import Cli

ANN = QuotaView(
    quota=Quota(
        scope=QuotaScope.USER, name="ann", running_gpus=8, waiting_tasks=1000, weekly_gpu_hours=500
    ),
    use=Use(running_gpus=3, running_tasks=2, waiting_tasks=40, weekly_gpu_hours=12.5),
)


def test_quotas_are_shown_with_what_is_used(cli: Cli) -> None:
    cli.server.on("GET", "/quotas", QuotaPage(items=(ANN,)))
    assert cli.on_terminal("quota", "ls").out == (
        "WHOSE  NAME  RUNNING GPUS  RUNNING TASKS  WAITING TASKS  GPU-HOURS A WEEK\n"
        "user   ann   3 of 8        2, no limit    40 of 1000     12.5 of 500\n"
    )
    told = json.loads(cli("quota", "ls", "--json").out)
    assert told["quotas"][0]["quota"]["running_tasks"] is None


def test_what_is_not_named_stays(cli: Cli) -> None:
    cli.server.on("GET", "/quotas", QuotaPage(items=(ANN,)))
    cli.server.on("PUT", "/quotas/user/ann", ANN)
    line = "quota set user ann --running-tasks 4 --waiting-tasks none"
    assert cli(*line.split()).err == ("user  ann  3 of 8  2, no limit  40 of 1000  12.5 of 500\n")
    assert cli.server.bodies("PUT", "/quotas/user/ann") == [
        {"running_gpus": 8, "running_tasks": 4, "weekly_gpu_hours": 500}
    ]


def test_a_bad_limit_is_named(cli: Cli) -> None:
    cli.server.on("GET", "/quotas", QuotaPage(items=()))
    done = cli("quota", "set", "project", "vision", "--running-gpus", "many")
    assert (done.code, done.err.splitlines()[0]) == (
        2,
        "error: `--running-gpus` must be a whole number or `none`: `many`",
    )
