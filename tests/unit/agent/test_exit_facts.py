"""What the output files of an attempt that is over say about its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxhive.agent.exit_facts import Output
from fluxhive.agent.output_files import make_apart, processes_apart
from fluxhive.core.sign_words import Says
from fluxhive.core.signs import read_signs

#: As torch's launcher ends when the second process on this node failed first.
SUMMARY = """\
Root Cause (first observed failure):
[0]:
  time      : 2026-11-26_04:12:31
  rank      : 3 (local_rank: 1)
  exitcode  : 1 (pid: 4711)
"""
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory of two processes whose output is apart."""
    (tmp_path / "stdout").write_bytes(b"")
    (tmp_path / "stderr").write_text(SUMMARY)
    make_apart(str(tmp_path), 2)
    return tmp_path


def test_the_last_words_are_those_of_the_process_that_failed_first_and_its_launchers(
    run: Path,
) -> None:
    (run / "processes" / "0.stderr").write_text("interrupted by the others\n")
    (run / "processes" / "1.stderr").write_text("x" * 5000 + "\nValueError: the cause\n")
    output = Output(str(run), None)
    assert output.process_bytes == (0, 26, 0, 5023)
    assert output.last().endswith("ValueError: the cause\n" + SUMMARY)
    assert len(output.last()) == 4096
    assert "interrupted" not in output.last()


def test_one_process_out_of_memory_is_not_hidden_by_what_another_one_printed_later(
    run: Path,
) -> None:
    (run / "processes" / "0.stderr").write_text(OOM)
    (run / "processes" / "1.stderr").write_text("an ordinary line\n" * 100 + "ValueError: late\n")
    assert read_signs(Output(str(run), None).signs()).says is Says.GPU_OOM


def test_a_process_that_caught_it_and_went_on_was_not_ended_by_it(run: Path) -> None:
    (run / "processes" / "0.stderr").write_text(OOM + "an ordinary line\n" * 100)
    (run / "processes" / "1.stderr").write_text("ValueError: no\n")
    assert read_signs(Output(str(run), None).signs()).says is not Says.GPU_OOM


def test_only_names_like_ours_are_followed_whatever_the_task_put_there(run: Path) -> None:
    for name in ("7", "x.stdout", "99.stdout", "-1.stdout"):
        (run / "processes" / name).write_bytes(b"")
    assert processes_apart(str(run)) == 2
