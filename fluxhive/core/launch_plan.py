"""What exactly is executed for an attempt: arguments, complete environment, working directory.

Pure: what only the node can know (its own environment, whether a path exists, which index a GPU has
now) comes in as ``NodeFacts``. Called by the agent's workspace when a run directory is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import field

from .code import CodeSnapshot
from .container import CODE_INSIDE, METRICS_INSIDE, PROCESSES_INSIDE, SECRETS_INSIDE
from .errors import Conflict
from .events import DispatchReceived
from .interpreter import PythonFound, activation, python_argv
from .request import GpuShare, Reservation
from .task import ExecutorKind, SecretForm
from .torchrun import processes_apart, processes_of, torchrun_words
from .values import GpuUuid, Value

#: Of the agent's own environment a task gets these, and all that begins with ``LC_``
#: (nothing else of the agent's reaches a task).
INHERITED = ("HOME", "USER", "LOGNAME", "PATH", "LANG", "SHELL", "TZ", "TMPDIR")


class SecretOrder(Protocol):
    """A secret with what it holds (``fluxhive.protocol.agent.LaunchSecret``)."""

    @property
    def name(self) -> str: ...
    @property
    def form(self) -> SecretForm: ...
    @property
    def value(self) -> str: ...


class LaunchOrder(Protocol):
    """What to start, as the dispatch brought it (``fluxhive.protocol.agent.Launch``)."""

    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def executor(self) -> ExecutorKind: ...
    @property
    def env(self) -> dict[str, str]: ...
    @property
    def workdir(self) -> str | None: ...
    @property
    def venv(self) -> str | None: ...
    @property
    def nproc_per_node(self) -> int | None: ...
    @property
    def task_name(self) -> str: ...
    @property
    def secrets(self) -> Sequence[SecretOrder]: ...
    @property
    def code(self) -> CodeSnapshot | None: ...
    @property
    def image(self) -> str | None: ...
    @property
    def merge_output(self) -> bool: ...


class NodeFacts(Value, frozen=True, kw_only=True):
    """What the node knows and the plan needs."""

    #: Human name of the node.
    label: str
    #: Environment of the agent itself.
    agent_env: Mapping[str, str]
    #: Where a task without a working directory runs.
    home: str
    #: Index of each GPU as of now, in PCI bus order.
    gpu_indexes: Mapping[GpuUuid, int] = field(default_factory=dict)
    #: Directory of the environment's programs (``<venv>/bin``); None: it is not on this node.
    venv_bin: str | None = None
    #: The environment is conda's, not ``python -m venv``'s.
    venv_is_conda: bool = False
    #: The interpreter that the task names, as it is here; None: it names none.
    python: PythonFound | None = None
    #: Directory for the files of its secrets, which nobody else can read.
    secrets_dir: str = ""
    #: Where the attempt's copy of its code is.
    code_dir: str = ""
    #: Where the attempt's own files are, such as its metrics.
    run_dir: str = ""
    #: Whether each process of several can have its output apart: the server takes that, too.
    takes_processes: bool = False
    #: What the GPUs' source wants tasks to know (the pretended ones: where they are pretended).
    gpu_env: Mapping[str, str] = field(default_factory=dict)


class LaunchPlan(Value, frozen=True, kw_only=True):
    """All that a supervisor needs to start the program."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    #: Files to be written beforehand, readable by nobody else: path → what it holds.
    files: dict[str, str] = field(default_factory=dict)
    #: So many processes have output of their own, in the run directory's ``processes``.
    n_processes_apart: int = 0


def plan_launch(
    launch: LaunchOrder, dispatch: DispatchReceived, node: NodeFacts, *, cookie: str
) -> LaunchPlan:
    """The plan. Raises ``Conflict`` when a reserved GPU is not on the node any more."""
    env = {} if launch.image is not None else _inherited(node)
    env.update(_environment(launch, env, node))
    reservation = dispatch.reservation
    n_processes = processes_of(launch, reservation)
    env["OMP_NUM_THREADS"] = str(max(1, reservation.cpus // n_processes))
    env["PYTHONUNBUFFERED"] = "1"
    env.update(launch.env)
    files = _secrets(launch, node, env)
    # The rest is not the author's to change: it fences side effects and keeps to the reservation.
    env.update(node.gpu_env)
    env.update(
        FLUXHIVE_TASK_ID=dispatch.task_id,
        FLUXHIVE_ATTEMPT_ID=dispatch.attempt_id,
        FLUXHIVE_EPOCH=str(dispatch.epoch),
        FLUXHIVE_TASK_NAME=launch.task_name,
        FLUXHIVE_NODE=node.label,
        FLUXHIVE_COOKIE=cookie,
    )
    if node.run_dir and launch.image is None:
        env["FLUXHIVE_METRICS"] = f"{node.run_dir}/metrics"
        env["FLUXHIVE_RESULT"] = f"{node.run_dir}/result"
    elif node.run_dir:
        # Made beforehand: what is mounted has to be there.
        files[f"{node.run_dir}/metrics"] = ""
        env["FLUXHIVE_METRICS"] = METRICS_INSIDE
    env.update(_gpus(reservation, node))
    env.update(_meeting(dispatch))
    # What a container's plan reads as "the image's own" where nothing is said.
    cwd = launch.workdir or (node.home if launch.image is None else "")
    if launch.code is not None:
        code_dir = node.code_dir if launch.image is None else CODE_INSIDE
        env["FLUXHIVE_CODE_DIR"] = code_dir
        cwd = code_workdir(launch.workdir, code_dir)
    n_apart = processes_apart(launch, reservation) if node.takes_processes else 0
    argv = _argv(launch, dispatch, node, is_apart=n_apart > 0)
    return LaunchPlan(argv=argv, env=env, cwd=cwd, files=files, n_processes_apart=n_apart)


def code_workdir(workdir: str | None, code_dir: str) -> str:
    """Where a task with code runs: in its copy, unless it names a place of the node."""
    if workdir is None:
        return code_dir
    return workdir if workdir.startswith("/") else f"{code_dir}/{workdir}"


def _argv(
    launch: LaunchOrder, dispatch: DispatchReceived, node: NodeFacts, *, is_apart: bool
) -> tuple[str, ...]:
    if launch.executor is ExecutorKind.SHELL:
        # One element by spec_check; several would be one line, too.
        line = " ".join(launch.command)
        # An engine carries both streams apart, and their order may not be the program's.
        is_merged = launch.merge_output and launch.image is not None
        return ("/bin/sh", "-c", f"exec 2>&1\n{line}" if is_merged else line)
    if launch.executor is ExecutorKind.PYTHON:
        return python_argv(node.python, launch.command)
    if launch.executor is ExecutorKind.TORCHRUN:
        output = None
        if is_apart:
            output = f"{node.run_dir}/processes" if launch.image is None else PROCESSES_INSIDE
        words = torchrun_words(dispatch, launch, launch.command, output)
        return python_argv(node.python, words)
    return launch.command


def _inherited(node: NodeFacts) -> dict[str, str]:
    return {
        name: value
        for name, value in node.agent_env.items()
        if name in INHERITED or name.startswith("LC_")
    }


def _secrets(launch: LaunchOrder, node: NodeFacts, env: dict[str, str]) -> dict[str, str]:
    """Puts secrets into the environment: themselves, or the paths of the files that it gives."""
    files: dict[str, str] = {}
    for secret in launch.secrets:
        if secret.form is SecretForm.FILE:
            path = f"{node.secrets_dir}/{secret.name}"
            files[path] = secret.value
            inside = f"{SECRETS_INSIDE}/{secret.name}"
            env[secret.name] = path if launch.image is None else inside
        else:
            env[secret.name] = secret.value
    return files


def _environment(launch: LaunchOrder, env: Mapping[str, str], node: NodeFacts) -> dict[str, str]:
    """As if the environment had been activated; the interpreter's own goes before another."""
    path, python = env.get("PATH"), node.python
    if python is not None:
        if python.prefix is None:
            return {}
        bin_dir = f"{python.prefix}/bin"
        return activation(python.prefix, bin_dir, path, is_conda=python.is_conda)
    if launch.venv is None or node.venv_bin is None or launch.image is not None:
        return {}
    return activation(launch.venv, node.venv_bin, path, is_conda=node.venv_is_conda)


def _meeting(dispatch: DispatchReceived) -> dict[str, str]:
    """Which member of a gang this is and where all of them meet, under torch's names, too."""
    meet = dispatch.rendezvous
    if meet is None:
        return {}
    return {
        "FLUXHIVE_RANK": str(dispatch.rank),
        "FLUXHIVE_NODES": str(dispatch.n_nodes),
        "MASTER_ADDR": meet.address,
        "MASTER_PORT": str(meet.port),
    }


def _gpus(reservation: Reservation, node: NodeFacts) -> dict[str, str]:
    """Which GPUs the program sees: an index may have changed since placement, a UUID never does.

    Numbers, because not every library reads UUIDs there; in PCI order, because CUDA's own order
    (fastest first) is not NVML's. Empty for a task without GPUs, so that it takes none.
    """
    shares = sorted(
        ((_index(share, node), share) for share in reservation.gpus), key=lambda each: each[0]
    )
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(str(index) for index, _ in shares),
        "FLUXHIVE_GPU_UUIDS": ",".join(share.uuid for _, share in shares),
        "FLUXHIVE_GPU_MEMORY_MIB": ",".join(str(share.gpu_memory_mib) for _, share in shares),
    }


def _index(share: GpuShare, node: NodeFacts) -> int:
    index = node.gpu_indexes.get(share.uuid)
    if index is None:
        raise Conflict(
            f"GPU {share.index} ({share.uuid}) is not on node `{node.label}` any more",
            hint="see what the node has: fluxhive gpus",
        )
    return index
