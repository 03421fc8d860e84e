"""`fluxhive usage`: the sums, checked by hand."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from fluxhive.cli.usage import took
from fluxhive.core.outcome import ExitFacts, GpuPeak
from fluxhive.core.values import GpuUuid
from fluxhive.protocol.rest import AttemptView, TaskPage
from tests.helpers import cli_views as views
from tests.helpers.cli_scene import ME, set_scene
from tests.helpers.cli_views import NOON_MS
from tests.unit.cli.conftest import Cli

HOUR_MS = 3_600_000


def test_time_outside_of_what_was_asked_for_does_not_count() -> None:
    attempt = views.attempt(reserved_at_ms=NOON_MS, ended_at_ms=NOON_MS + 2 * HOUR_MS)
    task = views.task(attempts=(attempt, replace(attempt, number=2)))
    assert took(task, NOON_MS, NOON_MS + 9 * HOUR_MS).gpu_ms == 4 * HOUR_MS
    assert took(task, NOON_MS + HOUR_MS, NOON_MS + 9 * HOUR_MS).gpu_ms == 2 * HOUR_MS
    assert took(task, NOON_MS + 3 * HOUR_MS, NOON_MS + 9 * HOUR_MS).gpu_ms == 0


def test_one_that_runs_counts_until_now() -> None:
    task = views.task(attempts=(views.attempt(reserved_at_ms=NOON_MS),))
    assert took(task, 0, NOON_MS + HOUR_MS).gpu_ms == HOUR_MS


def test_how_busy_is_weighed_by_time() -> None:
    def ran(hours: int, percent: int | None) -> AttemptView:
        peak = GpuPeak(uuid=GpuUuid("GPU-1"), peak_mib=hours, utilization_percent=percent)
        end_ms = NOON_MS + hours * HOUR_MS
        facts = ExitFacts(cpu_ms=HOUR_MS, gpu_peaks=(peak,))
        return views.attempt(reserved_at_ms=NOON_MS, ended_at_ms=end_ms, facts=facts)

    sums = took(views.task(attempts=(ran(3, 90), ran(1, 10), ran(5, None))), 0, NOON_MS)
    assert sums.busy // sums.known_ms == 70
    assert (sums.peak_mib, sums.cpu_ms) == (5, 3 * HOUR_MS)


def test_members_of_an_array_count_one_by_one(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOON_MS / 1000 + 724)
    set_scene(cli.server)
    cli.server.on("GET", "/auth/me", ME)
    sweep = cli.server.routes["GET", "/tasks/t-5w33"]
    page = TaskPage(items=(views.succeeded(), replace(views.succeeded(), id="t-other")))
    array = json.loads(b"".join(sweep[0](None).pieces))  # type: ignore[arg-type]
    cli.server.on("GET", "/tasks", {"items": [array]}, page)
    (row,) = [json.loads(line) for line in cli("usage", "-o", "jsonl").out.splitlines()]
    assert (row["name"], row["tasks"], row["succeeded"]) == ("vit", 2, 2)
