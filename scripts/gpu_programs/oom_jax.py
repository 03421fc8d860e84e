"""Asks JAX for more GPU memory than there is: ``oom_jax.py MIB``."""

import sys

import jax.numpy as jnp

jnp.zeros((int(sys.argv[1]), 1 << 20), dtype=jnp.uint8).block_until_ready()
