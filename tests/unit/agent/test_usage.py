"""What waits for the server's history: carried by heartbeats, thinned while there is no server."""

from __future__ import annotations

from msgspec.structs import replace

from fluxhive.agent.usage import LOOKS_MAX, LOOKS_PER_HEARTBEAT, Usage
from fluxhive.core.node import GpuReport
from tests.helpers.factories import gpu


def report(used_mib: int, attempt_mib: int = 0) -> GpuReport:
    uses: dict[str, str | int] = {"t-1.1": attempt_mib} if attempt_mib else {}
    return replace(gpu("A", uses=uses), used_mib=used_mib)


def times(usage: Usage, sent_at_ms: int) -> list[int]:
    return [sample.at_ms for sample in usage.for_heartbeat(sent_at_ms)]


def test_a_sample_goes_until_its_heartbeat_is_answered() -> None:
    usage = Usage()
    usage.note([report(1_000)], 10)
    assert times(usage, 11) == [10]
    usage.note([report(2_000)], 20)
    assert times(usage, 21) == [10, 20]
    usage.arrived(11)
    assert times(usage, 31) == [20]
    usage.arrived(21)
    usage.arrived(31)
    assert times(usage, 41) == []


def test_two_answers_that_come_together_take_away_no_more_than_was_carried() -> None:
    usage = Usage()
    usage.note([report(1_000)], 10)
    times(usage, 11)
    times(usage, 21)
    usage.note([report(2_000)], 30)
    usage.arrived(11)
    usage.arrived(21)
    assert times(usage, 41) == [30]


def test_what_a_lost_connection_took_along_goes_again() -> None:
    usage = Usage()
    usage.note([report(1_000)], 10)
    times(usage, 11)
    usage.disconnected()
    usage.arrived(11)
    assert times(usage, 21) == [10]


def test_a_night_without_a_server_is_kept_whole_and_small_with_its_peaks() -> None:
    usage = Usage()
    for second in range(36_000):
        usage.note([report(second % 7, 50_000 if second == 4_321 else 10)], second * 1_000)
    found = []
    sent_at_ms = 36_000_000
    while samples := usage.for_heartbeat(sent_at_ms):
        assert len(samples) <= LOOKS_PER_HEARTBEAT
        usage.arrived(sent_at_ms)
        found += samples
        sent_at_ms += 1
    assert len(found) <= LOOKS_MAX
    assert found[0].at_ms < 600_000
    assert found[-1].at_ms == 35_999_000
    assert max(sample.attempts[0].used_mib for sample in found) == 50_000


def test_a_reading_that_is_too_old_is_no_sample() -> None:
    usage = Usage()
    usage.note([replace(report(1_000), stale=True), replace(report(1), used_mib=None)], 10)
    assert times(usage, 11) == []
