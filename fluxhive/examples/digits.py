"""Trains a small network on real handwritten digits, in pure Python: no download, no GPU.

One hidden layer, softmax, stochastic gradient descent with momentum left out on purpose: each step
can be read. Run it with ``python -m fluxhive.examples.digits``.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from operator import mul

from .digits_data import CLASSES, PIXELS, Image, load

Vector = list[float]


class Network:
    """64 pixels → hidden units → 10 digits; each unit's bias is its last weight."""

    def __init__(self, hidden: int, chance: random.Random) -> None:
        self.inner = [_weights(PIXELS, chance) for _ in range(hidden)]
        self.outer = [_weights(hidden, chance) for _ in range(CLASSES)]

    def forward(self, pixels: Vector) -> tuple[Vector, Vector, Vector]:
        """Inputs and hidden activations (each with a 1 for the bias), and the probabilities."""
        inputs = [*pixels, 1.0]
        hidden = [max(0.0, sum(map(mul, unit, inputs))) for unit in self.inner]
        hidden.append(1.0)
        scores = [sum(map(mul, unit, hidden)) for unit in self.outer]
        top = max(scores)
        powers = [math.exp(score - top) for score in scores]
        total = sum(powers)
        return inputs, hidden, [power / total for power in powers]

    def learn(self, image: Image, rate: float) -> float:
        """One step of gradient descent; gives the loss before it."""
        inputs, hidden, chances = self.forward(image.pixels)
        loss = -math.log(max(chances[image.digit], 1e-12))
        errors = chances
        errors[image.digit] -= 1.0
        back = [
            sum(map(mul, errors, column)) if active > 0 else 0.0
            for active, column in zip(hidden, zip(*self.outer, strict=True), strict=True)
        ]
        for unit, error in zip(self.outer, errors, strict=True):
            step = rate * error
            unit[:] = [weight - step * active for weight, active in zip(unit, hidden, strict=True)]
        for unit, error in zip(self.inner, back, strict=False):
            if error:
                step = rate * error
                unit[:] = [weight - step * x for weight, x in zip(unit, inputs, strict=True)]
        return loss

    def accuracy(self, images: list[Image]) -> float:
        """The part of the images that are recognised."""
        right = 0
        for image in images:
            chances = self.forward(image.pixels)[2]
            right += chances.index(max(chances)) == image.digit
        return right / len(images)


def _weights(inputs: int, chance: random.Random) -> Vector:
    # He et al. 2015, "Delving Deep into Rectifiers", eq. 10: keeps the size of signals.
    spread = math.sqrt(2 / inputs)
    return [chance.gauss(0, spread) for _ in range(inputs)] + [0.0]


def main() -> int:
    """Trains, prints each epoch, and says whether it learned; the exit code says so too."""
    parser = argparse.ArgumentParser(prog="digits", description="Learn to read handwritten digits.")
    parser.add_argument("--epochs", type=int, default=40, metavar="N")
    parser.add_argument("--hidden", type=int, default=64, metavar="N", help="hidden units")
    parser.add_argument("--rate", type=float, default=0.05, help="step of the first epoch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--min-accuracy", type=float, default=0.93, help="fail below this")
    options = parser.parse_args()
    train, held_out = load(options.seed)
    chance = random.Random(options.seed)
    network = Network(options.hidden, chance)
    print(
        f"handwritten digits: {len(train)} images to learn from, {len(held_out)} held out; "
        f"{options.hidden} hidden units",
        flush=True,
    )
    accuracy = network.accuracy(held_out)
    started = time.monotonic()
    for epoch in range(1, options.epochs + 1):
        rate = options.rate / (1 + 0.15 * (epoch - 1))
        chance.shuffle(train)
        loss = sum(network.learn(image, rate) for image in train) / len(train)
        accuracy = network.accuracy(held_out)
        print(
            f"epoch {epoch:2}/{options.epochs}  loss {loss:.4f}  "
            f"accuracy {accuracy:.1%}  {time.monotonic() - started:5.1f} s",
            flush=True,
        )
    if accuracy < options.min_accuracy:
        print(
            f"it did not learn enough: {accuracy:.1%} of held-out digits, "
            f"{options.min_accuracy:.1%} wanted; give it more --epochs",
            file=sys.stderr,
        )
        return 1
    print(f"learned: {accuracy:.1%} of {len(held_out)} digits that it had never seen", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
