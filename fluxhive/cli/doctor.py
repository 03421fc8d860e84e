"""`fluxhive doctor`: looks for what would break a promise here, and says what to do about it."""

from __future__ import annotations

import click

from fluxhive import config
from fluxhive.cli import messages, options, output
from fluxhive.cli.doctor_finding import Finding, Level

TITLES = ("CHECK", "IS", "FINDING", "REMEDY")


@click.command()
@options.control_url
@output.form_options
def command(*, control_url: str | None, form: output.Form) -> int:
    """Check this machine as a node: service, cgroups, clock, disk, GPUs, limits, server.

    Needs no server; changes nothing. A problem breaks a promise to tasks and ends it with 1; a
    warning is something to know. With -q only the names of what is not in order.
    """
    found = look(config.load({"control_base_url": control_url}))
    ailing = [each for each in found if each.level in (Level.WARNING, Level.PROBLEM)]
    output.rows(
        form,
        "findings",
        TITLES,
        [_row(each) for each in found],
        items=[each._asdict() for each in found],
        ids=[each.check for each in ailing],
    )
    n_problems = sum(each.level is Level.PROBLEM for each in found)
    if not form.is_data:
        noun = "problem" if n_problems == 1 else "problems"
        messages.say(f"{n_problems} {noun}, {len(ailing) - n_problems} to know")
    return 1 if n_problems else 0


def look(settings: config.Settings) -> list[Finding]:
    """All findings, most of them good news."""
    from fluxhive.cli import doctor_host, doctor_server, doctor_tasks

    return [
        *doctor_host.look(settings),
        *doctor_tasks.look(settings),
        *doctor_server.look(settings),
    ]


def _row(finding: Finding) -> list[str]:
    return [finding.check, finding.level.value, finding.text, finding.remedy]
