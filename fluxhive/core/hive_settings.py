"""The figures of a hive: how long it waits for what, and its policy. One set for a hive."""

from __future__ import annotations

from .policy import HIVE, Policy
from .values import Ms, Value


class HiveSettings(Value, frozen=True, kw_only=True):
    """The brain's figures; one set for a hive."""

    #: How often nodes report.
    heartbeat_ms: Ms = 2_000
    #: Not heard for so long: the node is silent (three missed heartbeats).
    silent_after_ms: Ms = 6_000
    #: How much faster or slower than ours a node's clock may run.
    clock_drift_percent: int = 5
    #: On top of a fence, for messages and kills that take their time.
    fence_margin_ms: Ms = 10_000
    #: A node stops its attempts at their time limit; the brain does so this much later.
    time_limit_slack_ms: Ms = 15_000
    #: Longest time for which a task is kept off a node that handed it back.
    refusal_block_ms: Ms = 60_000
    #: Once a member of a gang has ended well, the others have so long to finish.
    gang_linger_ms: Ms = 10 * 60_000
    #: Ended tasks kept in memory, newest last; older ones are in the store alone.
    ended_tasks_max: int = 20_000
    #: How often an estimate of a start is put to the test at most (trials.py); 0: never.
    trial_every_ms: Ms = 120_000
    #: How it decides.
    policy: Policy = HIVE
    #: Whether tasks that may be preempted give way to urgent ones and to overdue promises.
    preemption: bool = False
    #: How often within a day one task does.
    preemptions_per_day: int = 2


DEFAULT_SETTINGS = HiveSettings()
