"""What a driver's error numbers mean for a GPU: broken, or only a program of it.

NVIDIA's "Xid Errors" (docs.nvidia.com/deploy/xid-errors): most numbers are a program's own doing
(an illegal address is 31, a trap 13, a killed channel 43 or 45) and say nothing against the GPU.
Called by gpu_monitor.py.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Numbers after which a GPU has to be reset, or replaced, before it is of use again.
XIDS_OF_THE_GPU = {
    46: "the GPU stopped processing",
    48: "uncorrectable memory error (double bit ECC)",
    61: "internal micro-controller breakpoint",
    62: "internal micro-controller halt",
    64: "a broken memory row could not be retired",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    92: "high rate of memory errors",
    95: "uncontained memory error",
    119: "the GPU's own processor does not answer",
    120: "the GPU's own processor failed",
    140: "unrecovered memory error",
    143: "the GPU could not be initialised",
    155: "NVLink was brought down",
}

#: Numbers that are known and say nothing against the GPU, or nothing that needs a person at once.
XIDS_OF_PROGRAMS = {
    8: "a kernel ran for too long",
    13: "a program failed on the GPU (an exception in a kernel)",
    31: "a program used an address that is not its own",
    43: "a program was stopped by the driver",
    45: "a program was ended while it used the GPU",
    63: "a broken memory row is to be replaced at the next reset",
    68: "a video processor failed",
    69: "a program failed on the GPU (an exception of the class)",
    94: "a memory error that was contained: its program was ended",
    109: "a program did not change context in time",
}


def words_of(xid: int) -> str:
    """What an error number means, in words; empty: it is not known here."""
    return XIDS_OF_THE_GPU.get(xid) or XIDS_OF_PROGRAMS.get(xid, "")


def fault_of(xids: Iterable[int]) -> str:
    """The first of these numbers that speaks of the GPU itself, in words; empty: none does."""
    for xid in xids:
        if xid in XIDS_OF_THE_GPU:
            return f"Xid {xid}: {XIDS_OF_THE_GPU[xid]}"
    return ""
