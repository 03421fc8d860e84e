"""Without PyTorch its example says so, and what runs instead."""

from __future__ import annotations

import sys

import pytest

from fluxhive.examples import digits_torch


def test_a_missing_pytorch_is_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(digits_torch, "torch", None)
    monkeypatch.setattr(sys, "argv", ["digits_torch"])
    assert digits_torch.main() == 1
    error = capsys.readouterr().err
    assert "PyTorch is not installed" in error
    assert "hint: pip install torch" in error
