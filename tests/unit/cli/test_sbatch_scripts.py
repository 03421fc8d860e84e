"""Heads of scripts as people have them: each option is used, or a sentence says why it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxhive.cli.headers import head_of

#: The `#SBATCH` options of a script, what they become, and the options that are spoken of.
SCRIPTS = {
    "one GPU of a university": (
        "--job-name=resnet --partition=gpu --gres=gpu:1 --cpus-per-task=8 --mem=32G "
        "--time=1-00:00:00 --output=logs/%x_%j.out --error=logs/%x_%j.err "
        "--mail-type=END,FAIL --mail-user=ada@example.org",
        "--name resnet --gpus 1 --cpus 8 --mem 32768M --time 86400s",
        "partition .out .err mail-type",
    ),
    "an array of seeds": (
        "-J seeds -a 1-20%5 --gres=gpu:2 -c 4 -t 04:00:00 -o logs/%A_%a.out",
        "--name seeds --array SLURM_ARRAY_TASK_ID=1..20 --at-most 5 --gpus 2 --cpus 4 "
        "--time 14400s",
        ".out",
    ),
    "several processes on several nodes": (
        "--nodes=2 --ntasks-per-node=4 --gpus-per-node=a100:4 --cpus-per-task=8 --exclusive",
        "--nodes 2 --gpus 4 --gpu-model a100 --cpus 32 --exclusive",
        "ntasks exclusive",
    ),
    "GPUs of all nodes together": ("-N 2 -G 8 -n 2", "--nodes 2 --gpus 4 --cpus 1", "ntasks"),
    "a GPU for each process": (
        "--ntasks=4 --gpus-per-task=1 --cpus-per-task=2 --mem-per-cpu=4G",
        "--gpus 4 --cpus 8 --mem 32768M",
        "ntasks",
    ),
    "after another": (
        "--dependency=afterok:t-7f3k,afterany:t-b0t5 --begin=now+1hour",
        "--after t-7f3k:ok --after t-b0t5:any --begin +1h",
        "",
    ),
    "of an account": (
        "--account=nlp --qos=high --constraint=a100 --nodelist=gpu-a,gpu-b --exclude=gpu-c",
        "--project nlp --tag a100 --node gpu-a --node gpu-b",
        "qos exclude",
    ),
    "one that saves before its end": (
        "--signal=B:USR1@90 --requeue --open-mode=append --time=30",
        "--time 1800s",
        "signal",
    ),
    "a program of the processor": ("-n 16 --mem-per-cpu=2000", "--cpus 16 --mem 32000M", "ntasks"),
    "one with its environment": (
        "--export=ALL,WANDB_MODE=offline --chdir=/data --no-requeue --hold --nice=100",
        "--env WANDB_MODE=offline --workdir /data --at-most-once --hold",
        "export nice",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_of_slurm_is_kept_to_or_told_what_is_not(name: str, tmp_path: Path) -> None:
    asked, options, spoken_of = SCRIPTS[name]
    path = tmp_path / "job.sh"
    lines = asked.replace(" -", "\n#SBATCH -")
    path.write_text(f"#!/bin/bash\n#SBATCH {lines}\npython train.py\n")
    head = head_of([str(path)])
    assert head is not None
    assert " ".join(head.options) == options
    assert len(head.warnings) == len(spoken_of.split())
    for word, said in zip(spoken_of.split(), head.warnings, strict=True):
        assert word in said
