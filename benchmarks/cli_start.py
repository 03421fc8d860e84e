"""How long common verbs take to start, beside a bare interpreter and, where installed, other tools.

Each command runs as a process of its own, in turns, with everything it needs in the file cache.
Ours ask a hive with one node and a few tasks. The peers print their version or help and nothing
more: their daemons are not started, so that they ask nobody.

    python benchmarks/cli_start.py [--rounds 20] [--peers DIRECTORY]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.cli_hive import CliHive

LIMIT = 6.0
"""`fluxhive --help` takes at most so many times a bare interpreter."""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--peers", type=Path, help="directory with programs of other tools")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as home:
        hive = CliHive(Path(home), FLOWHIVE_FAKE_GPUS="4x80G")
        hive.up()
        # Slurm's programs do nothing without one, not even tell their version.
        slurm = Path(home) / "slurm.conf"
        slurm.write_text("ClusterName=none\nSlurmctldHost=localhost\n")
        try:
            for _ in range(3):
                hive.submit("--gpus", "1", "--", "sleep 600")
            env = {**hive.env, "SLURM_CONF": str(slurm)}
            took, cpu = measure(commands(given.peers), env, given.rounds)
        finally:
            hive.down()
    bare = statistics.median(took["python -c pass"])
    print(f"load {os.getloadavg()[0]:.1f}, {given.rounds} rounds, Python {sys.version.split()[0]}")
    print(f"{'command':<34}{'median':>10}{'least':>10}{'most':>10}{'bare x':>9}{'CPU':>10}")
    for name, times in took.items():
        median = statistics.median(times)
        print(
            f"{name:<34}{median * 1000:>7.0f} ms{min(times) * 1000:>7.0f} ms"
            f"{max(times) * 1000:>7.0f} ms{median / bare:>9.1f}"
            f"{statistics.median(cpu[name]) * 1000:>7.0f} ms"
        )
    ratio = statistics.median(took["fluxhive --help"]) / bare
    print(f"fluxhive --help: {ratio:.1f} times a bare interpreter, at most {LIMIT:.0f}")
    return 0 if ratio <= LIMIT else 1


def commands(peers: Path | None) -> dict[str, list[str]]:
    """What is run, by what it is called in the table."""
    fluxhive = [sys.executable, "-m", "fluxhive.cli.fluxhive"]
    found = {"python -c pass": [sys.executable, "-c", "pass"]}
    for line in ("--help", "version", "submit --help", "ps", "gpus", "nodes", "submit -q -- true"):
        found[f"fluxhive {line}"] = [*fluxhive, *line.split()]
    path = os.environ["PATH"] if peers is None else f"{peers}{os.pathsep}{os.environ['PATH']}"
    for line in ("squeue --version", "sbatch --help", "hq --version", "hq job list --help"):
        program = shutil.which(line.split()[0], path=path)
        if program is not None:
            found[line] = [program, *line.split()[1:]]
    ray = shutil.which("ray", path=path)
    if ray is not None:
        found["ray --help"] = [ray, "--help"]
    return found


Seconds = dict[str, list[float]]


def measure(
    words: dict[str, list[str]], env: dict[str, str], rounds: int
) -> tuple[Seconds, Seconds]:
    """Seconds and CPU seconds of each run; the first round warms the file cache and is left out."""
    took: Seconds = {name: [] for name in words}
    cpu: Seconds = {name: [] for name in words}
    for number in range(rounds + 1):
        for name, command in words.items():
            used, begun = cpu_s(), time.perf_counter()
            done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True)
            if number:
                took[name].append(time.perf_counter() - begun)
                cpu[name].append(cpu_s() - used)
            elif done.returncode:
                raise SystemExit(f"{name} ended with {done.returncode}: {done.stderr.decode()}")
    return took, cpu


def cpu_s() -> float:
    """CPU time of all processes that have ended beneath this one."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
