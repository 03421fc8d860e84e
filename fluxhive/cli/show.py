"""`fluxhive show`: all about one task and its attempts."""

from __future__ import annotations

import time

import click

from fluxhive.cli import options, output, session
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.cli.follow import usage
from fluxhive.cli.program import shown_command
from fluxhive.cli.ps import gpu_memory, place, running_time, where
from fluxhive.cli.watch import watched
from fluxhive.cli.why import likely_start
from fluxhive.core.array import ArraySpec, MemberCounts
from fluxhive.core.code import CodeSnapshot
from fluxhive.core.dependency import Dependency, Edit
from fluxhive.core.errors import NotFound
from fluxhive.core.request import Request, show_mib, show_ms
from fluxhive.core.retry import describe
from fluxhive.core.spec import OnOom
from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.protocol.rest import AttemptView, MemberView, TaskView
from fluxhive.sdk import tasks
from fluxhive.sdk.begin import show_time
from fluxhive.sdk.calls import Calls

VALUES_SHOWN = 10


@click.command()
@watched
@click.argument("task", shell_complete=TASK_NAMES)
@options.control_url
@output.form_options
def command(*, task: str, control_url: str | None, form: output.Form) -> None:
    """Show a task, by id, beginning of an id, or name: what it is, where it ran, why it waits."""
    client = session.client(control_url)
    found = client.task(task)
    until_now = [] if form.is_data else _used_until_now(client, found)
    to_come = [] if form.is_data else _to_come(client, found)
    output.pairs(form, [*facts(found, until_now), *to_come], item=found, id=found.id)


def _to_come(client: Calls, task: TaskView) -> list[tuple[str, str]]:
    """When a task that is in line is likely to start; empty when nobody can tell."""
    if task.state is not TaskState.QUEUED:
        return []
    try:
        return likely_start(client.why(task.id).estimate)
    except NotFound:
        return []  # it has gone since


def _used_until_now(client: Calls, task: TaskView) -> list[tuple[str, str]]:
    """What an attempt that runs has used of its GPUs; empty for others."""
    attempt = tasks.last_attempt(task)
    if attempt is None or attempt.ended_at_ms is not None or not attempt.reservation.gpus:
        return []
    try:
        used = client.attempt_usage(attempt.id)
    except NotFound:
        return []  # an older server keeps no history
    points = [point for gpu in used.gpus for point in gpu.points]
    if not points:
        return []
    percents = [p.utilization_percent for p in points if p.utilization_percent is not None]
    told = [
        f"peak {show_mib(max(point.peak_mib for point in points))}",
        f"mean {show_mib(sum(point.used_mib for point in points) // len(points))}",
    ]
    if percents:
        told.append(f"GPU {sum(percents) // len(percents)} % busy")
    return [("GPU memory until now", ", ".join(told))]


def facts(task: TaskView, until_now: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """All about a task, one line each."""
    facts = [
        ("id", task.id),
        ("name", task.name or "-"),
        ("user", task.owner),
        ("project", task.project or task.owner),
        ("state", task.word),
    ]
    is_told = task.reason == ("submitted" if task.waiting else "success")
    if task.reason and not is_told:
        facts.append(("why", task.reason))
    facts += [("waits", reason.text) for reason in task.waiting]
    facts += [
        ("command", shown_command(task.spec)),
        *(("secret", f"{name} (as a {form.value})") for name, form in task.spec.secrets.items()),
        *(() if task.spec.code is None else (("code", _code(task.spec.code)),)),
        *(() if task.spec.image is None else (("image", task.spec.image),)),
        ("directory", task.spec.workdir or "-"),
        ("request", _request(task.spec.request)),
        ("priority", task.priority.value),
        ("retry", _retry(task.spec)),
    ]
    if task.spec.time_limit_ms is not None:
        facts.append(("time limit", show_ms(task.spec.time_limit_ms)))
    if task.spec.array is not None:
        facts += _array(task.id, task.spec.array, task.members)
    if task.spec.after:
        facts.append(("after", ", ".join(_dependency(each) for each in task.spec.after)))
    if task.spec.begin_at_ms is not None:
        facts.append(("not before", show_time(task.spec.begin_at_ms)))
    facts.append(("submitted", show_time(task.submitted_at_ms)))
    facts += [("edited", _edit(edit)) for edit in task.edits]
    if task.started_at_ms is not None:
        facts.append(("started", show_time(task.started_at_ms)))
        facts.append(("ran for", running_time(task, int(time.time() * 1000))))
    if task.ended_at_ms is not None:
        facts.append(("ended", show_time(task.ended_at_ms)))
    facts += [(f"used: {name}", value) for name, value in usage(task) if name != "time"]
    facts += until_now
    for attempt in task.attempts:
        facts.append((f"attempt {attempt.number}", _attempt(attempt)))
        facts += [(f"rank {member.rank}", _member(member)) for member in attempt.members]
    return facts


def _code(code: CodeSnapshot) -> str:
    return f"{code.n_files} files, {code.n_bytes / 1e6:.1f} MB, {code.sha256[:12]}…"


def _request(request: Request) -> str:
    parts = [f"{request.cpus} CPU"]
    if request.memory_mib is not None:
        parts.append(f"{show_mib(request.memory_mib)} memory")
    if request.gpus:
        memory = request.gpu_memory_mib
        size = "whole" if memory is None else f"{show_mib(memory)} each"
        if memory is None and not request.exclusive and request.gpus == request.nodes == 1:
            size = "as much memory as it is known to take"
        parts.append(f"{request.gpus} GPU ({size}{', exclusive' if request.exclusive else ''})")
        if request.gpu_model is not None:
            parts.append(f"model {request.gpu_model}")
    each = ", ".join(parts)
    return each if request.nodes == 1 else f"{request.nodes} nodes of {each}"


def _attempt(attempt: AttemptView) -> str:
    parts = [attempt.state.value, f"on {where(attempt)}"]
    if attempt.reservation.gpus:
        parts.append(f"GPU memory {gpu_memory(attempt)}")
    if attempt.estimate is not None:
        reserved = show_mib(attempt.estimate.reserved_mib)
        parts.append(f"reserved {reserved}: {attempt.estimate_text}")
    if attempt.reservation.learned_memory_mib:
        memory = show_mib(attempt.reservation.learned_memory_mib)
        parts.append(f"host memory {memory}, by what earlier runs took")
    if attempt.gpu_cap_mib is not None:
        parts.append(f"cap {show_mib(attempt.gpu_cap_mib)}, where its PyTorch or JAX knows one")
    outcome = attempt.outcome
    if outcome is not None:
        parts[0] = outcome.kind.value
        for name, number in (("exit code", outcome.exit_code), ("signal", outcome.signal)):
            # The detail often says it in other words already.
            if number is not None and f"{name} {number}" not in outcome.detail:
                parts.append(f"{name} {number}")
        if outcome.detail:
            parts.append(outcome.detail)
    if attempt.late_report is not None:
        parts.append(f"finished while out of contact: {attempt.late_report.kind.value}")
    return ", ".join(parts)


def _array(task_id: str, array: ArraySpec, members: MemberCounts | None) -> list[tuple[str, str]]:
    facts = [("members", f"{array.count}: {members}")]
    for variable in array.variables:
        shown = ",".join(variable.value(n) for n in range(min(variable.n_values, VALUES_SHOWN)))
        more = ",…" if variable.n_values > VALUES_SHOWN else ""
        facts.append(("varies", f"{variable.name}={shown}{more}"))
    if array.at_most is not None:
        facts.append(("at most", f"{array.at_most} at once"))
    facts.append(("see them", f"fluxhive ps --array {task_id}"))
    return facts


def _retry(spec: TaskSpec) -> str:
    text = str(spec.retry)
    if spec.retry_on:
        text += f", for {', '.join(spec.retry_on)}"
    text = f"{text}, elsewhere first" if spec.retry_elsewhere else text
    return f"{text}; not when it runs out of GPU memory" if spec.oom is OnOom.FAIL else text


def _dependency(dependency: Dependency) -> str:
    return f"{dependency.task_id}:{dependency.end.value}"


def _edit(edit: Edit) -> str:
    what = ", ".join(f"{change.field} {change.old} → {change.new}" for change in edit.changes)
    return f"{show_time(edit.at_ms)} by {edit.by}: {what}"


def _member(member: MemberView) -> str:
    """How a gang's part on one node stands, or ended."""
    state = member.state.value
    if member.outcome is not None:
        state = describe(member.outcome)
    process = "" if member.pid is None else f", process {member.pid}"
    return f"{state} on {place(member.node_label, member.reservation)}{process}"
