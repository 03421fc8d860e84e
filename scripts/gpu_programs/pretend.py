"""As grow.py, on a pretended GPU: `pretend.py FIRST THEN SECONDS [NAME]`."""

from __future__ import annotations

import sys
import time

from fluxhive.testing import OutOfMemoryError, allocate

first, then, seconds = (float(word) for word in sys.argv[1:4])
try:
    allocate(0, round(first * 1024))
    print("holds", first, flush=True)
    time.sleep(seconds)
    if then > first:
        allocate(0, round((then - first) * 1024))
    print("holds", then, flush=True)
    time.sleep(seconds)
except OutOfMemoryError as error:
    sys.exit(f"torch.OutOfMemoryError: {error}")
