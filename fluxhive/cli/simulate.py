"""`fluxhive simulate`: replays a workload through the hive's own brain; prints what came of it."""

from __future__ import annotations

import re
from pathlib import Path

import click

from fluxhive.cli import messages, output
from fluxhive.core.errors import InputError
from fluxhive.core.request import parse_mib, show_mib
from fluxhive.core.values import Mib

DEFAULT_POLICIES = ("hive",)
TITLES = (
    "POLICY",
    "MEAN JCT",
    "P50",
    "P95",
    "MEAN WAIT",
    "P95",
    "MAX",
    "THROUGHPUT",
    "IDLE",
    "JAIN",
    "OOM",
    "WASTED",
    "FAILED",
    "CPU",
)
_GPUS = re.compile(r"([0-9]+)x([0-9.]+[kmgtKMGT]?)")
MAX_NODES = 10_000
MAX_GPUS = 64


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--nodes", "n_nodes", type=int, default=4, show_default=True, help="How many nodes.")
@click.option(
    "--gpus", default="8x80G", show_default=True, help="GPUs of each node: how many, how large."
)
@click.option(
    "--load",
    type=float,
    default=1.0,
    show_default=True,
    help="How many times as fast tasks arrive.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="hive, fifo, easy, declared or oracle; give it several times, or joined by commas, to "
    "compare.  [default: hive]",
)
@click.option("--no-declared", "is_undeclared", is_flag=True, help="Nobody declares GPU memory.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Of the draw who is refused memory."
)
@click.option(
    "--shuffle",
    type=int,
    default=None,
    metavar="SEED",
    help="The workload's days in another order: another workload of the same kind.",
)
@click.option("--plot", "plot_file", metavar="FILE.svg", help="Draw the comparison.")
@output.json_option
def command(
    *,
    file: str,
    n_nodes: int,
    gpus: str,
    load: float,
    policies: tuple[str, ...],
    is_undeclared: bool,
    seed: int,
    shuffle: int | None,
    plot_file: str | None,
    is_json: bool,
) -> None:
    """Replay a workload through the hive's own brain, and print what came of it.

    FILE is a CSV file (fluxhive/sim/workloads/README.md says which columns) or the name of a
    workload that comes along: lab32, org256. The brain is the one that the server runs; GPUs,
    memory and time are pretended. Times are in hours.
    """
    from fluxhive.sim import plot, simulation, workload

    names = _names(policies, list(simulation.NAMED))
    gpu_mib = _gpu_sizes(gpus)
    _check(n_nodes=n_nodes, load=load)
    _check_place(plot_file)
    jobs = workload.load(file)
    if shuffle is not None:
        jobs = workload.resampled(jobs, shuffle)
    jobs = workload.at_load(jobs, load)
    if is_undeclared:
        jobs = workload.without_declarations(jobs)
    largest = max(job.gpus for job in jobs)
    if largest > n_nodes * len(gpu_mib):
        raise InputError(
            f"--nodes: a task of the workload needs {largest} GPUs, and there are "
            f"{n_nodes * len(gpu_mib)}: `{n_nodes}`",
            hint="give it more nodes, or more GPUs a node",
            field="nodes",
            value=n_nodes,
        )
    results, drawn = [], []
    for name in names:
        result, tally = simulation.simulate(jobs, name, n_nodes=n_nodes, gpu_mib=gpu_mib, seed=seed)
        results.append(result)
        drawn.append((name, tally))
        if not is_json:
            messages.say(f"{name}: done in {result.wall_s} s")
    output.rows(
        output.Form(is_json=is_json),
        "policies",
        TITLES,
        [_row(result) for result in results],
        items=results,
    )
    if plot_file is not None:
        title = (
            f"{file} at load {load:g} on {n_nodes} x {len(gpu_mib)} GPUs of {show_mib(gpu_mib[0])}"
        )
        _write(plot_file, plot.draw(title, results, drawn))


def _check_place(plot_file: str | None) -> None:
    if plot_file is not None and not Path(plot_file).absolute().parent.is_dir():
        raise _no_place(plot_file, "its directory is not there")


def _write(plot_file: str, picture: str) -> None:
    try:
        Path(plot_file).write_text(picture, encoding="utf-8")
    except OSError as error:
        raise _no_place(plot_file, error.strerror or str(error)) from error
    messages.say(f"drawn: {plot_file}")


def _no_place(plot_file: str, why: str) -> InputError:
    return InputError(
        f"--plot: cannot be written, {why}: `{plot_file}`",
        hint="name a file in a directory that is there, such as `plot.svg`",
        field="--plot",
        value=plot_file,
    )


def _row(result: object) -> list[str]:
    from fluxhive.sim.tally import Result

    assert isinstance(result, Result)
    return [
        result.policy,
        f"{result.mean_jct_h:.2f} h",
        f"{result.p50_jct_h:.2f} h",
        f"{result.p95_jct_h:.1f} h",
        f"{result.mean_wait_h:.2f} h",
        f"{result.p95_wait_h:.1f} h",
        f"{result.max_wait_h:.0f} h",
        f"{100 * result.throughput_fraction:.0f} %",
        f"{100 * result.idle_while_queued_fraction:.1f} %",
        f"{result.jain:.3f}",
        f"{100 * result.oom_attempt_fraction:.2f} %",
        f"{100 * result.wasted_gpu_time_fraction:.3f} %",
        str(result.final_oom_failures),
        f"{result.wall_s:.0f} s",
    ]


def _names(given: tuple[str, ...], known: list[str]) -> list[str]:
    names = [name for each in given for name in each.split(",") if name] or list(DEFAULT_POLICIES)
    for name in names:
        if name not in known:
            raise InputError(
                f"--policy: not a policy: `{name}`",
                hint=f"one of {', '.join(known)}",
                field="policy",
                value=name,
            )
    return list(dict.fromkeys(names))


def _gpu_sizes(text: str) -> tuple[Mib, ...]:
    match = _GPUS.fullmatch(text)
    count = int(match[1]) if match is not None else 0
    if match is None or not 1 <= count <= MAX_GPUS:
        raise InputError(
            f"--gpus: not so many GPUs of a size: `{text}`",
            hint="write it as `8x80G`: 8 GPUs of 80 GiB in each node",
            field="gpus",
            value=text,
        )
    return (parse_mib(match[2], field="--gpus"),) * count


def _check(*, n_nodes: int, load: float) -> None:
    if not 1 <= n_nodes <= MAX_NODES:
        raise InputError(
            f"--nodes: must be between 1 and {MAX_NODES}: `{n_nodes}`",
            hint="write a whole number, such as 4",
            field="nodes",
            value=n_nodes,
        )
    if not 0.01 <= load <= 100:
        raise InputError(
            f"--load: must be between 0.01 and 100: `{load}`",
            hint="1 is as it was recorded, 0.7 leaves room",
            field="load",
            value=load,
        )
