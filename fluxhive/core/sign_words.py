"""What one line of output says: words of frameworks, drivers and systems, as tables.

Called by signs.py, which decides what lines mean together. A form is added with a fixture in
tests/unit/core/outputs/, and with one that looks like it and means something else.
"""

from __future__ import annotations

import re
from enum import Enum


class Says(Enum):
    """What a line means for the end of the program that printed it."""

    #: The GPU itself is gone or broken.
    GPU_FAULT = "gpu-fault"
    #: A GPU has no memory left.
    GPU_OOM = "gpu-oom"
    #: A library failed in a way that it also fails when a GPU is full: the readings decide.
    PERHAPS_GPU_OOM = "perhaps-gpu-oom"
    #: The host refused memory to the program.
    HOST_OOM = "host-oom"
    #: ``/dev/shm`` is full.
    SHARED_MEMORY = "shared-memory"
    #: A child was killed by SIGKILL: the kernel's counters decide.
    CHILD_KILLED = "child-killed"
    DISK_FULL = "disk-full"
    OTHER_ERROR = "other-error"
    #: Speaks of memory that ran out, and of something done about it.
    MENTION = "mention"
    #: Follows from another process's end.
    CONSEQUENCE = "consequence"
    #: "The above exception was the direct cause of the following exception".
    CAUSED = "caused"
    NOTHING = "nothing"


#: What goes before what, when processes of one program say different things.
DECISIVE = (
    Says.GPU_FAULT,
    Says.GPU_OOM,
    Says.HOST_OOM,
    Says.SHARED_MEMORY,
    Says.DISK_FULL,
    Says.PERHAPS_GPU_OOM,
    Says.CHILD_KILLED,
    Says.OTHER_ERROR,
    Says.NOTHING,
)

_CAUSED = re.compile(r"The above exception was the direct cause of the following")

#: Types of exceptions whose text may quote anything: a file's name, a key, a message.
_NEVER_MEMORY = re.compile(
    r"(?:\w+\.)*(?:FileNotFoundError|FileExistsError|IsADirectoryError|NotADirectoryError"
    r"|PermissionError|KeyError|IndexError|NameError|UnboundLocalError|AttributeError|TypeError"
    r"|ImportError|ModuleNotFoundError|SyntaxError|IndentationError|ZeroDivisionError"
    r"|AssertionError|NotImplementedError|StopIteration|RecursionError|UnicodeDecodeError"
    r"|JSONDecodeError|ScannerError|ArgumentError|OutOfResources|CompilationError)\b(?::|$)"
    r"|.*(?:No such file or directory|Permission denied|command not found|cannot open )"
)
#: What has been done about it stands in front …
_HEDGE_BEFORE = re.compile(
    r"\b(?:INFO|DEBUG|WARN|WARNING|UserWarning)\b|caught|catch|skip|retry|retri|recover|avoid"
    r"|\b(?:if|may|might|would|could|should|unless|not?|without|against|previous|earlier)\b"
    r"|prevent|handled|handler|handling|last (?:run|time|attempt)",
    re.IGNORECASE,
)
#: … or after it.
_HEDGE_AFTER = re.compile(
    r"[\s,;:.()\u2013\u2014-]*(?:so |then |and |now |will |we |on batch \S+ |for \S+ "
    r"|(?:at|in) (?:step|batch|trial) \S+ )*[\s,;:.()\u2013\u2014-]*"
    r"(?:skip|retry|retri|reduc|halv|falling back|fall back|trying again|try again|continu|ignor"
    r"|recover|handled|handler|errors?\b (?:so far|seen|caught|count)|count|guard|protect|lower"
    r"|test|example|demo|is (?:unlikely|handled|caught|avoided)|pruned|was caught)",
    re.IGNORECASE,
)

_GPU_FAULT = re.compile(
    r"GPU is lost|fallen off the bus|uncorrectable ECC error|CUDA_ERROR_ECC_UNCORRECTABLE"
    r"|cudaErrorECCUncorrectable|cudaErrorDevicesUnavailable|CUDA_ERROR_NVLINK_UNCORRECTABLE"
    r"|cudaErrorNvlinkUncorrectable|uncorrectable NVLink error"
    r"|Unable to determine the device handle|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
    r"|Driver/library version mismatch"
    r"|cudaErrorSystemDriverMismatch|all CUDA-capable devices are busy or unavailable"
)
#: Forms that say that a GPU is full, wherever they stand in a line.
_GPU_OOM = re.compile(
    r"(?:CUDA|HIP|XPU|MUSA) out of memory|(?:torch\.(?:cuda\.)?|c10::(?:\w+::)*)OutOfMemoryError"
    r"|RESOURCE_EXHAUSTED: *(?:Out of memory|Failed to allocate|CUDA_ERROR_OUT_OF_MEMORY|OOM when)"
    r"|ResourceExhaustedError[^\n]*memory (?:error )?on GPU"
    r"|OOM when allocating tensor[^\n]*(?:GPU|gpu)"
    r"|cupy[\w.]*\.OutOfMemoryError"
    r"|cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|hipErrorOutOfMemory"
    r"|CU(?:BLAS|DNN|SPARSE|SOLVER|TENSOR|RAND)_STATUS_ALLOC(?:ATION)?_FAILED|CUFFT_ALLOC_FAILED"
    r"|cudaMalloc\w* (?:retry )?(?:failed|error):? ?\W?out of memory"
    r"|(?:\bNCCL|[Cc]uda|CUDA|\bGPU|\bgpu|VRAM|[Dd]evice)[^\n]{0,160}\bout[ _]of[ _](?:device )?"
    r"memory|\b[Oo]ut of memory\b[^\n]{0,60}(?:CUDA|[Cc]uda|GPU|\.cu\b|\bdevice\b)"
    r"|[Oo]ut of GPU memory|Failed to CUDA (?:c|m)alloc|to allocate CUDA\d* buffer"
    r"|std::bad_alloc: (?:out_of_memory|cudaError)|rmm::out_of_memory|Maximum pool size exceeded"
    r"|RMM failure|Error Code \d+: OutOfMemory|CL_(?:MEM_OBJECT|OUT_OF)_?\w*ALLOCATION_FAILURE"
    r"|Memory Object Allocation Failure|No executable batch size found"
    r"|No available memory for the cache blocks|Free memory on device[^\n]*less than desired GPU"
    r"|KV cache is needed, which is larger than the available KV cache"
    r"|Memory allocation error on worker \d+: (?:\[?\w*[Cc]uda|bad_malloc)"
    r"|VK_ERROR_OUT_OF_DEVICE_MEMORY"
)
#: Failures of libraries that are also what a full GPU looks like to them.
_PERHAPS_GPU_OOM = re.compile(
    r"CUBLAS_STATUS_NOT_INITIALIZED|CUDNN_STATUS_(?:NOT_INITIALIZED|INTERNAL_ERROR)"
    r"|CUSOLVER_STATUS_INTERNAL_ERROR|model_container_runner|run_func_\("
    r"|unhandled cuda error|BFCArena::AllocateRawInternal|Failed to allocate (?:device )?memory"
    r"|Could not create cudnn handle|Failed to create cuBLAS handle|could not allocate.*workspace"
)
_HOST_OOM = re.compile(
    r"(?<![A-Za-z])_?(?:Array)?MemoryError\b|std::bad_alloc|DefaultCPUAllocator"
    r"|Cannot allocate memory|\[Errno 12\]|Unable to allocate [\d.]+ [KMGTP]?iB for an array"
    r"|cannot allocate vector of size|OOM when allocating tensor[^\n]*(?:CPU|cpu)"
    r"|runtime: out of memory|ray\.exceptions\.OutOfMemoryError|running low on memory"
    r"|Out of memory: Killed process|oom-kill|memory allocation of \d+ bytes failed"
    r"|pyarrow\.lib\.ArrowMemoryError|[Vv]irtual memory exhausted"
)
_SHARED_MEMORY = re.compile(
    r"killed by signal: Bus error|insufficient shared memory|out of shared memory"
    r"|unable to (?:write|allocate|resize)[^\n]*(?:shared memory|torch_\w+|/dev/shm)"
    r"|No space left on device[^\n]*/dev/shm|/dev/shm[^\n]*No space left on device"
)
_CHILD_KILLED = re.compile(
    r"killed by signal: Killed|(?:^|\s|: )Killed$|Killed +\S|SIGKILL|exit ?code:? -9\b"
    r"|signal 9\b|exit (?:code|status):? 137|\(137\)"
)
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|\[Errno (?:28|122)\]")
_CONSEQUENCE = re.compile(
    r"ChildFailedError|ProcessExitedException|ProcessRaisedException|SignalException"
    r"|Connection (?:closed|reset) by|ncclRemoteError|remote process exited|DistBackendError"
    r"|DistNetworkError|BrokenProcessPool|BrokenPipeError|ConnectionResetError|EOFError"
    r"|EngineDeadError|[Ee]ngine core (?:proc\w* )?(?:init|failed)|EngineCore|WorkerProc init"
    r"|CalledProcessError|RayTaskError|RayActorError|ActorDiedError|KeyboardInterrupt"
    r"|closing signal|SIGTERM|failed \(exitcode|terminate called|Aborted|core dumped|SystemExit"
    r"|Segmentation fault|[Ww]atchdog|exitcode|Root Cause|Error executing job|non-zero exit"
    r"|process group|TORCH_NCCL|elastic|resource_tracker|RemoteTraceback"
)
_OTHER_ERROR = re.compile(
    r"(?:\w+\.)*\w*(?:Error|Exception|Interrupt|OutOfResources|Failure)(?::| \(|$)"
    r"|(?:\S+: )?(?:error|fatal|panic|FATAL|ERROR)(?: |:|$)"
    r"|Assertion|what\(\):|thread '.*' panicked"
)


def says(text: str) -> Says:
    """What a line means; its prefix of a rank is gone already."""
    if _CAUSED.search(text):
        return Says.CAUSED
    line = text.strip()
    if _NEVER_MEMORY.match(line):
        return Says.OTHER_ERROR
    if _GPU_FAULT.search(line):
        return Says.GPU_FAULT
    if "out of resource: shared memory" in line:
        return Says.OTHER_ERROR  # of a kernel, not of a machine
    for pattern, meaning in _IN_ORDER:
        match = pattern.search(line)
        if match is not None:
            is_hedged = meaning in _HEDGED and _is_hedged(line, match)
            return Says.MENTION if is_hedged else meaning
    if _OTHER_ERROR.match(line):
        return Says.OTHER_ERROR
    return Says.NOTHING


_IN_ORDER = (
    (_GPU_OOM, Says.GPU_OOM),
    (_SHARED_MEMORY, Says.SHARED_MEMORY),
    (_HOST_OOM, Says.HOST_OOM),
    (_DISK_FULL, Says.DISK_FULL),
    (_PERHAPS_GPU_OOM, Says.PERHAPS_GPU_OOM),
    (_CHILD_KILLED, Says.CHILD_KILLED),
    (_CONSEQUENCE, Says.CONSEQUENCE),
)
_HEDGED = frozenset({Says.GPU_OOM, Says.HOST_OOM, Says.PERHAPS_GPU_OOM, Says.DISK_FULL})


def _is_hedged(line: str, match: re.Match[str]) -> bool:
    before = line[: match.start()]
    # NCCL calls its errors warnings; what a framework raises by name is raised, whatever it quotes.
    if "NCCL WARN" in line:
        return False
    return _HEDGE_BEFORE.search(before) is not None or (
        _HEDGE_AFTER.match(line, match.end()) is not None
    )
