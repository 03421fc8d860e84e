"""Hydra's submitit launcher on a hive: a sweep is one array of tasks."""

from __future__ import annotations

import subprocess
import sys

import hydra

from tests.helpers.cli_hive import CliHive

assert hydra, "named here so that the file is left out where it is missing"

PROGRAM = """
import hydra, pathlib

@hydra.main(version_base=None, config_path=None, config_name=None)
def main(config):
    pathlib.Path("out").write_text(str(config.lr * 2))

main()
"""


def test_a_sweep_runs_on_the_hive(hive: CliHive) -> None:
    (hive.home / "sweep.py").write_text(PROGRAM)
    words = ["-m", "+lr=1,2,3", "hydra/launcher=submitit_fluxhive", "hydra.sweep.dir=runs"]
    words += [
        "hydra.launcher.priority=high",
        "hydra.launcher.cpus_per_task=1",
        "hydra.job.chdir=true",
    ]
    done = subprocess.run(
        [sys.executable, "sweep.py", *words],
        cwd=hive.home,
        env={
            **hive.env,
            "FLOWHIVE_CONTROL_URL": hive.transport.base_url,
            "FLOWHIVE_TOKEN": str(hive.transport.token),
        },
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    outs = [(hive.home / "runs" / str(n) / "out").read_text() for n in range(3)]
    assert outs == ["2", "4", "6"]
    (array,) = [each for each in hive.json("ps", "-a")["tasks"] if "members" in each]
    assert array["members"]["succeeded"] == 3
