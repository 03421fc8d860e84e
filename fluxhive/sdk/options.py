"""What a task needs and how it is treated, by the words of the command line's flags.

``gpu_mem="20G"`` is ``--gpu-mem 20G``: the same texts are read by the same code. A list stands
where a flag may be repeated; one text alone will do, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from fluxhive.core.array import ArraySpec, SweepVariable, check_array
from fluxhive.core.errors import InputError
from fluxhive.core.request import Request, parse_duration_ms, parse_mib
from fluxhive.core.spec import OnOom
from fluxhive.core.task import ExecutorKind, Priority, TaskSpec

from .array_text import check_places, read_array
from .begin import parse_dependency, parse_time_ms
from .environment import gather, gather_secrets, with_rank_prefix
from .program import Program, mount, workdir

Texts = str | Sequence[str]


class Options(TypedDict, total=False):
    """All of them. Sizes are texts as ``20G`` or MiB, times are texts as ``4h`` or seconds."""

    #: How many GPUs; memory of each, kept to as it is with ``strict``; their model.
    gpus: int
    gpu_mem: str | int | None
    strict: bool
    gpu_model: str | None
    #: Share the GPUs with nobody.
    exclusive: bool
    cpus: int
    mem: str | int | None
    #: On so many nodes at once; only on nodes with these tags, or of these labels.
    nodes: int
    tag: Texts
    node: Texts
    #: Stop it after this time.
    time: str | float | None
    name: str
    project: str
    priority: str
    #: Not before ``18:00``, ``+2h`` or an ISO time; once other tasks have ended (``t-7f3k:any``).
    begin: str | None
    after: Any
    hold: bool
    #: Try again after so many failures of its own: of these causes, elsewhere, after this pause.
    retry: int
    retry_on: Texts
    retry_elsewhere: bool
    #: Out of GPU memory by its own doing: ``grow``, tried again with more, or ``fail``.
    oom: str
    backoff: str | float | None
    #: Never start it a second time; run elsewhere after so long out of contact.
    at_most_once: bool
    failover: str | float | None
    #: May make room for urgent tasks, after it ran so long, saving by this signal.
    preemptible: bool
    min_run: str | float | None
    checkpoint_signal: str | None
    grace: str | float | None
    env: Mapping[str, str]
    env_file: str | None
    secret: Texts
    #: Where it runs; the directory of which each attempt gets a fresh copy.
    workdir: str | None
    code: str | None
    #: Interpreter, environment, ``conda:NAME`` or ``uv``.
    python: str | None
    torchrun: bool
    nproc_per_node: int | None
    #: Each line of torchrun's processes behind its rank.
    prefix_ranks: bool
    image: str | None
    mount: Texts
    shell: bool
    merge_output: bool
    #: ``"0-99%8"``, ``"lr=1e-3,1e-4 seed=0..4"``, or variables with their values.
    array: str | Mapping[str, Sequence[object]] | None
    zip: bool
    at_most: int | None


NAMES = frozenset(Options.__annotations__)


def check_names(options: Mapping[str, object]) -> None:
    """Raises ``InputError`` for an option that there is not, with the closest one that there is."""
    for name in options:
        if name not in NAMES:
            from difflib import get_close_matches

            close = get_close_matches(name, NAMES, 1)
            raise InputError(
                f"there is no option `{name}`",
                field=name,
                hint=f"did you mean `{close[0]}`" if close else "see docs/sdk.md for all of them",
            )


def spec_of(program: Program, options: Options) -> TaskSpec:
    """The spec that a program and these options make. Raises ``InputError``."""
    check_names(options)
    with words_of_python():
        return check_places(_with_times(_plain(program, options), options))


def _plain(program: Program, given: Options) -> TaskSpec:
    gpu_mem, gpus = given.get("gpu_mem"), given.get("gpus", 0)
    if gpu_mem is not None and not gpus:
        raise InputError(
            "`--gpu-mem` says how much of each GPU, and no GPU is asked for",
            field="--gpu-mem",
            hint="add `--gpus 1`",
        )
    mem = given.get("mem")
    request = Request(
        gpus=gpus,
        gpu_memory_mib=None if gpu_mem is None else parse_mib(str(gpu_mem), field="--gpu-mem"),
        exclusive=given.get("exclusive", False),
        strict=given.get("strict", False),
        gpu_model=given.get("gpu_model"),
        tags=_texts(given.get("tag")),
        on_nodes=_texts(given.get("node")),
        cpus=given.get("cpus", 1),
        memory_mib=None if mem is None else parse_mib(str(mem), field="--mem"),
        nodes=given.get("nodes", 1),
    )
    image, code = given.get("image"), given.get("code")
    variables = [f"{name}={value}" for name, value in given.get("env", {}).items()]
    priority = given.get("priority", "normal")
    if priority not in (known := [each.value for each in Priority]):
        raise InputError(
            f"`--priority` is not one of {', '.join(known)}: `{priority}`",
            field="--priority",
            value=priority,
        )
    env = gather(variables, given.get("env_file"))
    if given.get("prefix_ranks", False):
        env = with_rank_prefix(env, is_torchrun=program.executor is ExecutorKind.TORCHRUN)
    return TaskSpec(
        command=program.command,
        executor=program.executor,
        python=program.python,
        venv=program.venv,
        name=given.get("name", ""),
        request=request,
        env=env,
        secrets=gather_secrets(_texts(given.get("secret"))),
        image=image,
        mounts=tuple([mount(text) for text in _texts(given.get("mount"))]),
        workdir=workdir(given.get("workdir"), has_own_place=bool(code) or image is not None),
        merge_output=given.get("merge_output", False),
        nproc_per_node=given.get("nproc_per_node"),
        priority=Priority(priority),
        retry=given.get("retry", 0),
        at_most_once=given.get("at_most_once", False),
        project=given.get("project", ""),
    )


def _with_times(spec: TaskSpec, given: Options) -> TaskSpec:
    begin, signal = given.get("begin"), given.get("checkpoint_signal")
    lengths = {
        "time_limit_ms": _length(given.get("time"), "--time"),
        "failover_ms": _length(given.get("failover"), "--failover"),
        "backoff_ms": _length(given.get("backoff"), "--backoff"),
        "min_run_ms": _length(given.get("min_run"), "--min-run"),
        "grace_ms": _length(given.get("grace"), "--grace"),
    }
    causes = given.get("retry_on", ())
    after = given.get("after") or ()
    return replace(
        spec,
        **{name: length for name, length in lengths.items() if length is not UNSET},
        begin_at_ms=None if begin is None else parse_time_ms(begin),
        after=tuple([parse_dependency(text) for text in _after(after)]),
        retry_on=tuple(causes.split(",")) if isinstance(causes, str) and causes else tuple(causes),
        retry_elsewhere=given.get("retry_elsewhere", False),
        oom=_on_oom(given.get("oom", OnOom.GROW.value)),
        preemptible=given.get("preemptible", False),
        checkpoint_signal=None if signal is None else signal.upper().removeprefix("SIG"),
        array=_array(given),
    )


def _on_oom(word: str) -> OnOom:
    known = [each.value for each in OnOom]
    if word not in known:
        raise InputError(
            f"`--oom` is not one of {', '.join(known)}: `{word}`", field="--oom", value=word
        )
    return OnOom(word)


def _array(given: Options) -> ArraySpec | None:
    array, at_most = given.get("array"), given.get("at_most")
    if not isinstance(array, Mapping):
        texts = () if array is None else (array,)
        return read_array(texts, is_zip=given.get("zip", False), at_most=at_most)
    variables = tuple(
        [
            SweepVariable(name=name, values=tuple([str(value) for value in values]))
            for name, values in array.items()
        ]
    )
    return check_array(ArraySpec(variables=variables, zip=given.get("zip", False), at_most=at_most))


def _length(value: str | float | None, field: str) -> int | UnsetType:
    if value is None:
        return UNSET
    if not isinstance(value, str):
        return round(value * 1000)
    return 0 if value.strip("0") in ("", "s", "m", "h") else parse_duration_ms(value, field=field)


def _after(after: object) -> Iterator[str]:
    """Tasks, or their ids with or without how they have to end."""
    many = after if isinstance(after, list | tuple | set) else (after,)
    for each in many:
        yield each if isinstance(each, str) else str(getattr(each, "id", each))


def _texts(given: Texts | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


@contextmanager
def words_of_python() -> Iterator[None]:
    """What is wrong with `--gpu-mem` is told of `gpu_mem`."""
    try:
        yield
    except InputError as error:
        field = error.field or ""
        if not field.startswith("--"):
            raise
        name = field[2:].replace("-", "_")
        text = error.text.replace(field, name)
        hint = None if error.hint is None else _in_python(error.hint)
        raise InputError(text, field=name, value=error.value, hint=hint) from None


def _in_python(hint: str) -> str:
    """``add `--gpus 1` `` → ``add `gpus=1` ``."""
    import re

    def said(match: re.Match[str]) -> str:
        return f"{match[1].replace('-', '_')}={match[2] or '…'}"

    return re.sub(r"--([a-z][a-z-]*)(?: ([A-Za-z0-9]+))?", said, hint)
