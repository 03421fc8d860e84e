"""How long a line takes from the program that writes it to a person who follows it.

    python benchmarks/log_latency.py [--lines 1000] [--every-ms 20] [--beside 0]

A task writes a line every so often, each with the clock of the machine in it; another process'
follower reads it as `fluxhive logs -f` does. Between them: the task's file, the agent, a frame on
the socket, the server and its file, an event on the follower's stream. Beside it, in the same run:
the same program read through a pipe, which is the least that two processes can do. With
``--beside`` so many more tasks print likewise meanwhile, which nobody follows. On a busy machine
run it by `chrt -r 1`: then what is measured is the way, not who gets a core.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable

from own_hive import heading, own_hive

import fluxhive

PROGRAM = """
import sys, time
for _ in range({lines}):
    time.sleep({every_s})
    sys.stdout.write(f"{{time.monotonic_ns()}} epoch 17 step 123456 loss 0.123456\\n")
    sys.stdout.flush()
"""


def delays_ms(pieces: Iterable[bytes]) -> list[float]:
    """Of each line, from its own clock to the moment at which it is whole here."""
    found, rest = [], b""
    for piece in pieces:
        now_ns = time.monotonic_ns()
        *lines, rest = (rest + piece).split(b"\n")
        found += [(now_ns - int(line.split()[0])) / 1e6 for line in lines if line]
    return found


def told(name: str, delays: list[float]) -> str:
    """A line of the result; the first tenth, in which all begins, is left out."""
    cuts = statistics.quantiles(delays[len(delays) // 10 :], n=100)
    return f"  {name:12} {cuts[49]:.2f} ms median, {cuts[94]:.2f} p95, {cuts[98]:.2f} p99"


def main() -> None:
    """FlowHive, and a pipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000)
    parser.add_argument("--every-ms", type=float, default=20.0)
    parser.add_argument("--beside", type=int, default=0, metavar="TASKS")
    options = parser.parse_args()
    program = PROGRAM.format(lines=options.lines, every_s=options.every_ms / 1000)
    heading("log latency")
    # A pretended GPU for each: so many run at once, whatever cores there are.
    with own_hive(FLOWHIVE_FAKE_GPUS=f"{options.beside + 1}x8G") as hive:
        client = fluxhive.Client(transport=hive.transport)
        for _ in range(options.beside):
            client.submit([sys.executable, "-c", program], name="beside", cpus=0, gpus=1)
        task = client.submit([sys.executable, "-c", program], name="lines", cpus=0, gpus=1)
        before, began = hive.cpu_s(), time.monotonic()
        followed = delays_ms(task.logs(follow=True))
        took_s, after = time.monotonic() - began, hive.cpu_s()
    print(told("FlowHive", followed))
    for process in ("agent", "server"):
        print(f"  {process:12} {(after[process] - before[process]) / took_s:.1%} of a core")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, bufsize=0
    ) as piped:
        assert piped.stdout is not None
        through_pipe = delays_ms(iter(lambda: piped.stdout.read(65_536), b""))  # type: ignore[union-attr]
    print(told("a pipe", through_pipe))
    if len(followed) != options.lines:
        raise SystemExit(f"{len(followed)} lines of {options.lines} arrived")


if __name__ == "__main__":
    main()
