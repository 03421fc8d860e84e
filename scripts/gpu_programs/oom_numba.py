"""Asks Numba for more GPU memory than there is: ``oom_numba.py MIB``."""

import sys

import numpy
from numba import cuda

cuda.device_array(int(sys.argv[1]) << 20, dtype=numpy.uint8)
