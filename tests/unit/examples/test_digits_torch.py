"""The PyTorch twin: learns on the device that it is given, and says what to do without PyTorch."""

from __future__ import annotations

import sys

import pytest
import torch

from fluxhive.examples import digits_torch


def test_it_learns_and_names_its_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--epochs", "2", "--width", "16", "--min-accuracy", "0.6", "--hold-gpu-mib", "4"]
    monkeypatch.setattr(sys, "argv", ["digits_torch", *words])
    assert digits_torch.main() == 0
    out = capsys.readouterr().out
    assert out.startswith(f"PyTorch {torch.__version__} on ")
    assert "held 4 MiB" in out
    assert "learned: " in out


def test_seconds_go_before_epochs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--seconds", "0", "--epochs", "9", "--width", "4", "--min-accuracy", "0"]
    monkeypatch.setattr(sys, "argv", ["digits_torch", *words])
    assert digits_torch.main() == 0
    assert capsys.readouterr().out.count("epoch ") == 1
