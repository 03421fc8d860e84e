"""Tasks in containers: what may be asked for, and what exactly each engine is told.

Pure. What only the node knows (which engine, what a path really is, who the agent is) comes in as
``ContainerFacts``. Nothing that a user wrote ever becomes an option: it stands behind an option of
ours or behind ``--``, and is checked here. A container is never privileged, shares neither the
host's processes nor its IPC, and has no capability.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum

from msgspec import field

from .errors import Conflict, InputError
from .values import AttemptId, Mib, Value

#: Where the attempt's copy of its code and the files of its secrets are seen inside.
CODE_INSIDE = "/workspace"
SECRETS_INSIDE = "/run/fluxhive-secrets"
#: The file for its metrics, inside.
METRICS_INSIDE = "/run/fluxhive-metrics"
#: Directory for the output of each of its processes, inside.
PROCESSES_INSIDE = "/run/fluxhive-processes"
HOME_WITHOUT_CODE = "/tmp"
#: Forks beyond this are a mistake of the program; threads count too.
PIDS_MAX = 8_192
#: Data loaders hand batches over in shared memory, of which engines give 64 MiB on their own.
SHM_SIZE = "8g"
MOUNTS_MAX = 50

_IMAGE = re.compile(r"(?:(?:docker|oras|library|shub)://)?[A-Za-z0-9/][A-Za-z0-9._/:@+-]{0,511}")
#: What would end a field of an engine's option, or a line of its file of variables.
_SEPARATORS = re.compile(r"[,:\"'\s\x00-\x1f\x7f]")
_OURS = (CODE_INSIDE, SECRETS_INSIDE, METRICS_INSIDE)
_SYSTEM = ("/", "/proc", "/sys", "/dev", "/run", "/etc", *_OURS)
#: Of a root directory only these are seen in bubblewrap: programs and libraries, no one's files.
ROOT_FOLDERS = ("bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr")


class Mount(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A directory of the node that the task sees in its container."""

    source: str
    #: Path inside.
    target: str
    read_only: bool = False


class AllowedMount(Value, frozen=True, kw_only=True):
    """A directory of the node of which tasks may mount any part."""

    path: str
    read_only: bool = False


class Engine(Enum):
    """What runs a container."""

    DOCKER = "docker"
    PODMAN = "podman"
    APPTAINER = "apptainer"
    #: No images: a root directory of the node, seen read-only.
    BUBBLEWRAP = "bubblewrap"

    @property
    def program(self) -> str:
        """What it is called on PATH."""
        return "bwrap" if self is Engine.BUBBLEWRAP else self.value

    @property
    def is_direct(self) -> bool:
        """Whether the container's processes are children of what is started, with its exit code."""
        return self in (Engine.APPTAINER, Engine.BUBBLEWRAP)


class ContainerFacts(Value, frozen=True, kw_only=True):
    """All that goes into a container's plan."""

    engine: Engine
    #: Path of the engine's program.
    program: str
    attempt_id: AttemptId
    epoch: int
    image: str
    command: tuple[str, ...]
    #: The complete environment inside.
    env: Mapping[str, str]
    #: None: the image's own.
    workdir: str | None = None
    #: Sources as they really are (``realpath``), allowed.
    mounts: tuple[Mount, ...] = ()
    gpu_uuids: tuple[str, ...] = ()
    uid: int
    gid: int
    cpus: int = 0
    #: 0: not limited.
    memory_mib: Mib = 0
    grace_s: int = 30
    #: File of variables, to be written by the node.
    env_file: str = ""
    #: Names and link targets of what a root directory holds, for bubblewrap.
    root_entries: tuple[tuple[str, str | None], ...] = ()


class ContainerPlan(Value, frozen=True, kw_only=True):
    """What is executed, in the order of a container's life; empty where there is no such step."""

    #: Makes the container; for a direct engine runs it.
    create: tuple[str, ...]
    start: tuple[str, ...] = ()
    #: Gives all of its output again, from the first byte, by stream.
    logs: tuple[str, ...] = ()
    #: Says where the engine's own log of it is; empty: it is asked by ``logs``.
    log_path: tuple[str, ...] = ()
    wait: tuple[str, ...] = ()
    inspect: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    #: What the file of variables holds.
    env_file: str = ""
    #: Variables for the engine's own process.
    env: dict[str, str] = field(default_factory=dict)


def check_image(image: str) -> None:
    """Raises ``InputError`` for what cannot name an image."""
    if not _IMAGE.fullmatch(image) or ".." in image:
        raise InputError(
            f"image: not the name of an image: `{image[:100]}`",
            hint="write it as `registry/name:tag`, or as a path for apptainer",
            field="image",
            value=image[:100],
        )


def check_mounts(mounts: Iterable[Mount]) -> None:
    """Raises ``InputError`` for a mount that no node could allow."""
    seen: set[str] = set()
    for n, mount in enumerate(mounts):
        if n >= MOUNTS_MAX:
            raise InputError(
                f"mounts: more than {MOUNTS_MAX}", hint="mount what is above", field="mounts"
            )
        for name in ("source", "target"):
            path: str = getattr(mount, name)
            parts = path.split("/")
            if not path.startswith("/") or _SEPARATORS.search(path) or {".", ".."} & {*parts}:
                raise InputError(
                    f"mounts.{name}: not a plain absolute path: `{path[:100]}`",
                    hint="no spaces, quotes, commas, colons or `..`; such as `/data/imagenet`",
                    field=f"mounts.{name}",
                    value=path[:100],
                )
        target = "/" + "/".join(part for part in mount.target.split("/") if part)
        if target in seen or target in _SYSTEM or target.startswith(("/proc/", "/sys/", "/dev/")):
            raise InputError(
                f"mounts.target: cannot be mounted over: `{mount.target}`",
                hint="choose a path of its own, such as `/data`",
                field="mounts.target",
                value=mount.target,
            )
        seen.add(target)


def mount_problem(
    mount: Mount, real_source: str, allowed: Iterable[AllowedMount], label: str
) -> str | None:
    """Why a node does not mount this; None: it does. ``real_source``: without links."""
    for each in allowed:
        if real_source == each.path or real_source.startswith(each.path.rstrip("/") + "/"):
            if each.read_only and not mount.read_only:
                return (
                    f"node {label} gives {each.path} only to be read: "
                    f"write `--mount {mount.source}:{mount.target}:ro`"
                )
            return (
                None if not _SEPARATORS.search(real_source) else f"{real_source} has no plain name"
            )
    leads = "" if real_source == mount.source else f", which leads to {real_source},"
    return (
        f"node {label} does not let containers see {mount.source}{leads}; its owner allows "
        "directories by the setting `container.mounts`"
    )


def inner_env(
    env: Mapping[str, str], *, n_gpus: int, engine: Engine, has_code: bool
) -> dict[str, str]:
    """The task's variables as they are inside."""
    inside = dict(env)
    inside.setdefault("HOME", CODE_INSIDE if has_code else HOME_WITHOUT_CODE)
    if engine in (Engine.DOCKER, Engine.PODMAN):
        # Only its own GPUs are inside, and are counted from 0 there.
        inside["CUDA_VISIBLE_DEVICES"] = ",".join(str(number) for number in range(n_gpus))
    return inside


def plan_container(facts: ContainerFacts) -> ContainerPlan:
    """The plan. Raises ``Conflict`` for what this engine cannot do."""
    if facts.engine is Engine.APPTAINER:
        return _apptainer(facts)
    if facts.engine is Engine.BUBBLEWRAP:
        return _bubblewrap(facts)
    return _daemon(facts)


def _daemon(facts: ContainerFacts) -> ContainerPlan:
    """Docker and podman, which take the same words but for GPUs and users."""
    name, program = facts.attempt_id, facts.program
    engine = [program]
    if facts.engine is Engine.PODMAN:
        # Its warnings would stand in the task's stderr.
        engine.append("--log-level=error")
    words = [*engine, "create", "--name", name, "--init", "--pull", "missing"]
    words += ["--label", f"fluxhive.attempt={name}", "--label", f"fluxhive.epoch={facts.epoch}"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    words += ["--pids-limit", str(PIDS_MAX), "--shm-size", SHM_SIZE]
    words += ["--user", f"{facts.uid}:{facts.gid}", "--env-file", facts.env_file]
    if facts.engine is Engine.PODMAN:
        words += ["--log-driver", "k8s-file"]  # the leader reads it (agent/container_output.py)
    if facts.engine is Engine.PODMAN and facts.uid:
        words += ["--userns", "keep-id"]
    if facts.memory_mib:
        words += ["--memory", f"{facts.memory_mib}m"]
    if facts.cpus:
        words += ["--cpus", str(facts.cpus)]
    if facts.gpu_uuids and facts.engine is Engine.PODMAN:
        for uuid in facts.gpu_uuids:
            words += ["--device", f"nvidia.com/gpu={uuid}"]
    elif facts.gpu_uuids:
        # The inner quotes are docker's: its option is a line of CSV.
        words += ["--gpus", f'"device={",".join(facts.gpu_uuids)}"']
    for mount in facts.mounts:
        read_only = ",readonly" if mount.read_only else ""
        words += ["--mount", f"type=bind,source={mount.source},target={mount.target}{read_only}"]
    if facts.workdir is not None:
        words += ["--workdir", facts.workdir]
    # An image's own entry point would read our words as its arguments.
    words += ["--entrypoint", facts.command[0], "--", facts.image, *facts.command[1:]]
    state = ("--format", "{{json .State}}")
    # What attaches would pass signals on, which is the leader's; docker's has no option for it.
    start = [*engine, "start", "--attach"]
    if facts.engine is Engine.PODMAN:
        start.append("--sig-proxy=false")
    return ContainerPlan(
        create=tuple(words),
        start=(*start, name),
        logs=(*engine, "logs", "--follow", name),
        log_path=_log_path(facts.engine, engine, name),
        wait=(*engine, "wait", name),
        inspect=(*engine, "inspect", "--type", "container", *state, name),
        stop=(*engine, "stop", "--time", str(facts.grace_s), name),
        kill=(*engine, "kill", name),
        remove=(*engine, "rm", "--force", "--volumes", name),
        env_file=_env_file(facts.env),
    )


def _log_path(engine: Engine, words: list[str], name: str) -> tuple[str, ...]:
    if engine is not Engine.PODMAN:
        return ()
    path = ("--format", "{{.HostConfig.LogConfig.Path}}")
    return (*words, "inspect", "--type", "container", *path, name)


def _apptainer(facts: ContainerFacts) -> ContainerPlan:
    words = [facts.program, "exec", "--containall", "--cleanenv", "--no-privs", "--writable-tmpfs"]
    if facts.gpu_uuids:
        words.append("--nv")
    for mount in facts.mounts:
        words += ["--bind", f"{mount.source}:{mount.target}:{'ro' if mount.read_only else 'rw'}"]
    if facts.workdir is not None:
        words += ["--pwd", facts.workdir]
    image = facts.image
    if not image.startswith("/") and "://" not in image:
        image = f"docker://{image}"
    env = {f"APPTAINERENV_{name}": value for name, value in facts.env.items() if name != "HOME"}
    env["APPTAINERENV_NVIDIA_VISIBLE_DEVICES"] = ",".join(facts.gpu_uuids) or "void"
    return ContainerPlan(create=(*words, "--", image, *facts.command), env=env)


def _bubblewrap(facts: ContainerFacts) -> ContainerPlan:
    if facts.gpu_uuids:
        raise Conflict(
            "bubblewrap gives no GPUs", hint="use docker, podman or apptainer on nodes with GPUs"
        )
    words = [facts.program, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc"]
    words += ["--unshare-uts", "--unshare-cgroup-try", "--unshare-user-try", "--cap-drop", "ALL"]
    root = facts.image.rstrip("/")
    for name, link in facts.root_entries:
        inside = f"/{name}"
        words += ["--symlink", link, inside] if link else ["--ro-bind", f"{root}/{name}", inside]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run"]
    for mount in facts.mounts:
        bind = "--ro-bind" if mount.read_only else "--bind"
        words += [bind, mount.source, mount.target]
    if facts.workdir is not None:
        words += ["--chdir", facts.workdir]
    return ContainerPlan(create=(*words, "--", *facts.command), env=dict(facts.env))


def _env_file(env: Mapping[str, str]) -> str:
    """One variable a line, as it is: the engines know no quotes there."""
    for name, value in env.items():
        if "\n" in value or "\r" in value:
            raise Conflict(
                f"variable {name} has more than one line, which cannot be given to a container",
                hint="give it as a file, by a secret or with the code",
            )
    return "".join(f"{name}={value}\n" for name, value in sorted(env.items()))
