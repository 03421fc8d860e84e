"""The numbers of a task over HTTP: as they come, in order, whatever else stands in the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from fluxhive.protocol.metrics import MetricsView
from fluxhive.protocol.wire import METRICS
from fluxhive.server import log_writer
from tests.helpers.rest_hive import RestHive, rest_hive
from tests.unit.server.test_rest_logs import Running, running

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def ship(task: Running, offset: int, data: bytes) -> None:
    channel = task.dispatch.channel
    await task.agent.send_log(channel, data, offset=offset, stream=METRICS)


async def told(task: Running, **query: object) -> MetricsView:
    answer = await task.http.get(f"/tasks/{task.task_id}/metrics", params=query)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=MetricsView)


async def arrived(task: Running, n_lines: int) -> MetricsView:
    while True:
        view = await told(task)
        if view.n_lines >= n_lines:
            return view


async def test_numbers_come_as_series_in_the_order_of_their_first_line(it: RestHive) -> None:
    async with running(it) as task:
        first = b'{"step":10,"time_ms":5,"values":{"loss":0.5,"acc":0.1}}\n{"step":20,"val'
        second = b'ues":{"loss":"nan"}}\n{"values":{"lr":1e-3}}\n{"values":{"lr":2e-3}}\n'
        await ship(task, 0, first)
        view = await arrived(task, 1)
        assert [(each.name, each.lasts) for each in view.series] == [
            ("loss", (0.5,)),
            ("acc", (0.1,)),
        ]
        await ship(task, len(first), second)
        view = await arrived(task, 4)
        loss, _, lr = view.series
        assert (loss.steps, loss.lasts, loss.last, loss.n_not_finite) == (
            (10, 20),
            (0.5, None),
            None,
            1,
        )
        assert (lr.steps, lr.mins, lr.last) == ((0, 1), (0.001, 0.002), 0.002)
        assert not view.complete
        view = await told(task, name="lr", points=1)
        (only,) = view.series
        assert (only.n, only.mins, only.maxs, only.steps) == (2, (0.001,), (0.002,), (1,))


async def test_what_cannot_be_read_is_counted_and_hides_nothing(
    it: RestHive,
) -> None:
    async with running(it) as task:
        bad = b'no json\n[1]\n{"values":{"x":"one"}}\n{"values":{"x":1},"step":1e99}\n'
        good = b'{"values":{"x":1}}\n'
        await ship(task, 0, bad + good)
        view = await arrived(task, 5)
        assert (view.n_lines, view.n_bad) == (5, 4)
        assert [each.lasts for each in view.series] == [(1.0,)]


async def test_a_task_without_numbers_has_none(it: RestHive) -> None:
    async with running(it) as task:
        view = await told(task)
        assert (view.series, view.attempt) == ((), task.dispatch.attempt_id)
        task.end(0)
    answer = await it.admin.get("/tasks/t-none/metrics")
    assert answer.status_code == 404


async def test_names_beyond_all_sense_are_not_kept(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxhive.server.task_metrics.SERIES_MAX", 2)
    assert log_writer.EXTRA_BYTES_MAX > 64 << 20
    async with running(it) as task:
        line = b'{"values":{"a":1,"b":2,"c":3,"a2":4}}\n'
        await ship(task, 0, line)
        view = await arrived(task, 1)
        assert ([each.name for each in view.series], view.n_bad) == (["a", "b"], 2)
