"""Runs of one workload under named policies, and the clairvoyant one to measure them against.

Called by `fluxhive simulate` and by benchmarks. Pure but for the processor's time, which is a
figure of the result.
"""

from __future__ import annotations

import time

from msgspec.structs import replace

from fluxhive.core.learning import Learned, Peak
from fluxhive.core.policy import POLICIES, Order, Policy
from fluxhive.core.request import Request
from fluxhive.core.signature import signature
from fluxhive.core.task import TaskSpec
from fluxhive.core.task_manager import HiveSnapshot
from fluxhive.core.values import Mib

from .policy_world import PolicyWorld
from .tally import Result, Tally
from .workload import Job

#: What no brain can do: every task's peak, length and utilization are known beforehand. Shortest
#: first and greedy, so it is a yardstick and no bound.
ORACLE = Policy(
    order=Order.SJF,
    margin_percent=(0, 0, 0),
    margin_mib=(0, 0, 0),
    outlier_runs=2**30,
    follows_use=False,
    late_percent=100,
)
NAMED = {**POLICIES, "oracle": ORACLE}


def simulate(
    jobs: list[Job],
    name: str,
    *,
    n_nodes: int,
    gpu_mib: tuple[Mib, ...],
    seed: int = 1,
    policy: Policy | None = None,
) -> tuple[Result, Tally]:
    """One run; ``policy`` stands for the named one where figures of it are varied."""
    chosen = policy or NAMED[name]
    snapshot = None
    if name == "oracle":
        jobs = [replace(job, signature=f"task-{job.number}", declared_mib=None) for job in jobs]
        snapshot = HiveSnapshot(learned=tuple(_known(job) for job in jobs))
    began_s = time.process_time()
    world = PolicyWorld(
        jobs, chosen, n_nodes=n_nodes, gpu_mib=gpu_mib, seed=seed, snapshot=snapshot
    )
    tally = world.run()
    return tally.result(name, time.process_time() - began_s), tally


def _known(job: Job) -> Learned:
    """As though the very same task had run before, alone."""
    per_node = min(job.gpus, 8)
    spec = TaskSpec(
        command=("python", f"{job.signature}.py"),
        project=job.project,
        request=Request(gpus=per_node),
    )
    return Learned(
        key=signature(spec, job.user),
        peaks=tuple(Peak(channel=-1 - n, peak_mib=job.peak_mib) for n in range(3)),
        durations_ms=(job.duration_ms, job.duration_ms),
        utilization_permille=round(job.utilization * 1000),
    )
