"""What a submitit job learns of where it runs, when that is a task of a hive.

Found by submitit through the entry point ``job_environment``. Which process of the job one is
comes from ``submitit_job.py``, which starts them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import ClassVar

from submitit.core import job_environment, logger

#: Ends a job that saved its work and is to go on with it: such an end alone is tried again.
REQUEUE_EXIT_CODE = 144
N_TASKS, GLOBAL_RANK, LOCAL_RANK = (
    "SUBMITIT_FLUXHIVE_NTASKS",
    "SUBMITIT_FLUXHIVE_GLOBAL_RANK",
    "SUBMITIT_FLUXHIVE_LOCAL_RANK",
)


class FluxhiveJobEnvironment(job_environment.JobEnvironment):
    """See the module's docstring."""

    _env: ClassVar[dict[str, str]] = {
        "job_id": "FLUXHIVE_TASK_ID",
        "array_job_id": "FLUXHIVE_ARRAY_ID",
        "array_task_id": "FLUXHIVE_ARRAY_INDEX",
        "num_tasks": N_TASKS,
        "num_nodes": "FLUXHIVE_NODES",
        "node": "FLUXHIVE_RANK",
        "global_rank": GLOBAL_RANK,
        "local_rank": LOCAL_RANK,
    }

    @property
    def hostnames(self) -> Sequence[str]:
        """The first node's address and, on another one, one's own name; more is not known here."""
        first = os.environ.get("MASTER_ADDR")
        if first is None or self.num_nodes == 1:
            return [self.hostname]
        return [first] if self.node == 0 else [first, self.hostname]

    def _requeue(self, countdown: int) -> None:
        """Ends with the exit code that the hive tries again; the job's file has what was saved."""
        text = f"Requeued job {self.job_id} ({countdown} remaining timeouts)"
        logger.get_logger().info(text)
        sys.exit(REQUEUE_EXIT_CODE)
