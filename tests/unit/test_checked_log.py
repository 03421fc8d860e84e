"""The log that proves itself: lost, doubled and changed bytes are seen, each with its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import checked_log
from tests.helpers.checked_log import first_fault, read_witness, written

WHOLE = written(0, 100_000)


@pytest.mark.parametrize(
    "damaged",
    [
        WHOLE[:5_000] + WHOLE[5_001:],
        WHOLE[:5_000] + WHOLE[4_999:],
        WHOLE[:5_000] + b"!" + WHOLE[5_001:],
        WHOLE[:5_000] + bytes(3) + WHOLE[5_003:],
        WHOLE[: 64 * 100] + WHOLE[64 * 101 :],
        WHOLE[: 64 * 100] + WHOLE[64 * 99 :],
    ],
    ids=["lost", "doubled", "changed", "hole", "line-lost", "line-doubled"],
)
def test_every_kind_of_damage_is_seen_where_it_is(damaged: bytes) -> None:
    fault = first_fault(damaged)
    assert fault is not None
    assert 4_990 <= fault.offset <= 64 * 101
    assert fault.wanted != fault.found


def test_a_part_of_a_stream_is_checked_by_itself() -> None:
    assert first_fault(WHOLE[777:50_001], 777) is None
    assert first_fault(WHOLE[777:50_001], 778) is not None


def test_a_stream_that_is_too_short_is_not_whole() -> None:
    with pytest.raises(AssertionError, match="99999 bytes are stored of 100000"):
        checked_log.assert_whole(WHOLE[:-1], 100_000)


def test_the_writer_leaves_a_witness_and_its_exit_code(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    words = ["write", "--bytes", "70000", "--burst", "9000", "--both", "--code", "5"]
    done = subprocess.run(
        [sys.executable, checked_log.__file__, *words, "--witness", str(witness)],
        env={"FLUXHIVE_ATTEMPT_ID": "t-1.1", "FLUXHIVE_EPOCH": "3"},
        capture_output=True,
    )
    assert done.returncode == 5
    checked_log.assert_whole(done.stdout, 70_000)
    assert done.stderr == done.stdout
    beats = read_witness(witness.read_text() + "beat t-1.1 3")
    assert [beats[0].word, beats[-1].word] == ["start", "end"]
    assert {(beat.attempt, beat.epoch) for beat in beats} == {("t-1.1", 3)}
    assert beats[-1].number == 5
