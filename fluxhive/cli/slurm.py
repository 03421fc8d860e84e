"""Options of Slurm's sbatch in ours: what each becomes, and what is said where there is no twin.

Times, memory and GPUs are written differently there (`30` is half an hour, `16000` are megabytes);
what has no counterpart is named in a warning that says what happens without it, never passed over.
Read from sbatch(1) of Slurm 24.05.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fluxhive.core.errors import InputError


class Twin(NamedTuple):
    """What options of Slurm became."""

    #: Words for `fluxhive submit`.
    options: tuple[str, ...] = ()
    #: What is different here, one sentence each.
    warnings: tuple[str, ...] = ()


SHORT = {
    "A": "account",
    "C": "constraint",
    "D": "chdir",
    "G": "gpus",
    "H": "hold",
    "J": "job-name",
    "L": "licenses",
    "M": "clusters",
    "N": "nodes",
    "W": "wait",
    "a": "array",
    "b": "begin",
    "c": "cpus-per-task",
    "d": "dependency",
    "e": "error",
    "i": "input",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "t": "time",
    "w": "nodelist",
    "x": "exclude",
}
#: Options that take no value.
FLAGS = frozenset(
    {
        "hold",
        "wait",
        "exclusive",
        "requeue",
        "no-requeue",
        "parsable",
        "oversubscribe",
        "test-only",
    }
)
_MINUTES = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_INDEXES = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


def translate(asked: Iterable[tuple[str, str]]) -> Twin:
    """What these options, by long name and value (empty: none), become together."""
    given = dict(asked)
    options: list[str] = []
    warnings: list[str] = []
    for name, value in given.items():
        make = _TWINS.get(name)
        if make is None:
            warnings.append(f"`--{name}` of Slurm is not known here and was left out")
            continue
        made = make(value, given)
        options += made.options
        warnings += made.warnings
    return Twin(tuple(options), tuple(warnings))


def _option(ours: str) -> Callable[[str, dict[str, str]], Twin]:
    return lambda value, _: Twin((ours, value))


def _flag(ours: str, *warnings: str) -> Callable[[str, dict[str, str]], Twin]:
    return lambda _value, _given: Twin((ours,), warnings)


def _nothing(*warnings: str) -> Callable[[str, dict[str, str]], Twin]:
    return lambda _value, _given: Twin((), warnings)


def _said(text: str) -> Callable[[str, dict[str, str]], Twin]:
    """A warning with the value in it."""
    return lambda value, _: Twin((), (text.format(value=value),))


def _time(value: str, _: dict[str, str]) -> Twin:
    if value.lower() in ("0", "unlimited", "infinite"):
        return Twin()
    found = _MINUTES.fullmatch(value)
    if found is None:
        raise _wrong("time", value, "write it as Slurm does: `30`, `4:00:00` or `2-00`")
    days, *rest = found.groups()
    numbers = [int(each) for each in rest if each is not None]
    if days is not None:  # d-h, d-h:m, d-h:m:s
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:  # m, m:s
        hours, (minutes, seconds) = 0, [*numbers, 0][:2]
    total_s = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    return Twin(("--time", f"{total_s}s"))


def _gpus(value: str, _: dict[str, str]) -> Twin:
    """`2`, `a100:2`, on each node."""
    model, count = _counted(value)
    return Twin(("--gpus", str(count), *(("--gpu-model", model) if model else ())))


def _gpus_of_all(value: str, given: dict[str, str]) -> Twin:
    """The same for all nodes together: each gets its part."""
    model, count = _counted(value)
    each = -(-count // _n_nodes(given))
    return _gpus(f"{model}:{each}" if model else str(each), given)


def _gpus_per_task(value: str, given: dict[str, str]) -> Twin:
    model, count = _counted(value)
    each = count * _n_tasks(given)
    return _gpus(f"{model}:{each}" if model else str(each), given)


def _counted(value: str) -> tuple[str, int]:
    model, _colon, count = value.rpartition(":")
    if not count.isdigit():
        raise _wrong("gpus", value, "write `--gpus=2` or `--gpus=a100:2`")
    return model, int(count)


def _n_nodes(given: dict[str, str]) -> int:
    least = given.get("nodes", "1").partition("-")[0]
    return max(1, int(least)) if least.isdigit() else 1


def _n_tasks(given: dict[str, str]) -> int:
    """How many of Slurm's tasks, its processes, a node has."""
    each, total = given.get("ntasks-per-node", ""), given.get("ntasks", "")
    if each.isdigit():
        return max(1, int(each))
    return -(-int(total) // _n_nodes(given)) if total.isdigit() and int(total) else 1


def _cpus(value: str, given: dict[str, str]) -> Twin:
    if not value.isdigit():
        raise _wrong("cpus-per-task", value, "write `--cpus-per-task=4`")
    return Twin(("--cpus", str(int(value) * _n_tasks(given))))


def _gres(value: str, given: dict[str, str]) -> Twin:
    """`gpu`, `gpu:2`, `gpu:a100:2`; anything else there is nothing of here."""
    options: list[str] = []
    warnings: list[str] = []
    for each in value.split(","):
        kind, _, rest = each.partition(":")
        if kind != "gpu":
            warnings.append(f"`--gres={each}`: only GPUs are counted here, so this is not")
        elif not rest or not rest.rpartition(":")[2].isdigit():
            options += ["--gpus", "1", *(("--gpu-model", rest) if rest else ())]
        else:
            options += _gpus(rest, given).options
    return Twin(tuple(options), tuple(warnings))


def _memory(value: str) -> int | None:
    """Mebibytes; None: all of the node, which Slurm writes as 0."""
    found = re.fullmatch(r"(\d+)([KMGT]?)B?", value.upper())
    if found is None:
        raise _wrong("mem", value, "write it as Slurm does: `16G`, or `16000` for megabytes")
    unit = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024 * 1024}[found[2]]
    return int(int(found[1]) * unit) or None


def _mem(value: str, _: dict[str, str]) -> Twin:
    mib = _memory(value)
    if mib is None:
        return Twin((), ("`--mem=0` asks for all memory of the node; here it is not counted",))
    return Twin(("--mem", f"{mib}M"))


def _mem_per_cpu(value: str, given: dict[str, str]) -> Twin:
    mib = _memory(value) or 0
    return _mem(str(mib * int(given.get("cpus-per-task", "1") or 1) * _n_tasks(given)), given)


def _mem_per_gpu(value: str, given: dict[str, str]) -> Twin:
    asked = given.get("gpus") or given.get("gpus-per-node") or given.get("gres") or "1"
    last = asked.rpartition(":")[2]
    return _mem(str((_memory(value) or 0) * (int(last) if last.isdigit() else 1)), given)


def _array(value: str, _: dict[str, str]) -> Twin:
    """The index reaches the script under Slurm's name, whatever the numbers are."""
    text, percent, limit = value.partition("%")
    at_most = ("--at-most", limit) if percent else ()
    indexes: list[int] = []
    for part in text.split(","):
        found = _INDEXES.fullmatch(part)
        if found is None:
            hint = "write `0-9`, `1,3,5`, `0-15:4`, with `%4` at most 4 at once"
            raise _wrong("array", value, hint)
        first, last = int(found[1]), int(found[2] or found[1])
        indexes += range(first, last + 1, int(found[3] or 1))
    whole = range(indexes[0], indexes[-1] + 1)
    is_range = indexes == list(whole)
    shown = f"{whole[0]}..{whole[-1]}" if is_range else ",".join(map(str, indexes))
    return Twin(("--array", f"SLURM_ARRAY_TASK_ID={shown}", *at_most))


def _ntasks(value: str, given: dict[str, str]) -> Twin:
    """The CPUs of all processes are asked for: the one that is started may start the others."""
    if value == "1":
        return Twin()
    text = (
        f"`--ntasks={value}`: one process is started on each node, and no `srun` starts more; "
        "`--torchrun` starts one for each GPU"
    )
    cpus = () if "cpus-per-task" in given else ("--cpus", str(_n_tasks(given)))
    return Twin(cpus, (text,))


def _nodes(value: str, _: dict[str, str]) -> Twin:
    least = value.partition("-")[0]
    said = () if least == value else (f"`--nodes={value}`: {least} are asked for, not more",)
    return Twin(() if least == "1" else ("--nodes", least), said)


def _dependency(value: str, _: dict[str, str]) -> Twin:
    ends = {"afterok": "ok", "afterany": "any", "afternotok": "fail"}
    options: list[str] = []
    warnings: list[str] = []
    for part in re.split("[,?]", value):
        kind, *ids = part.split(":")
        if kind in ends and ids:
            options += [word for each in ids for word in ("--after", f"{each}:{ends[kind]}")]
        else:
            warnings.append(f"`--dependency={part}` has no counterpart: it is NOT waited for")
    return Twin(tuple(options), tuple(warnings))


def _begin(value: str, _: dict[str, str]) -> Twin:
    units = {"": "s", "second": "s", "minute": "m", "hour": "h", "day": "d"}
    found = re.fullmatch(r"now\+(\d+)(second|minute|hour|day|)s?", value)
    if found is None:
        return Twin(("--begin", value))
    number, unit = int(found[1]), units[found[2]]
    return Twin(("--begin", f"+{number * 24}h" if unit == "d" else f"+{number}{unit}"))


def _constraint(value: str, _: dict[str, str]) -> Twin:
    if re.search(r"[|\[\]*()]", value):
        return Twin((), (f"`--constraint={value}`: only `a&b` is understood; it is NOT kept to",))
    return Twin(tuple(word for tag in re.split("[&,]", value) for word in ("--tag", tag)))


def _nodelist(value: str, _: dict[str, str]) -> Twin:
    if "[" in value:
        return Twin((), (f"`--nodelist={value}`: name the nodes one by one; it is NOT kept to",))
    return Twin(tuple(word for label in value.split(",") for word in ("--node", label)))


def _export(value: str, _: dict[str, str]) -> Twin:
    words = [each for each in value.split(",") if each not in ("ALL", "NONE", "NIL", "")]
    options = tuple(word for each in words for word in ("--env", each))
    text = (
        "`--export=ALL`: of your environment a task gets the active virtual environment and what "
        "`--env NAME` names, nothing else"
    )
    return Twin(options, (text,) if "ALL" in value.split(",") else ())


def _output(value: str, given: dict[str, str]) -> Twin:
    name = value.replace("%x", given.get("job-name", "%x"))
    shown = re.sub("%[jAJ]", "ID", name)
    text = f"no file `{name}` is written: `fluxhive logs ID` shows the output"
    if "array" in given:
        return Twin((), (f"{text}, each line behind its member, `fluxhive logs 'ID[3]'` of one",))
    return Twin((), (f"{text}, and `fluxhive logs ID > {shown}` makes the file",))


_TWINS: dict[str, Callable[[str, dict[str, str]], Twin]] = {
    "account": _option("--project"),
    "array": _array,
    "begin": _begin,
    "chdir": _option("--workdir"),
    "clusters": _said("`--clusters={value}`: one hive is one cluster; left out"),
    "comment": _nothing(),
    "constraint": _constraint,
    "cpus-per-task": _cpus,
    "dependency": _dependency,
    "error": _said("no file `{value}` is written: `fluxhive logs --stream stderr ID` shows errors"),
    "exclude": _said("`--exclude={value}`: nodes cannot be excluded here; it is NOT kept to"),
    "exclusive": _flag("--exclusive", "`--exclusive` keeps its GPUs alone, not the whole node"),
    "export": _export,
    "get-user-env": _nothing(),
    "gpus": _gpus_of_all,
    "gpus-per-node": _gpus,
    "gpus-per-task": _gpus_per_task,
    "gres": _gres,
    "hold": _flag("--hold"),
    "job-name": _option("--name"),
    "mail-type": _said("`--mail-type={value}`: no mail is sent; `fluxhive wait ID` waits instead"),
    "mail-user": _nothing(),
    "mem": _mem,
    "mem-per-cpu": _mem_per_cpu,
    "mem-per-gpu": _mem_per_gpu,
    "nice": _said("`--nice={value}` was left out; `--priority low` lets others go first"),
    "no-requeue": _flag("--at-most-once"),
    "nodelist": _nodelist,
    "nodes": _nodes,
    "ntasks": _ntasks,
    "ntasks-per-node": _ntasks,
    "open-mode": _nothing(),
    "output": _output,
    "parsable": _flag("-q"),
    "partition": _said(
        "`--partition={value}`: there are no partitions here; it runs on any node where it fits, "
        "`--tag` or `--gpu-model` narrow that"
    ),
    "qos": _said("`--qos={value}` was left out; `--priority high` goes first"),
    "requeue": _nothing(),
    "reservation": _said("`--reservation={value}`: a booking of yours is used by itself; left out"),
    "signal": _said(
        "`--signal={value}`: before a time limit only the stop itself is sent; "
        "`--checkpoint-signal` is for making room"
    ),
    "test-only": _flag("--dry-run"),
    "time": _time,
    "wait": _flag("-f"),
}


KNOWN = frozenset(_TWINS) | FLAGS | frozenset(SHORT.values())
"""Long names that are options of sbatch."""


def _wrong(name: str, value: str, hint: str) -> InputError:
    text = f"`--{name}={value}` of Slurm is not understood"
    return InputError(text, field=f"--{name}", value=value, hint=hint)
