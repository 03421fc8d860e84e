"""`fluxhive rerun`: submits a task again, as it was or with changes."""

from __future__ import annotations

from typing import Any

import click
from msgspec.structs import replace

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.code import upload_code
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.cli.follow import follow
from fluxhive.cli.told import tell_submitted
from fluxhive.core.errors import AuthError, Conflict, InputError
from fluxhive.core.request import parse_duration_ms, parse_mib
from fluxhive.core.task import Priority, TaskSpec
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk.environment import gather

PRIORITIES = [priority.value for priority in Priority]


@click.command()
@click.argument("task", shell_complete=TASK_NAMES)
@click.option("-n", "--name", help="Another name.")
@click.option("--project", metavar="NAME", help="Another project.")
@click.option("-p", "--priority", type=click.Choice(PRIORITIES), help="Another priority.")
@click.option("--gpus", type=click.IntRange(0), metavar="N", help="Another number of GPUs.")
@click.option("--gpu-mem", metavar="SIZE", help="Memory per GPU, as 8G; `all`: whole GPUs.")
@click.option("--cpus", type=click.IntRange(1), metavar="N", help="Another number of CPUs.")
@click.option("--mem", metavar="SIZE", help="Memory, as 16G; `any`: not counted.")
@click.option("--time", "time_limit", metavar="TIME", help="Limit, as 4h; `none`: no limit.")
@click.option("--retry", type=click.IntRange(0), metavar="N", help="Try again after N failures.")
@click.option("--env", "variables", multiple=True, metavar="K=V", help="One more variable.")
@click.option("--code", metavar="DIR", help="With the code in DIR as it is now.")
@click.option("--hold", is_flag=True, help="Not before it is released.")
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Show its output to the end.")
@options.control_url
@output.form_options
def command(
    *,
    task: str,
    hold: bool,
    is_followed: bool,
    code: str | None,
    control_url: str | None,
    form: output.Form,
    **given: Any,
) -> int:
    """Submit a task again: the same command with the same needs, as a new task.

    What is named is changed; edits made since it was submitted are kept. Start times and tasks
    that it came after are not waited for again. Of an array, all members run again; name one of
    them, as 't-7f3k[5]', for that alone.
    """
    client = session.client(control_url)
    old = client.task(task)
    spec = changed(_again(old, client.me().username), given)
    if is_followed and spec.array is not None:
        raise InputError("`-f` follows one task, and this is an array", field="-f")
    if code is not None:
        spec = replace(spec, code=upload_code(client, code))
    try:
        new = client.submit(spec, hold=hold)
    except Conflict as error:
        if spec.code is None or code is not None:
            raise
        hint = "give it the directory as it is now: add `--code .`"
        raise Conflict(f"{error.text}; the code of {old.id} may be gone", hint=hint) from error
    for warning in new.warnings:
        messages.warn(warning)
    if not is_followed:
        tell_submitted(new, form)
        return 0
    messages.say(f"{new.id} is {old.id} again")
    return follow(client, new.id)


def _again(old: TaskView, me: str) -> TaskSpec:
    """What to submit. Raises AuthError where values of its environment are hidden from us."""
    if old.spec.env and old.owner != me:
        raise AuthError(
            f"{old.id} belongs to {old.owner}, and what its environment holds is not shown to you",
            hint=f"see its command with `fluxhive show {old.id}`, and submit it with your own",
        )
    return replace(old.spec, begin_at_ms=None, after=())


def changed(spec: TaskSpec, given: dict[str, Any]) -> TaskSpec:
    """The spec with what the options name; None is not named."""
    request, limit = spec.request, given["time_limit"]
    if given["gpus"] is not None:
        request = replace(request, gpus=given["gpus"])
        if not given["gpus"]:
            request = replace(request, gpu_memory_mib=None, exclusive=False, strict=False)
    if given["cpus"] is not None:
        request = replace(request, cpus=given["cpus"])
    if given["gpu_mem"] is not None:
        request = replace(request, gpu_memory_mib=_mib(given["gpu_mem"], "--gpu-mem", "all"))
    if given["mem"] is not None:
        request = replace(request, memory_mib=_mib(given["mem"], "--mem", "any"))
    if limit is not None:
        length_ms = None if limit == "none" else parse_duration_ms(limit, field="--time")
        spec = replace(spec, time_limit_ms=length_ms)
    for name in ("name", "project", "retry"):
        if given[name] is not None:
            spec = replace(spec, **{name: given[name]})
    if given["priority"] is not None:
        spec = replace(spec, priority=Priority(given["priority"]))
    env = {**spec.env, **gather(given["variables"], None)}
    return replace(spec, request=request, env=env)


def _mib(text: str, option: str, unlimited: str) -> int | None:
    return None if text == unlimited else parse_mib(text, field=option)
