"""The peers' side of noop_tasks.py: run by the Python that has them, prints one JSON object.

    python -m venv peers && peers/bin/pip install hyperqueue ray distributed
    peers/bin/python benchmarks/peers.py dask --tasks 500

Each runs the program as a process of its own in two slots. None of them keeps what it accepted over
a power cut, and none but HyperQueue keeps output; the time to start the cluster is not counted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SLOTS = 2
TRUE = shutil.which("true") or "/bin/true"
DATE = [shutil.which("date") or "/bin/date", "+%s.%N"]

#: Runs so many no-op tasks; and one that prints the time, giving the delay in seconds.
Peer = tuple[Callable[[int], None], Callable[[], float]]


@contextmanager
def dask(home: str) -> Iterator[Peer]:
    """A local cluster of two workers with one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=SLOTS, threads_per_worker=1, dashboard_address=None, local_directory=home
        ) as cluster,
        Client(cluster) as client,
    ):

        def run(count: int) -> None:
            client.gather([client.submit(subprocess.run, [TRUE], pure=False) for _ in range(count)])

        def delay() -> float:
            began = time.time()
            return float(client.submit(_printed, pure=False).result()) - began

        yield run, delay


@contextmanager
def ray(home: str) -> Iterator[Peer]:
    """A local cluster of two CPUs."""
    import ray as library

    library.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False)

    @library.remote
    def noop() -> None:
        subprocess.run([TRUE], check=True)

    printed = library.remote(_printed)

    def delay() -> float:
        began = time.time()
        return float(library.get(printed.remote())) - began

    try:
        yield lambda count: library.get([noop.remote() for _ in range(count)]), delay
    finally:
        library.shutdown()


@contextmanager
def hyperqueue(home: str) -> Iterator[Peer]:
    """Its Python interface: client, server and worker live in one process."""
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    with LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=SLOTS))
        client = cluster.client()

        def run(count: int) -> None:
            job = Job()
            for _ in range(count):
                job.program([TRUE], stdout=None, stderr=None)
            client.wait_for_jobs([client.submit(job)])

        def delay() -> float:
            job = Job()
            out = Path(home, "printed")
            job.program(DATE, stdout=out, stderr=None)
            began = time.time()
            client.wait_for_jobs([client.submit(job)])
            return float(out.read_text()) - began

        yield run, delay


def _printed() -> str:
    return subprocess.run(DATE, check=True, capture_output=True, text=True).stdout


PEERS: dict[str, Callable[[str], Any]] = {"dask": dask, "ray": ray, "hyperqueue": hyperqueue}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--latencies", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, PEERS[options.peer](home) as (run, delay):
        run(50)
        began = time.perf_counter()
        run(options.tasks)
        rate = options.tasks / (time.perf_counter() - began)
        delays = [delay() for _ in range(options.latencies)]
    print(json.dumps({"rate": rate, "delays": delays}))


if __name__ == "__main__":
    main()
