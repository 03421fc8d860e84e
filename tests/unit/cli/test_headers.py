"""Options in the head of a script, and a command line of sbatch, as `submit` understands them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fluxhive.cli.slurm import translate
from tests.helpers.cli_scene import set_scene
from tests.unit.cli.conftest import Cli, Done

SBATCH = """\
#!/bin/bash
#SBATCH --job-name=vit --time=4:00:00
#SBATCH --gres=gpu:a100:2   # two of them
#SBATCH -c 8 --mem=64G
#SBATCH --partition=gpu
#SBATCH -o logs/%x-%j.out
#FLUXHIVE --gpu-mem 20G --tag nvme

#SBATCH --array=1,3,5%2
echo $SLURM_ARRAY_TASK_ID of $SLURM_JOB_ID
srun python train.py
#SBATCH --nodes=9
"""


@pytest.fixture
def script(cli: Cli, tmp_path: Path) -> Path:
    set_scene(cli.server)
    path = tmp_path / "train.sh"
    path.write_text(SBATCH)
    return path


def submitted(cli: Cli, *words: str) -> tuple[dict[str, Any], Done]:
    done = cli(*words)
    assert done.code == 0, done.err
    return cli.server.bodies("POST", "/tasks")[-1], done


def test_the_head_of_a_slurm_script_is_kept_to(cli: Cli, script: Path) -> None:
    body, done = submitted(cli, "sbatch", "train.sh", "--epochs", "3")
    assert body["name"] == "vit"
    assert body["time_limit_ms"] == 4 * 3600 * 1000
    assert body["request"] == {
        "gpus": 2,
        "gpu_model": "a100",
        "gpu_memory_mib": 20480,
        "cpus": 8,
        "memory_mib": 65536,
        "tags": ["nvme"],
    }
    assert body["array"] == {
        "variables": [{"name": "SLURM_ARRAY_TASK_ID", "values": ["1", "3", "5"]}],
        "count": 3,
        "at_most": 2,
    }
    assert body["command"] == ["/bin/bash", "./train.sh", "--epochs", "3"]
    assert done.err.splitlines() == [
        "warning: train.sh: `--partition=gpu`: there are no partitions here; it runs on any node "
        "where it fits, `--tag` or `--gpu-model` narrow that",
        "warning: train.sh: no file `logs/vit-%j.out` is written: `fluxhive logs ID` shows the "
        "output, each line behind its member, `fluxhive logs 'ID[3]'` of one",
        "warning: train.sh: it uses $SLURM_JOB_ID, which is not set here: $FLUXHIVE_TASK_ID has it",
        "warning: train.sh: it starts `srun`, which is not there; the command alone does, "
        "or `--torchrun`",
    ]


def test_the_command_line_goes_before_the_head(cli: Cli, script: Path) -> None:
    body, _ = submitted(cli, "submit", "--name", "mine", "--gpus", "1", "--cpus", "2", "./train.sh")
    assert (body["name"], body["request"]["gpus"], body["request"]["cpus"]) == ("mine", 1, 2)


def test_a_script_that_is_executable_is_run_by_itself(cli: Cli, script: Path) -> None:
    script.chmod(0o755)
    body, _ = submitted(cli, "submit", "train.sh")
    assert (body["command"], body["executor"]) == (["./train.sh"], "shell")


def test_a_head_for_python_keeps_the_words(cli: Cli, tmp_path: Path) -> None:
    set_scene(cli.server)
    (tmp_path / "train.py").write_text("#FLUXHIVE --gpus 1\nprint()\n")
    body, done = submitted(cli, "submit", "--python", ".venv", "--", "train.py", "--lr", "1")
    assert body["command"] == ["train.py", "--lr", "1"]
    assert (body["request"]["gpus"], done.err) == (1, "")


def test_other_words_are_left_as_they_are(cli: Cli, tmp_path: Path) -> None:
    set_scene(cli.server)
    (tmp_path / "data").write_text("no script")
    (tmp_path / "env").write_text("#!/bin/sh\n")  # a program of this name is on PATH
    for words in (["python", "x.py"], ["data"], ["env", "FOO=1"], ["echo $HOME | wc"]):
        body, _ = submitted(cli, "submit", "--", *words)
        assert body["command"] == words


def test_a_wrong_head_is_named_with_its_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("#!/bin/sh\n#FLUXHIVE --gpu 1\n")
    done = cli("submit", "a.sh")
    assert (done.code, cli.server.asked) == (2, [])
    assert done.err.startswith("error: the head of `a.sh`: no such option")
    (tmp_path / "a.sh").write_text("#!/bin/sh\n#SBATCH --time=soon\n")
    assert cli("submit", "a.sh").err.startswith("error: `--time=soon` of Slurm is not understood")
    (tmp_path / "a.sh").write_text('#!/bin/sh\n#SBATCH -J "x\n')
    assert cli("submit", "a.sh").err.startswith("error: line 2 of `a.sh` cannot be read")


def test_a_command_line_of_sbatch_is_understood(cli: Cli, tmp_path: Path) -> None:
    set_scene(cli.server)
    (tmp_path / "a.sh").write_text("#!/bin/sh\n")
    words = ["-J", "x", "-t30", "--gpus=1", "-n", "4", "--gpu-mem", "8G", "--parsable", "a.sh"]
    body, done = submitted(cli, "sbatch", *words)
    assert (body["name"], body["time_limit_ms"]) == ("x", 30 * 60 * 1000)
    assert body["request"] == {"gpus": 1, "gpu_memory_mib": 8192, "cpus": 4}
    assert done.out == "t-n3w1\n"
    assert "`--ntasks=4`: one process is started on each node" in done.err


def test_a_wrapped_line_is_the_command(cli: Cli) -> None:
    set_scene(cli.server)
    body, _ = submitted(cli, "sbatch", "--gres=gpu:1", "--wrap", "python train.py | tee log")
    assert (body["command"], body["executor"]) == (["python train.py | tee log"], "shell")
    assert body["request"] == {"gpus": 1}
    done = cli("sbatch", "--wrap=hostname", "train.sh")
    assert (done.code, done.err.splitlines()[0]) == (
        2,
        "error: `--wrap` and a script exclude each other",
    )


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (("time", "90"), "--time 5400s"),
        (("time", "1:30"), "--time 90s"),
        (("time", "2-12"), "--time 216000s"),
        (("time", "1-00:00:01"), "--time 86401s"),
        (("time", "UNLIMITED"), ""),
        (("mem", "16000"), "--mem 16000M"),
        (("mem", "0"), ""),
        (("gres", "gpu"), "--gpus 1"),
        (("gres", "gpu:h100"), "--gpus 1 --gpu-model h100"),
        (("array", "0-9"), "--array SLURM_ARRAY_TASK_ID=0..9"),
        (("array", "0-8:4"), "--array SLURM_ARRAY_TASK_ID=0,4,8"),
        (("dependency", "afterok:t-1:t-2"), "--after t-1:ok --after t-2:ok"),
        (("dependency", "singleton"), ""),
        (("begin", "now+2hours"), "--begin +2h"),
        (("begin", "16:00"), "--begin 16:00"),
        (("constraint", "a100&nvme"), "--tag a100 --tag nvme"),
        (("export", "ALL,K=V"), "--env K=V"),
        (("no-requeue", ""), "--at-most-once"),
        (("nodes", "2"), "--nodes 2"),
        (("frobnicate", "1"), ""),
    ],
)
def test_each_option_has_its_twin_or_a_word_about_it(asked: tuple[str, str], options: str) -> None:
    twin = translate([asked])
    assert " ".join(twin.options) == options
    is_silent = asked[1] in ("UNLIMITED",)
    assert bool(twin.warnings) == (not options and not is_silent) or asked[0] == "export"


def test_memory_by_cpu_and_by_gpu_is_multiplied() -> None:
    asked = [("cpus-per-task", "4"), ("mem-per-cpu", "2G")]
    assert translate(asked).options[-2:] == ("--mem", "8192M")
    asked = [("gres", "gpu:a100:2"), ("mem-per-gpu", "32G")]
    assert translate(asked).options[-2:] == ("--mem", "65536M")
