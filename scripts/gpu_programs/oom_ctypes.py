"""Asks the driver itself for more GPU memory than there is: ``oom_ctypes.py MIB``."""

import ctypes
import sys

cuda = ctypes.CDLL("libcuda.so.1")
context, pointer, name = ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_char_p()
assert cuda.cuInit(0) == 0
assert cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
assert cuda.cuCtxSetCurrent(context) == 0
code = cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(int(sys.argv[1]) << 20))
cuda.cuGetErrorName(code, ctypes.byref(name))
if code:
    sys.exit(f"cuMemAlloc failed: {(name.value or b'').decode()} ({code})")
