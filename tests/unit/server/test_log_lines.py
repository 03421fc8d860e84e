"""Lines by number and where a text stands: held against reading everything at once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fluxhive.protocol.log_view import LogLine
from fluxhive.server import line_index, log_lines
from fluxhive.server.log_choice import Part
from fluxhive.server.log_lines import AttemptLines
from fluxhive.server.log_stream import Gap, LogStream

BOTH = None
STDOUT, STDERR = "stdout", "stderr"


class Printed:
    """An attempt's part whose streams are written here."""

    def __init__(self, directory: Path) -> None:
        self.streams = {name: LogStream(str(directory / f"0.{name}")) for name in (STDOUT, STDERR)}
        self.lines = AttemptLines(Part(name, stream) for name, stream in self.streams.items())

    def write(self, stream: str, data: bytes, time_ms: int = 1_000) -> None:
        self.streams[stream].write(self.streams[stream].received, data, time_ms)

    def skip(self, n_bytes: int, reason: str = "the server was away") -> None:
        begin = self.streams[STDOUT].received
        self.streams[STDOUT].skip(Gap(start=begin, end=begin + n_bytes, reason=reason))

    def all(self, stream: str | None = STDOUT, first: int = 0, n: int = 2_000) -> list[LogLine]:
        return self.lines.lines(stream, first, n)[3]

    def texts(self, stream: str | None = STDOUT, first: int = 0, n: int = 2_000) -> list[str]:
        return [line.text for line in self.all(stream, first, n)]


@pytest.fixture
def printed(tmp_path: Path) -> Printed:
    return Printed(tmp_path)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that a short log has many."""
    monkeypatch.setattr(line_index, "BLOCK_BYTES", 64)
    monkeypatch.setattr(line_index, "_READ_BYTES", 256)
    monkeypatch.setattr(log_lines, "_SEARCH_BYTES", 100)


def test_lines_are_numbered_from_zero_and_from_the_end(printed: Printed) -> None:
    printed.write(STDOUT, b"one\ntwo\r\n\nfour")
    assert printed.texts() == ["one", "two", "", "four"]
    first, total, is_counted, lines = printed.lines.lines(STDOUT, -2, 10)
    assert (first, total, is_counted) == (2, 4, True)
    assert [(line.n, line.text) for line in lines] == [(2, ""), (3, "four")]
    assert printed.lines.lines(STDOUT, 99, 10) == (4, 4, True, [])


def test_a_line_that_grows_keeps_its_number(printed: Printed) -> None:
    printed.write(STDOUT, b"begin")
    assert printed.texts() == ["begin"]
    printed.write(STDOUT, b"ning\nnext\n")
    assert printed.texts() == ["beginning", "next"]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("seed", range(30))
def test_any_page_of_any_log_is_what_reading_all_of_it_gives(printed: Printed, seed: int) -> None:
    chance = random.Random(seed)
    model: list[bytes] = [b""]
    for _ in range(chance.randint(1, 60)):
        if chance.random() < 0.1:
            stream = printed.streams[STDOUT]
            goes_on = bool(stream.gaps) and stream.gaps[-1].end == stream.received
            printed.skip(chance.choice([1, 5, 63, 64, 65, 700]))
            if not goes_on:  # else it is the same gap, which became longer
                model.append(b"")
        else:
            parts = [
                bytes([chance.choice(b"ab")]) * chance.choice([0, 1, 7, 150])
                for _ in range(chance.randint(1, 6))
            ]
            data = chance.choice([b"", b"\n", b"\n\n"]).join(parts)
            printed.write(STDOUT, data)
            head, *rest = data.split(b"\n")
            model[-1] += head
            model += rest
        if chance.random() < 0.3:
            printed.all(n=chance.randint(1, 5))  # counted bit by bit
    expected = [line.decode() for line in (model if model[-1] else model[:-1])]
    assert printed.texts() == expected
    for _ in range(20):
        first, n = chance.randrange(len(expected) + 1), chance.randint(1, 9)
        lines = printed.all(first=first, n=n)
        assert [line.text for line in lines] == expected[first : first + n]
        assert [line.n for line in lines] == list(range(first, first + len(lines)))
    for wanted in ("aab", "b" * 8, "ba"):
        hits = printed.lines.search(STDOUT, wanted, first=3, limit=1_000, case=True)
        found = [n for n, text in enumerate(expected) if n >= 3 and wanted in text]
        assert [hit.n for hit in hits.hits] == found
        assert hits.next is None


def test_a_gap_is_at_the_end_of_its_line_with_its_bytes_and_reason(printed: Printed) -> None:
    printed.write(STDOUT, b"before\nhalf")
    printed.skip(1_000_000)
    printed.write(STDOUT, b"rest\nafter\n")
    lines = printed.all()
    assert [line.text for line in lines] == ["before", "half", "rest", "after"]
    gap = lines[1].gap
    assert gap is not None
    assert (gap.start, gap.end, gap.reason) == (11, 1_000_011, "the server was away")
    assert [line.gap for line in lines if line is not lines[1]] == [None, None, None]


def test_a_progress_bar_is_shown_as_it_stood_last(printed: Printed) -> None:
    states = b"".join(b"\r%d%%" % n for n in range(101))
    printed.write(STDOUT, b"start\n" + states + b"\ndone\n")
    lines = printed.all()
    assert [(line.text, line.folded) for line in lines] == [
        ("start", 0),
        ("100%", 100),
        ("done", 0),
    ]
    unfolded = printed.lines.lines(STDOUT, 1, 1, unfold=True)[3]
    assert unfolded[0].text.startswith("\r0%\r1%")
    # Longer than what is shown of a line: its end counts.
    printed.write(STDOUT, b"".join(b"\rstep %06d" % n for n in range(50_000)))
    (last,) = printed.all(first=3)
    assert (last.text, last.folded, last.cut) == ("step 049999", 49_999, False)


def test_a_long_line_is_cut_and_the_next_one_is_found(printed: Printed) -> None:
    printed.write(STDOUT, b"x" * 300_000 + b"\nnext\n")
    long, after = printed.all()
    assert (len(long.text), long.cut) == (log_lines.LINE_BYTES_MAX, True)
    assert (after.text, after.cut) == ("next", False)


def test_both_streams_stand_in_the_order_of_their_times(printed: Printed) -> None:
    printed.write(STDOUT, b"a\nb\n", 1_000)
    printed.write(STDERR, b"warning\n", 1_100)
    printed.write(STDOUT, b"c\n", 1_200)
    assert printed.texts(BOTH) == ["a", "b", "warning", "c"]
    printed.write(STDERR, b"error\n", 1_300)
    printed.write(STDOUT, b"d\n", 1_400)
    lines = printed.all(BOTH)
    assert [line.text for line in lines] == ["a", "b", "warning", "c", "error", "d"]
    assert [line.n for line in lines] == [0, 1, 2, 3, 4, 5]
    assert [line.time_ms for line in lines] == [1_000, 1_000, 1_100, 1_200, 1_300, 1_400]
    assert [line.stream for line in lines][2] == "stderr"
    assert printed.texts(BOTH, first=-2) == ["error", "d"]
    hits = printed.lines.search(BOTH, "R", first=1, limit=10, case=False)
    assert [(hit.n, hit.text) for hit in hits.hits] == [(2, "warning"), (4, "error")]
    assert printed.lines.search(BOTH, "R", first=0, limit=10, case=True).hits == ()


def test_a_search_goes_on_from_where_it_stopped(printed: Printed) -> None:
    printed.write(STDOUT, b"hit\nmiss\n" * 50)
    found: list[int] = []
    at: int | None = 0
    while at is not None:
        hits = printed.lines.search(STDOUT, "hit", first=at, limit=7, case=False)
        found += [hit.n for hit in hits.hits]
        at = hits.next
    assert found == list(range(0, 100, 2))


def test_bytes_that_the_disk_lost_are_counted_again(printed: Printed) -> None:
    stream = printed.streams[STDOUT]
    printed.write(STDOUT, b"a\n" * 100_000)
    assert printed.lines.lines(STDOUT, 0, 1)[1] == 100_000
    stream.go_back()
    printed.write(STDOUT, b"b\n" * 40_000)
    assert printed.lines.lines(STDOUT, 39_999, 1)[1] == 40_000
    assert printed.texts(first=39_999) == ["b"]


def test_what_cannot_be_counted_at_once_says_so(
    printed: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed.write(STDOUT, b"line\n" * 500_000)
    monkeypatch.setattr(log_lines, "WORK_S", -1.0)
    _, total, is_counted, _ = printed.lines.lines(STDOUT, 0, 1)
    assert not is_counted
    assert total < 500_000
    monkeypatch.setattr(log_lines, "WORK_S", 60.0)
    assert printed.lines.lines(STDOUT, 0, 1)[1:3] == (500_000, True)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("seed", range(20))
def test_lines_of_many_stand_by_their_times_and_are_found_there(tmp_path: Path, seed: int) -> None:
    """Held against sorting all lines by the time, then the stream; looked at while they grow."""
    chance = random.Random(seed)
    n_streams = chance.randint(2, 9)
    streams = [LogStream(str(tmp_path / f"{n}")) for n in range(n_streams)]
    lines = AttemptLines(Part(STDOUT, it, process=n) for n, it in enumerate(streams))
    model: list[tuple[int, int, str]] = []
    for step in range(chance.randint(1, 80)):
        of = chance.randrange(n_streams)
        # Each is written when it is read: times grow over all, and may be the same for two.
        time_ms = 1_000 + step // 2 * 50
        texts = [f"{of} says {step}.{n}" + "x" * chance.choice([0, 3, 90]) for n in range(2)]
        streams[of].write(streams[of].received, "\n".join([*texts, ""]).encode(), time_ms)
        model += [(time_ms, of, text) for text in texts]
    expected = [text for _, _, text in sorted(model, key=lambda line: line[:2])]
    assert [line.text for line in lines.lines(BOTH, 0, 2_000)[3]] == expected
    assert all(line.text.startswith(f"{line.process} ") for line in lines.lines(BOTH, 0, 2_000)[3])
    for _ in range(20):
        first, n = chance.randrange(len(expected) + 1), chance.randint(1, 9)
        page = lines.lines(BOTH, first, n)[3]
        assert [line.text for line in page] == expected[first : first + n]
        assert [line.n for line in page] == list(range(first, first + len(page)))
    wanted = f"{chance.randrange(n_streams)} says"
    first = chance.randrange(len(expected))
    hits = lines.search(BOTH, wanted, first=first, limit=1_000, case=True).hits
    found = [n for n, text in enumerate(expected) if n >= first and wanted in text]
    assert [hit.n for hit in hits] == found


def test_a_stream_that_comes_later_is_taken_up_and_no_line_is_lost(printed: Printed) -> None:
    printed.write(STDOUT, b"a\n", 1_000)
    printed.write(STDERR, b"b\n", 1_100)
    assert printed.texts(BOTH) == ["a", "b"]
    late = LogStream(printed.streams[STDOUT].path + ".late")
    late.write(0, b"late\n", 1_050)
    parts = [Part(name, stream) for name, stream in printed.streams.items()]
    assert printed.lines.take([*parts, Part(STDOUT, late, process=0)])
    assert sorted(printed.texts(BOTH)) == ["a", "b", "late"]
    assert printed.texts(STDOUT) == ["a", "late"]
    assert not printed.lines.take([Part(STDOUT, late)]), "another stream of that name"
