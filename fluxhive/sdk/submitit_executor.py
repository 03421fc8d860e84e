"""submitit on a hive: ``submitit.AutoExecutor(folder, cluster="fluxhive")``.

Found by submitit through the entry point ``executor``; Hydra's submitit launcher uses it the same
way. As everywhere with submitit, the folder must be one that submitter and nodes share: calls,
results and logs go through it. What a hive knows beyond submitit's own parameters is set by the
names of ``fluxhive submit``: ``executor.update_parameters(fluxhive_gpu_mem="20G")``.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
import uuid
from pathlib import Path
from typing import Any, ClassVar

from msgspec.structs import replace
from submitit.core import core, utils

from fluxhive.core.array import ArraySpec
from fluxhive.core.errors import FluxhiveError, NotFound
from fluxhive.core.task import TaskSpec, TaskState

from .decorator import default_client
from .options import NAMES, spec_of
from .program import program
from .submitit_environment import REQUEUE_EXIT_CODE, FluxhiveJobEnvironment
from .submitit_job import ONE_STREAM, PER_NODE, SIGNAL_AFTER_S

#: Parameters of submitit that say the same, and what submitit or this executor decides.
_NOT_OURS = {"name", "time", "mem", "nodes", "cpus", "gpus", "array", "zip", "at_most", "hold"}
_NOT_OURS |= {"code", "shell", "torchrun", "nproc_per_node", "python", "checkpoint_signal"}
_NOT_OURS |= {"retry", "retry_on", "image", "mount"}
_STATES = {
    TaskState.HELD: "PENDING",
    TaskState.QUEUED: "PENDING",
    TaskState.ACTIVE: "RUNNING",
    TaskState.SUCCEEDED: "COMPLETED",
    TaskState.FAILED: "FAILED",
    TaskState.CANCELLED: "CANCELLED",
}
DEFAULT_TIMEOUT_MIN = 5
SIGNAL_DELAY_S = 90


def _task_id(job_id: str) -> str:
    """``t-7f3k_3`` is ``t-7f3k[3]``."""
    array, _, index = job_id.partition("_")
    return f"{array}[{index}]" if index else array


class FluxhiveInfoWatcher(core.InfoWatcher):
    """Asks the hive how jobs stand, all that have not ended at once."""

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """In submitit's words."""
        state: str = self.get_info(job_id, mode=mode).get("State", "UNKNOWN")
        return state

    def update(self) -> None:
        """Looks at each that is not known to have ended."""
        self._num_calls += 1
        for job_id in sorted(self._registered - self._finished):
            try:
                view = default_client().calls.task(_task_id(job_id))
            except NotFound:
                self._info_dict[job_id] = {"JobID": job_id, "State": "MISSING"}
                continue
            except FluxhiveError:
                continue  # out of contact: what was known stays
            self._info_dict[job_id] = {
                "JobID": job_id,
                "State": _STATES[view.state],
                "Word": view.word,
                "Reason": view.reason,
            }
        self._last_status_check = time.time()
        for job_id in self._registered - self._finished:
            if self.is_done(job_id, mode="cache"):
                self._finished.add(job_id)


class FluxhiveJob(core.Job):
    """A task of a hive, as a submitit job."""

    watcher: ClassVar[Any] = FluxhiveInfoWatcher(delay_s=10)

    def cancel(self, check: bool = True) -> None:
        """Cancels the task; ``check``: raises when that is refused."""
        try:
            default_client().calls.cancel(_task_id(self.job_id))
        except FluxhiveError:
            if check:
                raise


class FluxhiveExecutor(core.PicklingExecutor):
    """See the module's docstring."""

    job_class: ClassVar[Any] = FluxhiveJob

    def __init__(
        self,
        folder: str | Path,
        max_num_timeout: int = 3,
        max_pickle_size_gb: float = 1.0,
        python: str | None = None,
    ) -> None:
        super().__init__(
            folder, max_num_timeout=max_num_timeout, max_pickle_size_gb=max_pickle_size_gb
        )
        self._throttling = 0.0
        self.python = shlex.quote(sys.executable) if python is None else python

    @classmethod
    def affinity(cls) -> int:
        """Taken when it is asked for: a configured hive need not be what is meant."""
        return 0

    @classmethod
    def _valid_parameters(cls) -> set[str]:
        return {*(NAMES - _NOT_OURS), "setup", "signal_delay_s", "array_parallelism"}

    def _num_tasks(self) -> int:
        nodes, per_node = (self.parameters.get(name, 1) for name in ("nodes", "tasks_per_node"))
        return int(nodes) * int(per_node)

    def _internal_process_submissions(self, delayed_submissions: list[Any]) -> list[Any]:
        """One task, or one array for many calls."""
        jobs = super()._internal_process_submissions
        if len(delayed_submissions) == 1:
            alone: list[Any] = jobs(delayed_submissions)
            return alone
        folder = utils.JobPaths.get_first_id_independent_folder(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for delayed in delayed_submissions:
            delayed.set_timeout(self._timeout_min, self.max_num_timeout)
            paths.append(folder / f"{uuid.uuid4().hex}.pkl")
            delayed.dump(paths[-1])
        at_most = self.parameters.get("array_parallelism")
        array = ArraySpec(count=len(delayed_submissions), at_most=at_most)
        whole = default_client().submit(replace(self._spec(), array=array))
        made = [self._job(f"{whole.id}_{index}") for index in range(array.count)]
        for job, path in zip(made, paths, strict=True):
            job.paths.move_temporary_file(path, "submitted_pickle")
        return made

    def _submit_command(self, command: str) -> Any:
        return self._job(default_client().submit(self._spec()).id)

    def _job(self, job_id: str) -> Any:
        return self.job_class(
            folder=self.folder, job_id=job_id, tasks=list(range(self._num_tasks()))
        )

    @property
    def _timeout_min(self) -> float:
        return float(self.parameters.get("timeout_min", DEFAULT_TIMEOUT_MIN))

    def _spec(self) -> TaskSpec:
        given = self.parameters
        limit_s = max(1, round(self._timeout_min * 60))
        signal_delay_s = int(given.get("signal_delay_s", SIGNAL_DELAY_S))
        mem_gb, per_node = given.get("mem_gb"), given.get("tasks_per_node", 1)
        line = f"exec {self.python} -u -m fluxhive.sdk.submitit_job {shlex.quote(str(self.folder))}"
        options: Any = {name: given[name] for name in given if name in NAMES - _NOT_OURS}
        env = {
            **options.pop("env", {}),
            "SUBMITIT_EXECUTOR": "fluxhive",
            PER_NODE: str(per_node),
            SIGNAL_AFTER_S: str(max(1, limit_s - signal_delay_s)),
            **({ONE_STREAM: "1"} if given.get("stderr_to_stdout") else {}),
        }
        if os.environ.get("SUBMITIT_PREEMPT_SIGNAL"):
            env["SUBMITIT_PREEMPT_SIGNAL"] = os.environ["SUBMITIT_PREEMPT_SIGNAL"]
        options.update(
            name=given.get("name", "submitit"),
            time=limit_s,
            cpus=int(given.get("cpus_per_task", 1)) * per_node,
            gpus=given.get("gpus_per_node", 0),
            nodes=given.get("nodes", 1),
            mem=None if mem_gb is None else round(mem_gb * 1024),
            env=env,
            retry=self.max_num_timeout,
            retry_on=[f"exit:{REQUEUE_EXIT_CODE}"] if self.max_num_timeout else (),
            checkpoint_signal=FluxhiveJobEnvironment.USR_SIG,
            shell=True,
        )
        line = "\n".join([*given.get("setup", ()), line])
        return spec_of(program((line,), is_shell=True, python=None), options)

    # What the base class asks for and this one has no use for.

    @property
    def _submitit_command_str(self) -> str:
        return "submitit_job"

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        return ""

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return []

    @staticmethod
    def _get_job_id_from_submission_command(string: bytes | str) -> str:
        return ""
