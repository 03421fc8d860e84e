#!/usr/bin/env python3
"""What the dashboard's page holds after so many changes: a day of a busy hive in a minute.

    ./dev web && python benchmarks/dashboard_feed.py

A real hive, the overview in Debian's Chromium, and 50,000 messages of the channel, as quickly as
the page takes them: tasks that it shows, readings of its GPUs, counts that make it read its lists
again. After each tenth what scripts hold is told, after a collection, with the elements and
listeners that are there. The last figures are near the first ones, or something is kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import CDPSession, Page  # noqa: E402  # after the path to our own tests

from tests.helpers.browser import Visit, browser  # noqa: E402
from tests.helpers.cli_hive import CliHive  # noqa: E402

TASKS = 40
PARTS = 10
#: Growth beyond this between the first and the last tenth is called one.
FLAT_MIB = 3.0
#: Keeps the page's lines where the benchmark finds them.
_KEEP_LINES = """
window.lines = [];
window.WebSocket = class extends window.WebSocket {
  constructor(...words) { super(...words); window.lines.push(this); }
};
"""
#: Gives the page messages in turns of 50, and lets it draw between them.
_DRIVE = """
async ({tasks, node, summary, first, count}) => {
  const line = window.lines.at(-1);
  const words = ['queued', 'starting', 'running', 'succeeded', 'failed'];
  for (let n = first; n < first + count; n++) {
    const task = {...tasks[n % tasks.length], word: words[n % words.length], reason: `turn ${n}`};
    const gpus = node.gpus.map(({report}) => ({...report, utilization_percent: n % 101}));
    const changes = {
      type: 'changes', seq: 1e9 + n, tasks: [task], n_tasks: n % 500 ? 0 : 1,
      readings: [{node_id: node.id, gpus}],
      summary: {...summary, counts: {...summary.counts, queued: n}},
    };
    line.onmessage({data: JSON.stringify(changes)});
    if (n % 50 === 0) await new Promise(requestAnimationFrame);
  }
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return document.body.innerText.includes((first + count - 1).toLocaleString('en-US'));
}
"""


def held(session: CDPSession) -> dict[str, float]:
    """What the page holds now, after a collection."""
    session.send("HeapProfiler.collectGarbage")
    metrics = {
        each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]
    }
    return {
        "MiB": metrics["JSHeapUsedSize"] / 2**20,
        "elements": metrics["Nodes"],
        "listeners": metrics["JSEventListeners"],
    }


def drive(page: Page, session: CDPSession, told: dict[str, Any], n_events: int) -> list[float]:
    """The heap before, and after each part."""
    heaps: list[float] = []
    part = n_events // PARTS
    for number in range(PARTS + 1):
        found = held(session)
        heaps.append(found["MiB"])
        shown = ", ".join(f"{value:.1f} {name}" for name, value in found.items())
        print(f"after {number * part:>6} changes: {shown}", flush=True)
        if number < PARTS:
            words = {**told, "first": number * part, "count": part}
            assert page.evaluate(_DRIVE, words), "the page does not show what it was told"
            page.wait_for_timeout(300)
    return heaps


def main() -> int:
    """Drives them, and says whether the heap stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, browser() as opened:
        hive = CliHive(Path(home), FLOWHIVE_FAKE_GPUS="8x80G")
        hive.up()
        try:
            spec = {"command": ["true"], "name": "waits", "request": {"gpus": 64}}
            call = hive.transport.call
            call("POST", "/api/v1/tasks/batch", dict, body={"tasks": [spec] * TASKS})
            tasks = call("GET", "/api/v1/tasks?brief=true&limit=40", dict)["items"]
            told = {
                "tasks": tasks,
                "node": call("GET", "/api/v1/nodes", dict)["items"][0],
                "summary": call("GET", "/api/v1/summary", dict),
            }
            visit = Visit(opened, hive)
            visit.context.add_init_script(_KEEP_LINES)
            visit.sign_in()
            visit.page.get_by_role("status").get_by_text("live").wait_for()
            session = visit.context.new_cdp_session(visit.page)
            session.send("Performance.enable")
            heaps = drive(visit.page, session, told, words.events)
            visit.check_clean()
        finally:
            hive.down()
    # The first part warms caches up: what is kept shows in the others.
    growth = heaps[-1] - heaps[1]
    print(f"growth after the first tenth: {growth:+.1f} MiB")
    return 0 if growth < FLAT_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
