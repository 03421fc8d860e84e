"""A server that can be killed: ``python -m tests.helpers.server_process DIRECTORY PORT``.

Speaks lines with its parent: prints its URL, then for each line ``submit NAME`` the new task's id
once the submission is acknowledged, and for ``state ID`` the state of a task.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.task import TaskSpec
from fluxhive.core.values import TaskId
from tests.helpers.serving import serving

ROOT = Path(__file__).parents[2]


class ServerProcess:
    """The parent's end."""

    def __init__(self, directory: Path, port: int) -> None:
        command = [sys.executable, "-m", "tests.helpers.server_process", str(directory), str(port)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self._line()

    def ask(self, words: str) -> str:
        """One line there, one line back; empty when the server is gone."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(words + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self._line()

    def kill(self) -> None:
        """SIGKILL: it gets no chance to tidy up."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


async def _main(directory: Path, port: int) -> None:
    async with serving(directory, port=port) as it:
        print(it.url, flush=True)
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            verb, _, rest = line.strip().partition(" ")
            if verb == "state":
                task = it.hive.brain.manager.task(TaskId(rest))
                print("unknown" if task is None else task.state.value, flush=True)
                continue
            try:
                spec = TaskSpec(command=("true",), name=rest)
                tasks = await it.hive.brain.submit([spec], "ann", rest, rest)
                print(tasks[0].id, flush=True)
            except FluxhiveError as error:
                print(f"refused: {error}", flush=True)


if __name__ == "__main__":
    anyio.run(_main, Path(sys.argv[1]), int(sys.argv[2]))
