"""Shows what a task writes until it has ended, and what Ctrl-C means meanwhile."""

from __future__ import annotations

import sys
import time
from typing import BinaryIO

from fluxhive.cli import messages
from fluxhive.cli.fluxhive import INTERRUPTED_EXIT
from fluxhive.cli.marked_lines import MarkedLines, Source
from fluxhive.cli.terminal import TerminalFilter
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.progress import fold
from fluxhive.core.request import show_mib, show_ms
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import LogEnd, LogGapView, TaskView
from fluxhive.sdk import tasks
from fluxhive.sdk.calls import Calls
from fluxhive.sdk.follow import data_of

SECOND_CTRL_C_S = 2.0


class Printer:
    """Writes a task's streams to ours: filtered on a terminal, byte for byte elsewhere.

    On a terminal a progress bar is shown as it stood last in what came at once.
    """

    def __init__(self, *, is_raw: bool = False) -> None:
        self.is_raw = is_raw
        #: Whether there was anything to show.
        self.has_written = False
        self._filters: dict[tuple[str, str], TerminalFilter] = {}

    def write(self, attempt: str, stream: str, data: bytes) -> None:
        """Shows bytes of one stream. Raises BrokenPipeError when nobody reads any more."""
        target = sys.stderr if stream == "stderr" else sys.stdout
        binary: BinaryIO = target.buffer
        self.has_written = self.has_written or bool(data)
        if target.isatty() and not self.is_raw:
            kept = self._filters.setdefault((attempt, stream), TerminalFilter())
            data = _drawn(kept.feed(data)).encode("utf-8", "replace")
        binary.write(data)
        binary.flush()


def _drawn(text: str) -> str:
    """The last of what each line showed. What it overwrites on the screen may have been longer."""
    # What comes next overwrites a line that a carriage return ended.
    folded = fold(text) + ("\r" if text.endswith("\r") else "")
    is_overwriting = "\r" in text.partition("\n")[0]
    return f"\r\x1b[K{folded}" if is_overwriting else folded


def follow(
    client: Calls,
    task_id: str,
    *,
    rank: int = 0,
    process: int | None = None,
    is_raw: bool = False,
) -> int:
    """Follows the task to its end and gives the exit code to end with."""
    try:
        printer = Printer(is_raw=is_raw)
        task = show_until_end(client, task_id, printer, rank=rank, process=process)
    except KeyboardInterrupt:
        return detach(client, task_id)
    except FluxhiveError as error:
        messages.show(error)
        return tasks.TROUBLE_EXIT
    messages.say(ending(task))
    return tasks.exit_code(task)


def show_until_end(
    client: Calls,
    task_id: str,
    printer: Printer,
    *,
    attempt: int | None = None,
    rank: int = 0,
    process: int | None = None,
    wait: bool = True,
) -> TaskView:
    """Prints what the task writes, and gives the task when it has ended.

    What single processes write comes in whole lines, each behind its rank, unless one alone is
    shown (``process``). Without ``wait`` it ends with what is there.
    """
    source, lines = Source(task_id, rank, ""), MarkedLines(is_raw=printer.is_raw)
    for event in client.follow(
        task_id, attempt=attempt, rank=rank, process=process, wait=wait, on_trouble=_tell_trouble
    ):
        if isinstance(event, LogEnd):
            lines.end(source)
            return event.task
        if event.gap is not None:
            tell_gap(event.attempt, event.stream, event.gap)
        elif event.process is not None and process is None:
            lines.write(source.of_process(event.process), event.stream, data_of(event))
        else:
            printer.write(event.attempt, event.stream, data_of(event))
    raise AssertionError("a followed log ends with LogEnd or an error")


def tell_gap(attempt: str, stream: str, gap: LogGapView) -> None:
    """One line for people where output is missing; what is printed stays as it was written."""
    where = f"{attempt}, {stream}"
    reason = messages.visible(gap.reason)
    if gap.start == gap.end:
        messages.warn(f"output may be missing at byte {gap.start} ({where}): {reason}")
    else:
        n_bytes = gap.end - gap.start
        messages.warn(f"{n_bytes} bytes are missing from byte {gap.start} on ({where}): {reason}")


def ending(task: TaskView) -> str:
    """One line about how the task ended and what it took."""
    colour = messages.GREEN if task.state is TaskState.SUCCEEDED else messages.RED
    parts = [f"{task.id} {messages.paint(task.state.value, colour, sys.stderr)}"]
    if task.state is not TaskState.SUCCEEDED and task.reason:
        parts.append(f": {messages.visible(task.reason)}")
    used = usage(task)
    if used:
        parts.append(" (" + ", ".join(f"{name} {value}" for name, value in used) + ")")
    return "".join(parts)


def usage(task: TaskView) -> list[tuple[str, str]]:
    """What the last attempt took, as far as it is known: time, CPU, memory, GPU memory."""
    attempt = tasks.last_attempt(task)
    facts = None if attempt is None else attempt.facts
    if facts is None:
        return []
    found = [("time", show_ms(facts.duration_ms)), ("CPU", show_ms(facts.cpu_ms))]
    if facts.peak_memory_mib:
        found.append(("peak memory", show_mib(facts.peak_memory_mib)))
    if facts.gpu_peaks:
        peak = max(facts.gpu_peaks, key=lambda peak: peak.peak_mib)
        found.append(("peak GPU memory", show_mib(peak.peak_mib)))
        if peak.mean_mib is not None:
            found.append(("mean GPU memory", show_mib(peak.mean_mib)))
        if peak.utilization_percent is not None:
            found.append(("GPU busy", f"{peak.utilization_percent} %"))
    return found


def detach(client: Calls, task_id: str) -> int:
    """Lets go of the task and says how to go on or to cancel; Ctrl-C again soon cancels it."""
    messages.say(
        f"\nno longer following {task_id}; it goes on\n"
        f"  cancel it:        fluxhive cancel {task_id}   (or Ctrl-C again now)\n"
        f"  follow it again:  fluxhive logs -f {task_id}"
    )
    try:
        time.sleep(SECOND_CTRL_C_S)
    except KeyboardInterrupt:
        try:
            client.cancel(task_id)
        except FluxhiveError as error:
            messages.show(error)
            return tasks.TROUBLE_EXIT
        messages.say(f"cancelled {task_id}")
    return INTERRUPTED_EXIT


def _tell_trouble(text: str) -> None:
    if text:
        messages.warn(f"lost the server ({text}); trying again, the task is not affected")
    else:
        messages.say("the server is back")
