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

USER = {"username": "bob", "role": "member", "created_at_ms": 0, "active": True}


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
    cli.server.on("GET", "/users", {"items": [{**USER, "username": "ann"}]})
    line = "quota set user ann --running-tasks 4 --waiting-tasks none"
    assert cli(*line.split()).err == (
        "user ann: running GPUs 3 of 8; running tasks 2, no limit; waiting tasks 40 of 1000; "
        "GPU-hours a week 12.5 of 500\n"
    )
    assert cli.server.bodies("PUT", "/quotas/user/ann") == [
        {"running_gpus": 8, "running_tasks": 4, "weekly_gpu_hours": 500}
    ]


def test_a_limit_of_somebody_unknown_is_set_and_said_to_be_that(cli: Cli) -> None:
    """A name that is mistyped would limit nobody, and nobody would notice."""
    cli.server.on("GET", "/quotas", QuotaPage(items=()))
    cli.server.on("PUT", "/quotas/user/ann", ANN)
    cli.server.on("GET", "/users", {"items": [USER]})
    done = cli("quota", "set", "user", "ann", "--running-gpus", "8")
    assert done.code == 0
    assert "warning: no user is called `ann`; this holds from when there is one" in done.err


def test_a_bad_limit_is_named(cli: Cli) -> None:
    cli.server.on("GET", "/quotas", QuotaPage(items=()))
    done = cli("quota", "set", "project", "vision", "--running-gpus", "many")
    assert (done.code, done.err.splitlines()[0]) == (
        2,
        "error: `--running-gpus` must be a whole number or `none`: `many`",
    )
