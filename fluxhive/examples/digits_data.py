"""The handwritten digits that both examples learn from (DIGITS-LICENSE.txt)."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import NamedTuple

PIXELS = 64
CLASSES = 10
#: Images kept out of the training, to see what was learned.
HELD_OUT = 360
_FILE = Path(__file__).with_name("digits.csv.gz")


class Image(NamedTuple):
    """One digit: its pixels from 0 to 1, row by row, and which it is."""

    pixels: list[float]
    digit: int


def load(seed: int) -> tuple[list[Image], list[Image]]:
    """The images to learn from and the held-out ones, shuffled by the seed."""
    images = []
    with gzip.open(_FILE, "rt", encoding="ascii") as lines:
        for line in lines:
            numbers = [int(part) for part in line.split(",")]
            images.append(Image([number / 16 for number in numbers[:PIXELS]], numbers[PIXELS]))
    random.Random(seed).shuffle(images)
    return images[HELD_OUT:], images[:HELD_OUT]
