"""How long a submit of 100,000 members takes through the API, and what it costs to keep.

The clock runs from the request to its answer, which comes after the commit. The arrays are held,
so that nothing runs meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import time

import psutil
from own_hive import OwnHive, heading, own_hive

from fluxhive.core.array import ArraySpec
from fluxhive.core.task import TaskSpec
from fluxhive.sdk.calls import Calls


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    heading(f"{given.times} submits of {given.members} members each")
    spec = TaskSpec(command=("train", "--seed", "{index}"), array=ArraySpec(count=given.members))
    with own_hive() as hive:
        client = Calls(transport=hive.transport)
        client.submit(spec, hold=True)
        stored, memory = _stored_bytes(hive), _memory_bytes(hive)
        took_ms = []
        for _ in range(given.times):
            began_s = time.perf_counter()
            client.submit(spec, hold=True)
            took_ms.append(1000 * (time.perf_counter() - began_s))
        stored, memory = _stored_bytes(hive) - stored, _memory_bytes(hive) - memory
    print(f"  submit: median {statistics.median(took_ms):.1f} ms, worst {max(took_ms):.1f} ms")
    print(f"  kept per array: {stored / given.times / 1024:.1f} KiB in the store")
    print(f"  server memory per array: {memory / given.times / 1024:.1f} KiB")


def _stored_bytes(hive: OwnHive) -> int:
    return sum(path.stat().st_size for path in hive.home.rglob("hive.db*"))


def _memory_bytes(hive: OwnHive) -> int:
    process: psutil.Process = hive.server
    used: int = process.memory_info().rss
    return used


if __name__ == "__main__":
    main()
