"""What a person does with a task that is there: the same for one as for many at once.

Each looks for the task, whether this caller may, and whether it can be; raises ``NotFound``,
``AuthError``, ``Conflict``; and gives the task's id when what was asked for is stored.
"""

from __future__ import annotations

from msgspec.structs import replace

from fluxhive.core.errors import AuthError, Conflict
from fluxhive.core.events import (
    TaskCancelRequested,
    TaskHeld,
    TaskReleased,
    TaskReprioritised,
)
from fluxhive.core.holds import describe
from fluxhive.core.spec_check import apply_defaults
from fluxhive.core.task import Priority, Task, TaskState
from fluxhive.core.values import TaskId

from .auth import Caller, check_owner
from .lookup import find_task
from .services import Services


async def cancel(services: Services, caller: Caller, name: str) -> TaskId:
    """No new attempt starts; one that runs is being stopped. What has ended stays as it is."""
    task = await _own(services, caller, name)
    if not task.state.is_final:
        wanted = TaskCancelRequested(task_id=task.id, by=caller.username)
        await services.hive.brain.handle(wanted)
    return task.id


async def hold(services: Services, caller: Caller, name: str) -> TaskId:
    """It starts only after it was released."""
    task = await _own(services, caller, name)
    check_waits(task, "a hold keeps a task from starting", "stop it: fluxhive cancel")
    await services.hive.brain.handle(TaskHeld(task_id=task.id, by=caller.username))
    return task.id


async def release(services: Services, caller: Caller, name: str) -> TaskId:
    """Takes a person's hold away."""
    task = await _own(services, caller, name)
    check_waits(task, "there is nothing to release", "see it: fluxhive show")
    if task.held_by is None and task.state is TaskState.HELD:
        raise Conflict(
            f"nobody holds {task.id}: {describe(task, services.hive.clock.now_ms())}",
            hint=f"give it another start time: `fluxhive edit {task.id} --begin now`"
            if task.begin_at_ms is not None
            else "submit it without what it comes after",
        )
    await services.hive.brain.handle(TaskReleased(task_id=task.id, by=caller.username))
    return task.id


async def reprioritise(
    services: Services, caller: Caller, name: str, priority: Priority
) -> tuple[TaskId, Priority]:
    """Another priority, until it has ended. Also gives the one that it had."""
    task = await _own(services, caller, name)
    check_not_ended(task)
    before = task.spec.priority
    wanted = TaskReprioritised(task_id=task.id, priority=priority, by=caller.username)
    await services.hive.brain.handle(wanted)
    return task.id, before


async def rerun(services: Services, caller: Caller, name: str) -> TaskId:
    """The same again as a new task of the caller's, with what was edited since.

    Its start time and what it came after were for the first time only.
    """
    task = (await find_task(services.hive, name, caller.username)).task
    if task.spec.env and not caller.may_see_secrets(task.owner):
        raise AuthError(
            f"{task.id} belongs to {task.owner}, and its environment is not shown to you",
            hint="submit its command with an environment of your own",
            forbidden=True,
        )
    spec = apply_defaults(replace(task.spec, begin_at_ms=None, after=()))
    await services.secrets.check(caller.username, [spec])
    await services.code.check(caller.username, [spec])
    (new,) = await services.hive.brain.submit([spec], caller.username)
    return new.id


async def _own(services: Services, caller: Caller, name: str) -> Task:
    task = (await find_task(services.hive, name, caller.username)).task
    check_owner(caller, task)
    return task


def check_waits(task: Task, why: str, hint: str) -> None:
    """Raises ``Conflict`` for a task that has been placed already, or has ended."""
    if not task.is_waiting:
        where = "is running or about to" if task.state is TaskState.ACTIVE else task.state.value
        if task.state.is_final:
            hint = "submit it again, with changes: fluxhive rerun"
        raise Conflict(f"{task.id} {where}: {why}", hint=f"{hint} {task.id}")


def check_not_ended(task: Task) -> None:
    """Raises ``Conflict`` for a task that has ended."""
    if task.state.is_final:
        raise Conflict(
            f"{task.id} has ended ({task.state.value}) and cannot be edited",
            hint=f"submit it again, with changes: fluxhive rerun {task.id}",
        )
