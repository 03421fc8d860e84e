"""Tasks in containers on this node: which engine, what may be mounted, and that all of it ends.

The plan is the core's (``core/container.py``). For docker and podman the attempt's main process is
``container_client.py``, which reads the plan in ``container.json``; apptainer and bubblewrap are
executed as they are. A container is removed with its run directory, once its end is with the
server. Everything in here blocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from fluxhive.core.container import (
    CODE_INSIDE,
    METRICS_INSIDE,
    PROCESSES_INSIDE,
    ROOT_FOLDERS,
    SECRETS_INSIDE,
    AllowedMount,
    ContainerFacts,
    ContainerPlan,
    Engine,
    Mount,
    inner_env,
    mount_problem,
    plan_container,
)
from fluxhive.core.errors import Conflict
from fluxhive.core.events import DispatchReceived
from fluxhive.core.launch_plan import LaunchPlan
from fluxhive.protocol.agent import Launch

from . import container_client, system
from .launching import Unprepared
from .output_files import FOLDER

#: The engine kills at the end of the grace; after this much more the shim kills what leads it.
LEAD_MARGIN_MS = 10_000
#: An engine that does not answer a question in this time does not answer.
ENGINE_S = 30.0
END_S = 15.0
#: In this order, where none is named: rootless first.
_AUTO = (Engine.PODMAN, Engine.DOCKER, Engine.APPTAINER)
#: What an engine's own process needs of the agent's environment.
_ENGINE_ENV = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME")
_ENGINE_PREFIXES = ("DOCKER_", "CONTAINER", "PODMAN_", "APPTAINER_", "SINGULARITY_")
_PATH_INSIDE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Enclosed(Struct, frozen=True, kw_only=True):
    """A launch plan that starts the container around what the task wants."""

    plan: LaunchPlan
    #: The main process passes signals on, as RunSpec has it.
    leads: bool


class Containers:
    """What this node does for tasks in containers."""

    def __init__(self, label: str, engine: str = "auto", mounts: str = "") -> None:
        self._label = label
        self._engine = engine
        self._allowed = tuple(_allowed(mounts))

    def enclose(
        self, launch: Launch, dispatch: DispatchReceived, plan: LaunchPlan, directory: str
    ) -> Enclosed:
        """The plan around a plan. Raises ``Unprepared`` for what this node does not give."""
        engine, program = self._find()
        gpus = dispatch.reservation.gpus
        mounts = [self._checked(mount) for mount in launch.mounts]
        if launch.code is not None:
            mounts.append(Mount(source=f"{directory}/code", target=CODE_INSIDE))
        metrics = f"{directory}/metrics"
        if metrics in plan.files:
            mounts.append(Mount(source=metrics, target=METRICS_INSIDE))
        if plan.n_processes_apart:
            mounts.append(Mount(source=f"{directory}/{FOLDER}", target=PROCESSES_INSIDE))
        if plan.files.keys() - {metrics}:
            inside = Mount(source=f"{directory}/secrets", target=SECRETS_INSIDE, read_only=True)
            mounts.append(inside)
        env = inner_env(plan.env, n_gpus=len(gpus), engine=engine, has_code=launch.code is not None)
        if engine is Engine.BUBBLEWRAP:
            env = _env_of_bubblewrap(env)
        assert launch.image is not None
        facts = ContainerFacts(
            engine=engine,
            program=program,
            attempt_id=dispatch.attempt_id,
            epoch=dispatch.epoch,
            image=launch.image,
            command=plan.argv,
            env=env,
            workdir=plan.cwd or None,
            mounts=tuple(mounts),
            gpu_uuids=tuple(share.uuid for share in gpus),
            uid=os.getuid(),
            gid=os.getgid(),
            cpus=dispatch.reservation.cpus,
            memory_mib=dispatch.reservation.memory_mib,
            grace_s=dispatch.grace_ms // 1000,
            env_file=f"{directory}/env",
            root_entries=self._root(launch.image) if engine is Engine.BUBBLEWRAP else (),
        )
        try:
            inner = plan_container(facts)
        except Conflict as error:
            raise Unprepared(error.text, elsewhere=engine is Engine.BUBBLEWRAP) from error
        return _around(inner, engine, plan, directory)

    def _find(self) -> tuple[Engine, str]:
        if self._engine == "off":
            raise Unprepared(f"node {self._label} runs no containers", elsewhere=True)
        if not system.IS_LINUX:
            raise Unprepared(
                f"node {self._label} runs {system.NAME}: containers are led on Linux only",
                elsewhere=True,
            )
        wanted = _AUTO if self._engine == "auto" else (Engine(self._engine),)
        for engine in wanted:
            program = shutil.which(engine.program)
            if program is not None:
                return engine, program
        names = ", ".join(engine.program for engine in wanted)
        raise Unprepared(
            f"node {self._label} has nothing to run containers with: no {names} on its PATH",
            elsewhere=True,
        )

    def _checked(self, mount: Mount) -> Mount:
        real = os.path.realpath(mount.source)
        problem = mount_problem(mount, real, self._allowed, self._label)
        if problem is None:
            try:
                mode = os.stat(real).st_mode
            except OSError as error:
                problem = f"{mount.source} on node {self._label}: {error.strerror}"
            else:
                if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                    # An engine's socket would be the whole node.
                    problem = f"{mount.source} on node {self._label} is no directory and no file"
        if problem is not None:
            raise Unprepared(problem, elsewhere=True)
        return replace(mount, source=real)

    def _root(self, image: str) -> tuple[tuple[str, str | None], ...]:
        """What of a root directory is seen. It is mounted, so it has to be allowed as that; of the
        node's own root, `/`, programs and libraries are there for everybody anyway."""
        root = "/"
        if image != root:
            root = self._checked(Mount(source=image, target="/image", read_only=True)).source
        entries: list[tuple[str, str | None]] = []
        for name in ROOT_FOLDERS:
            path = os.path.join(root, name)
            if os.path.islink(path):
                entries.append((name, os.readlink(path)))
            elif os.path.isdir(path):
                entries.append((name, None))
        return tuple(entries)


def _around(inner: ContainerPlan, engine: Engine, plan: LaunchPlan, directory: str) -> Enclosed:
    cookie = {"FLUXHIVE_COOKIE": plan.env["FLUXHIVE_COOKIE"]}
    if engine is Engine.BUBBLEWRAP:
        outside = LaunchPlan(argv=inner.create, env=inner.env, cwd=directory, files=plan.files)
        return Enclosed(plan=outside, leads=False)
    env = {**_engine_env(), **inner.env, **cookie}
    if engine.is_direct:
        outside = LaunchPlan(argv=inner.create, env=env, cwd=directory, files=plan.files)
        return Enclosed(plan=outside, leads=False)
    steps = {step: list(getattr(inner, step)) for step in _STEPS}
    files = {
        **plan.files,
        f"{directory}/env": inner.env_file,
        f"{directory}/container.json": json.dumps(steps),
    }
    argv = (sys.executable, "-I", "-S", container_client.__file__, f"{directory}/container.json")
    return Enclosed(plan=LaunchPlan(argv=argv, env=env, cwd=directory, files=files), leads=True)


_STEPS = ("create", "start", "logs", "log_path", "wait", "inspect", "stop", "kill", "remove")


def is_container(directory: str) -> bool:
    """Whether the attempt of this run directory has a container of an engine's own."""
    return os.path.exists(f"{directory}/container.json")


_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def container_ids(directories: Iterable[str]) -> dict[str, str]:
    """The run directory of each container that engines have made for these."""
    found = {}
    for directory in directories:
        with contextlib.suppress(OSError):
            found[Path(directory, "container-id").read_text()] = directory
    return found


def container_id(directory: str) -> str | None:
    """What the engine calls the container of this run directory; None: it has none."""
    return next(iter(container_ids([directory])), None)


def containers_of(cgroup: str) -> list[str]:
    """Ids of the containers that a process is in, by its ``/proc/PID/cgroup``.

    Docker has ``/docker/ID`` or ``docker-ID.scope`` there, podman ``libpod-ID.scope``. Inside a
    container with a cgroup namespace of its own nothing is seen; who reads it stands outside.
    """
    return _ID.findall(cgroup)


def end_container(directory: str) -> list[int]:
    """Makes sure that the container runs no more; the processes that cannot be ended.

    Its leader does so; this is for one that was killed itself.
    """
    steps = _steps(directory)
    if steps is None:
        return []
    until = time.monotonic() + END_S
    pids: list[int] = []
    while True:
        state = _state(steps)
        if state is None or not state.get("Running"):
            return []
        pids = [int(str(state.get("Pid") or 0))]
        if time.monotonic() > until:
            return [pid for pid in pids if pid]
        _ask(steps["kill"])
        time.sleep(0.2)


def remove_container(directory: str) -> None:
    """Removes the container, if there is one."""
    steps = _steps(directory)
    if steps is not None:
        _ask(steps["remove"])


def launch_failure(directory: str) -> tuple[str, str] | None:
    """Why a container could not be started: the errno's name and a sentence; None: it could."""
    try:
        found = json.loads(Path(directory, "launch-failed").read_bytes())
        return str(found["error"]), str(found["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the program itself ended with that code


def was_oom_killed(directory: str) -> bool:
    """Whether the engine says that the kernel killed in the container for lack of memory."""
    return os.path.exists(f"{directory}/oom-killed")


def _steps(directory: str) -> dict[str, list[str]] | None:
    try:
        found: dict[str, list[str]] = json.loads(Path(directory, "container.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found


def _state(steps: dict[str, list[str]]) -> dict[str, object] | None:
    said = _ask(steps["inspect"])
    try:
        found: dict[str, object] = json.loads(said)
    except ValueError:
        return None
    return found


def _ask(argv: list[str]) -> bytes:
    try:
        done = subprocess.run(
            argv,
            env=_engine_env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ENGINE_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout if done.returncode == 0 else b""


def _engine_env() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in _ENGINE_ENV or name.startswith(_ENGINE_PREFIXES)
    }


def _env_of_bubblewrap(env: dict[str, str]) -> dict[str, str]:
    """What bubblewrap itself is started with, too: nothing that changes how it is loaded."""
    loader = [name for name in env if name.startswith("LD_")]
    if loader:
        raise Unprepared(f"variable {loader[0]} cannot be given to a task in bubblewrap")
    return {"PATH": _PATH_INSIDE, **env}


def _allowed(mounts: str) -> list[AllowedMount]:
    found = []
    for part in filter(None, (each.strip() for each in mounts.split(","))):
        path = part.removesuffix(":ro")
        found.append(AllowedMount(path=os.path.realpath(path), read_only=part != path))
    return found
