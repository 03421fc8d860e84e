"""The whole table of the policy in one command: workloads, loads, draws, and harsher worlds.

    python benchmarks/policy_table.py [--jobs N] [--only WORD] [--json FILE]

Each case is a run of the simulator in a process of its own (10 to 60 s of processor). The harsher
worlds change one assumption of `lab32` at load 0.7: all memory twice as much, every task a
signature of its own, all memory taken late, every task using its whole GPU.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fluxhive.sim import workload
from fluxhive.sim.simulation import simulate
from fluxhive.sim.tally import Result
from fluxhive.sim.workload import Job

GPUS = (81_920,) * 8
#: The largest declaration and peak that a GPU of the workload holds.
MOST_MIB = 80 * 1024
NODES = {"lab32": 4, "org256": 32}
TITLE = (
    "| workload | load | world | draw | policy | JCT | p95 wait | max wait | 8-GPU wait "
    "| 16-GPU wait | throughput | Jain | out of memory | lost | failed | reserved / peak "
    "| exceeded | processor |"
)


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    load: float
    policy: str
    world: str = "as recorded"
    draw: int = 0


def cases() -> list[Case]:
    """All of them, the longest first."""
    every = [Case("org256", load, "hive", draw=draw) for load in (0.9, 1.3) for draw in (0, 1)]
    every += [Case("org256", 0.9, policy) for policy in ("declared", "easy")]
    for draw in (0, 1, 2):
        every += [Case("lab32", load, "hive", draw=draw) for load in (1.3, 0.9, 0.7)]
        every.append(Case("lab32", 0.7, "hive", "nothing declared", draw))
        every.append(Case("lab32", 0.7, "easy", draw=draw))
    every += [Case("lab32", 0.7, policy) for policy in ("fifo", "declared", "oracle")]
    every += [Case("lab32", load, "easy") for load in (0.9, 1.3)]
    for world in WORLDS:
        if world not in ("as recorded", "nothing declared"):
            every += [
                Case("lab32", 0.7, policy, world) for policy in ("hive", "declared", "oracle")
            ]
            every.append(Case("lab32", 0.7, "hive", f"{world}, nothing declared"))
    return every


def twice_the_memory(job: Job) -> Job:
    """Peaks and declarations doubled, up to what a GPU holds."""
    declared_mib = None if job.declared_mib is None else min(MOST_MIB, 2 * job.declared_mib)
    return replace(
        job, peak_mib=min(MOST_MIB * 9 // 10, 2 * job.peak_mib), declared_mib=declared_mib
    )


def never_seen_before(job: Job) -> Job:
    """Nothing recurs: there is nothing to learn of a signature."""
    return replace(job, signature=f"{job.signature}-{job.number}")


def late_growth(job: Job) -> Job:
    """The peak comes at half of the run."""
    return replace(job, peak_after_ms=job.duration_ms // 2)


def heavy(job: Job) -> Job:
    """Uses its whole GPU, so that sharing one gains nothing."""
    return replace(job, utilization=max(0.95, job.utilization))


WORLDS = {
    "as recorded": lambda job: job,
    "nothing declared": lambda job: job,
    "twice the memory": twice_the_memory,
    "nothing recurs": never_seen_before,
    "late growth": late_growth,
    "all heavy": heavy,
}


def played(case: Case) -> Result:
    """One run."""
    jobs = workload.load(case.name)
    if case.draw:
        jobs = workload.resampled(jobs, case.draw)
    jobs = [WORLDS[case.world.split(",")[0]](job) for job in workload.at_load(jobs, case.load)]
    if case.world.endswith("nothing declared"):
        jobs = workload.without_declarations(jobs)
    return simulate(jobs, case.policy, n_nodes=NODES[case.name], gpu_mib=GPUS)[0]


def line(case: Case, of: Result) -> str:
    """As a line of the table."""
    by_gpus = of.mean_wait_h_by_gpus
    words = (
        case.name,
        f"{case.load:g}",
        case.world,
        case.draw,
        f"`{case.policy}`",
        f"{of.mean_jct_h:.2f}",
        f"{of.p95_wait_h:.1f}",
        f"{of.max_wait_h:.0f}",
        f"{by_gpus['8']:.1f}" if "8" in by_gpus else "",
        f"{by_gpus['16']:.0f}" if "16" in by_gpus else "",
        f"{100 * of.throughput_fraction:.0f} %",
        f"{of.jain:.3f}",
        f"{100 * of.oom_attempt_fraction:.2f} %",
        f"{100 * of.wasted_gpu_time_fraction:.2f} %",
        of.final_oom_failures,
        f"{of.learned_ratio_median:.2f}",
        f"{100 * of.learned_exceeded_fraction:.1f} %",
        f"{of.wall_s:.0f} s",
    )
    return "| " + " | ".join(str(word) for word in words) + " |"


def main() -> None:
    """Play all, and print each line as it comes, then all in order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (cores)")
    parser.add_argument("--only", default="", help="cases whose line begins so or has the word")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, too")
    told = parser.parse_args()
    wanted = [case for case in cases() if told.only in repr(case)]
    found: dict[Case, Result] = {}
    with ProcessPoolExecutor(told.jobs) as pool:
        runs = {pool.submit(played, case): case for case in wanted}
        for run in as_completed(runs):
            found[runs[run]] = run.result()
            print(line(runs[run], run.result()), flush=True)
    ordered = sorted(
        found, key=lambda case: (case.name, case.world, case.load, case.policy, case.draw)
    )
    print("", TITLE, "|" + "---|" * (TITLE.count("|") - 1), sep="\n")
    print(*(line(case, found[case]) for case in ordered), sep="\n")
    if told.json:
        every = [{"case": vars(case), **msgspec.to_builtins(found[case])} for case in ordered]
        Path(told.json).write_text(json.dumps(every, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
