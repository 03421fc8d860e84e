#!/usr/bin/env python3
"""A task manager on this machine: no server, no network, no configuration.

    python scripts/demo_task_manager.py
        runs a handful of sample tasks: success, failure, retry, time limit, cancel
    python scripts/demo_task_manager.py "python -c \\"print('Hello FlowHive!')\\"" --timeout 10
        runs that command, shows what it prints and ends with its exit code (124: time limit)

What the tasks print is kept in .agent_logs/, one directory for each attempt.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

import anyio

from fluxhive.agent.local import Finished, LocalHive
from fluxhive.core.effects import Publish
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.outcome import OutcomeKind
from fluxhive.core.request import show_ms
from fluxhive.core.task import TaskState
from fluxhive.core.values import TaskId

EXIT_TIME_LIMIT = 124
EXIT_NOT_RUN = 125
LOG_DIR = ".agent_logs"


def main() -> int:
    """Reads the command line; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="*", help="a line for the shell, or a program and words")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="end it after so long")
    parser.add_argument("--retry", type=int, default=0, metavar="N", help="try again so often")
    parser.add_argument("--log-dir", default=LOG_DIR, help=f"where output goes ({LOG_DIR})")
    given = parser.parse_args()
    try:
        if given.command:
            return anyio.run(run_one, given.command, given.timeout, given.retry, given.log_dir)
        return anyio.run(run_samples, given.log_dir)
    except FluxhiveError as error:
        print(f"error: {error.text}", file=sys.stderr)
        if error.hint:
            print(f"\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


async def run_one(command: list[str], timeout_s: float | None, retry: int, log_dir: str) -> int:
    """Runs one command and answers with its exit code."""
    async with LocalHive(log_dir) as hive:
        line = command[0] if len(command) == 1 else command
        finished = await hive.run(line, timeout_s=timeout_s, retry=retry)
    sys.stdout.write(finished.stdout)
    sys.stdout.flush()
    sys.stderr.write(finished.stderr)
    shown = line if isinstance(line, str) else shlex.join(line)
    print(f"{finished.task.state.value}: {shown}  ({how_it_ended(finished)})", file=sys.stderr)
    print(f"logs: {finished.directory}", file=sys.stderr)
    return exit_code(finished)


def exit_code(finished: Finished) -> int:
    """The command's own; 128 + signal; 124 at the time limit; 125 when it did not run."""
    outcome = finished.outcome
    if finished.task.state is TaskState.SUCCEEDED:
        return 0
    if outcome is None:
        return EXIT_NOT_RUN
    if outcome.kind is OutcomeKind.TIME_LIMIT:
        return EXIT_TIME_LIMIT
    if outcome.exit_code:
        return outcome.exit_code
    return EXIT_NOT_RUN if outcome.signal is None else 128 + outcome.signal


def how_it_ended(finished: Finished) -> str:
    """``failure, exit code 3, 0.2 s, 2 attempts``"""
    outcome = finished.outcome
    parts = ["not started" if outcome is None else outcome.kind.value]
    if outcome is not None and outcome.exit_code is not None:
        parts.append(f"exit code {outcome.exit_code}")
    elif outcome is not None and outcome.signal is not None:
        parts.append(f"signal {outcome.signal}")
    if outcome is not None and outcome.detail:
        parts.append(outcome.detail)
    facts = finished.attempts[-1].facts if finished.attempts else None
    if facts is not None:
        parts.append(show_ms(facts.duration_ms))
    if len(finished.attempts) > 1:
        parts.append(f"{len(finished.attempts)} attempts")
    return ", ".join(parts)


class Sample:
    """A task of the demo, and how it is meant to end."""

    def __init__(self, name: str, line: str, ends: OutcomeKind, n_attempts: int = 1) -> None:
        self.name = name
        self.line = line
        self.ends = ends
        self.n_attempts = n_attempts
        self.timeout_s: float | None = None
        self.retry = 0
        self.cancel_after_s: float | None = None


def samples(scratch: Path) -> list[Sample]:
    """Success, failure, retry, time limit, cancel."""
    mark = shlex.quote(str(scratch / "tried-before"))
    python = shlex.quote(sys.executable)
    retried = Sample(
        "retry",
        f"test -e {mark} && echo 'second try works' || {{ touch {mark}; exit 1; }}",
        OutcomeKind.SUCCESS,
        n_attempts=2,
    )
    retried.retry = 1
    limited = Sample("time limit", "echo working; sleep 60", OutcomeKind.TIME_LIMIT)
    limited.timeout_s = 1.0
    cancelled = Sample("cancel", "sleep 60 & sleep 60", OutcomeKind.CANCELLED)
    cancelled.cancel_after_s = 0.5
    return [
        Sample("success", f"{python} -c 'print(sum(range(10**6)))'", OutcomeKind.SUCCESS),
        Sample("failure", "echo 'cannot go on' >&2; exit 3", OutcomeKind.FAILURE),
        retried,
        limited,
        cancelled,
    ]


async def run_samples(log_dir: str) -> int:
    """Runs all samples at once; 0 when each ended as it was meant to."""
    with tempfile.TemporaryDirectory() as scratch:
        chosen = samples(Path(scratch))

        def tell(news: Publish) -> None:
            if news.task_id is not None:
                name = hive.task(news.task_id).spec.name
                print(f"  {name:<10}  {news.state:<9}  {news.reason}".rstrip())

        # One slot for each: the demo is about how tasks end, not about this machine's size.
        async with LocalHive(log_dir, cpus=len(chosen), on_news=tell) as hive:
            print(f"{len(chosen)} tasks on this machine, no server; logs: {hive.log_dir}\n")
            ids = [submit(hive, sample) for sample in chosen]
            async with anyio.create_task_group() as group:
                for sample, task_id in zip(chosen, ids, strict=True):
                    if sample.cancel_after_s is not None:
                        group.start_soon(cancel_later, hive, task_id, sample.cancel_after_s)
            finished = [await hive.wait(task_id) for task_id in ids]
    return report(chosen, finished)


def submit(hive: LocalHive, sample: Sample) -> TaskId:
    """Hands a sample in."""
    return hive.submit(
        sample.line,
        name=sample.name,
        timeout_s=sample.timeout_s,
        retry=sample.retry,
        backoff_s=0.2,
        grace_s=2.0,
    )


async def cancel_later(hive: LocalHive, task_id: TaskId, after_s: float) -> None:
    """A person who changes his mind."""
    await anyio.sleep(after_s)
    hive.cancel(task_id)


def report(chosen: list[Sample], finished: list[Finished]) -> int:
    """The table at the end; 0 when everything is as it should be."""
    rows = [("TASK", "STATE", "HOW IT ENDED", "AS MEANT", "LAST OUTPUT")]
    n_wrong = 0
    for sample, end in zip(chosen, finished, strict=True):
        kind = None if end.outcome is None else end.outcome.kind
        is_right = kind is sample.ends and len(end.attempts) == sample.n_attempts
        n_wrong += not is_right
        lines = (end.stdout + end.stderr).strip().splitlines()
        said = "yes" if is_right else "NO"
        rows.append(
            (sample.name, end.task.state.value, how_it_ended(end), said, lines[-1] if lines else "")
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print()
    for row in rows:
        print(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    print(f"\n{len(chosen) - n_wrong} of {len(chosen)} tasks ended as they were meant to")
    return 0 if n_wrong == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
