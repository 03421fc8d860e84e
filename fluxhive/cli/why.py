"""`fluxhive why`: why a task waits, and until when."""

from __future__ import annotations

import click

from fluxhive.cli import options, output, session
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.cli.watch import watched
from fluxhive.core.explain import WaitCode
from fluxhive.core.outlook import Estimate, GpuStanding
from fluxhive.protocol.rest import ReasonView
from fluxhive.protocol.why import OutlookView
from fluxhive.sdk.begin import show_time

_IN_WORDS = {
    GpuStanding.FITS: "would do",
    GpuStanding.MEMORY: "too little free memory",
    GpuStanding.IN_USE: "in use",
    GpuStanding.NODE_FULL: "no CPUs or memory left on their node",
    GpuStanding.OUT_OF_USE: "out of use",
    GpuStanding.BOOKED: "booked for others",
    GpuStanding.NODE_AWAY: "node away, draining, or handed it back",
    GpuStanding.NOT_YOURS: "for another user",
    GpuStanding.NOT_CHOSEN: "not of the kind that it asks",
}


@click.command()
@watched
@click.argument("task", shell_complete=TASK_NAMES)
@options.control_url
@output.form_options
def command(*, task: str, control_url: str | None, form: output.Form) -> None:
    """Say why a task waits, when it is likely to start, and what would help."""
    told = session.client(control_url).why(task)
    show(told, form)


def show(told: OutlookView, form: output.Form) -> None:
    """Prints an outlook."""
    output.pairs(form, _facts(told), item=told, id=told.id)


def _facts(told: OutlookView) -> list[tuple[str, str]]:
    facts = [("task", f"{told.id}  {told.name or '-'}  {told.owner}  {told.word}")]
    if not told.id:
        facts = [("task", f"{told.name or '-'}  {told.owner}  not submitted")]
    facts.append(("outlook", told.summary))
    facts += [("also", reason.text) for reason in told.reasons if not _is_said(reason, told)]
    if told.memory:
        facts.append(("GPU memory", told.memory))
    if told.gpus:
        total = sum(count.n_gpus for count in told.gpus)
        parts = [f"{count.n_gpus} {_IN_WORDS[count.standing]}" for count in told.gpus]
        facts.append(("GPUs", f"{total}: {', '.join(parts)}"))
    if told.position is not None:
        facts.append(("in line", f"{told.position} of {told.n_in_line}"))
    facts += likely_start(told.estimate)
    facts += [("would start now", f"with {each.option}, on {each.where}") for each in told.remedies]
    facts += [("what helps", each) for each in told.ways_out]
    return facts


def _is_said(reason: ReasonView, told: OutlookView) -> bool:
    """Whether the summary says it; of memory it may say more, with the very GPU."""
    if reason.code == WaitCode.MEMORY.value and told.summary.startswith("needs "):
        return True
    return reason.text in told.summary


def likely_start(estimate: Estimate | None) -> list[tuple[str, str]]:
    """From when to when a task is likely to start, where, and how true that has been lately."""
    if estimate is None or (estimate.after is None and estimate.accuracy is None):
        return []  # nobody can tell, or there is room now
    text = show_time(estimate.earliest_at_ms)
    if estimate.latest_at_ms is None:
        text += " or later"
    elif estimate.latest_at_ms > estimate.earliest_at_ms:
        text += f" to {show_time(estimate.latest_at_ms)}"
    if estimate.where:
        text += f", on {estimate.where}"
    facts = [("likely start", text)]
    if estimate.accuracy is not None:
        facts.append(("estimates", estimate.accuracy.text))
    return facts
