"""What exactly is executed for an attempt."""

from __future__ import annotations

import pytest

from fluxhive.core.errors import Conflict
from fluxhive.core.launch_plan import LaunchPlan, NodeFacts, plan_launch
from fluxhive.core.task import ExecutorKind
from fluxhive.core.values import GpuUuid
from fluxhive.protocol.agent import Launch
from tests.helpers.node_story import dispatch_of

AGENT_ENV = {
    "HOME": "/home/ada",
    "USER": "ada",
    "LOGNAME": "ada",
    "PATH": "/usr/bin:/bin",
    "LANG": "de_DE.UTF-8",
    "LC_NUMERIC": "C",
    "SHELL": "/bin/bash",
    "TZ": "UTC",
    "TMPDIR": "/scratch",
    "FLOWHIVE_TOKEN": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "VIRTUAL_ENV": "/opt/agent",
}
NODE = NodeFacts(
    label="gpu-box",
    agent_env=AGENT_ENV,
    home="/home/ada",
    gpu_indexes={GpuUuid("GPU-a"): 0, GpuUuid("GPU-b"): 1},
)


def plan(
    command: tuple[str, ...] = ("python", "train.py"),
    *,
    node: NodeFacts = NODE,
    gpus: dict[str, str | int] | None = None,
    **launch: object,
) -> LaunchPlan:
    order = Launch(**{"command": command, "executor": ExecutorKind.EXEC} | launch)  # type: ignore[arg-type]
    return plan_launch(order, dispatch_of("t-1.2", gpus=gpus), node, cookie="c00kie")


def on_node(**facts: object) -> NodeFacts:
    from msgspec.structs import replace

    return replace(NODE, **facts)


def test_several_words_are_executed_as_they_are() -> None:
    assert plan(("python", "-c", "print('a b')")).argv == ("python", "-c", "print('a b')")


def test_a_line_goes_to_the_shell() -> None:
    line = "echo $HOME | wc -c"
    found = plan((line,), executor=ExecutorKind.SHELL)
    assert found.argv == ("/bin/sh", "-c", line)


def test_of_the_agents_environment_only_what_makes_a_session_goes_in() -> None:
    env = plan().env
    for name in ("HOME", "USER", "LOGNAME", "PATH", "LANG", "LC_NUMERIC", "SHELL", "TZ", "TMPDIR"):
        assert env[name] == AGENT_ENV[name]
    assert not {"FLOWHIVE_TOKEN", "AWS_SECRET_ACCESS_KEY", "VIRTUAL_ENV"} & set(env)


def test_the_requests_environment_wins() -> None:
    env = plan(env={"PATH": "/mine", "OMP_NUM_THREADS": "16", "PYTHONUNBUFFERED": "", "K": "V"}).env
    assert (env["PATH"], env["OMP_NUM_THREADS"], env["PYTHONUNBUFFERED"]) == ("/mine", "16", "")
    assert env["K"] == "V"


def test_threads_follow_the_cpus_and_output_is_not_held_back() -> None:
    env = plan().env
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["PYTHONUNBUFFERED"] == "1"


def test_a_program_can_know_what_it_is() -> None:
    env = plan(task_name="digits").env
    assert env["FLUXHIVE_TASK_ID"] == "t-1"
    assert env["FLUXHIVE_ATTEMPT_ID"] == "t-1.2"
    assert env["FLUXHIVE_EPOCH"] == "2"
    assert env["FLUXHIVE_TASK_NAME"] == "digits"
    assert env["FLUXHIVE_NODE"] == "gpu-box"
    assert env["FLUXHIVE_COOKIE"] == "c00kie"


def test_what_fences_a_program_is_not_the_authors_to_change() -> None:
    env = plan(env={"FLUXHIVE_EPOCH": "99", "CUDA_VISIBLE_DEVICES": "0,1"}).env
    assert env["FLUXHIVE_EPOCH"] == "2"
    assert env["CUDA_VISIBLE_DEVICES"] == ""


def test_a_venv_is_used_as_if_activated_where_it_exists() -> None:
    node = on_node(venv_bin="/home/ada/ml/bin")
    env = plan(node=node, venv="/home/ada/ml").env
    assert env["VIRTUAL_ENV"] == "/home/ada/ml"
    assert env["PATH"] == "/home/ada/ml/bin:/usr/bin:/bin"
    assert "CONDA_PREFIX" not in env


def test_a_conda_environment_is_named_as_one() -> None:
    node = on_node(venv_bin="/opt/conda/envs/ml/bin", venv_is_conda=True)
    env = plan(node=node, venv="/opt/conda/envs/ml").env
    assert env["CONDA_PREFIX"] == "/opt/conda/envs/ml"
    assert "VIRTUAL_ENV" not in env


def test_a_venv_that_is_not_on_the_node_changes_nothing() -> None:
    env = plan(venv="/home/ada/ml").env
    assert "VIRTUAL_ENV" not in env
    assert env["PATH"] == AGENT_ENV["PATH"]


def test_gpus_are_numbered_as_they_stand_now() -> None:
    node = on_node(gpu_indexes={GpuUuid("GPU-b"): 0, GpuUuid("GPU-a"): 3})
    env = plan(node=node, gpus={"GPU-a": "20G", "GPU-b": "20G"}).env
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert env["CUDA_VISIBLE_DEVICES"] == "0,3"
    assert env["FLUXHIVE_GPU_UUIDS"] == "GPU-b,GPU-a"
    assert env["FLUXHIVE_GPU_MEMORY_MIB"] == "20480,20480"


def test_a_task_without_gpus_sees_none() -> None:
    env = plan().env
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert env["FLUXHIVE_GPU_UUIDS"] == ""


def test_a_gpu_that_is_gone_is_a_conflict_with_a_hint() -> None:
    with pytest.raises(Conflict) as caught:
        plan(node=on_node(gpu_indexes={}), gpus={"GPU-a": "20G"})
    assert "GPU-a" in caught.value.text
    assert caught.value.hint


def test_the_working_directory_is_the_requests_or_home() -> None:
    assert plan(workdir="/data/run").cwd == "/data/run"
    assert plan().cwd == "/home/ada"


def test_pretended_gpus_tell_tasks_where_they_are() -> None:
    env = plan(node=on_node(gpu_env={"FLUXHIVE_FAKE_GPUS": "/state/fake-gpus"})).env
    assert env["FLUXHIVE_FAKE_GPUS"] == "/state/fake-gpus"
