"""`fluxhive quota`: what users and projects may have at once."""

from __future__ import annotations

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.watch import watched
from fluxhive.core.errors import InputError
from fluxhive.core.quota import Quota, QuotaScope
from fluxhive.protocol.quotas import QuotaChange, QuotaView

TITLES = ("WHOSE", "NAME", "RUNNING GPUS", "RUNNING TASKS", "WAITING TASKS", "GPU-HOURS A WEEK")
_NAMES = ("running GPUs", "running tasks", "waiting tasks", "GPU-hours a week")


@click.group()
def command() -> None:
    """List quotas; set them (for administrators)."""


@command.command("ls")
@watched
@options.control_url
@output.form_options
def list_quotas(*, control_url: str | None, form: output.Form) -> None:
    """List all quotas: what is used of each limit."""
    found = session.client(control_url).quotas()
    output.rows(
        form,
        "quotas",
        TITLES,
        [_row(each) for each in found],
        items=found,
        ids=[f"{each.quota.scope.value}/{each.quota.name}" for each in found],
        none="nothing is limited; `fluxhive quota set user NAME --running-gpus 8` would",
    )


@command.command("set")
@click.argument("scope", type=click.Choice([scope.value for scope in QuotaScope]))
@click.argument("name")
@click.option("--running-gpus", metavar="N|none", help="GPUs of tasks that run.")
@click.option("--running-tasks", metavar="N|none", help="Tasks that run.")
@click.option("--waiting-tasks", metavar="N|none", help="Tasks that wait; more are refused.")
@click.option(
    "--weekly-gpu-hours", metavar="N|none", help="GPUs times hours, from Monday to Monday (UTC)."
)
@options.control_url
def set_quota(
    *,
    scope: str,
    name: str,
    running_gpus: str | None,
    running_tasks: str | None,
    waiting_tasks: str | None,
    weekly_gpu_hours: str | None,
    control_url: str | None,
) -> None:
    """Set limits of a user or a project; what is not named stays."""
    client = session.client(control_url)
    whose = QuotaScope(scope)
    known = {(each.quota.scope, each.quota.name): each.quota for each in client.quotas()}
    old = known.get((whose, name)) or Quota(scope=whose, name=name)
    change = QuotaChange(
        running_gpus=_limit("--running-gpus", running_gpus, old.running_gpus),
        running_tasks=_limit("--running-tasks", running_tasks, old.running_tasks),
        waiting_tasks=_limit("--waiting-tasks", waiting_tasks, old.waiting_tasks),
        weekly_gpu_hours=_limit("--weekly-gpu-hours", weekly_gpu_hours, old.weekly_gpu_hours),
    )
    view = client.set_quota(whose, name, change)
    cells = zip(_NAMES, _row(view)[2:], strict=True)
    messages.say(f"{scope} {name}: " + "; ".join(f"{what} {cell}" for what, cell in cells))
    if whose is QuotaScope.USER and name not in {user.username for user in client.users()}:
        messages.warn(f"no user is called `{name}`; this holds from when there is one")


def _limit(option: str, text: str | None, known: int | None) -> int | None:
    if text is None:
        return known
    if text == "none":
        return None
    if not text.isdecimal():
        raise InputError(
            f"`{option}` must be a whole number or `none`: `{text}`",
            field=option,
            value=text,
            hint="such as `8`",
        )
    return int(text)


def _row(view: QuotaView) -> list[str]:
    quota, use = view.quota, view.use
    return [
        quota.scope.value,
        quota.name,
        _of(use.running_gpus, quota.running_gpus),
        _of(use.running_tasks, quota.running_tasks),
        _of(use.waiting_tasks, quota.waiting_tasks),
        _hours(use.weekly_gpu_hours, quota.weekly_gpu_hours),
    ]


def _of(used: int, limit: int | None) -> str:
    return f"{used}, no limit" if limit is None else f"{used} of {limit}"


def _hours(used: float, limit: int | None) -> str:
    return "no limit" if limit is None else f"{used:g} of {limit}"
