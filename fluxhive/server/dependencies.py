"""What a new task comes after, as people name it, turned into ids and what is known of them.

A dependency that can never be met is refused here, where its author still reads the answer; the
core cancels those that turn out so later. Called before a submission goes to the brain.
"""

from __future__ import annotations

from msgspec.structs import replace

from fluxhive.core.dependency import Dependency
from fluxhive.core.errors import Conflict, InputError, NotFound
from fluxhive.core.holds import is_met, wanted
from fluxhive.core.task import TaskSpec
from fluxhive.core.values import TaskId

from .hive import Hive
from .lookup import find_task


async def resolve(
    hive: Hive, spec: TaskSpec, asker: str, *, prefix: str = ""
) -> tuple[TaskSpec, tuple[TaskId, ...]]:
    """The spec with ids for names, and which of the named tasks have ended as wanted already.

    Raises ``InputError`` for a task that is not known, ``Conflict`` for an end that cannot be.
    """
    if not spec.after:
        return spec, ()
    after: dict[TaskId, Dependency] = {}
    settled: list[TaskId] = []
    for number, dependency in enumerate(spec.after):
        field = f"{prefix}after[{number}].task_id"
        try:
            task = (await find_task(hive, dependency.task_id, asker)).task
        except (NotFound, Conflict) as error:
            text = f"{field}: {error.text}"
            value = dependency.task_id
            raise InputError(text, field=field, value=value, hint=error.hint) from error
        known = replace(dependency, task_id=task.id)
        if after.setdefault(task.id, known) is not known:
            raise InputError(
                f"{field}: {task.id} is named twice",
                field=field,
                value=dependency.task_id,
                hint="name each task once",
            )
        if not task.state.is_final:
            continue
        if not is_met(dependency.end, task.state):
            raise Conflict(
                f"{field}: the task could never start: it {wanted(known)}, "
                f"and that is {task.state.value}: {task.reason}",
                hint=f"`--after {task.id}:any` starts it whatever became of {task.id}",
            )
        settled.append(task.id)
    return replace(spec, after=tuple(after.values())), tuple(settled)
