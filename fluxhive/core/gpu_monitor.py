"""Readings of a node's GPUs folded into facts: whose memory is whose, what is foreign, what is out
of use.

The readings come from a ``GpuSource`` (agent), each field only if the card says so. Which process
belongs to which attempt is found out by the shell. Not here: whether an attempt is taken on
(admission.py), how much to reserve. One ``handle`` for each reading, about once a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from msgspec import field
from msgspec.structs import replace

from .gpu_peaks import GpuPeaks
from .gpu_use import BASELINE_MIB, ROUNDING_MIB, Use, split_use
from .health import XidSeen
from .node import AttemptUsage, GpuReport, GpuState
from .outcome import GpuPeak
from .request import say_ms, show_mib
from .values import AttemptId, GpuUuid, Mib, Ms, Value
from .xid import fault_of

#: A GPU that failed is offered again after so many good readings in a row.
RECOVERY_READINGS = 10
#: After an Xid of the GPU itself it has to have been well for so many readings: reset, replaced, or
#: wrongly accused.
XID_RECOVERY_READINGS = 600
#: Memory that has not come back by then is told of (it needs a person).
DIRTY_ALERT_MS: Ms = 60_000
#: So many of the driver's errors are remembered for people.
XIDS_KEPT = 50
#: Memory in use may differ by this much from before an attempt and still count as back.
RETURN_SLACK_MIB: Mib = 256


class ProcessUse(Value, frozen=True, kw_only=True):
    """One process that has a context on a GPU. In a container the pid may be the host's."""

    pid: int
    #: None: the card does not say how much.
    used_mib: Mib | None = None


class Reading(Value, frozen=True, kw_only=True):
    """One look at one GPU; what the card does not say is None."""

    uuid: GpuUuid
    index: int
    model: str = ""
    total_mib: Mib | None = None
    #: As ``nvidia-smi`` shows it, without what the driver reserves; with it where ``reserved_mib``
    #: is None.
    used_mib: Mib | None = None
    #: What the driver reserves for itself; None: it does not say.
    reserved_mib: Mib | None = None
    #: None: the card does not list processes.
    processes: tuple[ProcessUse, ...] | None = None
    utilization_percent: int | None = None
    temperature_c: int | None = None
    power_w: int | None = None
    power_limit_w: int | None = None
    #: What holds its clocks down; None: the card does not say.
    slowed_by: tuple[str, ...] | None = None
    #: Memory errors since the driver was loaded.
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    #: Why it cannot be used at all (lost, MIG is on); empty: it can.
    fault: str = ""
    #: Errors that the driver reported since the last reading (Xid numbers).
    xids: tuple[int, ...] = ()


class Readings(Value, frozen=True, kw_only=True):
    """One look at all GPUs of a node."""

    gpus: tuple[Reading, ...] = ()
    #: True: the driver did not answer in time; ``gpus`` says nothing.
    stale: bool = False
    #: Why there are no GPUs, when there are none; the driver's version otherwise.
    driver: str = ""


class Surroundings(Value, frozen=True, kw_only=True):
    """What the shell knows at the time of a reading, beside the reading."""

    #: The attempt of each process that runs here and belongs to one; None: it is nobody's. A
    #: process that is missing is not to be seen from here (its pid is of another namespace).
    owners: Mapping[int, AttemptId | None] = field(default_factory=dict)
    #: By GPU: attempts that may have processes on it (``Executor.gpu_holders``).
    holders: Mapping[GpuUuid, tuple[AttemptId, ...]] = field(default_factory=dict)
    #: By GPU: processes of ended attempts that could not be killed and still live.
    unkillable: Mapping[GpuUuid, tuple[int, ...]] = field(default_factory=dict)
    #: The node's boot clock at the reading.
    now_ms: Ms = 0


class _Gpu:
    """What is remembered of one GPU."""

    def __init__(self, report: GpuReport) -> None:
        self.report = report
        #: Attempts of the last reading.
        self.holders: tuple[AttemptId, ...] = ()
        #: Gone attempts whose memory was not back yet.
        self.left: tuple[AttemptId, ...] = ()
        #: Memory of nobody that can be named, when no attempt was on it last.
        self.quiet_mib: Mib = 0
        #: Good readings still wanted before a faulty GPU is offered again.
        self.n_wanted = 0
        #: Since when it has been dirty; None: it is not.
        self.dirty_at_ms: Ms | None = None


class GpuMonitor:
    """The machine. Belongs to one node."""

    def __init__(self) -> None:
        self._gpus: dict[GpuUuid, _Gpu] = {}
        #: The tallies of what attempts used, which outlive the agent by its shell.
        self.seen = GpuPeaks()
        self._xids: deque[XidSeen] = deque(maxlen=XIDS_KEPT)

    def reports(self) -> tuple[GpuReport, ...]:
        """Every GPU ever seen, as it stands, by index."""
        reports = (gpu.report for gpu in self._gpus.values())
        return tuple(sorted(reports, key=lambda report: (report.index, report.uuid)))

    def xids(self) -> tuple[XidSeen, ...]:
        """The last errors of the driver, oldest first, a program's own ones among them."""
        return tuple(self._xids)

    def peaks(self, attempt_id: AttemptId) -> tuple[GpuPeak, ...]:
        """The most memory that the attempt was seen to use, by GPU."""
        return self.seen.peaks(attempt_id)

    def forget(self, attempt_id: AttemptId) -> None:
        """The attempt's end is told: its peaks are not asked for any more."""
        self.seen.forget(attempt_id)

    def handle(
        self, readings: Readings, surroundings: Surroundings | None = None
    ) -> tuple[GpuReport, ...]:
        """Takes a reading; how the GPUs stand now."""
        around = surroundings or Surroundings()
        if readings.stale:
            for gpu in self._gpus.values():
                gpu.report = replace(gpu.report, stale=True)
            return self.reports()
        unseen = dict(self._gpus)
        for reading in readings.gpus:
            unseen.pop(reading.uuid, None)
            self._take(reading, around)
        missing = "the driver does not list it any more" if readings.gpus else readings.driver
        for gpu in unseen.values():
            self._fail(gpu, missing)
        return self.reports()

    def _take(self, reading: Reading, around: Surroundings) -> None:
        uuid = reading.uuid
        gpu = self._gpus.get(uuid)
        if gpu is None:
            gpu = self._gpus[uuid] = _Gpu(_first_report(reading))
        holders = around.holders.get(uuid, ())
        gpu.left = (*gpu.left, *(each for each in gpu.holders if each not in holders))
        gpu.holders = holders
        self._xids.extend(
            XidSeen(at_ms=around.now_ms, uuid=uuid, number=xid) for xid in reading.xids
        )
        if reading.fault:
            self._fail(gpu, reading.fault)
            return
        if fault := fault_of(reading.xids):
            self._fail(gpu, fault, n_wanted=XID_RECOVERY_READINGS)
            return
        if reading.used_mib is None:
            # Without its memory nothing can be decided: the last figures stand, as old ones.
            gpu.report = replace(gpu.report, stale=True, index=reading.index)
            return
        use = split_use(
            used_mib=reading.used_mib,
            processes=_sizes(reading.processes),
            owners=around.owners,
            holders=holders,
            quiet_mib=gpu.quiet_mib,
            baseline_mib=BASELINE_MIB if reading.reserved_mib is None else ROUNDING_MIB,
        )
        for attempt_id, used_mib in use.attempts.items():
            self.seen.note(attempt_id, uuid, used_mib, reading.utilization_percent)
        state, reason = self._state(gpu, use, around.unkillable.get(uuid, ()))
        state_reason = _since(gpu, state, reason, around.now_ms)
        if not holders and not gpu.left:
            gpu.quiet_mib = use.nameless_mib
        gpu.report = GpuReport(
            uuid=uuid,
            index=reading.index,
            model=reading.model or gpu.report.model,
            total_mib=reading.total_mib or gpu.report.total_mib,
            state=state,
            state_reason=state_reason,
            used_mib=reading.used_mib,
            foreign_mib=use.foreign_mib,
            attempts=tuple(
                AttemptUsage(attempt_id=attempt_id, used_mib=used_mib)
                for attempt_id, used_mib in use.attempts.items()
            ),
            utilization_percent=reading.utilization_percent,
            temperature_c=reading.temperature_c,
            power_w=reading.power_w,
            power_limit_w=reading.power_limit_w,
            slowed_by=reading.slowed_by,
            ecc_corrected=reading.ecc_corrected,
            ecc_uncorrected=reading.ecc_uncorrected,
        )

    def _state(self, gpu: _Gpu, use: Use, unkillable: tuple[int, ...]) -> tuple[GpuState, str]:
        """Faulty goes before dirty: both are out of use, and the first says more."""
        gpu.left = tuple(each for each in gpu.left if _is_on(each, gpu, use))
        if gpu.n_wanted > 0:
            gpu.n_wanted -= 1
            if gpu.n_wanted > 0:
                return GpuState.FAULTY, gpu.report.state_reason
        if unkillable:
            pids = ", ".join(str(pid) for pid in unkillable)
            return GpuState.DIRTY, f"processes of an ended attempt cannot be killed: {pids}"
        if gpu.left:
            names = ", ".join(gpu.left)
            mib = sum(use.attempts.get(each, 0) for each in gpu.left) or use.nameless_mib
            return GpuState.DIRTY, f"{show_mib(mib)} of {names} have not come back"
        return GpuState.HEALTHY, ""

    def _fail(self, gpu: _Gpu, reason: str, *, n_wanted: int = RECOVERY_READINGS) -> None:
        # What takes longer to trust again is not made short by a lesser failure.
        gpu.n_wanted = max(gpu.n_wanted, n_wanted)
        gpu.report = replace(
            gpu.report,
            state=GpuState.FAULTY,
            state_reason=reason,
            used_mib=None,
            foreign_mib=0,
            attempts=(),
            utilization_percent=None,
            temperature_c=None,
            power_w=None,
            slowed_by=None,
            stale=False,
        )


def _since(gpu: _Gpu, state: GpuState, reason: str, now_ms: Ms) -> str:
    """The reason, and for how long, once a person has to look."""
    if state is not GpuState.DIRTY:
        gpu.dirty_at_ms = None
        return reason
    if gpu.dirty_at_ms is None:
        gpu.dirty_at_ms = now_ms
    waited_ms = now_ms - gpu.dirty_at_ms
    if waited_ms < DIRTY_ALERT_MS:
        return reason
    # In whole minutes: a reason that changes with each reading would be news each time.
    minutes_ms = waited_ms // 60_000 * 60_000
    return f"{reason}, for {say_ms(minutes_ms)}: end what holds it (`nvidia-smi` names it)"


def _is_on(attempt_id: AttemptId, gpu: _Gpu, use: Use) -> bool:
    """Whether an attempt that is gone still has memory on the GPU, as far as can be told."""
    if attempt_id in use.attempts:
        return True
    # Its processes cannot be named: what nobody accounts for has to be what it was before. With
    # another attempt beside it nobody can tell.
    return not gpu.holders and use.nameless_mib > gpu.quiet_mib + RETURN_SLACK_MIB


def _sizes(processes: tuple[ProcessUse, ...] | None) -> tuple[tuple[int, Mib | None], ...] | None:
    if processes is None:
        return None
    return tuple((process.pid, process.used_mib) for process in processes)


def _first_report(reading: Reading) -> GpuReport:
    return GpuReport(
        uuid=reading.uuid,
        index=reading.index,
        model=reading.model,
        total_mib=reading.total_mib or 0,
        stale=True,
    )
