"""Whose memory is whose on one GPU, from one reading.

A driver lists processes with their memory; the shell knows which of them belong to which attempt.
In a container the listed pids are the host's, and some cards give no figures by process at all:
then what is in use is put down to the only attempt on the GPU, and counts as foreign where there
are several. Called by gpu_monitor.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .values import AttemptId, Mib, Value

#: What a driver takes for itself on an idle GPU; measured: 470 MiB on an H100. Nobody's, and not
#: foreign either.
BASELINE_MIB: Mib = 600
#: The same where the driver's own part is known and left out: the sum over processes and the total
#: differ by a little; measured: 15 MiB for two processes on an H200.
ROUNDING_MIB: Mib = 64


class Use(Value, frozen=True, kw_only=True):
    """The memory in use on one GPU, divided up."""

    attempts: dict[AttemptId, Mib]
    #: Of processes that are no attempt's, and what nobody can be named for.
    foreign_mib: Mib
    #: Beyond the baseline, in use by processes of which nothing is known here.
    nameless_mib: Mib


def split_use(
    *,
    used_mib: Mib,
    processes: Iterable[tuple[int, Mib | None]] | None,
    owners: Mapping[int, AttemptId | None],
    holders: tuple[AttemptId, ...],
    quiet_mib: Mib,
    baseline_mib: Mib,
) -> Use:
    """Divides what is in use.

    ``processes``: pid and memory, None where the card does not say. ``owners``: the attempt of
    each process that can be seen from here, None for nobody's. ``quiet_mib``: what was nameless
    before any attempt came, and is not theirs. ``baseline_mib``: what nobody is asked about.
    """
    attempts: dict[AttemptId, Mib] = {}
    strangers_mib = named_mib = 0
    sized_all, matched_any = True, False
    unsized: dict[AttemptId, None] = {}
    for pid, process_mib in processes or ():
        owner = owners.get(pid)
        matched_any = matched_any or pid in owners
        if process_mib is None:
            sized_all = False
            if owner is not None:
                unsized[owner] = None
        elif owner is not None:
            attempts[owner] = attempts.get(owner, 0) + process_mib
            named_mib += process_mib
        elif pid in owners:
            strangers_mib += process_mib
    # What no known process accounts for, beyond what the driver itself takes.
    nameless_mib = max(0, used_mib - baseline_mib - named_mib - strangers_mib)
    theirs_mib = max(0, nameless_mib - quiet_mib)
    only = _only(holders, unsized)
    if only is not None and theirs_mib > 0 and (not matched_any or not sized_all):
        attempts[only] = attempts.get(only, 0) + theirs_mib
        nameless_left_mib = nameless_mib - theirs_mib
    else:
        nameless_left_mib = nameless_mib
    return Use(
        attempts=attempts,
        foreign_mib=strangers_mib + nameless_left_mib,
        nameless_mib=nameless_mib,
    )


def _only(holders: tuple[AttemptId, ...], unsized: Mapping[AttemptId, None]) -> AttemptId | None:
    """The one attempt that nameless memory can belong to; None: there is none, or several."""
    if len(unsized) == 1:
        return next(iter(unsized))
    return holders[0] if len(holders) == 1 and not unsized else None
