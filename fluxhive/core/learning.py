"""What the hive has learned from attempts that ran: peaks, lengths, utilization, by whose they are.

One record for each signature, one for the same program with any sizes, one for everything of an
author in a project, one for a project; and one about estimates of starts. Records are plain values
that the store keeps. Not here: what is made of them (memory.py for GPU memory; durations.py and
``expected`` below for time, ``expected`` for utilization; start_record.py for estimates).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from .policy import DAY_MS, HOUR_MS, DurationFrom, Policy
from .signature import author_of, program_of
from .values import Mib, Ms, TaskId, Value

#: Newest values kept, by kind of record; more would only slow changes down.
PEAKS_MAX = 20
AUTHOR_PEAKS_MAX = 50
DURATIONS_MAX = 15
AUTHOR_DURATIONS_MAX = 40
PROJECT_DURATIONS_MAX = 100
#: So many are needed before they are believed.
OWN_DURATIONS = 2
AUTHOR_DURATIONS = 3
#: Less host memory than this is not counted.
LITTLE_MEMORY_MIB: Mib = 512
#: Not seen for so long: forgotten.
FORGET_AFTER_MS: Ms = 90 * DAY_MS
#: A new sample of utilization counts for so many parts in a hundred.
SAMPLE_PERCENT = 30
#: Expected of a task of which nothing is known.
DURATION_UNKNOWN_MS: Ms = HOUR_MS
#: After an OOM the floor is lowered by runs that stay below so many percent of it, so many times.
FLOOR_CLEAN_PERCENT = 70
FLOOR_CLEAN_RUNS = 5


class Peak(Value, frozen=True, kw_only=True, array_like=True):
    """The most GPU memory of one attempt, on the GPU where it took most."""

    #: The attempt, by its channel: seen again it replaces what was known.
    channel: int
    peak_mib: Mib


class Told(Value, frozen=True, kw_only=True, array_like=True):
    """An estimate of a start that was put to the test; waits are counted from when it was made."""

    task_id: TaskId
    told_at_ms: Ms
    #: For so long the task had waited then.
    waited_ms: Ms
    is_gang: bool
    #: What the rollouts said, and the range that was told.
    middle_ms: Ms
    earliest_ms: Ms
    latest_ms: Ms
    #: How long it really waited; None: it still does.
    came_ms: Ms | None = None


class Learned(Value, frozen=True, kw_only=True):
    """What is known under one name."""

    key: str
    seen_at_ms: Ms = 0
    #: Newest last.
    peaks: tuple[Peak, ...] = ()
    durations_ms: tuple[Ms, ...] = ()
    #: Of the GPU's time when it has one alone, in tenths of a percent; None: not seen yet.
    utilization_permille: int | None = None
    #: The most host memory of the last runs; empty while all of them took little.
    memory_mib: tuple[Mib, ...] = ()
    #: Least reserved since it ran out of memory; falls back after clean runs.
    floor_mib: Mib = 0
    ooms: int = 0
    #: Attempts placed by this estimate, and how many of them took more than was reserved.
    placed: int = 0
    exceeded: int = 0
    #: Of the one record about estimates of starts (start_record.py): the newest.
    starts: tuple[Told, ...] = ()

    @property
    def peak_mib(self) -> Mib:
        """The largest peak; 0 when none is known."""
        return max((peak.peak_mib for peak in self.peaks), default=0)


class Expected(Value, frozen=True, kw_only=True):
    """How long a task probably runs, and how busy it keeps a GPU."""

    duration_ms: Ms
    #: Hardly longer than this: what others are promised rests on it.
    latest_ms: Ms
    utilization_percent: int


class Basis(Value, frozen=True, kw_only=True):
    """The records that speak about one signature; None where there is none."""

    own: Learned | None = None
    program: Learned | None = None
    author: Learned | None = None
    project: Learned | None = None


class LearnedBook:
    """All records, and those that changed in the step under way."""

    def __init__(self) -> None:
        self.records: dict[str, Learned] = {}
        self.changed: dict[str, None] = {}

    def load(self, record: Learned) -> None:
        """Take a stored record as it is."""
        self.records[record.key] = record

    def basis(self, signature: str, owner: str, project: str) -> Basis:
        """What is known about tasks of this signature."""
        get = self.records.get
        own, program, author, whole = keys_of(signature, owner, project)
        return Basis(own=get(own), program=get(program), author=get(author), project=get(whole))

    def learn_peak(self, signature: str, owner: str, project: str, peak: Peak, now_ms: Ms) -> None:
        """An attempt was seen to take so much, and has settled or ended."""
        for key, most in (
            (signature, PEAKS_MAX),
            (program_of(signature), PEAKS_MAX),
            (author_of(owner, project), AUTHOR_PEAKS_MAX),
        ):
            old = self._of(key)
            peaks = _with_peak(old.peaks, peak, most)
            floor_mib = _floor(old.floor_mib, peaks)
            self._put(replace(old, peaks=peaks, floor_mib=floor_mib, seen_at_ms=now_ms))

    def learn_duration(
        self, signature: str, owner: str, project: str, duration_ms: Ms, now_ms: Ms
    ) -> None:
        """An attempt ended well after so long."""
        for key, most in (
            (signature, DURATIONS_MAX),
            (author_of(owner, project), AUTHOR_DURATIONS_MAX),
            (project_of(project), PROJECT_DURATIONS_MAX),
        ):
            old = self._of(key)
            durations = (*old.durations_ms[-(most - 1) :], duration_ms)
            self._put(replace(old, durations_ms=durations, seen_at_ms=now_ms))

    def learn_memory(self, signature: str, memory_mib: Mib) -> None:
        """An attempt took so much host memory; as little as most take is not worth a record."""
        old = self._of(signature)
        if memory_mib < LITTLE_MEMORY_MIB and not old.memory_mib:
            return
        self._put(replace(old, memory_mib=(*old.memory_mib[-(PEAKS_MAX - 1) :], memory_mib)))

    def learn_utilization(self, signature: str, owner: str, project: str, percent: int) -> None:
        """So much of a GPU's time was an attempt's own."""
        for key in (signature, author_of(owner, project)):
            old = self._of(key)
            before = old.utilization_permille
            new = percent * 10
            if before is not None:
                new = (new * SAMPLE_PERCENT + before * (100 - SAMPLE_PERCENT)) // 100
            if new != before:
                self._put(replace(old, utilization_permille=new))

    def learn_oom(self, signature: str, floor_mib: Mib) -> None:
        """It needs at least so much from now on."""
        old = self._of(signature)
        floor_mib = max(old.floor_mib, floor_mib)
        self._put(replace(old, floor_mib=floor_mib, ooms=old.ooms + 1))

    def count_placed(self, signature: str, *, exceeded: bool) -> None:
        """An attempt placed by this signature's record ended; did it take more than reserved?"""
        old = self._of(signature)
        counted = replace(old, placed=old.placed + 1, exceeded=old.exceeded + exceeded)
        self._put(counted)

    def _of(self, key: str) -> Learned:
        return self.records.get(key) or Learned(key=key)

    def _put(self, record: Learned) -> None:
        self.records[record.key] = record
        self.changed[record.key] = None


def keys_of(signature: str, owner: str, project: str) -> tuple[str, ...]:
    """Keys of the records that speak about a signature, the most particular first."""
    return signature, program_of(signature), author_of(owner, project), project_of(project)


def project_of(project: str, /) -> str:
    """Key of a project's record."""
    return f"project:{project}"


def expected(basis: Basis, policy: Policy, limit_ms: Ms | None) -> Expected:
    """Time and utilization from the most particular record that says something."""
    return Expected(
        duration_ms=_duration(basis, policy, limit_ms, 50),
        latest_ms=_duration(basis, policy, limit_ms, 80) * policy.late_percent // 100,
        utilization_percent=_utilization(basis, policy),
    )


def _duration(basis: Basis, policy: Policy, limit_ms: Ms | None, percent: int) -> Ms:
    if policy.duration is DurationFrom.LIMIT and limit_ms is not None:
        return limit_ms
    for record, least in (
        (basis.own, OWN_DURATIONS),
        (basis.author, AUTHOR_DURATIONS),
        (basis.project, 1),
    ):
        if record is not None and len(record.durations_ms) >= least:
            found = percentile(record.durations_ms, percent)
            break
    else:
        found = DURATION_UNKNOWN_MS
    return found if limit_ms is None else min(found, limit_ms)


def _utilization(basis: Basis, policy: Policy) -> int:
    for record in (basis.own, basis.author):
        if record is not None and record.utilization_permille is not None:
            return -(-record.utilization_permille // 10)
    return policy.utilization_percent_unknown


def percentile(values: Iterable[int], percent: int) -> int:
    """The value below which so many percent lie; there must be one value at least."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, percent * len(ordered) // 100)]


def _with_peak(peaks: tuple[Peak, ...], peak: Peak, most: int) -> tuple[Peak, ...]:
    if any(known.channel == peak.channel for known in peaks):
        return tuple(
            peak if known.channel == peak.channel and peak.peak_mib > known.peak_mib else known
            for known in peaks
        )
    return (*peaks[-(most - 1) :], peak)


def _floor(floor_mib: Mib, peaks: tuple[Peak, ...]) -> Mib:
    """Falls once enough runs in a row stayed well below it."""
    if not floor_mib or len(peaks) < FLOOR_CLEAN_RUNS:
        return floor_mib
    most = max(peak.peak_mib for peak in peaks[-FLOOR_CLEAN_RUNS:])
    if most * 100 >= floor_mib * FLOOR_CLEAN_PERCENT:
        return floor_mib
    return most * 115 // 100
