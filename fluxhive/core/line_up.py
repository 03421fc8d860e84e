"""Where a task stands in the queue: its line, what the line needs, and its rank.

The queue holds lines (task_queue.py); need.py says what a line needs, score.py how it ranks. Both
change with time and with what is learned: ``refresh`` brings them up to date before each pass.
Called by hive_state.py and placement_pass.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from . import nodes_off
from .capability import needed
from .learning import Basis
from .lines import Line, LineKey, Need, Place, Shape
from .need import need_of, shape_of, sources_of
from .placement import Terms
from .policy import DurationFrom, Order
from .score import Ranking
from .signature import signature
from .task import Task, TaskSpec
from .values import Ms, TaskId

if TYPE_CHECKING:
    from .hive_state import HiveState

#: Up to so many lines are settled and ranked anew in each pass; more of them at most once in one
#: millisecond for every ten lines, so that it takes a small part of one core.
RANK_ALWAYS_UP_TO = 1_000
LINES_PER_MS = 10


def line_key(hive: HiveState, task: Task) -> LineKey:
    """The line of the queue that a task belongs to."""
    goes_by_limit = hive.policy.duration is DurationFrom.LIMIT
    return LineKey(
        task.spec.request,
        task.owner,
        task.project,
        task.priority.rank,
        nodes_off.of_task(hive, task.id),
        task.signature,
        task.spec.time_limit_ms if goes_by_limit else None,
        task.least_gpu_memory_mib,
        task.alone,
        needed(task.spec),
    )


def enqueue(hive: HiveState, task: Task) -> None:
    """Put a task in line."""
    place = place_of(hive, task)
    queue = hive.queue
    key = line_key(hive, task)
    line = queue.add(place, key)
    if line.n_waiting == 1:
        _settle(hive, line, _basis(hive, key))
    elif line.head is place:
        line.rank = hive.ranking.rank(line)
        line.shape.push(line)


def place_of(hive: HiveState, task: Task) -> Place:
    """Where a task stands in its line; an array stands where its next member does."""
    number = task.number
    if task.spec.array is not None:
        number += 1 + hive.arrays[task.id].next_index - task.spec.array.first
    return Place(number, task.id, task.submitted_at_ms)


def move(hive: HiveState, array: Task) -> None:
    """An array in line has made a member: it stands where the next one does."""
    line = hive.queue.move(place_of(hive, array))
    line.rank = hive.ranking.rank(line)
    line.shape.push(line)


def refresh(hive: HiveState) -> None:
    """Needs by what is known now."""
    queue = hive.queue
    if hive.lines_are_stale:
        hive.lines_are_stale, hive.news = False, {}
        lines = dict.fromkeys(queue.lines.values())
    elif hive.news:
        lines = queue.lines_about(hive.news)
        if _is_too_soon(hive, hive.settled_at_ms, len(lines)):
            return
        hive.news = {}
    else:
        return
    hive.settled_at_ms = hive.now_ms
    for line in lines:
        _settle(hive, line, _basis(hive, line.key))


def settle_all(hive: HiveState) -> None:
    """What every line may use is known anew."""
    for line in list(hive.queue.lines.values()):
        _settle(hive, line, _basis(hive, line.key))


def rank(hive: HiveState, shapes: list[Shape]) -> None:
    """The lines of these shapes, by what time it is now."""
    hive.ranking = ranking = Ranking(hive.policy, hive.accounts, hive.now_ms)
    if hive.policy.order is Order.FIFO:
        return
    n_lines = sum(len(shape.lines) for shape in shapes)
    for shape in shapes:
        if not _is_too_soon(hive, shape.ranked_at_ms, n_lines):
            shape.ranked_at_ms = hive.now_ms
            ranking.rank_all(shape.lines)
            shape.rebuild()


def _is_too_soon(hive: HiveState, last_at_ms: Ms, n_lines: int) -> bool:
    return n_lines > RANK_ALWAYS_UP_TO and hive.now_ms < last_at_ms + n_lines // LINES_PER_MS


def need_for(hive: HiveState, spec: TaskSpec, owner: str) -> Need:
    """What a task like this would need, by what is known of its kind."""
    project = spec.project or owner
    kind = signature(spec, owner)
    key = LineKey(
        spec.request,
        owner,
        project,
        spec.priority.rank,
        signature=kind,
        limit_ms=spec.time_limit_ms,
        capabilities=needed(spec),
    )
    return _need(hive, key, _basis(hive, key))


def terms_for(hive: HiveState, need: Need) -> Terms:
    """What a placement goes by that nobody waits for yet."""
    percent = need.expected.utilization_percent if need.request.shares_gpu else 0
    done_at_ms = hive.now_ms + need.expected.latest_ms
    return Terms(
        hive.policy,
        percent,
        done_at_ms,
        capabilities=need.capabilities,
        bookings=need.bookings,
        learned_memory_mib=need.learned_memory_mib,
    )


def terms_of(hive: HiveState, line: Line, task_id: TaskId) -> Terms:
    """What a placement of the line's head goes by, beside its request."""
    return Terms(
        hive.policy,
        line.shape.key.utilization_percent,
        hive.now_ms + line.need.expected.latest_ms,
        task_id,
        line.need.capabilities,
        line.need.bookings,
        line.need.learned_memory_mib,
    )


def _basis(hive: HiveState, key: LineKey) -> Basis:
    return hive.book.basis(key.signature, key.owner, key.project)


def _need(hive: HiveState, key: LineKey, basis: Basis) -> Need:
    need = need_of(key, basis, hive.policy, hive.gpu_sizes)
    ids = [each.id for each in hive.bookings.values() if each.is_for(key.owner, key.project)]
    return replace(need, bookings=tuple(ids)) if ids else need


def _settle(hive: HiveState, line: Line, basis: Basis) -> None:
    key = line.key
    need = _need(hive, key, basis)
    sources = tuple(dict.fromkeys(sources_of(key, basis, hive.policy)))
    owner = key.owner if hive.is_private(key.owner) else ""
    shape_key = shape_of(key, need, hive.policy, owner)
    some_kept = bool(hive.promises or hive.booked)
    hive.queue.settle(line, need, basis, shape_key, sources, some_kept=some_kept)
    line.rank = hive.ranking.rank(line)
    line.shape.push(line)
