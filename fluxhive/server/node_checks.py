"""What a node may say: bounds on its words, and that they are about its own attempts.

Agents run on machines that their owners control. A message beyond these bounds closes the
connection of that node and is written to the log as an audit line; nothing else is touched.
"""

from __future__ import annotations

from fluxhive.core.health import NodeHealth
from fluxhive.core.node import AttemptUsage, GpuReport, Inventory
from fluxhive.core.outcome import ExitFacts, GpuScene, Outcome
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptRefused, AttemptStarted
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import NodeId
from fluxhive.protocol.agent import (
    AgentMessage,
    Goodbye,
    GpuSample,
    Heartbeat,
    Hello,
    HostSample,
    LogGap,
)
from fluxhive.protocol.wire import FIRST_OF_PROCESSES, STREAMS_MAX

#: Largest integer that every reader of JSON and SQLite keeps whole.
INTEGER_MAX = 2**53 - 1
MIB_MAX = 1 << 34
CPUS_MAX = 65_536
GPUS_MAX = 1_024
#: Beyond what any driver says of one GPU.
PERCENT_MAX, POWER_W_MAX = 1_000, 1 << 20
HELD_MAX = 20_000
HOST_SAMPLES_MAX = 20 * HELD_MAX
#: A node sends 20 looks at most with one heartbeat (agent/usage.py), each of all its GPUs.
SAMPLES_MAX = 20 * GPUS_MAX
LABEL_MAX = 200
#: Of this version there are less than ten (core/capability.py).
WORDS_MAX = 256
PORT_MAX = 65_535
TEXT_MAX = 4_096
#: A node sends the last 4 KiB of output; escapes and other encodings make that more.
OUTPUT_MAX = 32_768
#: Nodes send fewer and shorter ones (core/signs.py); a newer one may send somewhat more.
SIGNS_MAX, SIGN_CHARS = 256, 1_024
#: Nodes send fewer (agent/gpu_processes.py, core/gpu_monitor.py); a newer one may send more.
PROCESSES_MAX, XIDS_MAX = 256, 1_024


class BadNode(Exception):
    """The node said what it may not; the connection is closed with this reason."""


class ForeignAttempt(BadNode):
    """The node spoke about an attempt of another node."""


def check(message: AgentMessage, node_id: NodeId, manager: TaskManager) -> None:
    """Raises ``BadNode`` when the message is out of bounds or about another node's attempt."""
    match message:
        case Hello():
            check_hello(message)
        case Heartbeat():
            _gpus(message.gpus)
            _samples(message.samples)
            _range("sent_at_ms", message.sent_at_ms)
            _range("memory_used_mib", message.memory_used_mib or 0, MIB_MAX)
            _range("cpu_percent", message.cpu_percent or 0, CPUS_MAX * 100)
            _text("problem", message.problem)
            _range("wall_ms", message.wall_ms)
            _host_samples(message.host_samples)
            if message.health is not None:
                _health(message.health)
        case AttemptAccepted() | AttemptRefused() | AttemptStarted() | AttemptEnded():
            _report(message)
            attempt = manager.attempt(message.attempt_id)
            if attempt is not None and attempt.member_on(node_id) is None:
                raise ForeignAttempt(f"{attempt.id} is not an attempt of this node")
        case LogGap():
            _text("reason", message.reason)
        case Goodbye():
            _text("reason", message.reason)


def check_hello(hello: Hello) -> None:
    """Raises ``BadNode`` for a hello out of bounds."""
    _range("incarnation", hello.incarnation)
    _range("sent_at_ms", hello.sent_at_ms)
    for name in ("label", "agent_version", "boot_id", "machine_id", "life", "journal_id"):
        _text(name, getattr(hello, name), LABEL_MAX)
    if not hello.label:
        raise BadNode("label: empty")
    if len(hello.held) > HELD_MAX:
        raise BadNode(f"held: more than {HELD_MAX} attempts")
    for held in hello.held:
        _text("attempt_id", held.attempt_id, LABEL_MAX)
        _range("epoch", held.epoch)
        _range("cpus", held.cpus, CPUS_MAX)
        _range("memory_mib", held.memory_mib, MIB_MAX)
    if len(hello.capabilities) > WORDS_MAX:
        raise BadNode(f"capabilities: more than {WORDS_MAX}")
    for word in hello.capabilities:
        _text("capabilities", word, LABEL_MAX)
    _inventory(hello.inventory)


def _inventory(inventory: Inventory) -> None:
    _range("cpus", inventory.cpus, CPUS_MAX)
    _range("memory_mib", inventory.memory_mib, MIB_MAX)
    for name in ("hostname", "system", "driver"):
        _text(name, getattr(inventory, name), TEXT_MAX)
    _text("address", inventory.address, LABEL_MAX)
    first, last = inventory.rendezvous_ports
    if not 0 < first <= last <= PORT_MAX:
        raise BadNode(f"rendezvous_ports: not a range of ports: {first} to {last}")
    if len(inventory.tags) > WORDS_MAX:
        raise BadNode(f"tags: more than {WORDS_MAX}")
    for tag in inventory.tags:
        _text("tags", tag, LABEL_MAX)
    _range("tasks_per_gpu_max", inventory.tasks_per_gpu_max or 0)
    _gpus(inventory.gpus)


def _gpus(gpus: tuple[GpuReport, ...]) -> None:
    if len(gpus) > GPUS_MAX:
        raise BadNode(f"gpus: more than {GPUS_MAX}")
    if len({gpu.uuid for gpu in gpus}) < len(gpus):
        raise BadNode("gpus: one UUID twice")
    for gpu in gpus:
        if not _is_usual(gpu):
            _gpu(gpu)


def _is_usual(gpu: GpuReport) -> bool:
    """Whether ``_gpu`` would find nothing, at a glance: eight of them come with a heartbeat."""
    return (
        0 <= gpu.foreign_mib <= MIB_MAX
        and 0 <= gpu.total_mib <= MIB_MAX
        and 0 <= (gpu.used_mib or 0) <= MIB_MAX
        and 0 <= (gpu.utilization_percent or 0) <= PERCENT_MAX
        and 0 <= (gpu.power_w or 0) <= POWER_W_MAX
        and 0 <= (gpu.power_limit_w or 0) <= INTEGER_MAX
        and 0 <= (gpu.ecc_corrected or 0) <= INTEGER_MAX
        and 0 <= (gpu.ecc_uncorrected or 0) <= INTEGER_MAX
        and 0 <= gpu.index <= GPUS_MAX
        and len(gpu.uuid) <= LABEL_MAX
        and len(gpu.model) <= LABEL_MAX
        and not gpu.state_reason
        and not gpu.slowed_by
        and (not gpu.attempts or _are_usual(gpu.attempts))
    )


def _are_usual(uses: tuple[AttemptUsage, ...]) -> bool:
    for use in uses:
        if not 0 <= use.used_mib <= MIB_MAX or len(use.attempt_id) > LABEL_MAX:
            return False
    return True


def _gpu(gpu: GpuReport) -> None:
    _text("uuid", gpu.uuid, LABEL_MAX)
    _text("model", gpu.model, LABEL_MAX)
    _text("state_reason", gpu.state_reason)
    _range("index", gpu.index, GPUS_MAX * 1024)
    _range("total_mib", gpu.total_mib, MIB_MAX)
    _range("foreign_mib", gpu.foreign_mib, MIB_MAX)
    _range("used_mib", gpu.used_mib or 0, MIB_MAX)
    _range("utilization_percent", gpu.utilization_percent or 0, PERCENT_MAX)
    _range("power_w", gpu.power_w or 0, POWER_W_MAX)
    _range("power_limit_w", gpu.power_limit_w or 0)
    _range("ecc_corrected", gpu.ecc_corrected or 0)
    _range("ecc_uncorrected", gpu.ecc_uncorrected or 0)
    if len(gpu.slowed_by or ()) > WORDS_MAX:
        raise BadNode("slowed_by: too many")
    for word in gpu.slowed_by or ():
        _text("slowed_by", word, LABEL_MAX)
    for usage in gpu.attempts:
        _range("used_mib", usage.used_mib, MIB_MAX)


def _health(health: NodeHealth) -> None:
    _range("disk_free_mib", health.disk_free_mib or 0, MIB_MAX)
    _range("disk_total_mib", health.disk_total_mib or 0, MIB_MAX)
    if len(health.gpus) > GPUS_MAX or len(health.xids) > XIDS_MAX:
        raise BadNode("health: too many GPUs or errors")
    for gpu in health.gpus:
        _text("uuid", gpu.uuid, LABEL_MAX)
        _range("n_more", gpu.n_more)
        if len(gpu.processes or ()) > PROCESSES_MAX:
            raise BadNode(f"processes: more than {PROCESSES_MAX}")
        for each in gpu.processes or ():
            _range("pid", each.pid)
            _range("used_mib", each.used_mib or 0, MIB_MAX)
            _text("attempt_id", each.attempt_id or "", LABEL_MAX)
            _text("user", each.user, LABEL_MAX)
            _text("command", each.command)
    for xid in health.xids:
        _range("at_ms", xid.at_ms)
        _text("uuid", xid.uuid, LABEL_MAX)
        _range("number", xid.number)


def _samples(samples: tuple[GpuSample, ...]) -> None:
    if len(samples) > SAMPLES_MAX:
        raise BadNode(f"samples: more than {SAMPLES_MAX}")
    for sample in samples:
        if (
            0 <= sample.at_ms <= INTEGER_MAX
            and 0 <= (sample.used_mib or 0) <= MIB_MAX
            and 0 <= (sample.utilization_percent or 0) <= PERCENT_MAX
            and len(sample.uuid) <= LABEL_MAX
            and (not sample.attempts or _are_usual(sample.attempts))
        ):
            continue
        _text("uuid", sample.uuid, LABEL_MAX)
        _range("at_ms", sample.at_ms)
        _range("used_mib", sample.used_mib or 0, MIB_MAX)
        _range("utilization_percent", sample.utilization_percent or 0, PERCENT_MAX)
        for usage in sample.attempts:
            _text("attempt_id", usage.attempt_id, LABEL_MAX)
            _range("used_mib", usage.used_mib, MIB_MAX)


def _host_samples(samples: tuple[HostSample, ...]) -> None:
    if len(samples) > HOST_SAMPLES_MAX:
        raise BadNode(f"host_samples: more than {HOST_SAMPLES_MAX}")
    for sample in samples:
        _text("attempt_id", sample.attempt_id, LABEL_MAX)
        _range("at_ms", sample.at_ms)
        _range("memory_mib", sample.memory_mib, MIB_MAX)
        _range("cpu_percent", sample.cpu_percent or 0, CPUS_MAX * 100)


def _report(report: AttemptAccepted | AttemptRefused | AttemptStarted | AttemptEnded) -> None:
    _text("attempt_id", report.attempt_id, LABEL_MAX)
    _range("epoch", report.epoch)
    if isinstance(report, AttemptStarted):
        _range("pid", report.pid)
        _range("age_ms", report.age_ms)
    elif isinstance(report, AttemptRefused):
        _text("reason", report.reason)
    elif isinstance(report, AttemptEnded):
        _outcome(report.outcome)
        _facts(report.facts)


def _outcome(outcome: Outcome) -> None:
    _text("detail", outcome.detail)
    oom = outcome.oom
    if oom is not None:
        for name in ("requested_mib", "used_mib", "reserved_mib"):
            _range(name, getattr(oom, name) or 0, MIB_MAX)
        for name in ("gpu", "culprit"):
            _text(name, getattr(oom, name) or "", LABEL_MAX)


def _facts(facts: ExitFacts) -> None:
    for name in ("duration_ms", "cpu_ms", "stdout_bytes", "stderr_bytes", "leftovers"):
        _range(name, getattr(facts, name))
    for name in ("metrics_bytes", "result_bytes"):
        _range(name, getattr(facts, name))
    if len(facts.process_bytes) > STREAMS_MAX - FIRST_OF_PROCESSES:
        raise BadNode("process_bytes: too many")
    for length in facts.process_bytes:
        _range("process_bytes", length)
    _range("peak_memory_mib", facts.peak_memory_mib, MIB_MAX)
    _text("launch_detail", facts.launch_detail)
    _text("last_output", facts.last_output, OUTPUT_MAX)
    if len(facts.gpu_peaks) > GPUS_MAX or len(facts.unkillable) > HELD_MAX:
        raise BadNode("facts: too many")
    for peak in facts.gpu_peaks:
        _text("uuid", peak.uuid, LABEL_MAX)
        _range("peak_mib", peak.peak_mib, MIB_MAX)
        _range("mean_mib", peak.mean_mib or 0, MIB_MAX)
    if len(facts.signs) > SIGNS_MAX or len(facts.gpus) > GPUS_MAX:
        raise BadNode("facts: too many")
    for sign in facts.signs:
        _text("sign", sign.text, SIGN_CHARS)
        _text("stream", sign.stream, LABEL_MAX)
        _range("lines_after", sign.lines_after)
    for scene in facts.gpus:
        _scene(scene)
    if facts.host is not None:
        _range("own_kills", facts.host.own_kills or 0)
        _range("node_kills", facts.host.node_kills)
        _range("available_mib", facts.host.available_mib or 0, MIB_MAX)


def _scene(scene: GpuScene) -> None:
    _text("uuid", scene.uuid, LABEL_MAX)
    _text("fault", scene.fault)
    for name in ("total_mib", "reserved_mib", "used_mib", "free_mib", "foreign_mib"):
        _range(name, getattr(scene, name) or 0, MIB_MAX)
    if len(scene.neighbours) > HELD_MAX:
        raise BadNode("neighbours: too many")
    for neighbour in scene.neighbours:
        _text("attempt_id", neighbour.attempt_id, LABEL_MAX)
        _range("used_mib", neighbour.used_mib, MIB_MAX)
        _range("reserved_mib", neighbour.reserved_mib, MIB_MAX)


def _range(name: str, value: int, most: int = INTEGER_MAX) -> None:
    if not 0 <= value <= most:
        raise BadNode(f"{name}: out of range: {value}")


def _text(name: str, value: str, most: int = TEXT_MAX) -> None:
    if len(value) > most:
        raise BadNode(f"{name}: longer than {most} characters")
