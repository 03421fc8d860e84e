"""Readings of NVIDIA GPUs through NVML, in a thread of their own that may hang.

A driver in trouble does not return from a call; nothing can end the call. So one daemon thread
makes all of them, and ``read`` waits for it for a limited time: the agent goes on with old figures
that are marked so. No library, no driver, a driver that was upgraded underneath: a node without
GPUs, with the reason, and looked at again now and then.

Costs (docs/measurements): 0.2 ms of CPU a card and reading. Never asked: PCIe throughput (21 ms a
call) and utilization by process (2 ms, and wrong under time-slicing); once a minute: MIG, ECC, the
power limit; every five seconds: what holds the clocks down.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from msgspec.structs import replace

from fluxhive.core.gpu_monitor import ProcessUse, Reading, Readings
from fluxhive.core.values import GpuUuid

from .nvml_errors import ErrorWatch
from .nvml_health import HealthWatch

log = logging.getLogger(__name__)

T = TypeVar("T")

TIME_LIMIT_S = 5.0
#: NVML answers what it knew when it was initialised: after trouble it is asked to look again.
INIT_AGAIN_S = 60.0
_BYTES_PER_MIB = 1 << 20


class NvmlSource:
    """A ``GpuSource`` for the GPUs of this machine."""

    def __init__(self, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._time_limit_s = time_limit_s
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Readings] = queue.SimpleQueue()
        self._is_waiting = False
        self._driver = ""
        self._thread = threading.Thread(target=self._serve, name="nvml", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def read(self) -> Readings:
        """One look; stale when the driver does not answer in time, or has yet to answer a look
        of before. For one caller at a time."""
        limit_s = 0.0
        if not self._is_waiting:
            self._wanted.put(True)
            self._is_waiting = True
            limit_s = self._time_limit_s
        try:
            answer = self._answers.get(timeout=limit_s) if limit_s else self._answers.get_nowait()
        except queue.Empty:
            if limit_s:
                log.error("the GPU driver does not answer", extra={"limit_s": limit_s})
            return Readings(stale=True, driver=self._driver)
        self._is_waiting = False
        if not limit_s:
            # It came at last, but it is as old as the question.
            log.warning("the GPU driver answers again")
            return self.read()
        self._driver = answer.driver
        return answer

    def task_env(self) -> dict[str, str]:
        """Nothing: CUDA finds GPUs by itself."""
        return {}

    def close(self) -> None:
        """Lets the thread end, if it can."""
        self._wanted.put(False)

    def _serve(self) -> None:
        reader = _Reader()
        while self._wanted.get():
            self._answers.put(reader.read())
        reader.shut_down()


class _Reader:
    """All that calls NVML; lives in the thread."""

    def __init__(self) -> None:
        self._nvml: ModuleType | None = None
        self._errors: ErrorWatch | None = None
        self._health: HealthWatch | None = None
        self._driver = ""
        self._init_again_at_s = 0.0
        #: What stood at each index, for a card that does not even give its handle any more.
        self._known: dict[int, Reading] = {}
        self._models: dict[GpuUuid, str] = {}

    def read(self) -> Readings:
        """Looks at every card; one that fails does not spoil the others."""
        now_s = time.monotonic()
        if self._nvml is None and now_s >= self._init_again_at_s:
            self._init()
            self._init_again_at_s = now_s + INIT_AGAIN_S
        if self._nvml is None:
            return Readings(driver=self._driver)
        try:
            gpus = self._read_all(self._nvml)
        except self._nvml.NVMLError as error:
            self._driver = f"the GPU driver failed: {error}"
            self.shut_down()
            return Readings(driver=self._driver)
        if any(gpu.fault for gpu in gpus) and now_s >= self._init_again_at_s:
            # The next read sees what the driver knows by then.
            self._init_again_at_s = now_s + INIT_AGAIN_S
            self.shut_down()
            self._init()
        return Readings(gpus=gpus, driver=self._driver)

    def shut_down(self) -> None:
        """Lets go of the driver."""
        if self._errors is not None:
            self._errors.close()
            self._errors = None
        if self._nvml is not None:
            nvml, self._nvml = self._nvml, None
            _optional(nvml, nvml.nvmlShutdown)

    def _init(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            self._driver = f"no NVIDIA GPUs: {error}"
            return
        try:
            pynvml.nvmlInit()
            self._driver = f"NVIDIA {_text(pynvml.nvmlSystemGetDriverVersion())}"
        except pynvml.NVMLError as error:
            # No library, no driver, or one that does not fit the other: a node without GPUs.
            self._driver = f"no NVIDIA GPUs: {_reason(pynvml, error)}"
            return
        except (OSError, AttributeError) as error:
            # A library that cannot be loaded, or is too old for what it is asked.
            self._driver = f"no NVIDIA GPUs: the driver's library cannot be used: {error}"
            return
        self._nvml = pynvml
        self._errors = ErrorWatch(pynvml)
        self._health = HealthWatch(pynvml)

    def _read_all(self, nvml: ModuleType) -> tuple[Reading, ...]:
        found: dict[GpuUuid, Reading] = {}
        lost: list[int] = []
        count = nvml.nvmlDeviceGetCount()
        for index in range(count):
            try:
                reading = self._read_one(nvml, index)
            except nvml.NVMLError as error:
                log.debug("a GPU gives no handle", extra={"index": index, "reason": str(error)})
                lost.append(index)
                continue
            found[reading.uuid] = reading
            self._known[index] = reading
        for index in lost:
            known = self._known.get(index)
            if known is not None and known.uuid not in found:
                found[known.uuid] = _faulty(known, "GPU is lost")
        xids = {} if self._errors is None else self._errors.xids()
        return tuple(
            replace(reading, xids=xids[uuid]) if uuid in xids else reading
            for uuid, reading in found.items()
        )

    def _read_one(self, nvml: ModuleType, index: int) -> Reading:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = GpuUuid(_text(nvml.nvmlDeviceGetUUID(handle)))
        model = self._models.get(uuid)
        if model is None:
            model = _optional(nvml, lambda: _text(nvml.nvmlDeviceGetName(handle))) or ""
            self._models[uuid] = model
        known = Reading(uuid=uuid, index=index, model=model)
        try:
            memory = _memory(nvml, handle)
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
                return _faulty(known, f"{error}")
            log.debug("memory of a GPU not read", extra={"gpu": uuid, "reason": str(error)})
            memory = None
        utilization = _optional(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        temperature = _optional(
            nvml, lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        )
        milliwatts = _optional(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        reading = Reading(
            uuid=uuid,
            index=index,
            model=model,
            total_mib=None if memory is None else memory.total // _BYTES_PER_MIB,
            used_mib=None if memory is None else memory.used // _BYTES_PER_MIB,
            reserved_mib=_reserved_mib(memory),
            processes=_processes(nvml, handle),
            utilization_percent=utilization,
            temperature_c=temperature,
            power_w=None if milliwatts is None else round(milliwatts / 1000),
            fault=self._fault(uuid, handle),
        )
        return reading if self._health is None else self._health.added(reading, handle)

    def _fault(self, uuid: GpuUuid, handle: Any) -> str:
        if self._errors is None:
            return ""
        self._errors.note(uuid, handle)
        return self._errors.fault(uuid, handle)


def _memory(nvml: ModuleType, handle: Any) -> Any:
    """Memory as ``nvidia-smi`` tells it, the driver's own part apart; together on old drivers."""
    version = getattr(nvml, "nvmlMemory_v2", None)
    if version is not None:
        try:
            return nvml.nvmlDeviceGetMemoryInfo(handle, version=version)
        except nvml.NVMLError as error:
            old = (nvml.NVML_ERROR_FUNCTION_NOT_FOUND, nvml.NVML_ERROR_NOT_SUPPORTED)
            if error.value not in old:
                raise
    return nvml.nvmlDeviceGetMemoryInfo(handle)


def _reserved_mib(memory: Any) -> int | None:
    reserved = getattr(memory, "reserved", None)
    return None if reserved is None else int(reserved) // _BYTES_PER_MIB


def _processes(nvml: ModuleType, handle: Any) -> tuple[ProcessUse, ...] | None:
    listed = _optional(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    if listed is None:
        return None
    return tuple(
        ProcessUse(
            pid=process.pid,
            used_mib=None
            if process.usedGpuMemory is None
            else process.usedGpuMemory // _BYTES_PER_MIB,
        )
        for process in listed
    )


def _optional(nvml: ModuleType, query: Callable[[], T]) -> T | None:
    """The answer; None where this card, or this driver, has none."""
    try:
        return query()
    except (nvml.NVMLError, AttributeError):
        # AttributeError: a binding that is older than the call.
        return None


def _reason(nvml: ModuleType, error: Any) -> str:
    """Why NVML does not start, in words that say more than NVML's own."""
    reasons = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no driver is installed",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the driver is not loaded",
        nvml.NVML_ERROR_NO_PERMISSION: "the driver may not be used by this user",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the driver was upgraded and the one before "
        "still runs: restart the machine",
    }
    return reasons.get(error.value, str(error))


def _faulty(known: Reading, fault: str) -> Reading:
    return Reading(
        uuid=known.uuid,
        index=known.index,
        model=known.model,
        total_mib=known.total_mib,
        fault=fault,
    )


def _text(value: str | bytes) -> str:
    """Older bindings answer bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
