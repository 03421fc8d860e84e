"""Caps on GPU memory: a task that takes far more than it is known to need fails alone.

The brain says how much (``cap_mib``), where the need is known well enough; the node says it to the
task's PyTorch or JAX by environment (``cap_env``), where there is one that understands it. A cap
protects neighbours and must never break a task, so whatever is not certain means: no cap. What is
installed is read by the node (agent/gpu_libraries.py) and never imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .request import Estimate, EstimateSource
from .values import Mib, Value

#: A task may take so much more than it reserved, and than its largest peak, before it is stopped.
RESERVED_PERCENT = 125
PEAK_PERCENT = 120
#: Learned from fewer runs, the need is not known well enough.
RUNS_LEAST = 3
#: The first PyTorch whose allocator has ``per_process_memory_fraction`` (pytorch PR #161035: its
#: 2.10.0 for CUDA has it, 2.9.1 does not); one that does not know it ends the task with an error.
TORCH_FIRST = (2, 10)

_TORCH_OPTION = "per_process_memory_fraction"
#: The name that PyTorch understands since 1.10, and the one for all kinds of GPUs since 2.9.
_TORCH_VARIABLE = "PYTORCH_CUDA_ALLOC_CONF"
_TORCH_VARIABLE_NEW = "PYTORCH_ALLOC_CONF"
_JAX_PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"
_JAX_FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION"
#: Newer JAX refuses to start when both names of its fraction are set.
_JAX_FRACTION_NEW = "XLA_CLIENT_MEM_FRACTION"
_JAX_ALLOCATOR = "XLA_PYTHON_CLIENT_ALLOCATOR"

_VERSION = re.compile(r"^__version__\s*=\s*['\"](\d+)\.(\d+)([^'\"+]*)", re.MULTILINE)
_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"]\d", re.MULTILINE)
_PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
#: What makes a line of the shell more than one plain command.
_SHELL_SIGNS = frozenset("|&;<>()$`\\\n*?[]#~{}!")


class Libraries(Value, frozen=True, kw_only=True):
    """What of interest the interpreter of a task has installed."""

    #: A PyTorch for CUDA that knows the option; every one that it may import does.
    torch: bool = False
    jax: bool = False


def cap_mib(estimate: Estimate, reserved_mib: Mib, gpu_mib: Mib) -> Mib | None:
    """The most that a process of an attempt may take of a GPU that it shares; None: no cap.

    ``reserved_mib``: what it reserves of the GPU; ``gpu_mib``: what the GPU has in all.
    """
    learned = estimate.source is EstimateSource.LEARNED and estimate.runs >= RUNS_LEAST
    declared_mib = estimate.declared_mib
    # Whoever just ran out of memory is known to be known badly.
    if estimate.source is EstimateSource.REPAIR or not (learned or declared_mib is not None):
        return None
    most = reserved_mib * RESERVED_PERCENT
    if not learned and declared_mib is not None:
        most = max(most, declared_mib * RESERVED_PERCENT)
    most = max(most, (estimate.peak_mib or 0) * PEAK_PERCENT)
    cap = -(-most // 100)
    return cap if cap < gpu_mib else None


def python_word(argv: tuple[str, ...]) -> str | None:
    """The word by which a command names the Python that runs it; None: it cannot be told.

    Of a line of the shell only one that is nothing but a call of Python tells.
    """
    words = list(argv)
    if len(argv) == 3 and argv[:2] == ("/bin/sh", "-c"):
        words = [] if _SHELL_SIGNS & set(argv[2]) else argv[2].split()
    name = words[0].rpartition("/")[2] if words else ""
    return words[0] if _PYTHON.fullmatch(name) else None


def knows_cap(version_text: str) -> bool:
    """Whether the PyTorch with this ``torch/version.py`` is for CUDA and knows the option."""
    found = _VERSION.search(version_text)
    if found is None or _CUDA.search(version_text) is None:
        return False
    version = (int(found[1]), int(found[2]))
    # A build from before the first release may or may not have it.
    is_release = not re.search(r"[a-z]", found[3])
    return version > TORCH_FIRST or (version == TORCH_FIRST and is_release)


def libraries(torch_versions: Iterable[str], *, has_jax: bool) -> Libraries:
    """From the ``torch/version.py`` of each PyTorch that may be imported: the worst one decides."""
    texts = list(torch_versions)
    return Libraries(torch=bool(texts) and all(map(knows_cap, texts)), jax=has_jax)


def cap_env(cap: Mib, gpu_mib: Mib, found: Libraries, env: Mapping[str, str]) -> dict[str, str]:
    """What is set in a task's environment, given what is there; what its author says stays."""
    if cap >= gpu_mib:
        return {}
    # Rounded up: rather a little more than a task that is cut short.
    parts = -(-cap * 10_000 // gpu_mib)
    if parts >= 10_000:
        return {}
    fraction = f"0.{parts:04}"
    added = _torch_env(fraction, env) if found.torch else {}
    if found.jax:
        added |= _jax_env(fraction, env)
    return added


def _torch_env(fraction: str, env: Mapping[str, str]) -> dict[str, str]:
    """PyTorch reads its CUDA options under the older name, and else under the newer one.

    The older one is set where the author set none, because a program that sets the newer one by
    itself is then heard, too.
    """
    name = _TORCH_VARIABLE
    if not env.get(name) and env.get(_TORCH_VARIABLE_NEW):
        name = _TORCH_VARIABLE_NEW
    said = env.get(name, "").strip().rstrip(",")
    options = {word.strip() for word in re.split(r"[,:]", said)}
    if _TORCH_OPTION in options or "backend" in options:
        return {}
    option = f"{_TORCH_OPTION}:{fraction}"
    return {name: f"{said},{option}" if said else option}


def _jax_env(fraction: str, env: Mapping[str, str]) -> dict[str, str]:
    """A fraction caps only what is not taken beforehand: where the author wants that, no cap."""
    if any(env.get(name) for name in (_JAX_FRACTION, _JAX_FRACTION_NEW, _JAX_ALLOCATOR)):
        return {}
    if env.get(_JAX_PREALLOCATE, "false").lower() not in ("false", "0"):
        return {}
    added = {_JAX_FRACTION: fraction}
    if not env.get(_JAX_PREALLOCATE):
        added[_JAX_PREALLOCATE] = "false"
    return added
