#!/usr/bin/env python3
"""How soon the dashboard shows something on a slow laptop, what it weighs, and its largest log.

    ./dev web && python benchmarks/dashboard.py

A hive with 64 pretended GPUs and 100,000 tasks in line, looked at by Debian's Chromium with its
processor slowed fourfold behind a line of 10 Mbit/s and 40 ms; then a log of ten million lines
without those brakes. Nothing is in the browser's cache at the first load.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, CDPSession  # noqa: E402  # after the path to our own tests

from tests.helpers.browser import Visit, browser  # noqa: E402
from tests.helpers.cli_hive import CliHive  # noqa: E402

CPU_SLOWER = 4
MBIT_PER_S, ROUND_TRIP_MS = 10, 40
BATCH = 5_000
JUMPS = 60
#: Until a log of ten million lines has been printed and shipped.
SHIPPED_S = 600.0
#: The lines in view are those of the place that was jumped to.
_JUMPED = """
async (fraction) => {
  const log = document.querySelector('[role=region][aria-label=Log]');
  const before = log.innerText;
  const begun = performance.now();
  log.scrollTop = fraction * (log.scrollHeight - log.clientHeight);
  for (;;) {
    await new Promise(requestAnimationFrame);
    const shown = log.querySelectorAll('[data-stream]').length;
    if (shown > 5 && log.innerText !== before) return performance.now() - begun;
    if (performance.now() - begun > 10000) return -1;
  }
}
"""


def fill(hive: CliHive, n_tasks: int) -> None:
    """So many tasks that wait for more GPUs than there are."""
    spec = {"command": ["true"], "name": "waits", "request": {"gpus": 64, "nodes": 1}}
    for begun in range(0, n_tasks, BATCH):
        tasks = [{**spec, "name": f"waits-{n}"} for n in range(begun, begun + BATCH)]
        hive.transport.call("POST", "/api/v1/tasks/batch", dict, body={"tasks": tasks})


def slow(session: CDPSession) -> None:
    """Brakes as of a laptop of some years behind a thin line."""
    session.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWER})
    bytes_per_s = MBIT_PER_S * 1_000_000 / 8
    line = {"downloadThroughput": bytes_per_s, "uploadThroughput": bytes_per_s}
    session.send(
        "Network.emulateNetworkConditions", {"offline": False, "latency": ROUND_TRIP_MS, **line}
    )


class Load:
    """One load of a page: when it showed and could be used, and what it fetched."""

    def __init__(self, visit: Visit, *, braked: bool) -> None:
        self.visit = visit
        self.page = visit.context.new_page()
        self.session = visit.context.new_cdp_session(self.page)
        self.session.send("Network.enable")
        self.session.send("Performance.enable")
        self.n_bytes = 0
        self.session.on("Network.loadingFinished", self._loaded)
        if braked:
            slow(self.session)

    def _loaded(self, event: dict[str, Any]) -> None:
        self.n_bytes += round(event["encodedDataLength"])

    def go(self, path: str, landmark: str) -> dict[str, float]:
        """First content and the moment at which what was asked for is there, in ms."""
        begun = time.perf_counter()
        self.page.goto(self.visit.url + path, wait_until="commit")
        self.page.locator(landmark).first.wait_for()
        usable_ms = (time.perf_counter() - begun) * 1000
        first_ms = self.page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1"
        )
        return {"first content ms": first_ms, "usable ms": usable_ms}

    def heap_mib(self) -> float:
        """What scripts hold, after a collection."""
        self.session.send("HeapProfiler.collectGarbage")
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize")) / 2**20


def pages(opened: Browser, hive: CliHive) -> None:
    """The overview and the table of tasks, from an empty cache.

    What is drawn first is no dashboard yet: it can be used when its own script has put the feed's
    state there (overview), or rows (tasks).
    """
    for name, path, landmark in (
        ("overview", "/", "[role=status] >> nth=0"),
        ("tasks", "/tasks", "[role=row] a"),
    ):
        visit = Visit(opened, hive)
        visit.sign_in()
        visit.page.close()
        load = Load(visit, braked=True)
        load.session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        figures = load.go(path, landmark)
        load.page.wait_for_timeout(2_000)
        shown = ", ".join(f"{name} {value:.0f}" for name, value in figures.items())
        print(
            f"{name}: {shown}, fetched {load.n_bytes / 1000:.0f} kB, heap {load.heap_mib():.0f} MiB"
        )
        visit.close()


def large_log(opened: Browser, hive: CliHive, n_lines: int) -> None:
    """A log of ten million lines: until its end is shown, jumps, and what the page holds."""
    line = f"seq -f 'step %.0f loss 0.1234 lr 1e-4' 1 {n_lines}"
    task_id = hive.ok("submit", "-q", "--name", "large-log", "--", "sh", "-c", line).strip()
    hive.ok("wait", task_id, limit_s=SHIPPED_S)
    visit = Visit(opened, hive)
    visit.sign_in()
    visit.page.close()
    load = Load(visit, braked=False)
    figures = load.go(f"/t/{task_id}/log", "[role=region] [data-stream]")
    load.page.get_by_text(f"step {n_lines}").first.wait_for(timeout=60_000)
    chance = random.Random(1)
    took_ms = sorted(load.page.evaluate(_JUMPED, chance.random()) for _ in range(JUMPS))
    print(
        f"log of {n_lines} lines: first line {figures['usable ms']:.0f} ms, "
        f"jump p50 {statistics.median(took_ms):.0f} ms, p95 {took_ms[int(JUMPS * 0.95)]:.0f} ms, "
        f"heap {load.heap_mib():.0f} MiB"
    )
    visit.close()


def main() -> int:
    """Measures all of it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--lines", type=int, default=10_000_000)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, browser() as opened:
        hive = CliHive(Path(home), FLOWHIVE_FAKE_GPUS="64x80G")
        hive.up()
        try:
            large_log(opened, hive, words.lines)
            fill(hive, words.tasks)
            pages(opened, hive)
        finally:
            hive.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
