"""`fluxhive down`: stops what `fluxhive up` started on this machine."""

from __future__ import annotations

import socket

import click

from fluxhive import places
from fluxhive.cli import messages, processes
from fluxhive.cli.up import bring_up
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.task import TaskState
from fluxhive.sdk.calls import Calls
from fluxhive.transport import Transport

TASKS_END_S = 60.0
"""Grace of a task (30 s) twice."""


@click.command()
@click.option("--stop-tasks", is_flag=True, help="Also cancel the tasks that run.")
def command(*, stop_tasks: bool) -> int:
    """Stop server and agent of this machine. Tasks keep running, unless --stop-tasks."""
    up = places.read_up()
    is_up = up is not None and (
        processes.is_alive(up.server_pid, "server") or processes.is_alive(up.agent_pid, "run")
    )
    if not is_up and stop_tasks and (places.state_root() / "server").exists():
        # Tasks outlive their agent; only an agent can end them with all their processes.
        up, is_up = bring_up().up, True
    if up is None or not is_up:
        messages.say("nothing of FlowHive runs here")
        places.forget_up()
        return 0
    client = Calls(transport=Transport(up.url, token=places.read_admin_token()))
    drained = _drain(client) if stop_tasks else []
    running = _active(client)
    if stop_tasks and running:
        running = _cancel(client, running)
    processes.stop(up.agent_pid, "run")
    for node_id in drained:
        # The node is gone now; left draining, its next start would take no task.
        client.change_node(node_id, draining=False)
    processes.stop(up.server_pid, "server")
    places.forget_up()
    messages.say(f"stopped server and agent of {up.url}")
    if running:
        messages.say(
            f"still running: {', '.join(running)}; the next `fluxhive up` takes up what runs, "
            "`fluxhive down --stop-tasks` stops it"
        )
    return 0


def _active(client: Calls) -> list[str]:
    try:
        return [task.id for task in client.tasks(state=TaskState.ACTIVE)]
    except FluxhiveError as error:
        messages.warn(f"cannot ask which tasks run: {error}")
        return []


def _drain(client: Calls) -> list[str]:
    """Lets this machine take no further tasks while its tasks end."""
    here = socket.gethostname()
    drained = [node.id for node in client.nodes() if node.hostname == here and not node.draining]
    for node_id in drained:
        client.change_node(node_id, draining=True)
    return drained


def _cancel(client: Calls, running: list[str]) -> list[str]:
    """Cancels the tasks and gives those that have not ended in time."""
    for task_id in running:
        client.cancel(task_id)
    messages.say(f"cancelled {', '.join(running)}; waiting for their processes to end")
    ended = [client.wait(task_id, timeout_s=TASKS_END_S) for task_id in running]
    return [task.id for task in ended if not task.state.is_final]
