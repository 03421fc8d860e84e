"""The range that is told, from what was said before and what came."""

from __future__ import annotations

import random

import pytest

from fluxhive.core.learning import Told
from fluxhive.core.start_record import (
    CAME_MAX,
    KEY,
    LIKE_MIN,
    Question,
    StartRecord,
    is_earlier,
    is_later,
)
from fluxhive.core.values import TaskId

HOUR_MS = 3_600_000
FRESH = Question(waited_ms=0, is_gang=False)


def told(number: int, came_ms: int | None, *, middle_ms: int = HOUR_MS, gang: bool = False) -> Told:
    return Told(
        task_id=TaskId(f"t{number}"),
        told_at_ms=number,
        waited_ms=0,
        is_gang=gang,
        middle_ms=middle_ms,
        earliest_ms=middle_ms // 2,
        latest_ms=middle_ms * 2,
        came_ms=came_ms,
    )


def record_of(*came: Told) -> StartRecord:
    record = StartRecord()
    record.came.extend(came)
    return record


def test_with_little_evidence_the_rollouts_are_told_as_they_are() -> None:
    few = record_of(*(told(number, 9 * HOUR_MS) for number in range(LIKE_MIN - 1)))
    assert few.range_of((1, 2, 3, 4, 5), FRESH, 0) == (1, 3, 5)


def test_a_range_goes_from_where_few_came_earlier_to_where_few_came_later() -> None:
    # They came after a tenth of the hour, two tenths, … four hours.
    record = record_of(*(told(n, HOUR_MS * n // 10) for n in range(1, 41)))
    wait = record.range_of((HOUR_MS,) * 5, FRESH, 0)
    n_earlier = sum(came.came_ms < wait.earliest_ms for came in record.came if came.came_ms)
    n_later = sum(came.came_ms > wait.latest_ms for came in record.came if came.came_ms)
    assert n_earlier <= 40 * 8 // 100
    assert 0 < n_later <= 40 * 10 // 100
    assert wait.earliest_ms < wait.likely_ms < wait.latest_ms
    assert abs(wait.likely_ms - 2 * HOUR_MS) < HOUR_MS // 5


def test_who_still_waits_is_counted_as_waiting_at_least_so_long() -> None:
    record = record_of(*(told(n, HOUR_MS * n // 10) for n in range(1, 21)))
    before = record.range_of((HOUR_MS,) * 5, FRESH, 0)
    for number in range(100, 110):
        record.open[TaskId(f"t{number}")] = told(number, None)
    now_ms = 110 + 3 * HOUR_MS // 2
    after = record.range_of((HOUR_MS,) * 5, FRESH, now_ms)
    assert after.likely_ms > before.likely_ms
    # Of those who just asked nothing is known yet.
    assert record.range_of((HOUR_MS,) * 5, FRESH, 110).latest_ms <= before.latest_ms


def test_gangs_go_by_gangs_and_long_waits_by_long_ones() -> None:
    short = [told(n, HOUR_MS) for n in range(40)]
    gangs = [told(n, 8 * HOUR_MS, gang=True) for n in range(40, 80)]
    long = [told(n, 30 * HOUR_MS, middle_ms=10 * HOUR_MS) for n in range(80, 120)]
    record = record_of(*short, *gangs, *long)
    assert record.range_of((HOUR_MS,) * 5, FRESH, 0).likely_ms == HOUR_MS
    gang = record.range_of((HOUR_MS,) * 5, Question(waited_ms=0, is_gang=True), 0)
    assert gang.likely_ms == pytest.approx(8 * HOUR_MS, rel=0.02)
    other = record.range_of((10 * HOUR_MS,) * 5, FRESH, 0)
    assert other.likely_ms == pytest.approx(30 * HOUR_MS, rel=0.02)


def test_a_minute_more_or_less_is_right() -> None:
    said = told(1, HOUR_MS // 2 - 60_000)
    assert not is_earlier(said)
    assert is_earlier(told(1, HOUR_MS // 2 - 60_001))
    assert not is_later(told(1, 2 * HOUR_MS + 60_000))
    assert is_later(told(1, 2 * HOUR_MS + 60_001))


def test_what_is_stored_is_all_of_it_and_no_more_than_the_newest() -> None:
    record = record_of(*(told(n, HOUR_MS) for n in range(CAME_MAX + 30)))
    record.open[TaskId("t9")] = told(9, None)
    stored = record.stored(5)
    assert (stored.key, stored.seen_at_ms, len(stored.starts)) == (KEY, 5, CAME_MAX + 1)
    again = StartRecord()
    again.load(stored)
    assert (list(again.came), again.open) == (list(record.came), record.open)
    assert again.accuracy() == record.accuracy()


def test_a_range_is_ordered_and_never_in_the_past_whatever_came() -> None:
    for seed in range(100):
        chance = random.Random(seed)
        record = StartRecord()
        for number in range(chance.randrange(80)):
            came = chance.randrange(10 ** chance.randrange(1, 10))
            middle_ms = chance.randrange(10 ** chance.randrange(1, 10))
            each = told(number, came, middle_ms=middle_ms, gang=chance.random() < 0.2)
            if chance.random() < 0.2:
                record.open[each.task_id] = told(number, None, middle_ms=middle_ms)
            else:
                record.came.append(each)
        waits = tuple(sorted(chance.randrange(10**8) for _ in range(5)))
        question = Question(waited_ms=chance.randrange(10**8), is_gang=chance.random() < 0.2)
        wait = record.range_of(waits, question, 10**9)
        assert 0 <= wait.earliest_ms <= wait.likely_ms <= wait.latest_ms, seed


def test_the_sentence_counts_what_was_earlier_and_later() -> None:
    came = (HOUR_MS, HOUR_MS // 9, 3 * HOUR_MS, HOUR_MS)
    record = record_of(*(told(number, each) for number, each in enumerate(came)))
    assert record.accuracy().text == (
        "of the last 4 estimates 2 were right; 1 started earlier, 1 later"
    )
