"""The bundled training: its data are whole, it learns, says so as it goes, and fails honestly."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from fluxhive.examples import digits, digits_data
from fluxhive.examples.digits import Network


def train(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["digits", *words])
    return digits.main()


def test_the_data_are_the_1797_images_of_the_set() -> None:
    train_set, held_out = digits_data.load(seed=1)
    images = train_set + held_out
    assert len(images) == 1797
    assert {image.digit for image in images} == set(range(digits_data.CLASSES))
    assert all(len(image.pixels) == digits_data.PIXELS for image in images)
    assert all(0 <= pixel <= 1 for image in images for pixel in image.pixels)


def test_no_held_out_image_is_learned_from() -> None:
    train_set, held_out = digits_data.load(seed=1)
    learned = {(image.digit, *image.pixels) for image in train_set}
    assert len(held_out) == digits_data.HELD_OUT
    assert not [image for image in held_out if (image.digit, *image.pixels) in learned]


def test_a_short_training_learns_and_prints_each_epoch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(monkeypatch, "--epochs", "2", "--hidden", "24", "--min-accuracy", "0.85") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ["1/2", "2/2"]
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines[1:3]]
    assert losses[1] < losses[0]
    assert lines[3].startswith("learned: ")


def test_too_little_accuracy_fails_and_says_what_was_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(monkeypatch, "--epochs", "1", "--hidden", "2", "--min-accuracy", "0.99") == 1
    error = capsys.readouterr().err
    assert "99.0% wanted" in error
    assert "--epochs" in error


def test_the_same_seed_gives_the_same_network() -> None:
    def loss() -> float:
        network = Network(4, random.Random(7))
        return sum(network.learn(image, 0.05) for image in digits_data.load(seed=7)[0][:50])

    assert loss() == loss()


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    """Goal: backpropagation is right. Method: one step against the slope, measured by hand."""
    image = digits_data.load(seed=3)[0][0]
    rate, nudge = 1e-3, 1e-5
    for layer, unit, weight in (("outer", 2, 1), ("inner", 1, 20), ("inner", 0, 64)):
        network = Network(5, random.Random(3))
        weights = getattr(network, layer)[unit]
        start = weights[weight]
        losses = []
        for value in (start - nudge, start + nudge):
            probe = Network(5, random.Random(3))
            getattr(probe, layer)[unit][weight] = value
            losses.append(probe.learn(image, 0.0))
        slope = (losses[1] - losses[0]) / (2 * nudge)
        network.learn(image, rate)
        assert (start - weights[weight]) / rate == pytest.approx(slope, abs=1e-4)


def test_it_runs_as_a_module_on_the_standard_library_alone() -> None:
    """Numpy and everything else that is installed is out of reach: -S leaves site-packages out."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(digits.__file__)))
    words = ["-S", "-m", "fluxhive.examples.digits", "--epochs", "1", "--min-accuracy", "0.5"]
    done = subprocess.run(
        [sys.executable, *words],
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "learned: " in done.stdout
