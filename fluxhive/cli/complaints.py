"""What click complains of, in our words: what was typed, what would do, the nearest match.

click's own sentences are read where it keeps no more than them. Called by group.py alone.
"""

from __future__ import annotations

import difflib
import re

import click

from fluxhive import env
from fluxhive.core.errors import AuthError, InputError

#: Words for the same deed; the parts of `quota`, `token` and others know one of each.
_SAME = (
    {"ls", "list", "show", "status", "get", "info"},
    {"rm", "remove", "delete", "del", "revoke", "uninstall"},
    {"add", "create", "new", "set", "install", "edit", "update", "change"},
    {"drain", "cordon", "pause", "disable"},
    {"undrain", "uncordon", "resume", "enable", "accept"},
)
_ELSEWHERE = {
    **dict.fromkeys((f"node {word}" for word in _SAME[0]), "fluxhive nodes"),
    "node add": "fluxhive run",
    "node token": "fluxhive token create --scope node",
    "service start": "fluxhive service install",
}
#: Options as other tools call them, and ours.
_OPTION_OF = {
    **dict.fromkeys(("--wait", "--watch", "--attach"), "--follow"),
    **dict.fromkeys(("--memory", "--ram"), "--mem"),
    **dict.fromkeys(("--gpu-memory", "--vram"), "--gpu-mem"),
    **dict.fromkeys(("--job-name", "--title"), "--name"),
    **dict.fromkeys(("--dependency", "--depends-on", "--depends"), "--after"),
    **dict.fromkeys(("--timeout", "--time-limit", "--walltime"), "--time"),
    **dict.fromkeys(("--cwd", "--chdir", "--dir"), "--workdir"),
    **dict.fromkeys(("--nodelist", "--host", "--on"), "--node"),
    **dict.fromkeys(("--constraint", "--label"), "--tag"),
    **dict.fromkeys(("--retries", "--max-retries"), "--retry"),
    **dict.fromkeys(("--qos", "--nice"), "--priority"),
}
_NOT_BUILT = {"--notify": "telling somebody elsewhere is not built yet; the dashboard tells you"}
#: Members of a task's spec, and the options of `submit` that they are made of.
_OPTIONS = {
    "after": "--after",
    "array": "--array",
    "array.at_most": "--at-most",
    "array.variables": "--array",
    "begin_at_ms": "--begin",
    "checkpoint_signal": "--checkpoint-signal",
    "env": "--env",
    "failover_ms": "--failover",
    "grace_ms": "--grace",
    "image": "--image",
    "mounts": "--mount",
    "name": "--name",
    "nproc_per_node": "--nproc-per-node",
    "project": "--project",
    "request.cpus": "--cpus",
    "request.gpu_memory_mib": "--gpu-mem",
    "request.gpu_model": "--gpu-model",
    "request.gpus": "--gpus",
    "request.memory_mib": "--mem",
    "request.nodes": "--nodes",
    "request.on_nodes": "--node",
    "request.tags": "--tag",
    "retry": "--retry",
    "retry_on": "--retry-on",
    "secrets": "--secret",
    "time_limit_ms": "--time",
    "workdir": "--workdir",
}
_MEMBER = re.compile(r"(?P<name>[a-z_]+(?:\.[a-z_]+)?)(?:\[\d+\])?(?:\.\w+)?: ")
#: What takes things from a list that `ls` beside it shows.
_ENDING = (" rm", " revoke")
_WRONG_KIND = re.compile(r"'(?P<value>.*)' is not a valid (?P<kind>integer|float)", re.DOTALL)
_OUT_OF_RANGE = re.compile(
    r"(?P<value>\S+) is not in the range (?:(?P<low>[-\d.]+)<=)?x(?:>=(?P<least>[-\d.]*\d))?"
    r"(?:<=(?P<high>[-\d.]+?))?\.?$"
)
_NONE_OF = re.compile(r"'(?P<value>.*)' is not (?:one of )?'", re.DOTALL)
_SUPERFLUOUS = re.compile(r"Got unexpected extra arguments? \((?P<words>.*)\)", re.DOTALL)
_NO_VALUE = re.compile(r"Option '(?P<option>\S+)' requires (?:an argument|\d+ arguments)")
_NO_COMMAND = re.compile(r"No such command '(?P<name>.*?)'", re.DOTALL)


def in_our_words(error: click.ClickException, verb: str) -> InputError:
    """click's complaint about this verb with the field, the value, and what to do."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else f"fluxhive {verb}".rstrip()
    if isinstance(error, click.NoSuchOption):
        return _no_such_option(error, context, path)
    if isinstance(error, click.MissingParameter):
        return _missing(error, path)
    if isinstance(error, click.BadParameter):
        found = _bad_value(error, path)
        if found is not None:
            return found
    text = error.format_message()
    hint = f"{path} --help"
    if match := _NO_COMMAND.match(text):
        name = match["name"]
        part = path.removeprefix("fluxhive ")
        return InputError(
            f"`{path}` has no `{name}`", field=part, value=name, hint=_part(context, part, name)
        )
    if match := _SUPERFLUOUS.match(text):
        return InputError(f"`{path}` does not know what to do with: `{match['words']}`", hint=hint)
    if match := _NO_VALUE.match(text):
        option = match["option"]
        return InputError(f"`{option}` needs a value", field=option, hint=hint)
    text = text.rstrip(".")
    parameter = getattr(error, "param", None)
    field = parameter.name if isinstance(parameter, click.Parameter) else None
    return InputError(text[:1].lower() + text[1:], field=field, hint=hint)


def in_options(error: InputError) -> InputError:
    """What the server says of a member of its JSON, said of the option that it came from."""
    found = _MEMBER.match(error.text)
    option = _OPTIONS.get(found["name"]) if found is not None else None
    if found is None or option is None:
        return error
    text = f"{option}: {error.text[found.end() :]}"
    return InputError(text, field=option, value=error.value, hint=error.hint)


def of_token(error: AuthError) -> AuthError:
    """The same with what helps where the token that was refused stands in a variable."""
    if error.http_status != 401 or env.get(env.TOKEN) is None or "token" not in error.text:
        return error
    name = env.TOKEN.name
    return AuthError(
        f"{error.text}; it came from {name}",
        hint=f"unset {name}, which goes before what `fluxhive login` keeps, or give it another "
        "token: fluxhive token create",
    )


def closest(name: str, known: list[str]) -> str | None:
    """The hint that names what was probably meant; for a verb, where all verbs are."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if found:
        return f"did you mean `{found[0]}`"
    return None if name.startswith("-") else "see `fluxhive --help`"


def _no_such_option(
    error: click.NoSuchOption, context: click.Context | None, path: str
) -> InputError:
    parameters = [] if context is None else context.command.params
    known = [name for parameter in parameters for name in parameter.opts if name[:1] == "-"]
    other = _OPTION_OF.get(error.option_name)
    near = closest(error.option_name, list(error.possibilities or known))
    if other in known:
        near = f"did you mean `{other}`"
    near = _NOT_BUILT.get(error.option_name, near)
    return InputError(
        f"unknown option of `{path}`: `{error.option_name}`",
        field=error.option_name,
        hint=near or f"{path} --help",
    )


def _part(context: click.Context | None, part: str, name: str) -> str:
    """What was probably meant by a word behind `fluxhive quota` and the like."""
    path = f"fluxhive {part}"
    group = None if context is None else context.command
    known = list(group.commands) if isinstance(group, click.Group) else []
    if f"{part} {name}" in _ELSEWHERE:
        return f"did you mean `{_ELSEWHERE[f'{part} {name}']}`"
    same = next((some for some in _SAME if name in some), {name})
    meant = [each for each in known if each in same]
    meant += difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if meant:
        return f"did you mean `{path} {meant[0]}`"
    return f"it has {', '.join(f'`{each}`' for each in sorted(known))}"


def _missing(error: click.MissingParameter, path: str) -> InputError:
    parameter = error.param
    if parameter is None:
        return InputError(error.format_message(), hint=f"{path} --help")
    choices = _choices(parameter)
    if isinstance(parameter, click.Argument):
        name = (parameter.metavar or parameter.name or "").strip("…")
        what = f"one of {choices}" if choices else name.upper()
    else:
        name = parameter.opts[0]
        what = f"`{name}`"
    lists = {
        "TASK": "fluxhive ps",
        "A": "fluxhive ps",
        "B": "fluxhive ps",
        "NODE": "fluxhive nodes",
    }
    where = lists.get(name.upper())
    if where is None and name.upper() in ("ID", "NAME", "BOOKING") and path.endswith(_ENDING):
        where = f"{path.rpartition(' ')[0]} ls"
    return InputError(
        f"`{path}` needs {what}",
        field=name,
        hint=f"list them: {where}" if where else f"{path} --help",
    )


def _bad_value(error: click.BadParameter, path: str) -> InputError | None:
    """A value of the wrong kind, out of range or unknown; None: click says something else."""
    parameter, said = error.param, error.message
    if parameter is None:
        return None
    name = max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.name
    assert name is not None, "click names every parameter"
    hint: str | None = f"{path} --help"
    if match := _WRONG_KIND.match(said):
        value, kind = match["value"], "whole number" if match["kind"] == "integer" else "number"
        text = f"`{name}` must be a {kind}: `{value}`"
        if name == "--gpus":
            text = f"`--gpus` must be a whole number{_or_all(parameter.metavar)}: `{value}`"
            hint = "say how many: `fluxhive gpus` lists what there is"
    elif match := _OUT_OF_RANGE.match(said):
        value, low, high = match["value"], match["low"] or match["least"], match["high"]
        text = f"`{name}` must be {_range(low, high)}: {value}"
    elif match := _NONE_OF.match(said):
        value, choices = match["value"], _choices(parameter)
        whose = f"`{name}`" if isinstance(parameter, click.Option) else f"`{path}`"
        text = f"{whose} takes one of {choices}: `{value}`"
        known = [str(each) for each in getattr(parameter.type, "choices", ())]
        near = difflib.get_close_matches(value, known, n=1, cutoff=0.6)
        hint = f"did you mean `{near[0]}`" if near else hint
    else:
        return None
    return InputError(text, field=name, value=value, hint=hint)


def _or_all(metavar: str | None) -> str:
    """Where `all` is a number too, as it is to `submit`."""
    return " or `all`" if metavar is not None and "all" in metavar else ""


def _range(low: str | None, high: str | None) -> str:
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def _choices(parameter: click.Parameter) -> str:
    """``bash, zsh or fish``; empty where anything may be given."""
    known = [str(each) for each in getattr(parameter.type, "choices", ())]
    return " or ".join(filter(None, (", ".join(known[:-1]), *known[-1:])))
