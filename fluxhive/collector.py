"""Python's collector of cycles, told what kind of program this is: server and agent do it once."""

from __future__ import annotations

import gc

#: Objects that are made until it looks for cycles. A task makes some hundred that live as long as
#: it does: at Python's own 700 looking at them took a tenth of server and agent.
OBJECTS = 20_000


def settle() -> None:
    """To be called before serving: what was loaded until now stays for life, unlooked at."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS)
