"""The GPUs in `fluxhive top`: a line each where there is room, else a short bar each.

Nodes that are not well come first, with what is wrong; nodes of one GPU share lines in the short
form. What does not fit is counted in the last line, never left out silently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fluxhive.cli.columns import cut, padded, width_of
from fluxhive.cli.messages import BOLD, RED, YELLOW, visible
from fluxhive.cli.top_bar import GREY, Glyphs, Span, bar, level
from fluxhive.core.node import GpuState, NodeState
from fluxhive.core.request import show_mib
from fluxhive.protocol.rest import GpuView, NodeView

OwnerOf = Callable[[str], str | None]
Line = list[Span]

LABEL_WIDTH_MAX = 24
BAR_WIDTH_MAX = 60
SHORT_BAR_WIDTH = 6
SHORT_BAR_WIDTH_MAX = 16


def gpu_summary(nodes: Sequence[NodeView]) -> str:
    """How many GPUs nobody has, of all."""
    gpus = [gpu for node in nodes if _is_well(node) for gpu in node.gpus]
    n_all = sum(len(node.gpus) for node in nodes)
    free = [gpu for gpu in gpus if not gpu.attempts and not gpu.report.foreign_mib]
    return f"{len(free)} of {n_all} GPUs free"


def gpu_lines(
    nodes: Sequence[NodeView], width: int, most: int, glyphs: Glyphs, owner_of: OwnerOf
) -> list[Line]:
    """At most so many lines about the nodes and their GPUs."""
    ordered = sorted(nodes, key=lambda node: (_is_well(node), node.label))
    if not ordered:
        return [
            [Span("no node has joined yet; on a machine with GPUs: "), Span("fluxhive run", BOLD)]
        ]
    long = _long_form(ordered, width, glyphs, owner_of)
    if len(long) <= most:
        return long
    for bar_width_max in (SHORT_BAR_WIDTH_MAX, SHORT_BAR_WIDTH):
        short = _short_form(ordered, width, bar_width_max, glyphs, owner_of)
        if len(short) <= most:
            return short
    kept = short[: most - 1]
    left = len(short) - len(kept)
    return [*kept, [Span(f"… {left} more lines of GPUs: g shows them", GREY)]]


def _is_well(node: NodeView) -> bool:
    is_sound = all(gpu.report.state is GpuState.HEALTHY for gpu in node.gpus)
    return node.state is NodeState.READY and not node.draining and not node.problem and is_sound


def _trouble(node: NodeView) -> str:
    """What is wrong with the node, in a few words; empty: nothing is."""
    state = "" if node.state is NodeState.READY else node.state.value
    said = [state, "draining" if node.draining else "", visible(node.problem)]
    return ", ".join(part for part in said if part)


def _long_form(
    nodes: Sequence[NodeView], width: int, glyphs: Glyphs, owner_of: OwnerOf
) -> list[Line]:
    """A line for each GPU; one for a node that has none, or that is not well."""
    labels = [f"{node.label}:{gpu.report.index}" for node in nodes for gpu in node.gpus]
    label_width = min(LABEL_WIDTH_MAX, max([*map(width_of, labels), 8]))
    lines: list[Line] = []
    for node in nodes:
        trouble = _trouble(node)
        if trouble or not node.gpus:
            said = trouble or "no GPU"
            name = Span(padded(visible(node.label), label_width), BOLD)
            lines.append([name, Span(f" {cut(said, width - label_width - 1)}", YELLOW)])
        lines += [_gpu_line(node, gpu, label_width, width, glyphs, owner_of) for gpu in node.gpus]
    return lines


def _gpu_line(
    node: NodeView, gpu: GpuView, label_width: int, width: int, glyphs: Glyphs, owner_of: OwnerOf
) -> Line:
    report = gpu.report
    known = "-" if report.used_mib is None else f"{report.used_mib / 1024:.1f}"
    memory = f"{known}/{show_mib(report.total_mib)}"
    busy = "  -%" if report.utilization_percent is None else f"{report.utilization_percent:>3}%"
    heat = "" if report.temperature_c is None else f"{report.temperature_c:>3}°C"
    facts = f"{memory:>14} {busy}{heat}"
    bar_width = max(8, min(BAR_WIDTH_MAX, (width - label_width - len(facts) - 2) * 3 // 5))
    line: Line = [Span(padded(visible(f"{node.label}:{report.index}"), label_width)), Span(" ")]
    line += bar(gpu, bar_width, glyphs, owner_of)
    line.append(Span(f"{level(report.utilization_percent, glyphs)}", GREY))
    line.append(Span(facts))
    wrong = _wrong(gpu)
    room = width - sum(width_of(span.text) for span in line) - 1
    if wrong:
        line.append(Span(f" {cut(wrong, room)}", RED))
    else:
        line.append(Span(f" {cut(_who(gpu, owner_of), room)}", GREY))
    return line


def _wrong(gpu: GpuView) -> str:
    report = gpu.report
    if report.state is not GpuState.HEALTHY:
        return visible(f"{report.state.value} {report.state_reason}".strip())
    return "reading is old" if report.stale else ""


def _who(gpu: GpuView, owner_of: OwnerOf) -> str:
    """Who is on it: attempts with their owners, and strangers."""
    names = []
    for attempt in gpu.attempts:
        owner = owner_of(attempt)
        names.append(visible(f"{owner} {attempt}" if owner else attempt))
    if gpu.report.foreign_mib:
        names.append("others")
    return ", ".join(names)


def _short_form(
    nodes: Sequence[NodeView], width: int, bar_width_max: int, glyphs: Glyphs, owner_of: OwnerOf
) -> list[Line]:
    """A node's label and a short bar for each of its GPUs; small nodes stand side by side."""
    label_width = min(LABEL_WIDTH_MAX // 2, max(width_of(node.label) for node in nodes))
    n_gpus = max([len(node.gpus) for node in nodes] + [1])
    each = (width - label_width - 1) // min(n_gpus, 8) - 2
    bar_width = min(bar_width_max, max(SHORT_BAR_WIDTH, each))
    lines: list[Line] = []
    line: Line = []
    for node in nodes:
        for block in _blocks(node, label_width, width, bar_width, glyphs, owner_of):
            used = sum(width_of(span.text) for span in line)
            if line and used + 2 + sum(width_of(span.text) for span in block) > width:
                lines.append(line)
                line = []
            line += [Span("  "), *block] if line else block
    return [*lines, line] if line else lines


def _blocks(
    node: NodeView,
    label_width: int,
    width: int,
    bar_width: int,
    glyphs: Glyphs,
    owner_of: OwnerOf,
) -> list[Line]:
    """What stands of a node in the short form, broken into lines when it has many GPUs."""
    trouble = _trouble(node)
    is_well = _is_well(node)
    name = Span(padded(visible(node.label), label_width) + " ", "" if is_well else YELLOW)
    if trouble or not node.gpus:
        return [[name, Span(cut(trouble or "no GPU", width - label_width - 1), YELLOW)]]
    a_line = max(1, (width - label_width - 1) // (bar_width + 2))
    blocks: list[Line] = []
    for start in range(0, len(node.gpus), a_line):
        block = [name if start == 0 else Span(" " * (label_width + 1))]
        for gpu in node.gpus[start : start + a_line]:
            is_sound = gpu.report.state is GpuState.HEALTHY
            block += (
                bar(gpu, bar_width, glyphs, owner_of)
                if is_sound
                else [Span(padded(gpu.report.state.value, bar_width), RED)]
            )
            block.append(Span(level(gpu.report.utilization_percent, glyphs) + " ", GREY))
        blocks.append(block)
    return blocks
