"""`fluxhive sweep`: what a file stands for on the command line of `submit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxhive.cli.sweep import EXAMPLE
from tests.helpers.cli_scene import set_scene
from tests.unit.cli.conftest import Cli


def test_the_example_is_the_command_line_that_one_would_write(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(EXAMPLE)
    assert cli("sweep", "--example").out == EXAMPLE
    assert cli("sweep", "sweep.toml", "--show").out == (
        "fluxhive submit --name vit --gpus 1 --gpu-mem 20G --time 4h --at-most 8 "
        "--array lr=1e-3,1e-4 --array seed=0..4 -- "
        "python train.py --lr '{lr}' --seed '{seed}'\n"
    )


def test_it_is_submitted_as_one_array(cli: Cli, tmp_path: Path) -> None:
    set_scene(cli.server)
    (tmp_path / "sweep.toml").write_text(EXAMPLE)
    assert cli("sweep", "sweep.toml", "-q", "--name", "other").out == "t-n3w1\n"
    (body,) = cli.server.bodies("POST", "/tasks")
    assert body["name"] == "other"
    assert body["request"] == {"gpus": 1, "gpu_memory_mib": 20480}
    assert body["array"]["variables"] == [  # type: ignore[index]
        {"name": "lr", "values": ["1e-3", "1e-4"]},
        {"name": "seed", "first": 0, "last": 4},
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "`command` is a text, or a list of texts"),
        ('command = "x"', "`vary` is a table of variables"),
        ('command = "x"\ngpu = 1\n[vary]\na = [1]', "`gpu` is no option of `fluxhive submit`"),
        ('command = "x"\nfollow = true\n[vary]\na = [1]', "`follow` is no option"),
        ('command = "x"\nexclusive = "yes"\n[vary]\na = [1]', "`exclusive` is true or false"),
        ('command = "x"\n[vary]\na = 3', "`vary.a` is a list, or a text such as `0..4`"),
        ('command = "x"\n[vary]\na = ["1,2"]', "`vary.a` has a value with a comma"),
        ("command = [", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(cli: Cli, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "sweep.toml").write_text(text)
    done = cli("sweep", "sweep.toml")
    assert (done.code, cli.server.asked) == (2, [])
    assert done.err.startswith("error: `sweep.toml`")
    assert said in done.err
    assert "\nhint: " in done.err


def test_env_is_a_table_or_a_list(cli: Cli, tmp_path: Path) -> None:
    head = 'command = "x"\ntag = ["a100", "nvme"]\nexclusive = true\n'
    (tmp_path / "s.toml").write_text(f'{head}[env]\nA = "1"\n[vary]\nn = "0..2"\n')
    shown = cli("sweep", "s.toml", "--show").out
    assert shown == (
        "fluxhive submit --tag a100 --tag nvme --exclusive --env A=1 --array n=0..2 -- x\n"
    )
