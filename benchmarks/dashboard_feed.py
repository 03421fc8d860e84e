#!/usr/bin/env python3
"""What the dashboard's page holds, and how long it takes for a change, in the course of a day.

    ./dev web && python benchmarks/dashboard_feed.py

A real hive and its overview in Debian's Chromium, whose clock and timers go so fast that a day is
over in five minutes. Each second of that day the channel tells of something: a task that the page
shows, readings of its GPUs, counts; each five minutes of lists to be read again, each ten of other
arrays on its GPUs, whose members are asked for. After each tenth of the day what scripts hold is
told, after a collection, with the elements and listeners that are there, and the processor time of
the page for a change. The last figures are near the first ones, or something is kept.
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
DAY_S = 86_400
#: So many seconds of that day go by in one.
SCALE = 288
#: Growth beyond this between the first and the last tenth is called one.
FLAT_MIB = 3.0
#: Keeps the page's newest line where the benchmark finds it.
_KEEP_LINE = """
window.WebSocket = class extends window.WebSocket {
  constructor(...words) { super(...words); window.line = this; }
};
"""
#: Timers and dates of the page go `hurry` times as fast from when that is set.
_FAST_CLOCK = """
window.hurry = 1;
{
  const [later, stop, RealDate] = [window.setTimeout, window.clearTimeout, window.Date];
  let [fromMs, realFromMs, rate] = [RealDate.now(), RealDate.now(), 1];
  const now = () => {
    const realMs = RealDate.now();
    if (rate !== window.hurry) {
      [fromMs, realFromMs, rate] = [fromMs + (realMs - realFromMs) * rate, realMs, window.hurry];
    }
    return Math.floor(fromMs + (realMs - realFromMs) * rate);
  };
  window.Date = class extends RealDate {
    constructor(...words) { words.length ? super(...words) : super(now()); }
    static now() { return now(); }
  };
  window.setTimeout = (action, ms = 0, ...words) => later(action, ms / window.hurry, ...words);
  const turns = new Map();
  window.setInterval = (action, ms = 0, ...words) => {
    const turn = () => { turns.set(id, later(turn, ms / window.hurry)); action(...words); };
    const id = later(turn, ms / window.hurry);
    turns.set(id, id);
    return id;
  };
  window.clearInterval = (id) => { stop(turns.get(id) ?? id); turns.delete(id); };
}
"""
#: Tells the page of something each second of its day, until so many seconds have gone by.
_DRIVE = """
({tasks, node, summary, first, count}) => new Promise((done) => {
  const words = ['queued', 'starting', 'running', 'succeeded', 'failed'];
  let n = first;
  const onGpus = () => node.gpus.map((gpu, i) => (
    {...gpu, attempts: [`t-zz${Math.floor(n / 600)}[${i}].1`]}));
  const tell = () => {
    const task = {...tasks[n % tasks.length], word: words[n % words.length], reason: `turn ${n}`};
    const gpus = node.gpus.map(({report}) => ({...report, utilization_percent: n % 101}));
    const changes = {
      type: 'changes', seq: 1e9 + n, tasks: [task], n_tasks: n % 300 ? 0 : 1,
      readings: [{node_id: node.id, gpus}],
      nodes: n % 600 ? [] : [{...node, gpus: onGpus()}],
      summary: {...summary, counts: {...summary.counts, queued: n}},
    };
    window.line.onmessage({data: JSON.stringify(changes)});
    n += 1;
    if (n < first + count) return;
    clearInterval(ticking);
    const shown = (n - 1).toLocaleString('en-US');
    requestAnimationFrame(() => requestAnimationFrame(() =>
      done(document.body.innerText.includes(shown))));
  };
  const ticking = setInterval(tell, 1000);
})
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
        "s": metrics["TaskDuration"],
    }


def drive(page: Page, session: CDPSession, told: dict[str, Any], n_events: int) -> list[float]:
    """The heap before, and after each part."""
    heaps: list[float] = []
    part = n_events // PARTS
    worked_s = held(session)["s"]
    page.evaluate(f"window.hurry = {SCALE}")
    for number in range(PARTS + 1):
        found = held(session)
        heaps.append(found["MiB"])
        change_ms = (found["s"] - worked_s) / part * 1000
        print(
            f"after {number * part:>6} s: {found['MiB']:.2f} MiB, "
            f"{found['elements']:.0f} elements, {found['listeners']:.0f} listeners, "
            f"{change_ms:.2f} ms a change",
            flush=True,
        )
        if number < PARTS:
            worked_s = held(session)["s"]
            words = {**told, "first": number * part, "count": part}
            assert page.evaluate(_DRIVE, words), "the page does not show what it was told"
    return heaps


def main() -> int:
    """Plays the day, and says whether the heap stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=DAY_S, help="of that day")
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
            visit.context.add_init_script(_KEEP_LINE + _FAST_CLOCK)
            visit.sign_in()
            visit.page.get_by_role("status").get_by_text("live").wait_for()
            session = visit.context.new_cdp_session(visit.page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            heaps = drive(visit.page, session, told, words.seconds)
        finally:
            hive.down()
    # The first part warms caches up: what is kept shows in the others.
    growth = heaps[-1] - heaps[1]
    print(f"growth after the first tenth: {growth:+.1f} MiB")
    return 0 if growth < FLAT_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
