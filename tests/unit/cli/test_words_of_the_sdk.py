"""The SDK's options are the command line's flags: the same words make the same task."""

from __future__ import annotations

from typing import Any

import pytest

from fluxhive import Client
from fluxhive.cli.queueing import QUEUE_NAMES
from fluxhive.cli.submit import command
from fluxhive.core.errors import InputError
from fluxhive.sdk.options import NAMES
from fluxhive.transport import Transport
from tests.helpers.cli_views import task
from tests.unit.cli.conftest import Cli

#: Flags that are about the command line, and those of others' words.
NOT_OPTIONS = {
    "dry_run", "is_followed", "kind", "control_url", "is_json", "is_quiet", "words",
    "output", "columns", "colour",
}  # fmt: skip
IN_OTHER_WORDS = {
    "time_limit": "time",
    "is_strict": "strict",
    "tags": "tag",
    "on_nodes": "node",
    "variables": "env",
    "secrets": "secret",
    "mounts": "mount",
    "is_torchrun": "torchrun",
    "is_shell": "shell",
    "is_zip": "zip",
}


_ONE_MODEL = {"gpus": 2, "gpu_model": "a100", "exclusive": True}


def client(cli: Cli) -> Client:
    return Client(transport=Transport("http://hive", sender=cli.server))


def both(cli: Cli, flags: str, words: tuple[str, ...], options: dict[str, Any]) -> list[Any]:
    cli.server.on("POST", "/tasks", task(), status=201)
    done = cli("submit", *flags.split(), "--", *words)
    assert done.code == 0, done.err
    client(cli).submit(*words, **options)
    return cli.server.bodies("POST", "/tasks")


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("", {}),
        ("--gpus 1 --gpu-mem 20G --strict", {"gpus": 1, "gpu_mem": "20G", "strict": True}),
        ("--gpus 1 --gpu-mem 2048", {"gpus": 1, "gpu_mem": 2048}),
        ("--gpus 2 --gpu-model a100 --exclusive", _ONE_MODEL),
        ("--cpus 4 --mem 16G --nodes 2", {"cpus": 4, "mem": "16G", "nodes": 2}),
        ("--tag nvme --tag a100 --node gpu-a", {"tag": ["nvme", "a100"], "node": "gpu-a"}),
        ("--time 4h --grace 90s --backoff 10", {"time": "4h", "grace": 90, "backoff": 10.0}),
        ("-n vit --project p -p high", {"name": "vit", "project": "p", "priority": "high"}),
        ("--retry 3 --retry-on exit:3,signal:9", {"retry": 3, "retry_on": ["exit:3", "signal:9"]}),
        ("--retry 1 --retry-elsewhere", {"retry": 1, "retry_elsewhere": True}),
        ("--gpus 1 --oom fail", {"gpus": 1, "oom": "fail"}),
        ("--env A=1 --secret K --secret F=file", {"env": {"A": "1"}, "secret": ["K", "F=file"]}),
        ("--workdir sub --at-most-once", {"workdir": "sub", "at_most_once": True}),
        ("--failover 30m --merge-output", {"failover": "30m", "merge_output": True}),
        (
            "--preemptible --min-run 0 --checkpoint-signal SIGUSR1",
            {"preemptible": True, "min_run": 0, "checkpoint_signal": "usr1"},
        ),
        ("--image i --mount /d:/d:ro", {"image": "i", "mount": "/d:/d:ro"}),
        ("--python /venv", {"python": "/venv"}),
        ("--torchrun --nproc-per-node 2", {"torchrun": True, "nproc_per_node": 2}),
        ("--torchrun --prefix-ranks", {"torchrun": True, "prefix_ranks": True}),
        ("--after t-1 --after t-2:any", {"after": ["t-1", "t-2:any"]}),
        ("--begin 2999-01-01T00:00+00:00", {"begin": "2999-01-01T00:00+00:00"}),
        ("--array 0-99%8", {"array": "0-99%8"}),
        ("--array lr=1,2 s=0,1 --zip", {"array": {"lr": [1, 2], "s": "01"}, "zip": True}),
        ("--array 0-9 --at-most 2", {"array": "0-9", "at_most": 2}),
    ],
)
def test_the_same_words_make_the_same_task(cli: Cli, flags: str, options: dict[str, Any]) -> None:
    ours, theirs = both(cli, flags, ("train.py", "--lr", "1"), options)
    assert ours == theirs


def test_one_text_is_a_line_for_the_shell_here_too(cli: Cli) -> None:
    ours, theirs = both(cli, "", ("a | b",), {})
    assert ours == theirs
    assert theirs["executor"] == "shell"


def test_every_flag_has_its_option() -> None:
    flags = {parameter.name or "" for parameter in command.params} | set(QUEUE_NAMES)
    words = {IN_OTHER_WORDS.get(flag, flag) for flag in flags - NOT_OPTIONS}
    assert words == set(NAMES)


@pytest.mark.parametrize(
    ("options", "field", "text", "hint"),
    [
        ({"gpu_men": "2G"}, "gpu_men", "there is no option `gpu_men`", "did you mean `gpu_mem`"),
        ({"gpus": 1, "gpu_mem": "2X"}, "gpu_mem", "gpu_mem: not a size: `2X`", "with M, G or T"),
        ({"mem": 20}, "mem", "mem: `20` has no unit and would be 20 MiB", "write `20G`"),
        ({"gpu_mem": "2G"}, "gpu_mem", "`gpu_mem` says how much", "add `gpus=1`"),
        ({"at_most": 2}, "at_most", "`at_most` is about an array", "add `array=…`"),
        ({"after": "t-1:never"}, "after", "`after` is not a task", "t-7f3k:any"),
        ({"prefix_ranks": True}, "prefix_ranks", "`prefix_ranks` is about", "add `torchrun=…`"),
        ({"priority": "top"}, "priority", "`priority` is not one of low, normal", ""),
        ({"oom": "shrink"}, "oom", "`oom` is not one of grow, fail: `shrink`", ""),
        ({"time": "soon"}, "time", "time: not a length of time: `soon`", "1h30m"),
    ],
)
def test_what_is_wrong_is_told_in_words_of_python(
    cli: Cli, options: dict[str, Any], field: str, text: str, hint: str
) -> None:
    with pytest.raises(InputError) as caught:
        client(cli).submit("true", **options)
    assert caught.value.field == field
    assert text in caught.value.text
    assert hint in (caught.value.hint or "")
    assert cli.server.asked == []
