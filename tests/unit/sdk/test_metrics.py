"""`fluxhive.log` inside a task and outside: one line each, and never in the program's way."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import fluxhive
from fluxhive.sdk import metrics


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "metrics"
    monkeypatch.setenv("FLUXHIVE_METRICS", str(path))
    monkeypatch.setattr(metrics, "_file", metrics._File())
    monkeypatch.setattr(metrics, "_said", set())
    return path


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_call_is_a_line(file: Path) -> None:
    fluxhive.log(step=3, loss=0.5, correct=True)
    fluxhive.log({"val/acc": 1})
    first, second = lines(file)
    assert (first["step"], first["values"]) == (3, {"loss": 0.5, "correct": 1.0})
    assert second["values"] == {"val/acc": 1.0}
    assert "step" not in second
    assert first["time_ms"] > 1_700_000_000_000


def test_what_is_not_finite_is_kept(file: Path) -> None:
    fluxhive.log(loss=math.nan, grad=-math.inf)
    assert lines(file)[0]["values"] == {"loss": "nan", "grad": "-inf"}


def test_what_is_no_number_is_said_once_and_the_rest_is_kept(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        fluxhive.log(loss=0.5, name="vit")
    fluxhive.log(step="last", loss=0.5)
    assert [line["values"] for line in lines(file)] == [{"loss": 0.5}] * 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "`name` is no number" in said[0]
    assert "`step` is no whole number" in said[1]


def test_outside_a_task_it_does_nothing_and_says_so_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLUXHIVE_METRICS")
    fluxhive.log(loss=1)
    fluxhive.log(loss=2)
    assert not file.exists()
    assert capsys.readouterr().err == "fluxhive.log outside a task: nothing is kept\n"


def test_a_full_disk_and_a_full_file_do_not_end_the_program(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fluxhive.log(loss=1)
    monkeypatch.setattr(metrics, "FILE_BYTES_MAX", file.stat().st_size)
    fluxhive.log(loss=2)
    assert len(lines(file)) == 1
    monkeypatch.setenv("FLUXHIVE_METRICS", "/dev/full")
    fluxhive.log(loss=3)
    said = capsys.readouterr().err
    assert "no more is written" in said
    assert "cannot write /dev/full" in said
