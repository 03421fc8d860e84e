"""Estimates of starts are put to the test: what was said is kept beside what came, and told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fluxhive.core import forecast, rollout
from fluxhive.core.hive_settings import DEFAULT_SETTINGS
from fluxhive.core.outlook import Estimate, Outlook, outlook
from fluxhive.core.pieces import whole
from fluxhive.core.room_index import RoomIndex
from fluxhive.core.start_record import Question
from fluxhive.core.values import TaskId
from tests.helpers.hive import Hive

OFTEN = replace(DEFAULT_SETTINGS, trial_every_ms=1)
MINUTE_MS = 60_000
WAITS_MS = [(11_001, 20_000, 25_000, 35_000, 45_000), (40_000, 41_001, 55_000, 60_000, 80_000)]
QUESTION = Question(waited_ms=0, is_gang=False)


def one_gpu() -> Hive:
    """One GPU, which tasks of one kind have used for five, ten and fifteen seconds."""
    hive = Hive(OFTEN)
    hive.node("n1", gpus=["40G"])
    for number, length in enumerate(("5s", "10s", "15s")):
        runs(hive, f"r{number}", length)
    return hive


def runs(hive: Hive, name: str, length: str) -> None:
    hive.submit(name, gpus=1, exclusive=True)
    hive.starts(f"{name}.1")
    hive.ends(f"{name}.1", after=length)


def waits_behind(hive: Hive, number: int, length: str) -> None:
    """One runs for so long; one comes when it starts, waits for its end, and takes a second."""
    hive.submit(f"a{number}", gpus=1, exclusive=True)
    hive.starts(f"a{number}.1")
    hive.submit(f"b{number}", gpus=1, exclusive=True)
    hive.ends(f"a{number}.1", after=length)
    hive.starts(f"b{number}.1")
    hive.ends(f"b{number}.1", after="1s")


def estimate_of(hive: Hive, name: str) -> Estimate:
    found = look(hive, name).estimate
    assert found is not None
    assert found.likely_at_ms is not None
    assert found.latest_at_ms is not None
    assert hive.now_ms <= found.earliest_at_ms <= found.likely_at_ms <= found.latest_at_ms
    return found


def look(hive: Hive, name: str) -> Outlook:
    found = whole(outlook(hive.manager.hive, TaskId(name)))
    assert found is not None
    return found


def test_a_hive_says_how_many_of_its_estimates_were_right() -> None:
    hive = one_gpu()
    assert (
        hive.manager.hive.starts.accuracy().text == "no estimate has been put to the test here yet"
    )
    waits_behind(hive, 0, "10s")
    assert hive.manager.hive.starts.accuracy().text == "the only estimate so far was right"
    waits_behind(hive, 1, "4m")
    told = hive.manager.hive.starts.accuracy()
    assert told.text == "of the last 2 estimates 1 were right; 0 started earlier, 1 later"
    assert (told.n_estimates, told.n_right, told.n_earlier, told.n_later) == (2, 1, 0, 1)


def test_starts_that_come_later_than_was_said_make_the_next_range_longer() -> None:
    hive = one_gpu()
    hive.submit("first", gpus=1, exclusive=True)
    hive.starts("first.1")
    hive.submit("waits", gpus=1, exclusive=True)
    before = estimate_of(hive, "waits")
    hive.cancel("waits")
    hive.ends("first.1", after="10s")
    for number in range(12):
        waits_behind(hive, number, "3m")
        # What is learned of lengths alone is what it was.
        hive.manager.hive.book.records.clear()
        for again, length in enumerate(("5s", "10s", "15s")):
            runs(hive, f"r{number}-{again}", length)
    hive.submit("last", gpus=1, exclusive=True)
    hive.starts("last.1")
    hive.submit("asks", gpus=1, exclusive=True)
    after = estimate_of(hive, "asks")
    assert before.latest_at_ms is not None
    assert before.latest_at_ms - before.earliest_at_ms < MINUTE_MS
    assert after.latest_at_ms is not None
    assert after.latest_at_ms - hive.now_ms > 2 * MINUTE_MS


def test_who_waits_past_the_range_counts_before_he_starts() -> None:
    hive = one_gpu()
    for number in range(10):
        waits_behind(hive, number, "10s")
    hive.submit("long", gpus=1, exclusive=True)
    hive.starts("long.1")
    hive.submit("waits", gpus=1, exclusive=True)
    first = hive.manager.hive.starts
    assert list(first.open) == ["waits"]
    likes = first.range_of((10_000,) * 5, QUESTION, hive.now_ms)
    hive.waits("6m")
    still = first.range_of((10_000,) * 5, QUESTION, hive.now_ms)
    assert still.latest_ms > likes.latest_ms


def test_a_task_that_never_starts_says_nothing_about_estimates() -> None:
    hive = one_gpu()
    hive.submit("a", gpus=1, exclusive=True)
    hive.starts("a.1")
    hive.submit("b", gpus=1, exclusive=True)
    assert list(hive.manager.hive.starts.open) == ["b"]
    hive.cancel("b")
    assert not hive.manager.hive.starts.open
    assert hive.manager.hive.starts.accuracy().n_estimates == 0


def test_a_restored_hive_says_the_same() -> None:
    hive = one_gpu()
    for number in range(12):
        waits_behind(hive, number, "10s")
    hive.submit("a", gpus=1, exclusive=True)
    hive.starts("a.1")
    hive.submit("b", gpus=1, exclusive=True)
    said, told = hive.manager.hive.starts.accuracy(), estimate_of(hive, "b")
    hive.restarts()
    hive.rejoins("n1", "a.1 running")
    assert hive.manager.hive.starts.accuracy() == said
    again = estimate_of(hive, "b")
    assert (again.earliest_at_ms, again.latest_at_ms) == (told.earliest_at_ms, told.latest_at_ms)


def test_the_hive_may_go_on_between_the_pieces_of_an_answer() -> None:
    hive = one_gpu()
    hive.submit("a", gpus=1, exclusive=True)
    hive.starts("a.1")
    hive.submit("b", gpus=1, exclusive=True)
    told = look(hive, "b").estimate
    pieces = outlook(hive.manager.hive, TaskId("b"))
    for _ in range(3):
        next(pieces)
    hive.ends("a.1", after="1s")
    hive.starts("b.1")
    answer = whole(pieces)
    assert answer is not None
    assert answer.estimate is not None
    assert told is not None
    assert answer.estimate.likely_at_ms is not None
    assert told.likely_at_ms is not None
    assert 0 <= answer.estimate.likely_at_ms - told.likely_at_ms <= 2_000


def test_asking_changes_nothing() -> None:
    hive = one_gpu()
    hive.submit("a", gpus=1, exclusive=True)
    hive.starts("a.1")
    hive.submit("b", gpus=1, exclusive=True)
    before = hive.manager.snapshot()
    first = look(hive, "b")
    assert look(hive, "b") == first
    assert hive.manager.snapshot() == before


def test_trials_decide_nothing() -> None:
    ends = []
    for every_ms in (0, 1):
        hive = Hive(replace(DEFAULT_SETTINGS, trial_every_ms=every_ms))
        hive.node("n1", gpus=["40G"])
        for number, length in enumerate(("5s", "10s", "15s")):
            runs(hive, f"r{number}", length)
        for number in range(4):
            waits_behind(hive, number, "10s")
        ends.append((hive.manager.snapshot().tasks, hive.manager.snapshot().attempts))
    assert ends[0] == ends[1]


def test_an_estimate_of_a_long_line_takes_a_bounded_number_of_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecast, "WAITERS_MAX", 20)
    monkeypatch.setattr(rollout, "LOOKS_MAX", 5)
    hive = one_gpu()
    hive.submit("a", gpus=1, exclusive=True)
    hive.starts("a.1")
    for number in range(60):
        hive.submit(f"w{number}", gpus=1, exclusive=True)
    looks = []
    real = RoomIndex.find

    def counted(self: RoomIndex, *args: object) -> object:
        looks.append(1)
        return real(self, *args)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(RoomIndex, "find", counted)
    last = look(hive, "w59")
    assert last.position is not None
    assert last.position > 40
    assert last.estimate is not None
    assert len(looks) < rollout.ROLLOUTS * (rollout.LOOKS_MAX + 10) + 10
    # Those beyond what is played go at the pace of those that are.
    assert last.estimate.likely_at_ms is not None
    assert last.estimate.likely_at_ms - hive.now_ms > 5 * MINUTE_MS


def test_behind_tasks_of_which_nothing_is_known_there_is_no_telling() -> None:
    hive = one_gpu()
    hive.submit("a", gpus=1, exclusive=True)
    hive.starts("a.1")
    hive.submit("b", gpus=1, exclusive=True, owner="bob")
    hive.submit("c", gpus=1, exclusive=True, owner="bob")
    assert look(hive, "b").estimate is not None
    told = look(hive, "c")
    assert told.estimate is None
    assert told.summary.endswith("no telling when: nothing says how long b will run")


def test_the_same_question_has_the_same_answer_in_every_process() -> None:
    hive = one_gpu()
    hive.submit("a", gpus=1, exclusive=True)
    hive.starts("a.1")
    for number in range(6):
        hive.submit(f"w{number}", gpus=1, exclusive=True)
    found = [forecast.waiter_of(hive.manager.hive, hive.task(f"w{number}")) for number in (2, 5)]
    told = [whole(forecast.forecast(hive.manager.hive, waiter, 0)) for waiter in found]
    assert [each.waits_ms for each in told if each is not None] == WAITS_MS
