"""`fluxhive submit`: queues a command, and with -f follows it."""

from __future__ import annotations

import os
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.array import spread
from fluxhive.cli.code import upload_code
from fluxhive.cli.completing import NODE_NAMES
from fluxhive.cli.fluxhive import AS_SBATCH
from fluxhive.cli.follow import follow
from fluxhive.cli.gpu_count import ALL_GPUS, GpuCount, all_gpus
from fluxhive.cli.headers import Head, head_of, slurm_line
from fluxhive.cli.queueing import QUEUE_NAMES, queue_options, queued
from fluxhive.cli.told import line_of, tell_submitted
from fluxhive.cli.why import show
from fluxhive.core.errors import InputError
from fluxhive.core.request import Request, parse_duration_ms, parse_mib
from fluxhive.core.task import Priority, TaskSpec
from fluxhive.sdk.environment import gather, gather_secrets, with_rank_prefix
from fluxhive.sdk.program import mount, program, workdir

SCRIPT_ENDS = (".sh", ".py", ".bash", ".sbatch", ".slurm")
PRIORITIES = [priority.value for priority in Priority]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options as click read them."""

    gpus: int
    gpu_mem: str | None
    is_strict: bool
    gpu_model: str | None
    tags: tuple[str, ...]
    on_nodes: tuple[str, ...]
    exclusive: bool
    cpus: int
    mem: str | None
    time_limit: str | None
    name: str
    project: str
    priority: str
    retry: int
    variables: tuple[str, ...]
    env_file: str | None
    secrets: tuple[str, ...]
    workdir: str | None
    image: str | None
    mounts: tuple[str, ...]
    code: str | None
    at_most_once: bool
    failover: str | None
    python: str | None
    is_torchrun: bool
    nproc_per_node: int | None
    prefix_ranks: bool
    nodes: int
    is_shell: bool
    merge_output: bool
    is_followed: bool
    control_url: str | None
    form: output.Form
    words: tuple[str, ...]


class _Submit(click.Command):
    """Takes `--array a=1,2 b=3,4` as two values of one option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Options of the command line, and before them those of the script's head."""
        if args[:1] == [AS_SBATCH]:
            twin, args = slurm_line(args[1:], self._followed_by_value())
            args = [*twin.options, *args]
            for text in twin.warnings:
                messages.warn(text)
        left = super().parse_args(ctx, spread(args))
        head = None if ctx.resilient_parsing else head_of(ctx.params["words"])
        if head is None:
            return left
        for text in head.warnings:
            messages.warn(text)
        if head.options:
            ctx.params.clear()
            left = self._with_head(ctx, args, head)
        given = ctx.params
        if head.interpreter and not (given["python"] or given["is_torchrun"] or given["is_shell"]):
            given["words"] = head.command(given["words"])
        return left

    def _with_head(self, ctx: click.Context, args: list[str], head: Head) -> list[str]:
        try:
            return super().parse_args(ctx, spread([*head.options, *args]))
        except click.UsageError as error:
            # The command line alone was in order.
            text = error.format_message().rstrip(".")
            raise InputError(
                f"the head of `{head.path}`: {text[:1].lower()}{text[1:]}",
                field="header",
                hint="`#FLUXHIVE` lines hold the options of `fluxhive submit --help`",
            ) from error

    def _followed_by_value(self) -> set[str]:
        found = [each for each in self.params if isinstance(each, click.Option)]
        return {name for each in found if not each.is_flag for name in each.opts}


@click.command(cls=_Submit, context_settings={"allow_interspersed_args": False})
@click.option(
    "--gpus",
    type=GpuCount(),
    default=0,
    metavar="N|all",
    help="How many GPUs; all of one node's. Default: none.",
)
@click.option("--gpu-mem", metavar="SIZE", help="Memory per GPU, as 8G, until more is known.")
@click.option("--strict", "is_strict", is_flag=True, help="Reserve --gpu-mem, whatever is learned.")
@click.option("--gpu-model", metavar="NAME", help="Only GPUs of this model, as a100.")
@click.option("--tag", "tags", multiple=True, help="Only nodes that have this tag.")
@click.option(
    "--node",
    "on_nodes",
    multiple=True,
    metavar="LABEL",
    shell_complete=NODE_NAMES,
    help="Only on this node.",
)
@click.option("--exclusive", is_flag=True, help="Share the GPUs with nobody.")
@click.option("--cpus", type=int, default=1, metavar="N", help="How many CPUs. Default: 1.")
@click.option("--mem", metavar="SIZE", help="Memory, as 16G. Default: as earlier runs took.")
@click.option("--time", "time_limit", metavar="TIME", help="Stop it after this time, as 4h.")
@click.option("-n", "--name", default="", help="A name to find it by.")
@click.option("--project", default="", metavar="NAME", help="Whose share and quota it uses.")
@click.option("-p", "--priority", type=click.Choice(PRIORITIES), default="normal")
@click.option("--retry", type=int, default=0, metavar="N", help="Try again after N failures.")
@queue_options
@click.option("--env", "variables", multiple=True, metavar="K=V", help="Variable for the task.")
@click.option("--env-file", type=click.Path(), help="File with lines K=V.")
@click.option("--secret", "secrets", multiple=True, metavar="K[=file]", help="A secret of yours.")
@click.option("--workdir", metavar="DIR", help="Where to run. Default: this directory.")
@click.option("--code", metavar="DIR", help="Run in a copy of DIR as it is now, as --code .")
@click.option("--image", metavar="IMAGE", help="Run in a container of this image.")
@click.option("--mount", "mounts", multiple=True, metavar="SRC:DST[:ro]", help="Seen in it.")
@click.option("--at-most-once", is_flag=True, help="Never start it a second time.")
@click.option("--failover", metavar="TIME", help="May run elsewhere after so long out of contact.")
@click.option("--python", metavar="PYTHON", help="Interpreter, environment, conda:NAME, or uv.")
@click.option("--torchrun", "is_torchrun", is_flag=True, help="Start it with PyTorch's torchrun.")
@click.option("--nproc-per-node", type=int, metavar="N", help="Processes. Default: one a GPU.")
@click.option("--prefix-ranks", is_flag=True, help="Each line of torchrun's behind its rank.")
@click.option(
    "--nodes",
    type=int,
    default=1,
    metavar="N",
    help="On N nodes at once; --gpus and all else is of each.",
)
@click.option("--shell", "is_shell", is_flag=True, help="Read the words as one shell line.")
@click.option("--merge-output", is_flag=True, help="Errors into the output, in their order.")
@click.option("--dry-run", is_flag=True, help="Say where and when it would run; submit nothing.")
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Show its output to the end.")
@options.control_url
@output.form_options
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(**given: Any) -> int:
    """Queue a command: fluxhive submit [OPTIONS] -- COMMAND…

    Several words are executed as they are; one word is a line for the shell, so that
    'a | b > c' works. The task gets this directory and the active virtual environment.
    With --python the words are what Python is given: a script or -m MODULE, and arguments. So they
    are with --torchrun, which starts them in one process for each GPU, on --nodes nodes.
    With --code DIR each attempt runs in a fresh copy of DIR as it was now.
    A script may carry options in its head, as #FLUXHIVE --gpus 1, or the common ones of #SBATCH.

    With -f this ends with the task's own exit code, 128 + n for signal n, 124 for the time limit,
    125 when following fails. Ctrl-C lets go of the task; a second one cancels it.
    """
    is_held, is_tried = given.pop("hold"), given.pop("dry_run")
    asks_when = {name: given.pop(name) for name in QUEUE_NAMES}
    asked = msgspec.convert(given, Asked)  # one typed value instead of twenty arguments
    if asked.is_followed and asked.form.is_data and not asked.form.is_quiet:
        raise InputError("`--json` and `-f` exclude each other", field="--json")
    if asked.gpus == ALL_GPUS:
        asked = replace(asked, gpus=_all_gpus(asked))
    spec = queued(_spec(asked), asks_when)
    if spec.array is not None and asked.is_followed:
        raise InputError(
            "`-f` follows one task, and `--array` makes many",
            field="-f",
            hint="leave it out, and follow one with `fluxhive logs -f 't-…[0]'`",
        )
    _tell_of_missing_script(asked)
    client = session.client(asked.control_url)
    if is_tried:
        show(client.dry_run(spec), asked.form)
        return 0
    if asked.code is not None:
        spec = replace(spec, code=upload_code(client, asked.code))
    task = client.submit(spec, hold=is_held)
    for warning in task.warnings:
        messages.warn(warning)
    if not asked.is_followed:
        tell_submitted(task, asked.form)
        return 0
    if not asked.form.is_quiet:
        messages.say(line_of(task))
    return follow(client, task.id)


def _all_gpus(asked: Asked) -> int:
    nodes = session.client(asked.control_url).nodes()
    n_gpus = all_gpus(nodes, labels=asked.on_nodes, tags=asked.tags, model=asked.gpu_model)
    messages.say(f"--gpus all: {n_gpus}, as many as one node has now")
    return n_gpus


def _spec(asked: Asked) -> TaskSpec:
    _check_text(asked.words, asked.name)
    if asked.gpu_mem is not None and asked.gpus == 0:
        raise InputError(
            "`--gpu-mem` says how much of each GPU, and no GPU is asked for",
            field="--gpu-mem",
            hint="add `--gpus 1`",
        )
    if asked.is_strict and asked.gpu_mem is None:
        raise InputError(
            "`--strict` keeps to what `--gpu-mem` says, and nothing is said",
            field="--strict",
            hint="add `--gpu-mem 20G`, or leave it out",
        )
    starts = program(
        asked.words, is_shell=asked.is_shell, python=asked.python, is_torchrun=asked.is_torchrun
    )
    env = gather(asked.variables, asked.env_file)
    if asked.prefix_ranks:
        env = with_rank_prefix(env, is_torchrun=asked.is_torchrun)
    gpu_mem, mem, limit, failover = asked.gpu_mem, asked.mem, asked.time_limit, asked.failover
    request = Request(
        gpus=_at_least(0, "--gpus", asked.gpus),
        gpu_memory_mib=None if gpu_mem is None else parse_mib(gpu_mem, field="--gpu-mem"),
        exclusive=asked.exclusive,
        strict=asked.is_strict,
        gpu_model=asked.gpu_model,
        tags=asked.tags,
        on_nodes=asked.on_nodes,
        cpus=_at_least(1, "--cpus", asked.cpus),
        memory_mib=None if mem is None else parse_mib(mem, field="--mem"),
        nodes=_at_least(1, "--nodes", asked.nodes),
    )
    return TaskSpec(
        command=starts.command,
        executor=starts.executor,
        name=asked.name,
        request=request,
        env=env,
        secrets=gather_secrets(asked.secrets),
        image=asked.image,
        mounts=tuple([mount(text) for text in asked.mounts]),
        workdir=workdir(
            asked.workdir, has_own_place=asked.code is not None or asked.image is not None
        ),
        venv=starts.venv,
        merge_output=asked.merge_output,
        python=starts.python,
        nproc_per_node=asked.nproc_per_node,
        priority=Priority(asked.priority),
        retry=_at_least(0, "--retry", asked.retry),
        at_most_once=asked.at_most_once,
        time_limit_ms=None if limit is None else parse_duration_ms(limit, field="--time"),
        failover_ms=None if failover is None else parse_duration_ms(failover, field="--failover"),
        project=asked.project,
    )


def _at_least(least: int, option: str, number: int) -> int:
    if number < least:
        raise InputError(
            f"`{option}` must be at least {least}: {number}",
            field=option,
            value=number,
            hint=f"give {least} or more",
        )
    return number


def _tell_of_missing_script(asked: Asked) -> None:
    """A script that is not here is hardly on the node, which runs it in this directory."""
    script = asked.words[0]
    elsewhere = asked.workdir or asked.code or asked.image or asked.is_shell
    if elsewhere or " " in script or not script.endswith(SCRIPT_ENDS) or os.path.exists(script):
        return
    messages.warn(f"there is no `{script}` here; the task fails unless its node has one")


def _check_text(words: tuple[str, ...], name: str) -> None:
    for text in (*words, name):
        # Bytes of the command line that are no UTF-8 come as lone surrogates (PEP 383).
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(
                f"not UTF-8 text: {text[:100]!r}",
                field="command",
                hint="put such bytes into a script, and submit that",
            )
