"""What each engine is told, word for word, and what is never let through."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive.core.container import (
    AllowedMount,
    ContainerFacts,
    Engine,
    Mount,
    check_image,
    check_mounts,
    inner_env,
    mount_problem,
    plan_container,
)
from fluxhive.core.container_check import check_container
from fluxhive.core.errors import Conflict, InputError
from fluxhive.core.request import Request
from fluxhive.core.task import ExecutorKind, TaskSpec
from fluxhive.core.values import AttemptId

FACTS = ContainerFacts(
    engine=Engine.DOCKER,
    program="/usr/bin/docker",
    attempt_id=AttemptId("t-7f3k.2"),
    epoch=2,
    image="pytorch/pytorch:2.5",
    command=("python3", "train.py", "--lr", "1 2"),
    env={"A": "b c", "FLUXHIVE_EPOCH": "2"},
    workdir="/workspace/src",
    mounts=(
        Mount(source="/data/imagenet", target="/data", read_only=True),
        Mount(source="/runs/t-7f3k.2/code", target="/workspace"),
    ),
    gpu_uuids=("GPU-a", "GPU-b"),
    uid=1000,
    gid=100,
    cpus=4,
    memory_mib=2048,
    grace_s=30,
    env_file="/runs/t-7f3k.2/env",
)


def test_docker_is_told_exactly_this() -> None:
    plan = plan_container(FACTS)
    assert plan.create == (
        *("/usr/bin/docker", "create", "--name", "t-7f3k.2", "--init", "--pull", "missing"),
        *("--label", "fluxhive.attempt=t-7f3k.2", "--label", "fluxhive.epoch=2"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--pids-limit", "8192", "--shm-size", "8g"),
        *("--user", "1000:100", "--env-file", "/runs/t-7f3k.2/env"),
        *("--memory", "2048m", "--cpus", "4", "--gpus", '"device=GPU-a,GPU-b"'),
        *("--mount", "type=bind,source=/data/imagenet,target=/data,readonly"),
        *("--mount", "type=bind,source=/runs/t-7f3k.2/code,target=/workspace"),
        *("--workdir", "/workspace/src", "--entrypoint", "python3", "--"),
        *("pytorch/pytorch:2.5", "train.py", "--lr", "1 2"),
    )
    docker = "/usr/bin/docker"
    assert plan.start == (docker, "start", "--attach", "t-7f3k.2")
    assert plan.logs == (docker, "logs", "--follow", "t-7f3k.2")
    assert plan.stop == (docker, "stop", "--time", "30", "t-7f3k.2")
    assert plan.kill == (docker, "kill", "t-7f3k.2")
    assert plan.remove == (docker, "rm", "--force", "--volumes", "t-7f3k.2")
    assert plan.inspect[-3:] == ("--format", "{{json .State}}", "t-7f3k.2")
    assert plan.env_file == "A=b c\nFLUXHIVE_EPOCH=2\n"


def test_podman_names_gpus_and_users_its_own_way() -> None:
    words = plan_container(replace(FACTS, engine=Engine.PODMAN, program="podman")).create
    assert words[:3] == ("podman", "--log-level=error", "create")
    devices = [words[n + 1] for n, word in enumerate(words) if word == "--device"]
    assert devices == ["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=GPU-b"]
    assert "--gpus" not in words
    assert words[words.index("--userns") + 1] == "keep-id"


def test_apptainer_is_told_exactly_this() -> None:
    plan = plan_container(replace(FACTS, engine=Engine.APPTAINER, program="apptainer"))
    assert plan.create == (
        *("apptainer", "exec", "--containall", "--cleanenv", "--no-privs", "--writable-tmpfs"),
        *("--nv", "--bind", "/data/imagenet:/data:ro"),
        *("--bind", "/runs/t-7f3k.2/code:/workspace:rw", "--pwd", "/workspace/src", "--"),
        *("docker://pytorch/pytorch:2.5", "python3", "train.py", "--lr", "1 2"),
    )
    assert plan.env == {
        "APPTAINERENV_A": "b c",
        "APPTAINERENV_FLUXHIVE_EPOCH": "2",
        "APPTAINERENV_NVIDIA_VISIBLE_DEVICES": "GPU-a,GPU-b",
    }
    assert plan.inspect == ()


def test_bubblewrap_is_told_exactly_this() -> None:
    facts = replace(
        FACTS,
        engine=Engine.BUBBLEWRAP,
        program="bwrap",
        image="/srv/root",
        gpu_uuids=(),
        root_entries=(("bin", "usr/bin"), ("usr", None)),
    )
    assert plan_container(facts).create == (
        *("bwrap", "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc"),
        *("--unshare-uts", "--unshare-cgroup-try", "--unshare-user-try", "--cap-drop", "ALL"),
        *("--symlink", "usr/bin", "/bin", "--ro-bind", "/srv/root/usr", "/usr"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run"),
        *("--ro-bind", "/data/imagenet", "/data"),
        *("--bind", "/runs/t-7f3k.2/code", "/workspace", "--chdir", "/workspace/src"),
        *("--", "python3", "train.py", "--lr", "1 2"),
    )
    with pytest.raises(Conflict, match="gives no GPUs"):
        plan_container(replace(facts, gpu_uuids=("GPU-a",)))


@pytest.mark.parametrize("engine", list(Engine))
def test_no_engine_is_told_to_give_rights_away(engine: Engine) -> None:
    facts = replace(FACTS, engine=engine, gpu_uuids=())
    words = plan_container(facts).create
    given = " ".join(words)
    assert not {"--privileged", "--pid", "--ipc", "--network", "--cap-add", "-v"} & {*words}
    assert "host" not in given
    assert "b c" not in given, "variables are no arguments"


def test_a_command_that_looks_like_an_option_is_none() -> None:
    words = plan_container(replace(FACTS, command=("--privileged", "-v", "/:/x"))).create
    before = words[: words.index("--")]
    assert before[-2:] == ("--entrypoint", "--privileged")
    assert words[words.index("--") + 1 :] == (FACTS.image, "-v", "/:/x")


def test_a_variable_of_several_lines_is_refused_by_name() -> None:
    with pytest.raises(Conflict, match="variable KEY has more than one line"):
        plan_container(replace(FACTS, env={"KEY": "a\nB=injected"}))


@pytest.mark.parametrize(
    "image", ["", "-v", "--privileged", "a b", "a;b", "../x", "a/../b", "$(x)", "a\nb", "x" * 600]
)
def test_what_names_no_image_is_refused(image: str) -> None:
    with pytest.raises(InputError) as caught:
        check_image(image)
    assert caught.value.field == "image"


@pytest.mark.parametrize(
    "image", ["python:3.12", "ghcr.io/a/b@sha256:ab", "docker://x/y:1", "/images/a.sif", "a"]
)
def test_images_are_named_as_usual(image: str) -> None:
    check_image(image)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *(("data", "/x"), ("/a,readonly=false", "/x"), ("/a:b", "/x"), ("/a/../b", "/x")),
        *(("/a", "x"), ("/a", "/"), ("/a", "/proc"), ("/a", "/proc/1"), ("/a", "/etc")),
        *(("/a", "/workspace"), ("/a", "/run/fluxhive-secrets"), ("/a b", "/x"), ("/a", "/dev/x")),
    ],
)
def test_a_mount_that_no_node_could_allow_is_refused(source: str, target: str) -> None:
    with pytest.raises(InputError) as caught:
        check_mounts([Mount(source=source, target=target)])
    assert (caught.value.field or "").startswith("mounts.")


def test_two_mounts_on_one_path_are_refused() -> None:
    with pytest.raises(InputError):
        check_mounts([Mount(source="/a", target="/x"), Mount(source="/b", target="//x/")])


ALLOWED = (AllowedMount(path="/data", read_only=True), AllowedMount(path="/scratch"))


@pytest.mark.parametrize(
    ("source", "real", "read_only", "said"),
    [
        ("/data/a", "/data/a", True, None),
        ("/data", "/data", True, None),
        ("/scratch/x", "/scratch/x", False, None),
        ("/data/a", "/data/a", False, "only to be read"),
        ("/database", "/database", True, "does not let containers see /database"),
        ("/data/link", "/etc", True, "which leads to /etc"),
        ("/", "/", True, "does not let containers see /"),
    ],
)
def test_a_node_mounts_what_its_owner_allows_wherever_a_link_leads(
    source: str, real: str, read_only: bool, said: str | None
) -> None:
    mount = Mount(source=source, target="/x", read_only=read_only)
    problem = mount_problem(mount, real, ALLOWED, "gpu-a")
    assert (problem is None) if said is None else (said in (problem or ""))


def test_inside_docker_gpus_are_counted_from_0() -> None:
    env = {"CUDA_VISIBLE_DEVICES": "2,5"}
    given = inner_env(env, n_gpus=2, engine=Engine.DOCKER, has_code=True)
    assert given == {"CUDA_VISIBLE_DEVICES": "0,1", "HOME": "/workspace"}
    outside = inner_env(env, n_gpus=2, engine=Engine.APPTAINER, has_code=False)
    assert outside == {"CUDA_VISIBLE_DEVICES": "2,5", "HOME": "/tmp"}


@pytest.mark.parametrize(
    "fields",
    [
        {"mounts": (Mount(source="/a", target="/x"),)},
        {"image": "a", "executor": ExecutorKind.PYTHON, "python": "uv"},
        {"image": "a", "executor": ExecutorKind.PYTHON, "python": "conda:ml"},
        {"image": "a", "request": Request(nodes=2)},
    ],
)
def test_what_does_not_go_with_a_container_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        check_container(TaskSpec(command=("x",), **fields))
    assert caught.value.hint
