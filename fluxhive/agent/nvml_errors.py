"""What a driver tells about GPUs out of use: Xid events as they come, the rest now and then.

Used by the NVML reader, in its thread: a call here may hang as any other. What a card, a driver or
a binding does not offer is left out; nothing here makes a reading fail.
"""

from __future__ import annotations

import ctypes
import time
from types import ModuleType
from typing import Any

from fluxhive.core.values import GpuUuid

#: Counters of memory errors change rarely, and the mode costs as much as all else (measured: 0.4 ms
#: on an H200).
SLOW_LOOK_S = 60.0
#: So many events are taken at one reading; the rest wait for the next.
EVENTS_MAX = 32


class ErrorWatch:
    """The errors of the GPUs of one initialised driver. ``note`` each GPU before ``xids``."""

    def __init__(self, nvml: ModuleType) -> None:
        self._nvml = nvml
        self._set: Any = None
        self._uuid_of: dict[int, GpuUuid] = {}
        self._n_uncorrected: dict[GpuUuid, int] = {}
        self._faults: dict[GpuUuid, tuple[float, str]] = {}
        try:
            self._set = nvml.nvmlEventSetCreate()
        except (nvml.NVMLError, AttributeError):
            self._set = None

    def note(self, uuid: GpuUuid, handle: Any) -> None:
        """From now on this GPU's errors are told."""
        address = _address(handle)
        if self._set is None or self._uuid_of.get(address) == uuid:
            return
        if address not in self._uuid_of:
            try:
                self._nvml.nvmlDeviceRegisterEvents(
                    handle, self._nvml.nvmlEventTypeXidCriticalError, self._set
                )
            except (self._nvml.NVMLError, AttributeError):
                return
        self._uuid_of[address] = uuid

    def xids(self) -> dict[GpuUuid, tuple[int, ...]]:
        """Error numbers since the last call, by GPU. Does not wait."""
        found: dict[GpuUuid, tuple[int, ...]] = {}
        for _ in range(EVENTS_MAX if self._uuid_of else 0):
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._set, 0)
            except (self._nvml.NVMLError, AttributeError):
                break  # none is left, or none can be had
            uuid = self._uuid_of.get(_address(event.device))
            if uuid is not None:
                found[uuid] = (*found.get(uuid, ()), int(event.eventData))
        return found

    def fault(self, uuid: GpuUuid, handle: Any) -> str:
        """Why the GPU cannot be used although it answers; empty: it can, as far as is told."""
        now_s = time.monotonic()
        at_s, fault = self._faults.get(uuid, (-SLOW_LOOK_S, ""))
        if now_s - at_s >= SLOW_LOOK_S:
            fault = self._mig_fault(handle) or self._memory_fault(uuid, handle)
            self._faults[uuid] = (now_s, fault)
        return fault

    def close(self) -> None:
        """Lets go of the events."""
        if self._set is not None:
            events, self._set = self._set, None
            try:
                self._nvml.nvmlEventSetFree(events)
            except (self._nvml.NVMLError, AttributeError):
                return  # the driver is going, and takes them along

    def _mig_fault(self, handle: Any) -> str:
        mode = self._ask("nvmlDeviceGetMigMode", handle)
        if mode is None or mode[0] != self._nvml.NVML_DEVICE_MIG_ENABLE:
            return ""
        return "it is divided by MIG, and only whole GPUs are given to tasks"

    def _memory_fault(self, uuid: GpuUuid, handle: Any) -> str:
        nvml = self._nvml
        rows = self._ask("nvmlDeviceGetRemappedRows", handle)
        if rows is not None and rows[3]:
            return "a broken row of its memory could not be replaced: the card has to be"
        if self._ask("nvmlDeviceGetRetiredPagesPendingStatus", handle) == 1:
            return "broken pages of its memory are to be retired: restart the machine"
        n_errors = self._ask(
            "nvmlDeviceGetTotalEccErrors",
            handle,
            getattr(nvml, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED", 1),
            getattr(nvml, "NVML_VOLATILE_ECC", 0),
        )
        if n_errors is None:
            return ""
        before = self._n_uncorrected.setdefault(uuid, n_errors)
        self._n_uncorrected[uuid] = n_errors
        if n_errors > before:
            return f"{n_errors - before} uncorrectable memory errors (ECC)"
        return ""

    def _ask(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, name)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None


def _address(handle: Any) -> int:
    """What a driver calls a card by: two handles of one card are equal in nothing else."""
    return ctypes.cast(handle, ctypes.c_void_p).value or 0
