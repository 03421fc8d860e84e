"""The server is killed at any statement, migrations included: promises hold, nothing is half.

Goal: accepted submissions survive with their keys, an end that was acknowledged stays, a cancelled
task starts nowhere, and the next start works. Method: tests/helpers/kill_scenario.py; all points:
`python -m tests.helpers.kill_scenario`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_kill_at_any_point_of_the_store_breaks_no_promise() -> None:
    # A process of its own: it forks, which one with threads must not.
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.kill_scenario", "--every", "17"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    n_kills = int(done.stdout.split()[0])
    assert n_kills >= 8
