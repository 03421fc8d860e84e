"""One shim process, one attempt after the other: a forked Python costs more than a short task.

Part of the shim (``shim.py``), under the same rules: standard library only, run by path. Each live
attempt still has a shim of its own; what an attempt held is given back before the next begins.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # as in typing, which would cost every shim a megabyte
if TYPE_CHECKING or __package__:
    from fluxhive.agent import shim, shim_start
else:
    import shim
    import shim_start

#: Attempts of one shim: whatever it may lose at each is given back then.
ATTEMPTS_MAX = 1_000
MAX_PATH_BYTES = 8_192


def serve(run_dir: str, notify_fd: int, work_fd: int) -> int:
    """Run this attempt, and then whatever else is asked for on ``work_fd``; the exit status.

    After each attempt that may be followed by another (``is_clean``) one byte says so, and the next
    packet is a run directory. The end of the file, or anything that was not clean, ends the shim.
    """
    for n_served in range(ATTEMPTS_MAX):
        one = shim.Shim(run_dir, notify_fd, is_first=n_served == 0)
        status = one.supervise()
        if not one.is_clean:
            return status
        one.let_go()
        try:
            os.write(work_fd, b".")
            run_dir = os.read(work_fd, MAX_PATH_BYTES).decode(errors="surrogateescape")
        except OSError:
            return status
        if not run_dir:
            return status
        # Signals of the attempt before mean nothing to this one.
        while signal.sigtimedwait(shim_start.WAITED, 0) is not None:
            pass
    return status
