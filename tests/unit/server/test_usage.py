"""The history of use: fed by heartbeats, kept over a restart, bounded on the disk."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import anyio
import pytest

from fluxhive.core.node import AttemptUsage
from fluxhive.core.usage_series import TIERS
from fluxhive.core.values import AttemptId, GpuUuid, NodeId
from fluxhive.protocol.agent import GpuSample, Heartbeat, HostSample
from fluxhive.server.usage import UsageStore

NODE, UUID, MINE, OTHERS = NodeId("n-1"), GpuUuid("GPU-a"), AttemptId("t-1.1"), AttemptId("t-2.1")
pytestmark = pytest.mark.anyio


class History:
    """A store whose time is told, and a node whose boot clock began at zero."""

    def __init__(self, path: Path, *, keep_bytes: int = 1 << 30) -> None:
        self.path, self.keep_bytes = path, keep_bytes
        self.now_ms = 1_000_000_000
        self.booted_ms = self.now_ms
        self.opens()

    def opens(self) -> None:
        """A server starts."""
        self.store = UsageStore(
            self.path,
            now_ms=lambda: self.now_ms,
            is_of=lambda attempt_id, node_id: attempt_id == MINE,
            keep_bytes=self.keep_bytes,
        )

    def beats(self, used_mib: int, *, percent: int = 50, age_ms: int = 0, uuid: str = UUID) -> None:
        """A heartbeat with one sample of that age."""
        sent_at_ms = self.now_ms - self.booted_ms
        sample = GpuSample(
            at_ms=sent_at_ms - age_ms,
            uuid=GpuUuid(uuid),
            used_mib=used_mib + 500,
            utilization_percent=percent,
            attempts=(
                AttemptUsage(attempt_id=MINE, used_mib=used_mib),
                AttemptUsage(attempt_id=OTHERS, used_mib=7),
            ),
        )
        self.store.note(NODE, Heartbeat(sent_at_ms=sent_at_ms, samples=(sample,)))

    def runs(self, seconds: int, used_mib: int = 1_000) -> None:
        """A reading each second."""
        for _ in range(seconds):
            self.now_ms += 1_000
            self.beats(used_mib)

    async def of_gpu(self, step_s: int = 1) -> list[tuple[int, int]]:
        """Seconds since the node's boot, and the peak."""
        points = await self.store.of_gpu(NODE, UUID, from_s=0, to_s=2**40, step_s=step_s)
        return [(point.at_s - self.booted_ms // 1000, point.peak_mib) for point in points]

    async def of_attempt(self, attempt: AttemptId = MINE) -> list[int]:
        """What it used, point by point."""
        found = await self.store.of_attempt(attempt, from_s=0, to_s=2**40, step_s=1)
        return [point.used_mib for points in found.values() for point in points]

    def takes(self, memory_mib: int, cpu_percent: int | None, attempt: AttemptId = MINE) -> None:
        """A heartbeat with a look at an attempt's processes."""
        self.now_ms += 5_000
        sent_at_ms = self.now_ms - self.booted_ms
        sample = HostSample(
            at_ms=sent_at_ms, attempt_id=attempt, memory_mib=memory_mib, cpu_percent=cpu_percent
        )
        self.store.note(NODE, Heartbeat(sent_at_ms=sent_at_ms, host_samples=(sample, sample)))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "usage.db")


async def test_what_was_read_can_be_asked_for_at_once(history: History) -> None:
    history.runs(3)
    assert await history.of_gpu() == [(1, 1_500), (2, 1_500), (3, 1_500)]
    assert await history.of_attempt() == [1_000] * 3


async def test_it_survives_a_restart_of_the_server(history: History) -> None:
    history.runs(20)
    await history.store.flush(is_last=True)
    history.opens()
    history.runs(5, used_mib=2_000)
    assert len(await history.of_gpu()) == 25
    assert await history.of_attempt() == [1_000] * 20 + [2_000] * 5


async def test_a_killed_server_loses_the_last_seconds_alone(history: History) -> None:
    history.runs(20)
    await history.store.flush()
    history.runs(4)
    history.opens()
    assert len(await history.of_gpu()) == 19


async def test_a_sample_that_comes_again_counts_once(history: History) -> None:
    history.now_ms += 10_000
    history.beats(1_000, age_ms=2_000)
    history.now_ms += 1_000
    history.beats(9_000, age_ms=3_000)
    assert await history.of_attempt() == [1_000]


async def test_samples_of_a_long_absence_take_their_own_time(history: History) -> None:
    history.now_ms += 3_600_000
    for age_s in (3_000, 2_000, 1_000):
        history.beats(1_000, age_ms=age_s * 1_000)
    assert [at_s for at_s, _ in await history.of_gpu()] == [600, 1_600, 2_600]


async def test_a_node_speaks_for_its_own_attempts_alone(history: History) -> None:
    history.runs(3)
    assert await history.of_attempt(OTHERS) == []


async def test_a_node_that_was_rebooted_goes_on(history: History) -> None:
    history.runs(3)
    history.booted_ms = history.now_ms
    history.runs(2)
    assert len(await history.of_attempt()) == 5


async def test_a_clock_that_cannot_be_right_is_not_believed(history: History) -> None:
    history.now_ms += 10_000
    history.beats(1_000, age_ms=-5_000)
    assert await history.of_attempt() == []


async def test_each_tier_is_kept_for_its_time(history: History) -> None:
    history.runs(1_300)
    await history.store.flush(is_last=True)
    history.now_ms += 3 * 86_400_000
    history.booted_ms = history.now_ms - 3 * 86_400_000 - 1_300_000
    await history.store.flush()
    found = await history.of_gpu()
    assert len(found) == 1_300 // 300 + 1, "only the coarsest is left"
    history.now_ms += TIERS[-1].keep_s * 1_000
    await history.store.flush()
    assert await history.of_gpu() == []


async def test_parts_are_joined_and_nothing_is_lost_by_it(history: History) -> None:
    for _ in range(30):
        history.runs(10)
        await history.store.flush()
    before = await history.of_gpu()
    history.now_ms += 301_000
    await history.store.flush()
    with_parts = history.store._connect().execute("select count(*) from chunk where tier = 0")
    assert with_parts.fetchone()[0] < 30
    assert await history.of_gpu() == before


async def test_the_disk_that_it_takes_is_bounded(tmp_path: Path) -> None:
    history = History(tmp_path / "usage.db", keep_bytes=200_000)
    for _ in range(400):
        history.now_ms += 1_000
        for card in range(16):
            history.beats(1_000, uuid=f"GPU-{card}")
            history.booted_ms -= 1
    await history.store.flush(is_last=True)
    db = history.store._connect()
    pages = db.execute("pragma page_count").fetchone()[0]
    free = db.execute("pragma freelist_count").fetchone()[0]
    assert (pages - free) * 4096 <= 200_000


async def test_a_damaged_file_is_put_aside_and_begun_anew(history: History) -> None:
    history.path.write_bytes(b"not a database, not at all" * 100)
    history.runs(3)
    await history.store.flush(is_last=True)
    assert history.path.with_name("usage.db.damaged").exists()
    history.runs(3)
    await history.store.flush(is_last=True)
    history.opens()
    assert len(await history.of_gpu()) == 3


async def test_nobody_else_may_read_the_file(history: History) -> None:
    history.runs(3)
    await history.store.flush()
    assert stat.S_IMODE(os.stat(history.path).st_mode) == 0o600


async def test_what_is_in_memory_is_written_when_the_server_stops(history: History) -> None:
    history.runs(3)
    async with anyio.create_task_group() as group:
        group.start_soon(history.store.run)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    history.opens()
    assert len(await history.of_attempt()) == 3


async def test_host_memory_and_cpu_of_an_attempt_are_kept_and_unknown_is_no_zero(
    history: History,
) -> None:
    history.takes(900, None)
    history.takes(1_000, 1_600)
    history.takes(7, 7, attempt=OTHERS)
    await history.store.flush(is_last=True)
    history.opens()
    found = await history.store.host_of_attempt(MINE, from_s=0, to_s=2**40, step_s=1)
    memory, cpu = found[NODE]
    assert [point.used_mib for point in memory] == [900, 1_000]
    assert [(point.at_s, point.used_mib) for point in cpu] == [(memory[1].at_s, 1_600)]
    others = await history.store.host_of_attempt(OTHERS, from_s=0, to_s=2**40, step_s=1)
    assert others == {}
