"""What a task may contain: each refusal names the field, the value and the remedy."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fluxhive.core.errors import InputError
from fluxhive.core.request import Request
from fluxhive.core.spec_check import apply_defaults, check_spec
from fluxhive.core.task import RETRY_FAILOVER_MS, ExecutorKind, TaskSpec
from tests.helpers.factories import spec

BAD: dict[str, tuple[TaskSpec, str]] = {
    "no command": (TaskSpec(command=()), "command"),
    "an empty command": (spec(""), "command"),
    "a blank command": (spec("  \n"), "command"),
    "a shell line of several words": (spec("echo", "hi", executor=ExecutorKind.SHELL), "command"),
    "a NUL in the command": (spec("echo", "a\x00b"), "command"),
    "half a character in the command": (spec("echo", "\ud800"), "command"),
    "a command too long": (spec("x" * (128 * 1024)), "command"),
    "a variable without a name": (spec(env={"": "x"}), "env"),
    "a name with an equals sign": (spec(env={"A=B": "x"}), "env"),
    "a name with a NUL": (spec(env={"A\x00": "x"}), "env"),
    "a name of ours": (spec(env={"FLUXHIVE_EPOCH": "9"}), "env"),
    "a NUL in a value": (spec(env={"A": "\x00"}), "env.A"),
    "half a character in a value": (spec(env={"A": "\udcff"}), "env.A"),
    "a value too long": (spec(env={"A": "x" * (128 * 1024)}), "env.A"),
    "an environment too large": (spec(env={f"A{n}": "x" * 100_000 for n in range(3)}), "env"),
    "a name too long": (spec(name="n" * 201), "name"),
    "a NUL in the name": (spec(name="a\x00"), "name"),
    "a project that is no word": (spec(project="my lab"), "project"),
    "a project like an option": (spec(project="-x"), "project"),
    "a project too long": (spec(project="p" * 101), "project"),
    "an unknown cause of retries": (spec(retry=1, retry_on=("exit",)), "retry_on[0]"),
    "an exit code of success": (spec(retry=1, retry_on=("failure", "exit:0")), "retry_on[1]"),
    "a range that runs backwards": (spec(retry=1, retry_on=("exit:9-3",)), "retry_on[0]"),
    "a cause that is no own failure": (spec(retry=1, retry_on=("node-lost",)), "retry_on[0]"),
    "causes beyond any count": (spec(retry=1, retry_on=("exit:1",) * 51), "retry_on"),
    "causes without retries": (spec(retry_on=("exit:1",)), "retry_on"),
    "a relative directory": (spec(workdir="data"), "workdir"),
    "a NUL in the directory": (spec(workdir="/a\x00"), "workdir"),
    "a directory too long": (spec(workdir="/" + "x" * 4096), "workdir"),
    "a relative environment": (spec(venv="./.venv"), "venv"),
    "negative retries": (spec(retry=-1), "retry"),
    "retries above any count": (spec(retry=2**31), "retry"),
    "negative restarts": (spec(restarts=-1), "restarts"),
    "a negative pause": (spec(backoff_ms=-1), "backoff_ms"),
    "a negative grace": (spec(grace_ms=-1), "grace_ms"),
    "no time at all": (spec(time_limit_ms=0), "time_limit_ms"),
    "a limit of a thousand years": (spec(time_limit_ms=2**62), "time_limit_ms"),
    "no failover length": (spec(failover_ms=0), "failover_ms"),
    "retries of what starts once": (spec(at_most_once=True, retry=1), "retry"),
    "negative GPUs": (spec(request=Request(gpus=-1)), "request.gpus"),
    "GPUs above any count": (spec(request=Request(gpus=2**31)), "request.gpus"),
    "negative CPUs": (spec(request=Request(cpus=-2)), "request.cpus"),
    "no memory": (spec(request=Request(memory_mib=0)), "request.memory_mib"),
    "negative GPU memory": (
        spec(request=Request(gpus=1, gpu_memory_mib=-1)),
        "request.gpu_memory_mib",
    ),
    "GPU memory without GPUs": (spec(request=Request(gpu_memory_mib=1)), "request.gpu_memory_mib"),
    "alone on no GPU": (spec(request=Request(exclusive=True)), "request.exclusive"),
    "nothing at all": (spec(request=Request(cpus=0)), "request.cpus"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused_with_its_field_and_a_remedy(name: str) -> None:
    bad, field = BAD[name]
    with pytest.raises(InputError) as caught:
        check_spec(bad)
    assert caught.value.field == field
    assert caught.value.text.startswith(f"{field}: ")
    assert caught.value.hint
    # Whatever was given, the answer can be sent and printed.
    f"{caught.value.text}{caught.value.value}{caught.value.hint}".encode()


GOOD = [
    spec("python", "train.py", "--lr", "1e-3"),
    spec("echo $HOME | wc -c", executor=ExecutorKind.SHELL),
    spec("true", env={"PATH_2": "", "mit.punkt": "ü", "X": "x" * 100_000}),
    spec("true", name="n" * 200, workdir="/data/über", venv="C:\\venv", time_limit_ms=1),
    spec("true", request=Request(gpus=1, gpu_memory_mib=1, cpus=0), retry=3, backoff_ms=0),
    spec("true", request=Request(gpus=9999, cpus=9999, memory_mib=2**31 - 1)),
    spec("true", "", "an argument may be empty"),
    spec("true", at_most_once=True),
]


@pytest.mark.parametrize("good", GOOD)
def test_what_can_be_is_accepted_however_large(good: TaskSpec) -> None:
    check_spec(good)


def test_a_task_with_retries_gets_a_failover_length_unless_it_has_one() -> None:
    assert apply_defaults(spec(retry=1)).failover_ms == RETRY_FAILOVER_MS
    assert apply_defaults(spec(retry=1, failover_ms=5)).failover_ms == 5
    assert apply_defaults(spec()).failover_ms is None


def test_what_starts_at_most_once_has_neither_retries_nor_restarts() -> None:
    once = apply_defaults(spec(at_most_once=True))
    assert (once.retry, once.restarts, once.failover_ms) == (0, 0, None)


def test_defaults_are_applied_once() -> None:
    for one in [*GOOD, spec(retry=2)]:
        assert apply_defaults(apply_defaults(one)) == apply_defaults(one)
        check_spec(replace(apply_defaults(one)))
