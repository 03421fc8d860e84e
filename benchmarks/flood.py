"""What one user who drops 1,500 two-hour tasks at once does to everybody else; a simulation.

    python benchmarks/flood.py [POLICY …]

lab32 at load 0.7 on 4 nodes with 8 GPUs, the flood at hour 500 and at hour 700: completion times
and waits of the other users' tasks that come within 72 hours after it, with the flood and without.
"""

from __future__ import annotations

import sys

from fluxhive.sim import workload
from fluxhive.sim.simulation import simulate
from fluxhive.sim.workload import Job

HOUR_MS = 3_600_000
HOURS, LOOK_MS, N_TASKS, LENGTH_MS = (500, 700), 72 * HOUR_MS, 1_500, 2 * HOUR_MS


def told(jobs: list[Job], policy: str, at_ms: int) -> str:
    """Completion times and waits of the others."""
    _, tally = simulate(jobs, policy, n_nodes=4, gpu_mib=(81_920,) * 8)
    others = [
        job.number
        for job in jobs
        if job.user != "flood" and at_ms <= job.submit_ms < at_ms + LOOK_MS
    ]
    jct, wait = sorted(tally.jct_ms(others)), sorted(tally.wait_ms(others))
    mean_h = sum(jct) / len(jct) / HOUR_MS
    p95_h = wait[len(wait) * 95 // 100] / HOUR_MS
    return f"{len(others)} tasks of others: mean JCT {mean_h:.2f} h, p95 wait {p95_h:.1f} h"


def main() -> None:
    """With and without, for each policy."""
    jobs = workload.at_load(workload.load("lab32"), 0.7)
    for policy in sys.argv[1:] or ["hive"]:
        for hour in HOURS:
            at_ms = hour * HOUR_MS
            flooded = workload.flooded(
                jobs, at_ms=at_ms, n_tasks=N_TASKS, duration_ms=LENGTH_MS, seed=1
            )
            print(f"{policy}, hour {hour}, without: {told(jobs, policy, at_ms)}", flush=True)
            print(f"{policy}, hour {hour}, flooded: {told(flooded, policy, at_ms)}", flush=True)


if __name__ == "__main__":
    main()
