#!/usr/bin/env python3
"""How soon the dashboard shows something on a slow laptop, what it weighs, and its largest log.

    ./dev web && python benchmarks/dashboard.py

A hive with 64 pretended GPUs, all of them taken, and 100,000 tasks in line, looked at by Debian's
Chromium with its processor slowed fourfold behind a line of 10 Mbit/s and 40 ms; then a log of ten
million lines without those brakes. Each page is loaded three times with nothing in the browser's
cache; medians are shown, and how busy the machine was. Firm on a busy machine, too, are how long
the page's thread worked (best without brakes: by its own clock) and what the page asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, CDPSession  # noqa: E402  # after the path to our own tests

from tests.helpers.browser import BUILT, Visit, browser  # noqa: E402
from tests.helpers.cli_hive import CliHive  # noqa: E402

CPU_SLOWER = 4
MBIT_PER_S, ROUND_TRIP_MS = 10, 40
BATCH = 5_000
JUMPS = 60
LOADS = 3
GPUS = 64
#: Until a log of ten million lines has been printed and shipped.
SHIPPED_S = 600.0
#: After it could be used: what comes later counts for weight and for what moves.
SETTLED_MS = 2_000
#: Name, address, and what is there once it can be used.
PAGES = (
    ("overview", "/", "body:has([role=status]) section [role=group]"),
    ("tasks", "/tasks", "body:has([role=status]) [role=row] a"),
)
#: Runs in every page before its own scripts.
_NOTE_SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => list.getEntries().forEach((e) => (window.shifts += e.value)))
  .observe({ type: 'layout-shift', buffered: true });
"""
#: Says when what is waited for is there, was drawn, and the page's thread has time again. In the
#: page: from outside it would be looked for each half second.
_NOTE_USABLE = """
{
  const look = () => {
    if (!document.querySelector(LANDMARK)) return;
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => {
      performance.mark('usable');
      console.log('usable');
    }));
  };
  const watch = new MutationObserver(look);
  watch.observe(document, { childList: true, subtree: true, attributes: true });
}
"""
_SEEN = """
[
  performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1,
  performance.getEntriesByName('usable')[0].startTime,
  window.shifts,
]
"""
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
    """A task that holds all GPUs, and so many that wait for them."""
    holds = hive.submit("--name", "holds-all", "--gpus", str(GPUS), "--", "sleep", "86400")
    hive.when(holds, "running")
    spec = {"command": ["true"], "request": {"gpus": GPUS, "nodes": 1}}
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
        # By the clock of the page's own thread, which stands still while others have the processor.
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.n_bytes = self.n_requests = 0
        self.session.on("Network.loadingFinished", self._loaded)
        self.page.add_init_script(_NOTE_SHIFTS)
        if braked:
            slow(self.session)

    def _loaded(self, event: dict[str, Any]) -> None:
        self.n_bytes += round(event["encodedDataLength"])
        self.n_requests += 1

    def go(self, path: str, landmark: str) -> dict[str, float]:
        """First content and the moment at which what was asked for can be used, in ms."""
        self.page.add_init_script(_NOTE_USABLE.replace("LANDMARK", json.dumps(landmark)))
        with self.page.expect_console_message(lambda said: said.text == "usable"):
            self.page.goto(self.visit.url + path, wait_until="commit")
        thread_ms = self._metric("TaskDuration") * 1000
        n_requests, n_bytes = self.n_requests, self.n_bytes
        self.page.wait_for_timeout(SETTLED_MS)
        first_ms, usable_ms, shifts = self.page.evaluate(_SEEN)
        return {
            "first content ms": first_ms,
            "usable ms": usable_ms,
            "thread ms": thread_ms,
            "requests until usable": n_requests,
            "kB until usable": n_bytes / 1000,
            "kB": self.n_bytes / 1000,
            "layout shift / 1000": shifts * 1000,
        }

    def _metric(self, name: str) -> float:
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == name))

    def heap_mib(self) -> float:
        """What scripts hold, after a collection."""
        self.session.send("HeapProfiler.collectGarbage")
        return self._metric("JSHeapUsedSize") / 2**20


def pages(opened: Browser, hive: CliHive) -> None:
    """The overview and the table of tasks, from an empty cache, in turns.

    What is drawn first is no dashboard yet: it can be used when its own script has put the feed's
    state there and the GPUs' bars (overview), or rows (tasks).
    """
    visit = Visit(opened, hive)
    visit.sign_in()
    visit.page.close()
    for braked in (True, False):
        found: dict[str, list[dict[str, float]]] = {}
        for _ in range(LOADS):
            for name, path, landmark in PAGES:
                load = Load(visit, braked=braked)
                load.session.send("Network.setCacheDisabled", {"cacheDisabled": True})
                figures = load.go(path, landmark)
                found.setdefault(name, []).append({**figures, "heap MiB": load.heap_mib()})
                load.page.close()
        for name, loads in found.items():
            middle = {key: statistics.median(one[key] for one in loads) for key in loads[0]}
            shown = ", ".join(f"{key} {value:.0f}" for key, value in middle.items())
            brakes = "with brakes" if braked else "without"
            print(f"{name}, {brakes}, median of {LOADS}, load {os.getloadavg()[0]:.1f}: {shown}")
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
    """Measures all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--lines", type=int, default=10_000_000, help="0: no log")
    words = parser.parse_args()
    if not BUILT.exists():
        print("error: the dashboard is not built\n\nhint: run ./dev web", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as home, browser() as opened:
        hive = CliHive(Path(home), FLOWHIVE_FAKE_GPUS=f"{GPUS}x80G")
        hive.up()
        try:
            if words.lines:
                large_log(opened, hive, words.lines)
            fill(hive, words.tasks)
            pages(opened, hive)
        finally:
            hive.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
