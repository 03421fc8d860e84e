"""Runs submitit's own tests against a hive: ``python -m tests.submitit_suite``.

The tests come with submitit's package. Those of its local executor are run with FlowHive's in its
place; left out, each with its reason, is what looks at the local executor's own processes.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import submitit
from msgspec.structs import replace
from submitit.core import plugins
from submitit.local import local

from fluxhive.core.task import TaskSpec
from fluxhive.sdk.submitit_executor import FluxhiveExecutor, FluxhiveJob
from fluxhive.sdk.submitit_job import SIGNAL_AFTER_S
from tests.helpers.cli_hive import CliHive, until

#: What is left out, and why.
LEFT_OUT = {
    "test_local.py::test_make_subprocess": "starts the local executor's own controller",
    "test_local.py::test_local_job": "asks for the local executor's own process at its end",
    "test_local.py::test_killed": "kills the local executor's own process",
    "test_local.py::test_cancel": "looks at the local executor's own process",
    "test_local.py::test_setup": "asks AutoExecutor for `local` by name",
    "test_utils.py::test_command_function_deadlock": "gives the local executor two seconds",
    "test_plugins.py::test_find_good_plugin": "holds only where no other plugin is installed",
    "test_plugins.py::test_skip_bad_plugin": "holds only where no other plugin is installed",
}


#: The limit of test_requeuing: too short for two interpreters and a second of work.
SHORT_MS = 3_000


class HiveJob(FluxhiveJob):
    """With what the tests ask of the local executor's jobs."""

    def _interrupt(self) -> None:
        """What a hive does when it makes room, without the hive: the signal to all processes."""
        wanted = f"FLUXHIVE_TASK_ID={self.job_id}".encode()
        found = until(lambda: [pid for pid in _pids() if _ready(pid, wanted)], what="its process")
        for pid in found:
            os.kill(pid, signal.SIGUSR2)


class HiveExecutor(FluxhiveExecutor):
    """In place of the local one, which counts no CPUs: its jobs have three processes on any."""

    job_class = HiveJob

    def _spec(self) -> TaskSpec:
        spec = super()._spec()
        spec = replace(spec, request=replace(spec.request, cpus=1))
        if spec.time_limit_ms != SHORT_MS:
            return spec
        # Its work is done in seconds, and counted: one to three of them after the interpreters
        # have started, which takes up to three on a busy machine.
        env = {**spec.env, SIGNAL_AFTER_S: "4"}
        return replace(spec, env=env, time_limit_ms=10 * SHORT_MS)

    @classmethod
    def name(cls) -> str:
        return "fluxhive"


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _ready(pid: int, wanted: bytes) -> bool:
    """Whether it is a process of the job that has its handlers."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return wanted in words and b"_submit" in line and bool(caught >> (signal.SIGUSR2 - 1) & 1)


class InPlace:
    """Puts the executor in the other's place, and leaves out what cannot be asked of it."""

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        for item in items:
            name = f"{item.path.name}::{item.originalname}"
            reason = LEFT_OUT.get(name)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
            elif inspect.iscoroutinefunction(item.function):
                item.add_marker(pytest.mark.anyio)

    @pytest.fixture
    def anyio_backend(self) -> str:
        """What their coroutines run on."""
        return "asyncio"

    @pytest.fixture(autouse=True)
    def hive_in_place(self, request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        if request.node.path.name == "test_local.py":
            monkeypatch.setattr(local, "LocalExecutor", HiveExecutor)
            monkeypatch.setattr(local, "LocalJob", HiveJob)


def main(arguments: list[str]) -> int:
    """pytest's exit code."""
    assert "fluxhive" in plugins.get_executors(), "install this checkout: pip install -e ."
    package = Path(submitit.__file__).parent
    files = [
        "local/test_local.py",
        "core/test_plugins.py",
        "core/test_core.py",
        "core/test_async.py",
    ]
    files += ["core/test_utils.py", "test_pickle.py", "auto/test_auto.py"]
    with tempfile.TemporaryDirectory() as home:
        hive = CliHive(Path(home))
        hive.up()
        try:
            os.environ["FLOWHIVE_CONTROL_URL"] = hive.transport.base_url
            os.environ["FLOWHIVE_TOKEN"] = str(hive.transport.token)
            paths = [str(package / file) for file in files]
            words = [
                "-rs",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:randomly",
                "-c",
                os.devnull,
                "--rootdir",
                home,
            ]
            return int(pytest.main([*words, *paths, *arguments], plugins=[InPlace()]))
        finally:
            hive.down()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
