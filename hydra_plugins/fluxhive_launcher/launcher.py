"""The launcher and its configuration: what every submitit launcher has, and what a hive has."""

# No `from __future__ import annotations`: Hydra reads the types of the configuration at run time.
from dataclasses import dataclass
from typing import List, Optional  # noqa: UP035  # what Hydra's own configurations are written in

from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher


class FluxhiveLauncher(BaseSubmititLauncher):
    """Submits the jobs of a sweep as one array."""

    _EXECUTOR = "fluxhive"


@dataclass
class FluxhiveQueueConf(BaseQueueConf):
    """Options as of ``fluxhive submit``; None: not said."""

    _target_: str = "hydra_plugins.fluxhive_launcher.launcher.FluxhiveLauncher"

    gpu_mem: Optional[str] = None  # noqa: UP045
    gpu_model: Optional[str] = None  # noqa: UP045
    exclusive: Optional[bool] = None  # noqa: UP045
    tag: Optional[List[str]] = None  # noqa: UP006, UP045
    node: Optional[List[str]] = None  # noqa: UP006, UP045
    project: Optional[str] = None  # noqa: UP045
    priority: Optional[str] = None  # noqa: UP045
    preemptible: Optional[bool] = None  # noqa: UP045
    # Saving before the time is over, and how often a job may go on after that.
    signal_delay_s: int = 120
    max_num_timeout: int = 0
    # So many jobs run at once; None: as many as there is room for.
    array_parallelism: Optional[int] = None  # noqa: UP045
    # Lines of shell before the job.
    setup: Optional[List[str]] = None  # noqa: UP006, UP045
