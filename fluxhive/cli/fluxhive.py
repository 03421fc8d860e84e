"""The command `fluxhive`: its verbs, its help, and what its exit code says.

Starts in a few milliseconds: verbs are found in the table below, and only the one that was asked
for is imported. The overview is printed from the table alone, before click is.

Exit codes: 0 done · 1 failed · 2 wrong use · 3 not found · 4 not authorized · 5 no server answers ·
6 not possible in the present state · 7 a limit is reached. Commands that follow a task end with the
task's own code, 128 + n for signal n, 124 for its time limit, and 125 for FlowHive's own trouble.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

INTERRUPTED_EXIT = 130
"""128 + SIGINT, as a shell says it."""
COMPLETION_VARIABLE = "_FLUXHIVE_COMPLETE"
"""Set by the shell's completion, which click answers: `_FLUXHIVE_COMPLETE=bash_source fluxhive`."""


AS_SBATCH = "--as-sbatch"
"""First word after `submit` where options are meant as Slurm's are; nobody types it."""


class Verb(NamedTuple):
    """One command: where it lives and the line that the overview shows."""

    module: str
    summary: str


SECTIONS: dict[str, dict[str, Verb]] = {
    "Tasks": {
        "submit": Verb("submit", "Queue a command, and with -f follow it"),
        "ps": Verb("ps", "List tasks: what lives, and what ended in the last hour"),
        "show": Verb("show", "All about one task and its attempts"),
        "why": Verb("why", "Why a task waits, until when, and what would help"),
        "logs": Verb("logs", "Print what a task wrote; with -f as it comes"),
        "wait": Verb("wait", "Wait until tasks have ended; gives their exit code"),
        "cancel": Verb("cancel", "Stop tasks, or take them out of the queue"),
        "sweep": Verb("sweep", "Submit the sweep that a file describes"),
        "rerun": Verb("rerun", "Submit a task again, with changes where wanted"),
        "hold": Verb("hold", "Keep tasks from starting"),
        "release": Verb("release", "Let held tasks start"),
        "edit": Verb("edit", "Change what a waiting task asks for"),
        "diff": Verb("diff", "What differs between two tasks"),
    },
    "Looking": {
        "top": Verb("top", "GPUs and tasks, live"),
        "events": Verb("events", "What happened, and with -f what happens"),
        "usage": Verb("usage", "What your tasks took: GPU-hours, CPU-hours"),
        "gpus": Verb("gpus", "List the GPUs: use, memory, temperature, who is on them"),
        "nodes": Verb("nodes", "List the nodes of the hive"),
        "open": Verb("open", "Open the dashboard, or a task in it, in the browser"),
    },
    "Machines": {
        "node": Verb("node", "Accept, drain, undrain, give up or remove a node"),
        "run": Verb("run", "Start the agent: this machine becomes a node"),
    },
    "Planning": {
        "simulate": Verb("simulate", "Replay a workload through the hive's own brain"),
    },
    "Set-up": {
        "init": Verb("init", "Set this machine up: which server, who you are"),
        "up": Verb("up", "Start server and agent on this machine"),
        "down": Verb("down", "Stop what `up` started"),
        "server": Verb("server", "Start the control server alone"),
        "service": Verb("service", "Start agent or server at boot: install, status, logs"),
        "login": Verb("login", "Get a token from the server and keep it"),
        "logout": Verb("logout", "Forget the token that login kept"),
        "whoami": Verb("whoami", "Who you are to the server, and by which token"),
        "user": Verb("user", "Add users"),
        "quota": Verb("quota", "What users and projects may have at once"),
        "booking": Verb("booking", "Keep GPUs for a user or a project for a time"),
        "token": Verb("token", "Create, list and revoke tokens"),
        "secret": Verb("secret", "Keep secrets that tasks are given"),
        "doctor": Verb("doctor", "Look for what would break a promise on this machine"),
        "config": Verb("config", "Show or change the configuration"),
        "completion": Verb("completion", "Let your shell complete verbs, options and tasks"),
        "version": Verb("version", "Print the version"),
    },
}
VERBS: dict[str, Verb] = {name: verb for verbs in SECTIONS.values() for name, verb in verbs.items()}
#: What people's fingers know from other tools, and the words that it stands for.
ALIASES: dict[str, tuple[str, ...]] = {
    "add": ("submit",),
    "sbatch": ("submit", AS_SBATCH),
    "srun": ("submit", AS_SBATCH, "-f"),
    "ls": ("ps",),
    "queue": ("ps",),
    "squeue": ("ps",),
    "kill": ("cancel",),
    "scancel": ("cancel",),
    "stop": ("cancel",),
}


def overview() -> str:
    """The help of `fluxhive` itself."""
    lines = [
        "Usage: fluxhive VERB [OPTIONS] …",
        "",
        "  Turns a room of GPU machines into one queue.",
    ]
    for title, verbs in SECTIONS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:<12}{verb.summary}" for name, verb in verbs.items()]
    understood: dict[str, list[str]] = {}
    for alias, words in ALIASES.items():
        told = " ".join(word for word in words if word != AS_SBATCH)
        understood.setdefault(told, []).append(alias)
    lines += ["", "Also understood:"]
    lines += [f"  {', '.join(names):<22}as {verb}" for verb, names in understood.items()]
    lines += [
        "",
        "`fluxhive VERB --help` tells all about one. Begin with:",
        "  fluxhive up",
        "  fluxhive submit --gpus 1 -f -- python train.py",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and gives its exit code. Prints errors; raises nothing but SystemExit."""
    given = sys.argv[1:] if arguments is None else arguments
    is_completing = COMPLETION_VARIABLE in os.environ
    if given in ([], ["--help"], ["-h"], ["help"]) and not is_completing:
        try:
            sys.stdout.write(overview())
            sys.stdout.flush()
        except BrokenPipeError:
            _forget_output()
        return 0
    if given in (["--version"], ["-V"]):
        given = ["version"]
    from fluxhive.cli import group

    try:
        return group.invoke(given)
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        _forget_output()  # the reader, `head` for example, has seen enough
        return 0


def _forget_output() -> None:
    """Sends what is still buffered nowhere, or the interpreter complains when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
