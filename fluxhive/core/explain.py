"""Why a task waits, as data and as a sentence; the plain word for where it stands; warnings.

Asks the same placement code that acts. Called by the server for `fluxhive why`, lists and the
answer to a submit; never by anything that decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from .array import MemberCounts
from .arrays import find_task
from .booking_desk import why_booked
from .capability import missing, needed, too_old
from .choice import never_there, not_chosen
from .gang import live_members
from .hive_state import HiveState
from .holds import wanted
from .line_up import terms_of
from .node import GpuState, Node, NodeState
from .node_record import NodeRecord, serving
from .placement import Misfit, MisfitCode, misfit
from .quota import Blocked, QuotaScope
from .request import Request, say_ms, show_mib
from .retry import pause_text
from .task import Attempt, AttemptState, Task, TaskSpec, TaskState
from .values import Ms, TaskId, Value

#: Most tasks that one reason names as standing in the way.
BLOCKERS_MAX = 8


class WaitCode(Enum):
    """Why a task waits; for programs."""

    #: No node could ever hold it, even empty; one that could may still join.
    NEVER = "NEVER"
    #: Fewer nodes than a gang needs have room at once.
    GANG = "GANG"
    #: A person holds it.
    HELD = "HELD"
    #: Other tasks have to end first.
    DEPENDS = "DEPENDS"
    START_TIME = "START_TIME"
    MEMORY = "MEMORY"
    GPUS = "GPUS"
    CPUS = "CPUS"
    HOST_MEMORY = "HOST_MEMORY"
    #: Memory would do, but the GPUs have too much to do or too many tasks on them.
    SHARE_GUARD = "SHARE_GUARD"
    #: What is free is promised to a gang that waits.
    PROMISED = "PROMISED"
    #: What is free is booked for others.
    BOOKED = "BOOKED"
    #: The nodes lack the label, the tags or the GPU model that are asked for.
    NOT_CHOSEN = "NOT_CHOSEN"
    #: The agents of nodes that could hold it are of a version that cannot do what it asks.
    AGENT_TOO_OLD = "AGENT_TOO_OLD"
    #: The nodes that could hold it are out of contact or draining.
    NODES_DOWN = "NODES_DOWN"
    #: As many members of its array run as may at once.
    ARRAY_LIMIT = "ARRAY_LIMIT"
    #: Its user, or its project, has as much as a quota allows.
    QUOTA_USER = "QUOTA_USER"
    QUOTA_PROJECT = "QUOTA_PROJECT"
    RETRY_BACKOFF = "RETRY_BACKOFF"
    AGENT_REFUSED = "AGENT_REFUSED"
    PRIORITY = "PRIORITY"
    #: No node has joined that serves its owner.
    NO_NODES = "NO_NODES"
    #: Its attempt runs on a node out of contact: nothing to place, the node is waited for.
    ADRIFT = "ADRIFT"


class Reason(Value, frozen=True, kw_only=True):
    """One reason why a task waits."""

    code: WaitCode
    #: One sentence for people.
    text: str
    #: What stands behind it, node by node; empty when it is not about nodes.
    misfits: tuple[Misfit, ...] = ()
    #: Tasks that stand in the way.
    blockers: tuple[TaskId, ...] = ()
    #: When this reason is gone; None when that is not known.
    until_ms: Ms | None = None


_CODE_OF = {
    MisfitCode.GPU_MEMORY: WaitCode.MEMORY,
    MisfitCode.GPUS: WaitCode.GPUS,
    MisfitCode.CPUS: WaitCode.CPUS,
    MisfitCode.HOST_MEMORY: WaitCode.HOST_MEMORY,
    MisfitCode.REFUSED: WaitCode.AGENT_REFUSED,
    MisfitCode.NODE_DOWN: WaitCode.NODES_DOWN,
    MisfitCode.DRAINING: WaitCode.NODES_DOWN,
    MisfitCode.NOT_YOURS: WaitCode.NO_NODES,
    MisfitCode.NOT_CHOSEN: WaitCode.NOT_CHOSEN,
    MisfitCode.GPU_MODEL: WaitCode.GPUS,
    MisfitCode.GPU_BUSY: WaitCode.SHARE_GUARD,
    MisfitCode.PROMISED: WaitCode.PROMISED,
    MisfitCode.BOOKED: WaitCode.BOOKED,
    MisfitCode.AGENT_TOO_OLD: WaitCode.AGENT_TOO_OLD,
}
_ORDER = {code: position for position, code in enumerate(WaitCode)}


def explain(hive: HiveState, task_id: TaskId) -> list[Reason]:
    """The reasons why a task waits, the main one first; empty when it does not wait."""
    task = find_task(hive, task_id)
    if task is None:
        return []
    if task_id not in hive.tasks:
        # A member that waits with its array.
        assert task.array_id is not None, f"{task_id} is no member and no task"
        return explain(hive, task.array_id)
    if task.state is TaskState.HELD:
        return _held(hive, task)
    if task.spec.array is not None and task.state is TaskState.ACTIVE:
        return []
    if task.state is TaskState.ACTIVE:
        return _adrift(hive, task)
    if task.state is not TaskState.QUEUED:
        return []
    if task_id not in hive.queue and hive.is_kept_out(task):
        return [_full(hive, task)]
    if task_id not in hive.queue:
        return [_paused(hive, task)]
    return _not_placed(hive, task)


def word(task: Task, attempt: Attempt | None, nodes: Iterable[Node | None]) -> str:
    """The one plain word for where a task stands: from it, its live attempt and its nodes."""
    if task.state is TaskState.QUEUED:
        return "retrying" if task.retries_used or task.restarts_used else "queued"
    if task.state is not TaskState.ACTIVE or attempt is None:
        return str(task.state.value)
    if attempt.state is AttemptState.STOPPING:
        return "stopping"
    away = any(node is not None and node.state is not NodeState.READY for node in nodes)
    if away or any(member.fenced_at_ms is not None for member in live_members(attempt)):
        return "adrift"
    return "running" if attempt.state is AttemptState.RUNNING else "starting"


def word_of_array(array: Task, members: MemberCounts | None) -> str:
    """The same for an array; ``members`` while it lives."""
    if members is not None and members.live and array.state is not TaskState.HELD:
        return "running"
    return str(array.state.value)


def warnings(spec: TaskSpec, nodes: Iterable[Node], owner: str | None = None) -> list[str]:
    """What the author should know at once: that no node could hold the task, and why.

    With ``owner``, only nodes that serve this user are looked at.
    """
    return [reason.text for reason in obstacles(spec, nodes, owner)]


def obstacles(spec: TaskSpec, nodes: Iterable[Node], owner: str | None) -> list[Reason]:
    """The same as reasons to wait, whatever else runs."""
    open_to = [node for node in nodes if owner is None or node.only_for in (None, owner)]
    if not open_to:
        text = "no node has joined yet: the task waits until one does"
        return [Reason(code=WaitCode.NO_NODES, text=text)]
    misfits = [never_there(spec.request, node) for node in open_to]
    never = [found for found in misfits if found is not None]
    n_could = len(misfits) - len(never)
    if n_could >= spec.request.nodes:
        return _old_agents(spec, [node for node in open_to if _could(spec, node)])
    if n_could:
        text = f"{_too_few(n_could, spec.request)}; the task waits for more"
    else:
        text = f"no node could hold it: {_closest(never, spec.request)}; the task waits for one"
    return [Reason(code=WaitCode.NEVER, text=text)]


def _could(spec: TaskSpec, node: Node) -> bool:
    return never_there(spec.request, node) is None


def _old_agents(spec: TaskSpec, nodes: list[Node]) -> list[Reason]:
    """The same for nodes that could hold it, did their agents know how."""
    words = needed(spec)
    lacking = {node.label: lacks for node in nodes if (lacks := missing(words, node.capabilities))}
    if len(nodes) - len(lacking) >= spec.request.nodes:
        return []
    lacks = tuple({word: None for some in lacking.values() for word in some})
    text = f"{too_old(list(lacking), lacks)}; the task waits for that"
    return [Reason(code=WaitCode.AGENT_TOO_OLD, text=text)]


def _held(hive: HiveState, task: Task) -> list[Reason]:
    reasons: list[Reason] = []
    if task.held_by is not None:
        reasons.append(Reason(code=WaitCode.HELD, text=f"held by {task.held_by}"))
    for dependency in task.waits_for:
        other = find_task(hive, dependency.task_id)
        assert other is not None, f"law 12: {task.id} waits for {dependency.task_id}"
        text = f"{wanted(dependency)}; it is {_now(hive, other)}"
        reasons.append(Reason(code=WaitCode.DEPENDS, text=text, blockers=(other.id,)))
    if task.begin_at_ms is not None:
        left = say_ms(max(0, task.begin_at_ms - hive.now_ms))
        text, until_ms = f"its start time comes in {left}", task.begin_at_ms
        reasons.append(Reason(code=WaitCode.START_TIME, text=text, until_ms=until_ms))
    return reasons


def _now(hive: HiveState, task: Task) -> str:
    live = hive.live_of.get(task.id)
    attempt = None if live is None else hive.attempts[live]
    members = () if attempt is None else live_members(attempt)
    return word(task, attempt, [hive.nodes[member.node_id].node for member in members])


def _full(hive: HiveState, task: Task) -> Reason:
    blocked = hive.book_of_quotas.blocks(task)
    if blocked is not None:
        return over_quota(hive, blocked)
    record = hive.arrays[task.array_id or task.id]
    running = [each for each in record.live if hive.tasks[each].state is TaskState.ACTIVE]
    text = f"{_n(record.n_active, 'member')} of {record.id} run, at most {record.at_most} at once"
    return Reason(code=WaitCode.ARRAY_LIMIT, text=text, blockers=tuple(running[:BLOCKERS_MAX]))


def over_quota(hive: HiveState, blocked: Blocked) -> Reason:
    """The reason to wait that a quota is."""
    quota = blocked.quota
    is_user = quota.scope is QuotaScope.USER
    whose = quota.name if is_user else f"project {quota.name}"
    thing = {"gpus": "GPU", "tasks": "running task"}.get(blocked.what, "GPU-hour")
    when = " this week" if blocked.what == "gpu-hours" else ""
    running = hive.book_of_quotas.running.get((quota.scope, quota.name), {})
    return Reason(
        code=WaitCode.QUOTA_USER if is_user else WaitCode.QUOTA_PROJECT,
        text=f"{whose} has {_n(blocked.used, thing)}{when}, at most {blocked.limit} by quota",
        blockers=tuple(running)[:BLOCKERS_MAX],
    )


def _paused(hive: HiveState, task: Task) -> Reason:
    code = WaitCode.AGENT_REFUSED if task.refusals else WaitCode.RETRY_BACKOFF
    return Reason(code=code, text=pause_text(task.reason, task.not_before_ms - hive.now_ms))


def _adrift(hive: HiveState, task: Task) -> list[Reason]:
    attempt = hive.attempts[hive.live_of[task.id]]
    records = [hive.nodes[member.node_id] for member in live_members(attempt)]
    if word(task, attempt, [record.node for record in records]) != "adrift":
        return []
    away = [record for record in records if record.node.state is not NodeState.READY]
    lost = [hive.nodes[m.node_id] for m in live_members(attempt) if m.fenced_at_ms is not None]
    record = (away or lost)[0]
    label = record.node.label
    if record.node.state is NodeState.READY:
        what = f"{label} lost its journal and does not know the attempt, which may still run"
    else:
        quiet = say_ms(hive.now_ms - record.contact_at_ms)
        what = f"{label} has been out of contact for {quiet}; the attempt runs on there"
    remedy = f"bring {label} back, or give it up if the machine is off"
    return [Reason(code=WaitCode.ADRIFT, text=f"{what}: {remedy}")]


def _not_placed(hive: HiveState, task: Task) -> list[Reason]:
    line = hive.queue.line_of(task.id)
    assert line is not None, f"{task.id} is in no line of the queue"
    records = serving(hive.nodes, task.owner)
    if not records:
        text = "no node serves its owner" if hive.nodes else "no node has joined yet"
        return [Reason(code=WaitCode.NO_NODES, text=text)]
    request, off = line.need.request, line.key.excluded
    terms = terms_of(hive, line, task.id)
    found = [misfit(request, task.owner, off, record, terms) for record in records]
    misfits = [reason for reason in found if reason is not None]
    never = [reason for reason in misfits if reason.forever]
    n_could = len(records) - len(never)
    if 0 < n_could < request.nodes:
        text = _too_few(n_could, request)
        return [Reason(code=WaitCode.NEVER, text=text, misfits=tuple(never))]
    if not n_could:
        text = f"no node could hold it, even empty: {_closest(never, request)}"
        return [Reason(code=WaitCode.NEVER, text=text, misfits=tuple(never))]
    by_code: dict[WaitCode, list[Misfit]] = {}
    for reason in misfits:
        if not reason.forever:
            by_code.setdefault(_CODE_OF[reason.code], []).append(reason)
    reasons = [
        Reason(code=code, text=_sentence(hive, code, some, task, records), misfits=tuple(some))
        for code, some in by_code.items()
    ]
    # Nodes that it does not want say the least, however many they are.
    reasons.sort(key=lambda r: (r.code is WaitCode.NOT_CHOSEN, -len(r.misfits), _ORDER[r.code]))
    n_fit = len(records) - len(misfits)
    if n_fit:
        text = f"needs {request.nodes} nodes with room at once; {n_fit} with room now"
        reasons.insert(0, Reason(code=WaitCode.GANG, text=text, misfits=tuple(misfits)))
    n_ahead = hive.queue.n_ahead(task.id)
    if n_ahead:
        does = "that asks the same goes" if n_ahead == 1 else "that ask the same go"
        text = f"{_n(n_ahead, 'task')} {does} first"
        reasons.append(Reason(code=WaitCode.PRIORITY, text=text))
    return reasons


def _sentence(
    hive: HiveState,
    code: WaitCode,
    misfits: list[Misfit],
    task: Task,
    records: list[NodeRecord],
) -> str:
    label_of = {record.node.id: record.node.label for record in records}
    best = max(misfits, key=lambda reason: (reason.found, reason.node_id))
    where = label_of[best.node_id]
    n_nodes = "1 node" if len(misfits) == 1 else f"{len(misfits)} nodes"
    if code is WaitCode.MEMORY:
        free, wanted = show_mib(best.found), show_mib(best.wanted)
        text = f"needs {wanted} of GPU memory per GPU; the most free now is {free}, on {where}"
        return text + _out_of_use(misfits, records)
    if code is WaitCode.HOST_MEMORY:
        free, wanted = show_mib(best.found), show_mib(best.wanted)
        known = ", as earlier runs took" if task.spec.request.memory_mib is None else ""
        return f"needs {wanted} of memory{known}; the most free now is {free}, on {where}"
    if code is WaitCode.GPUS:
        text = f"needs {_n(best.wanted, 'free GPU')}; the most on one node now: {best.found}"
        return text + _out_of_use(misfits, records)
    if code is WaitCode.CPUS:
        return f"needs {_n(best.wanted, 'free CPU')}; the most on one node now: {best.found}"
    if code is WaitCode.AGENT_REFUSED:
        return f"handed back by {n_nodes}: {task.reason}"
    if code is WaitCode.SHARE_GUARD:
        return f"memory would do on {n_nodes}, but the GPUs there have too much to do already"
    if code is WaitCode.PROMISED:
        return f"what is free on {n_nodes} is promised to a gang that waits, and is needed too soon"
    if code is WaitCode.BOOKED:
        return why_booked(hive, task, [misfit.node_id for misfit in misfits])
    if code is WaitCode.AGENT_TOO_OLD:
        lacks = {word: None for misfit in misfits for word in misfit.lacks}
        return too_old([label_of[misfit.node_id] for misfit in misfits], tuple(lacks))
    if code is WaitCode.NOT_CHOSEN and len(misfits) == len(records):
        return not_chosen(task.spec.request)
    if code is WaitCode.NOT_CHOSEN:
        return f"{n_nodes} without the label or the tags that it asks for"
    return f"{n_nodes} that could hold it: out of contact or draining"


def _out_of_use(misfits: list[Misfit], records: list[NodeRecord]) -> str:
    """The GPUs on these nodes that are not offered, the first with its reason; often none."""
    asked = {misfit.node_id for misfit in misfits}
    ailing = [
        (record.node.label, gpu.report)
        for record in records
        if record.node.id in asked
        for gpu in record.gpus.values()
        if gpu.report.state is not GpuState.HEALTHY
    ]
    if not ailing:
        return ""
    label, report = ailing[0]
    why = f": {report.state_reason}" if report.state_reason else ""
    more = f", and {_n(len(ailing) - 1, 'GPU')} more out of use" if len(ailing) > 1 else ""
    return f"; GPU {report.index} of {label} is {report.state.value}{why}{more}"


def _too_few(n_could: int, request: Request) -> str:
    return f"it asks {request.nodes} nodes, and only {n_could} could hold their part of it"


def _closest(misfits: list[Misfit], request: Request) -> str:
    """The least of the obstacles, with what there is."""
    worst_first = [
        MisfitCode.NOT_CHOSEN,
        MisfitCode.GPUS,
        MisfitCode.GPU_MODEL,
        MisfitCode.GPU_MEMORY,
        MisfitCode.HOST_MEMORY,
        MisfitCode.CPUS,
    ]
    best = max(
        misfits, key=lambda reason: (worst_first.index(reason.code), reason.found, reason.node_id)
    )
    if best.code is MisfitCode.GPU_MEMORY:
        each = " each" if request.gpus > 1 else " on one GPU"
        most = show_mib(best.found)
        return f"it asks {show_mib(best.wanted)}{each}, and the most that can be given is {most}"
    if best.code is MisfitCode.HOST_MEMORY:
        return f"it asks {show_mib(best.wanted)} of memory, and the most is {show_mib(best.found)}"
    if best.code is MisfitCode.NOT_CHOSEN:
        return not_chosen(request)
    if best.code is MisfitCode.GPU_MODEL:
        asked = f"{_n(best.wanted, 'GPU')} of model {request.gpu_model}"
        return f"it asks {asked}, and the most on one node is {best.found}"
    unit = "GPU" if best.code is MisfitCode.GPUS else "CPU"
    return f"it asks {_n(best.wanted, unit)}, and the most on one node is {best.found}"


def _n(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
