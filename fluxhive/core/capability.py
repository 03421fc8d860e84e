"""What agents of some versions cannot do: words of the hello, and which of them a task needs.

A node that lacks a word of a task is no choice for it: an agent that does not know a word would do
something else than was asked, or not understand the dispatch at all. Whatever a launch or a
dispatch is given anew gets a word here. Called where tasks are placed and where that is explained.
"""

from __future__ import annotations

from .spec import ExecutorKind, TaskSpec

PYTHON = "python"
TORCHRUN = "torchrun"
CONTAINERS = "containers"
CODE = "code"
SECRETS = "secrets"
GANGS = "gangs"
CHECKPOINT_SIGNALS = "checkpoint-signals"
FUNCTIONS = "functions"
#: Starts an attempt by itself when the one whose place it takes has ended (ahead.py).
AHEAD = "ahead"

#: Each word with what it stands for in a sentence: "the agent is too old for …".
MEANINGS = {
    PYTHON: "`--python`",
    TORCHRUN: "`--torchrun`",
    CONTAINERS: "containers",
    CODE: "`--code`",
    SECRETS: "secrets",
    GANGS: "tasks on several nodes",
    CHECKPOINT_SIGNALS: "`--checkpoint-signal`",
    FUNCTIONS: "functions and their results",
    AHEAD: "tasks that are sent ahead",
}
#: All that an agent of this version can do; its hello says so.
CAPABILITIES = tuple(MEANINGS)
#: Nodes that one sentence names.
_LABELS_MAX = 4


def needed(spec: TaskSpec, *, is_ahead: bool = False) -> tuple[str, ...]:
    """The words without which a node cannot run the task; for most tasks none.

    ``is_ahead``: it is sent ahead of its place. An older agent would start it at once, beside the
    one whose place it is to take.
    """
    words = [AHEAD] if is_ahead else []
    if spec.executor is ExecutorKind.PYTHON:
        words.append(PYTHON)
    elif spec.executor is ExecutorKind.TORCHRUN:
        words.append(TORCHRUN)
    if spec.image is not None:
        words.append(CONTAINERS)
    if spec.code is not None:
        words.append(CODE)
    if spec.secrets:
        words.append(SECRETS)
    if spec.request.nodes > 1:
        words.append(GANGS)
    if spec.checkpoint_signal is not None:
        words.append(CHECKPOINT_SIGNALS)
    if spec.function:
        words.append(FUNCTIONS)
    return tuple(words)


def missing(words: tuple[str, ...], has: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the words that a node does not have."""
    return tuple([word for word in words if word not in has])


def too_old(labels: list[str], lacks: tuple[str, ...]) -> str:
    """``the agent on gpu-b is too old for containers: upgrade it``."""
    what = " and ".join(MEANINGS.get(word, f"`{word}`") for word in lacks)
    if len(labels) == 1:
        return f"the agent on {labels[0]} is too old for {what}: upgrade it"
    return f"the agents on {_listed(labels)} are too old for {what}: upgrade them"


def _listed(labels: list[str]) -> str:
    if len(labels) > _LABELS_MAX:
        labels = [*labels[: _LABELS_MAX - 1], f"{len(labels) - _LABELS_MAX + 1} more nodes"]
    return f"{', '.join(labels[:-1])} and {labels[-1]}"
