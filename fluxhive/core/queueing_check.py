"""What a task may say about when it starts and what becomes of it: part of spec_check.py."""

from __future__ import annotations

import re

from .dependency import Dependency
from .errors import InputError
from .retry_cause import check_causes
from .spec import CHECKPOINT_SIGNALS, TaskSpec

#: The largest integer that every reader of JSON keeps whole.
MAX_TIME_MS = 2**53 - 1
#: Tasks that one task may come after.
MAX_DEPENDENCIES = 1_000
#: A hundred years, as for every length of time.
MAX_LENGTH_MS = 100 * 365 * 86_400_000
#: A project is a word: it stands in files of quotas and on command lines.
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_queueing(spec: TaskSpec) -> None:
    """Raises ``InputError`` for the first thing that cannot be accepted."""
    if spec.project:
        check_project(spec.project)
    if spec.begin_at_ms is not None and not 0 <= spec.begin_at_ms <= MAX_TIME_MS:
        raise InputError(
            f"begin_at_ms: not a time that can come: {spec.begin_at_ms}",
            hint="milliseconds since 1970, such as 1795773600000",
            field="begin_at_ms",
            value=spec.begin_at_ms,
        )
    _check_after(spec.after)
    check_causes(spec.retry_on)
    _check_preemption(spec)
    if spec.retry_on and not spec.retry:
        raise InputError(
            "retry_on: names causes of retries, and none is asked for",
            hint="say how many: `--retry 3`",
            field="retry_on",
            value=list(spec.retry_on),
        )


def check_project(project: str, *, field: str = "project") -> None:
    """Raises ``InputError`` for what cannot be the name of a project."""
    if not _PROJECT.fullmatch(project):
        raise InputError(
            f"{field}: not a name of a project: `{project}`",
            hint="letters, digits, `.`, `_` and `-`, at most 100 of them, such as `vision`",
            field=field,
            value=project,
        )


def _check_after(after: tuple[Dependency, ...]) -> None:
    if len(after) > MAX_DEPENDENCIES:
        raise InputError(
            f"after: {len(after)} tasks, at most {MAX_DEPENDENCIES} are allowed",
            hint="wait for an array of tasks as a whole, or for a task that waits for them",
            field="after",
            value=len(after),
        )
    names: set[str] = set()
    for number, dependency in enumerate(after):
        if not dependency.task_id.isprintable() or not dependency.task_id:
            raise InputError(
                f"after[{number}].task_id: not the name of a task",
                hint="give its id or name, such as `t-7f3k`",
                field=f"after[{number}].task_id",
                value=ascii(dependency.task_id),
            )
        if dependency.task_id in names:
            raise InputError(
                f"after[{number}].task_id: named twice: `{dependency.task_id}`",
                hint="name each task once",
                field=f"after[{number}].task_id",
                value=dependency.task_id,
            )
        names.add(dependency.task_id)


def _check_preemption(spec: TaskSpec) -> None:
    if not 0 <= spec.min_run_ms <= MAX_LENGTH_MS:
        raise InputError(
            f"min_run_ms: must not be negative and at most 100 years: {spec.min_run_ms} ms",
            hint="write a length of time such as `90s` or `4h`",
            field="min_run_ms",
            value=spec.min_run_ms,
        )
    name = spec.checkpoint_signal
    if name is not None and name not in CHECKPOINT_SIGNALS:
        raise InputError(
            f"checkpoint_signal: not a signal to save by: `{name}`",
            hint=f"one of {', '.join(f'`{each}`' for each in CHECKPOINT_SIGNALS)}",
            field="checkpoint_signal",
            value=name,
        )
    if spec.preemptible and spec.at_most_once:
        raise InputError(
            "preemptible: does not go with `at_most_once`, which starts it once at most",
            hint="leave out one of the two",
            field="preemptible",
            value=True,
        )
