"""The two bases of everything that the core passes around: plain values and tagged values.

Not here: the values themselves. A tagged value (events, effects, messages) carries ``type`` on the
wire, the kebab-case of its class name, so that declaring a class is all it takes to exist there.

Values are made of what was there before them and never change, so that none leads back to itself:
the garbage collector, which looks for such rings, leaves them out (``gc=False``). A hive holds
hundreds of thousands of them.
"""

from __future__ import annotations

import re
from typing import NewType

from msgspec import Struct

TaskId = NewType("TaskId", str)
AttemptId = NewType("AttemptId", str)
NodeId = NewType("NodeId", str)
GpuUuid = NewType("GpuUuid", str)

#: Milliseconds, MiB: integers decide (no float ever adds up).
Ms = int
Mib = int


def kebab(name: str) -> str:
    """``AttemptEnded`` → ``attempt-ended``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()


class Value(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A frozen record; unknown fields of a newer sender are skipped when decoded."""


class Tagged(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag=kebab,
):
    """A frozen record that is a member of a union: an event, an effect or a message."""
