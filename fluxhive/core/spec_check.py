"""What a task may contain: the one check that every way in goes through before it is accepted.

``check_spec`` raises ``InputError`` with the field, the value and the remedy; ``apply_defaults``
fills in what follows from what the author wrote. Not here: whether it fits anywhere (explain.py).
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from .array import check_array
from .code import check_code, name_problem
from .container_check import check_container
from .errors import InputError
from .interpreter import parse_python
from .queueing_check import check_queueing
from .request import Request
from .task import RETRY_FAILOVER_MS, ExecutorKind, TaskSpec

#: Beyond these a launch would break the system's own limits (ARG_MAX) or our frames.
MAX_ENVIRONMENT_BYTES = 256 * 1024
MAX_VARIABLE_BYTES = 128 * 1024
MAX_COMMAND_BYTES = 128 * 1024
MAX_NAME_CHARACTERS = 200
#: PATH_MAX of Linux.
MAX_PATH_BYTES = 4096
MAX_COUNT = 2**31 - 1
#: Nodes of one gang; a member's channel is its attempt's and its rank.
MAX_NODES = 1024
#: Processes of torchrun on one node.
MAX_PROCESSES = 1024
#: A hundred years: longer than any wait, and sums stay far below what JSON keeps whole.
MAX_LENGTH_MS = 100 * 365 * 86_400_000

_ENV_NAME = re.compile(r"[^\x00=]+")
_OURS = "FLUXHIVE_"
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
MAX_SECRETS = 100


def check_spec(spec: TaskSpec) -> None:
    """Raises ``InputError`` for the first thing that cannot be accepted."""
    _check_command(spec)
    _check_python(spec)
    check_container(spec)
    _check_processes(spec)
    _check_environment(spec.env)
    _check_secrets(spec)
    _check_request(spec.request)
    _check_name("name", spec.name)
    _check_name("function", spec.function)
    check_queueing(spec)
    if spec.array is not None:
        check_array(spec.array)
    _check_workdir(spec)
    _check_path("venv", spec.venv)
    _check_count("retry", spec.retry)
    _check_count("restarts", spec.restarts)
    _check_length("backoff_ms", spec.backoff_ms, least=0)
    _check_length("grace_ms", spec.grace_ms, least=0)
    _check_length("time_limit_ms", spec.time_limit_ms, least=1)
    _check_length("failover_ms", spec.failover_ms, least=1)
    if spec.at_most_once and spec.retry:
        raise InputError(
            f"retry: {spec.retry} does not go with `at_most_once`, which starts it once at most",
            hint="leave out one of the two",
            field="retry",
            value=spec.retry,
        )


def apply_defaults(spec: TaskSpec) -> TaskSpec:
    """The spec with what follows from it: what is stored and acted on."""
    if spec.array is not None:
        spec = replace(spec, array=check_array(spec.array))
    if spec.at_most_once:
        return replace(spec, retry=0, restarts=0)
    if spec.retry and spec.failover_ms is None:
        return replace(spec, failover_ms=RETRY_FAILOVER_MS)
    return spec


def _check_name(field: str, name: str) -> None:
    _check_text(field, name)
    if len(name) > MAX_NAME_CHARACTERS:
        raise InputError(
            f"{field}: {len(name)} characters long, at most {MAX_NAME_CHARACTERS} are allowed",
            hint="give it a shorter name",
            field=field,
            value=name,
        )


def _check_command(spec: TaskSpec) -> None:
    command = spec.command
    if not command or not command[0].strip():
        raise InputError(
            "command: is empty",
            hint="put the program after `--`, such as `-- python train.py`",
            field="command",
            value=list(command),
        )
    if spec.executor is ExecutorKind.SHELL and len(command) != 1:
        raise InputError(
            f"command: a shell line is one text, not {len(command)} words",
            hint="quote the whole line, such as `-- 'python train.py | tee log'`",
            field="command",
            value=list(command),
        )
    for word in command:
        _check_text("command", word)
    _check_bytes("command", sum(_size(word) + 1 for word in command), MAX_COMMAND_BYTES)


def _check_processes(spec: TaskSpec) -> None:
    n_processes = spec.nproc_per_node
    if n_processes is None:
        return
    if spec.executor is not ExecutorKind.TORCHRUN:
        raise InputError(
            "nproc_per_node: says how many processes torchrun starts, but the executor is not "
            "`torchrun`",
            hint="add `--torchrun`, or leave it out",
            field="nproc_per_node",
            value=n_processes,
        )
    if not 1 <= n_processes <= MAX_PROCESSES:
        raise InputError(
            f"nproc_per_node: must be between 1 and {MAX_PROCESSES}: {n_processes}",
            hint="leave it out for one process on each GPU",
            field="nproc_per_node",
            value=n_processes,
        )


def _check_python(spec: TaskSpec) -> None:
    is_python = spec.executor in (ExecutorKind.PYTHON, ExecutorKind.TORCHRUN)
    if spec.python is not None:
        _check_text("python", spec.python)
        _check_bytes("python", _size(spec.python), MAX_PATH_BYTES)
        if not is_python:
            raise InputError(
                "python: names an interpreter, but the executor is neither `python` nor `torchrun`",
                hint='write `"executor": "python"`, or leave `python` out',
                field="python",
                value=spec.python,
            )
        parse_python(spec.python)
    if is_python and spec.command[0] in ("python", "python3", "torchrun"):
        raise InputError(
            f"command: begins with `{spec.command[0]}`, which `--{spec.executor.value}` stands for",
            hint="give the script or `-m module` alone, such as `--python .venv -- train.py`",
            field="command",
            value=list(spec.command),
        )


def _check_environment(env: dict[str, str]) -> None:
    total = 0
    for name, value in env.items():
        _check_text("env", name)
        if not _ENV_NAME.fullmatch(name):
            raise InputError(
                f"env: not a name of a variable: `{name}`",
                hint="write it as `NAME=value`",
                field="env",
                value=name,
            )
        if name.startswith(_OURS):
            raise InputError(
                f"env: names that begin with `{_OURS}` are set by FlowHive: `{name}`",
                hint="give it another name",
                field="env",
                value=name,
            )
        _check_text(f"env.{name}", value, shown=name)
        size = _size(name) + _size(value) + 2
        _check_bytes(f"env.{name}", size, MAX_VARIABLE_BYTES)
        total += size
    _check_bytes("env", total, MAX_ENVIRONMENT_BYTES)


def check_secret_name(name: str) -> None:
    """Raises ``InputError`` for what cannot name a secret: it is a variable and a file as well."""
    if not _SECRET_NAME.fullmatch(name) or name.startswith(_OURS):
        raise InputError(
            f"secrets: not a name for a secret: `{name[:100]}`",
            hint=f"use letters, digits and _, such as `HF_TOKEN`; not `{_OURS}` at the beginning",
            field="secrets",
            value=name[:100],
        )


def _check_secrets(spec: TaskSpec) -> None:
    if len(spec.secrets) > MAX_SECRETS:
        raise InputError(
            f"secrets: {len(spec.secrets)} of them, at most {MAX_SECRETS} are allowed",
            hint="put what belongs together into one secret, and give it as a file",
            field="secrets",
        )
    for name in spec.secrets:
        check_secret_name(name)
        if name in spec.env:
            raise InputError(
                f"secrets: `{name}` is set by `env` too",
                hint="leave out one of the two",
                field="secrets",
                value=name,
            )


def _check_request(request: Request) -> None:
    _check_count("request.gpus", request.gpus)
    _check_count("request.cpus", request.cpus)
    if not 1 <= request.nodes <= MAX_NODES:
        raise InputError(
            f"request.nodes: must be between 1 and {MAX_NODES}: {request.nodes}",
            hint="ask for the number of nodes that it runs on at once, such as `--nodes 2`",
            field="request.nodes",
            value=request.nodes,
        )
    _check_size("request.gpu_memory_mib", request.gpu_memory_mib)
    _check_size("request.memory_mib", request.memory_mib)
    if request.gpu_memory_mib is not None and not request.gpus:
        raise InputError(
            "request.gpu_memory_mib: asks for GPU memory, but for no GPU",
            hint="ask for a GPU too, such as `--gpus 1`",
            field="request.gpu_memory_mib",
            value=request.gpu_memory_mib,
        )
    if request.exclusive and not request.gpus:
        raise InputError(
            "request.exclusive: asks to be alone on its GPUs, but for no GPU",
            hint="ask for a GPU too, such as `--gpus 1`",
            field="request.exclusive",
            value=True,
        )
    if not request.cpus and not request.gpus:
        raise InputError(
            "request.cpus: asks for neither a CPU nor a GPU",
            hint="ask for at least one CPU",
            field="request.cpus",
            value=0,
        )


def _check_text(field: str, text: str, *, shown: str | None = None) -> None:
    value = text if shown is None else shown
    if "\x00" in text:
        raise InputError(
            f"{field}: contains a NUL character",
            hint="take it out: no system passes it to a program",
            field=field,
            value=value.replace("\x00", "\\0"),
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{field}: character {error.start + 1} is half of a surrogate pair, not a character",
            hint="write it in valid UTF-8",
            field=field,
            value=value.encode(errors="backslashreplace").decode(),
        ) from error


def _check_path(field: str, path: str | None) -> None:
    if path is None:
        return
    _check_text(field, path)
    if not path.startswith("/") and not re.match(r"[A-Za-z]:[\\/]|\\\\", path):
        raise InputError(
            f"{field}: not an absolute path: `{path}`",
            hint="write it from the root on, as it is on the nodes",
            field=field,
            value=path,
        )
    _check_bytes(field, _size(path), MAX_PATH_BYTES)


def _check_workdir(spec: TaskSpec) -> None:
    if spec.code is not None:
        check_code(spec.code)
        if spec.workdir is not None and not spec.workdir.startswith("/"):
            _check_text("workdir", spec.workdir)
            problem = name_problem(spec.workdir)
            if problem is not None:
                raise InputError(
                    f"workdir: not a directory of the code: {problem}",
                    hint="name it as it is below the code's own directory, such as `src/train`",
                    field="workdir",
                    value=spec.workdir,
                )
            return
    _check_path("workdir", spec.workdir)


def _check_bytes(field: str, size: int, most: int) -> None:
    if size > most:
        raise InputError(
            f"{field}: {size} bytes long, at most {most} are allowed",
            hint="put the data into a file that the task reads",
            field=field,
        )


def _check_count(field: str, count: int) -> None:
    if not 0 <= count <= MAX_COUNT:
        raise InputError(
            f"{field}: must be between 0 and {MAX_COUNT}: {count}",
            hint="write a whole number, not below zero",
            field=field,
            value=count,
        )


def _check_size(field: str, mib: int | None) -> None:
    if mib is not None and not 1 <= mib <= MAX_COUNT:
        raise InputError(
            f"{field}: must be between 1 and {MAX_COUNT} MiB: {mib}",
            hint="write a size such as `8G`, or leave it out",
            field=field,
            value=mib,
        )


def _check_length(field: str, length_ms: int | None, *, least: int) -> None:
    if length_ms is not None and not least <= length_ms <= MAX_LENGTH_MS:
        above = "not be negative" if least == 0 else "be above zero"
        raise InputError(
            f"{field}: must {above} and at most 100 years: {length_ms} ms",
            hint="write a length of time such as `90s` or `4h`",
            field=field,
            value=length_ms,
        )


def _size(text: str) -> int:
    return len(text.encode())
