#!/usr/bin/env python3
"""Shell tasks on this machine: pipes, quoting, environment, several commands, exit codes, trees.

    python scripts/demo_shell_test.py

Each check submits a task to a task manager in this process (no server) and looks at what came of
it. Ends with a summary; the exit code is 0 when every check holds. Logs: .agent_logs/.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from fluxhive.agent.local import Finished, LocalHive
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.outcome import OutcomeKind

LOG_DIR = ".agent_logs"
EXIT_CODES = {"true": 0, "exit 7": 7, "exit 255": 255, "false || true": 0, "set -e; false; true": 1}

Check = Callable[[LocalHive], Awaitable[str]]


class Failed(Exception):
    """A check does not hold; the text says what was found."""


def expect(found: object, wanted: object) -> None:
    """Raises ``Failed`` with both values."""
    if found != wanted:
        raise Failed(f"found {found!r}, wanted {wanted!r}")


async def pipes(hive: LocalHive) -> str:
    """a pipe of three programs"""
    end = await hive.run("printf 'c\\na\\nb\\na\\n' | sort | uniq -c | awk '{print $2 $1}'")
    expect(end.stdout.split(), ["a2", "b1", "c1"])
    return "sort | uniq -c | awk → " + " ".join(end.stdout.split())


async def quoting(hive: LocalHive) -> str:
    """quotes, spaces, dollars and a newline arrive as written"""
    line = """printf '%s|' "two words" 'single $HOME' "it's" "a\nb"; echo"""
    end = await hive.run(line)
    expect(end.stdout, "two words|single $HOME|it's|a\nb|\n")
    return repr(end.stdout.strip())


async def exact_arguments(hive: LocalHive) -> str:
    """several words are executed as they are, without a shell"""
    words = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "$HOME", "a b", "*"]
    end = await hive.run(words)
    expect(end.stdout.strip(), "['$HOME', 'a b', '*']")
    return end.stdout.strip()


async def environment(hive: LocalHive) -> str:
    """the task's own variables, and those that FluxHive gives"""
    end = await hive.run(
        'echo "$GREETING from $FLUXHIVE_TASK_ID as $FLUXHIVE_ATTEMPT_ID"',
        env={"GREETING": "hello, world"},
    )
    task_id, attempt_id = end.task.id, end.attempts[-1].id
    expect(end.stdout.strip(), f"hello, world from {task_id} as {attempt_id}")
    return end.stdout.strip()


async def several_commands(hive: LocalHive) -> str:
    """several commands share one shell: directory, variables, functions"""
    end = await hive.run("cd / && X=1; add() { X=$((X + $1)); }; add 41; pwd; echo $X")
    expect(end.stdout, "/\n42\n")
    return " ".join(end.stdout.split())


async def exit_codes(hive: LocalHive) -> str:
    """exit codes and signals are exact"""
    for line, wanted in EXIT_CODES.items():
        expect((await hive.run(line)).exit_code, wanted)
    killed = await hive.run("kill -9 $$")
    expect(killed.outcome and killed.outcome.signal, 9)
    return "0, 7, 255, 0, 1, signal 9"


async def no_such_program(hive: LocalHive) -> str:
    """a program that does not exist: said as such, not as a failure of the task"""
    end = await hive.run(["/no/such/program"])
    expect(end.outcome and end.outcome.kind, OutcomeKind.LAUNCH_FAILED)
    shell = await hive.run("no-such-command")
    expect(shell.exit_code, 127)
    return f"{end.outcome.detail if end.outcome else ''}; in the shell: exit code 127"


async def both_streams(hive: LocalHive) -> str:
    """stdout and stderr are kept apart, bytes that are no text survive"""
    end = await hive.run("echo out; echo err >&2; printf '\\377\\376'")
    assert end.directory is not None
    expect((end.directory / "stdout").read_bytes(), b"out\n\xff\xfe")
    expect(end.stderr, "err\n")
    return "out | err | ff fe"


async def whole_tree(hive: LocalHive) -> str:
    """cancel ends the whole tree: background, new session, cleared environment, double fork"""
    mark = f"8{secrets.randbelow(10**7):07}"
    line = (
        f"sleep {mark} & setsid sleep {mark} & env -i /bin/sleep {mark} & "
        f"(setsid sh -c 'sleep {mark} & exit' &) ; echo ready; sleep {mark}"
    )
    task_id = hive.submit(line, grace_s=1.0)
    with anyio.fail_after(20):
        while n_processes(mark) < 5:  # noqa: ASYNC110  other processes tell no event
            await anyio.sleep(0.02)
    before = n_processes(mark)
    hive.cancel(task_id)
    end = await hive.wait(task_id)
    expect(end.outcome and end.outcome.kind, OutcomeKind.CANCELLED)
    expect(n_processes(mark), 0)
    return f"{before} processes before, 0 after"


async def leftovers(hive: LocalHive) -> str:
    """what a task leaves behind when it ends by itself is ended with it"""
    mark = f"9{secrets.randbelow(10**7):07}"
    end: Finished = await hive.run(f"setsid sleep {mark} & echo done")
    expect((end.exit_code, n_processes(mark)), (0, 0))
    facts = end.attempts[-1].facts
    return f"exit code 0, {facts.leftovers if facts else '?'} left behind and ended"


async def time_limit(hive: LocalHive) -> str:
    """a time limit ends it, also when it ignores SIGTERM"""
    task_id = hive.submit("trap '' TERM; echo stubborn; sleep 60", timeout_s=0.5, grace_s=0.5)
    end = await hive.wait(task_id)
    expect(end.outcome and end.outcome.kind, OutcomeKind.TIME_LIMIT)
    expect(end.stdout, "stubborn\n")
    return "time-limit"


def n_processes(mark: str) -> int:
    """How many processes have this word on their command line (and are not zombies)."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found += mark.encode() in words
    return found


CHECKS: tuple[Check, ...] = (
    pipes,
    quoting,
    exact_arguments,
    environment,
    several_commands,
    exit_codes,
    no_such_program,
    both_streams,
    whole_tree,
    leftovers,
    time_limit,
)


async def run_all(log_dir: str) -> int:
    """Runs every check, one after the other; how many do not hold."""
    n_failed = 0
    async with LocalHive(log_dir) as hive:
        print(f"{len(CHECKS)} checks of shell tasks; logs: {hive.log_dir}\n")
        for check in CHECKS:
            try:
                said, word = await check(hive), "ok"
            except (Failed, TimeoutError) as error:
                said, word = str(error), "FAILED"
                n_failed += 1
            print(f"{word:<7} {check.__doc__}\n        {said}")
    print(f"\n{len(CHECKS) - n_failed} of {len(CHECKS)} checks hold")
    return n_failed


def main() -> int:
    """Reads the command line; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log-dir", default=LOG_DIR, help=f"where output goes ({LOG_DIR})")
    given = parser.parse_args()
    try:
        return 1 if anyio.run(run_all, given.log_dir) else 0
    except FluxhiveError as error:
        print(f"error: {error.text}", file=sys.stderr)
        if error.hint:
            print(f"\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
