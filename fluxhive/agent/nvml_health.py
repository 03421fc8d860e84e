"""What a driver tells about how a GPU is, beyond what decides anything: limits, brakes, counters.

Used by the NVML reader, in its thread. None of it changes much from one second to the next, so it
is asked now and then, each GPU by itself; what a card, a driver or a binding does not offer is
absent.
"""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

from msgspec.structs import replace

from fluxhive.core.gpu_monitor import Reading
from fluxhive.core.values import GpuUuid, Value

#: What holds the clocks down comes and goes.
BRAKES_LOOK_S = 5.0
#: Limits and counters change rarely.
SLOW_LOOK_S = 60.0
#: Bits of NVML's clocks event reasons, in words. The others are no brakes: idle, or as it was set.
BRAKES = (
    (0x04, "power cap"),
    (0x20 | 0x40, "temperature"),
    (0x80, "power brake"),
    (0x08, "hardware slowdown"),
)


class _Seen(Value, frozen=True, kw_only=True):
    """What was told of one GPU, and when it is to be asked again."""

    brakes_at_s: float = 0.0
    slow_at_s: float = 0.0
    slowed_by: tuple[str, ...] | None = None
    power_limit_w: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None


class HealthWatch:
    """The GPUs of one initialised driver."""

    def __init__(self, nvml: ModuleType) -> None:
        self._nvml = nvml
        self._seen: dict[GpuUuid, _Seen] = {}

    def added(self, reading: Reading, handle: Any) -> Reading:
        """The reading with what this knows of its GPU; a card that has a fault is not asked."""
        now_s = time.monotonic()
        seen = self._seen.get(reading.uuid, _Seen())
        if reading.fault:
            return reading
        if now_s >= seen.brakes_at_s:
            seen = replace(
                seen, brakes_at_s=now_s + BRAKES_LOOK_S, slowed_by=self._slowed_by(handle)
            )
        if now_s >= seen.slow_at_s:
            seen = self._slow_look(seen, handle, now_s)
        self._seen[reading.uuid] = seen
        return replace(
            reading,
            slowed_by=seen.slowed_by,
            power_limit_w=seen.power_limit_w,
            ecc_corrected=seen.ecc_corrected,
            ecc_uncorrected=seen.ecc_uncorrected,
        )

    def _slowed_by(self, handle: Any) -> tuple[str, ...] | None:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
        if bits is None:  # its name before driver 535
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return None if bits is None else tuple(word for bit, word in BRAKES if bits & bit)

    def _slow_look(self, seen: _Seen, handle: Any, now_s: float) -> _Seen:
        milliwatts = self._ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        return replace(
            seen,
            slow_at_s=now_s + SLOW_LOOK_S,
            power_limit_w=None if milliwatts is None else round(milliwatts / 1000),
            ecc_corrected=self._errors(handle, "NVML_MEMORY_ERROR_TYPE_CORRECTED", 0),
            ecc_uncorrected=self._errors(handle, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED", 1),
        )

    def _errors(self, handle: Any, name: str, number: int) -> int | None:
        kind = getattr(self._nvml, name, number)
        count = self._ask(
            "nvmlDeviceGetTotalEccErrors", handle, kind, getattr(self._nvml, "NVML_VOLATILE_ECC", 0)
        )
        return None if count is None else int(count)

    def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, name)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None
