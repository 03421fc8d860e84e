"""What FlowHive asks of torch's launcher, in a few lines, for tests that need no PyTorch."""

from __future__ import annotations

from pathlib import Path

#: So many processes, each told its rank.
LAUNCHER = """
import os, subprocess, sys
def main():
    words = sys.argv[1:]
    n = next(int(w.partition("=")[2]) for w in words if w.startswith("--nproc-per-node="))
    command = words[words.index("--no-python") + 1 :]
    envs = [{**os.environ, "RANK": str(k), "LOCAL_RANK": str(k)} for k in range(n)]
    codes = [each.wait() for each in [subprocess.Popen(command, env=env) for env in envs]]
    return max(codes)
"""


def stand_in_torch(home: Path) -> str:
    """Puts the launcher into this home; for the PYTHONPATH of a task."""
    package = home / "stand_in" / "torch" / "distributed"
    package.mkdir(parents=True)
    (package / "run.py").write_text(LAUNCHER)
    return str(home / "stand_in")
