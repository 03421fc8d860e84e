"""Asks CuPy for more GPU memory than there is: ``oom_cupy.py MIB``."""

import sys

import cupy

cupy.zeros(int(sys.argv[1]) << 20, dtype=cupy.uint8)
