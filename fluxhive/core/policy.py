"""How a hive decides, as figures: the order of the queue, who may pass whom, what is reserved.

One set for a hive (``HiveSettings.policy``); every other module of the core reads its figures here.
``POLICIES`` has the named ones: ``hive`` is what FlowHive does, the others are yardsticks for
``fluxhive simulate`` and for who wants them. Measured: docs/measurements (policy).
"""

from __future__ import annotations

from enum import Enum

from .values import Mib, Ms, Value

MINUTE_MS: Ms = 60_000
HOUR_MS: Ms = 60 * MINUTE_MS
DAY_MS: Ms = 24 * HOUR_MS


class Order(Enum):
    """Who goes first among those that wait."""

    #: Priority, fair share and response ratio in one score (score.py).
    HIVE = "hive"
    #: Priority, then order of submission.
    FIFO = "fifo"
    #: Priority, then whoever had the least of his share.
    FAIR = "fair"
    #: Priority, then the shortest first, with some aging.
    SJF = "sjf"


class Backfill(Enum):
    """Who may start before one that is first and does not fit."""

    NONE = "none"
    #: Whoever fits, except on GPUs promised to a waiting gang, unless done by then (promises.py).
    PROMISED = "promised"


class MemoryFrom(Enum):
    """What a task that may share a GPU reserves of it."""

    #: Nothing is shared: the whole GPU.
    WHOLE = "whole"
    #: What its author wrote; the whole GPU where he wrote nothing.
    DECLARED = "declared"
    #: What earlier runs took (memory.py).
    LEARNED = "learned"


class DurationFrom(Enum):
    """How long a task is expected to run."""

    LEARNED = "learned"
    #: Its time limit.
    LIMIT = "limit"


class Policy(Value, frozen=True, kw_only=True):
    """The figures."""

    order: Order = Order.HIVE
    backfill: Backfill = Backfill.PROMISED
    memory: MemoryFrom = MemoryFrom.LEARNED
    duration: DurationFrom = DurationFrom.LEARNED

    # ── sharing a GPU ─────────────────────────────────────────────────────────────────────────
    #: Attempts on one GPU at most.
    tasks_per_gpu_max: int = 8
    #: Sum of the expected utilization on one GPU at most; 0: it is not looked at.
    utilization_percent_max: int = 200
    #: Up to this sum sharing is better than an empty GPU, above it an empty GPU is.
    utilization_percent_packed: int = 100
    #: Expected of a task of which nothing is known.
    utilization_percent_unknown: int = 70
    #: CPUs of tasks with GPUs may add up to this much of what a node has.
    cpus_percent: int = 150

    #: Whether tasks are put where others run as long as they do, so that nodes come free whole.
    aligns_ends: bool = True

    # ── memory ────────────────────────────────────────────────────────────────────────────────
    #: On top of the largest peak of the same signature: percent, and then MiB.
    #: By how often it was seen: fewer than ``thin_runs``, fewer than ``well_known_runs``, more.
    margin_percent: tuple[int, int, int] = (25, 11, 7)
    margin_mib: tuple[Mib, Mib, Mib] = (192, 128, 64)
    thin_runs: int = 3
    well_known_runs: int = 8
    #: Among so many runs the largest peak is an outlier: the next one counts.
    outlier_runs: int = 20
    #: Whether a declaration is a cap for what is not known (never a floor).
    trusts_declared: bool = True
    #: Part of the GPU for the first task of an author who declares nothing.
    guess_percent: int = 50
    #: Runs of an author before his own history is believed.
    author_runs: int = 5
    #: Whether reservations follow what is seen of a running attempt.
    follows_use: bool = True

    # ── order ─────────────────────────────────────────────────────────────────────────────────
    half_life_ms: Ms = 2 * DAY_MS
    #: How strongly the user's and the project's share weigh (0: not at all).
    user_exponent: float = 1.0
    project_exponent: float = 0.5
    #: Added to the expected duration, so that the shortest tasks do not always go first.
    ratio_base_ms: Ms = 300_000
    #: How the number of GPUs weighs in the response ratio.
    gpus_exponent: float = 0.5
    #: Share of its age that counts against a task's work, with ``sjf``.
    sjf_aging: float = 0.02

    # ── gangs ─────────────────────────────────────────────────────────────────────────────────
    #: How long a gang waits before it is promised GPUs.
    promise_after_ms: Ms = 10 * MINUTE_MS
    #: One promise for so many nodes, and one in any case.
    nodes_per_promise: int = 8
    #: An expected end is the 80th percentile of what was learned, times this.
    late_percent: int = 130


HIVE = Policy()
FIFO = Policy(order=Order.FIFO, backfill=Backfill.NONE, memory=MemoryFrom.WHOLE)
EASY = Policy(
    order=Order.FIFO,
    memory=MemoryFrom.WHOLE,
    duration=DurationFrom.LIMIT,
    late_percent=100,
)
DECLARED = Policy(
    order=Order.FIFO,
    aligns_ends=False,
    memory=MemoryFrom.DECLARED,
    utilization_percent_max=0,
    follows_use=False,
)
POLICIES = {"hive": HIVE, "fifo": FIFO, "easy": EASY, "declared": DECLARED}
