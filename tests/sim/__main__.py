"""``./dev sim``: so many histories of a simulated hive, each decided by its seed.

Prints what went wrong on purpose, how much time passed in there, and what broke. A seed that breaks
something is printed with its last events and belongs into ``tests/seeds.txt``, where it stays.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from pathlib import Path

from .histories import SOMETIMES, Found, kept_seeds, now_s, play_many

BROKEN_SHOWN = 5


def main() -> int:
    """Runs it; 1 when anything broke or a counter that must be above zero is not."""
    parser = argparse.ArgumentParser(prog="./dev sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many (2,000)")
    parser.add_argument("--start", type=int, help="the first seed; without it a random one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (cores)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    told = parser.parse_args()
    start = random.randrange(10**9) if told.start is None else told.start
    began_s = now_s()
    total = Found()
    seeds = [*kept_seeds(), *range(start, start + told.seeds)]
    print(f"sim: seeds {start} to {start + told.seeds - 1}, and {len(kept_seeds())} kept ones")
    for found in play_many(seeds, n_processes=told.jobs):
        said = total.seeds // 1_000
        total.add(found)
        if total.seeds // 1_000 > said:
            text = f"{total.seeds} seeds, {total.n_faults} faults, {len(total.broken)} broken"
            print(f"sim: {text}", flush=True)
    return report(total, start, told.json, now_s() - began_s)


def report(total: Found, start: int, path: str | None, seconds: float) -> int:
    """Says what was found; the last line is the sum."""
    for seed, (error, story) in list(total.broken.items())[:BROKEN_SHOWN]:
        print(f"seed {seed}: {error}")
        for line in story:
            print(f"    {line}")
    print("faults: " + ", ".join(f"{n} {kind}" for kind, n in total.faults.most_common()))
    print("sometimes: " + ", ".join(f"{n} {what}" for what, n in total.sometimes.most_common()))
    never = [what for what in SOMETIMES if not total.sometimes[what]]
    is_enough = total.seeds >= 1_000
    if never and is_enough:
        print("never, and has to happen in so many: " + ", ".join(never))
    if path:
        figures = {
            "start": start,
            "seeds": total.seeds,
            "seconds": round(seconds),
            "events": total.events,
            "virtual_hours": round(total.virtual_ms / 3_600_000),
            "tasks": total.tasks,
            "programs": total.attempts,
            "faults": dict(total.faults),
            "sometimes": dict(total.sometimes),
            "broken": {seed: error for seed, (error, _) in total.broken.items()},
        }
        Path(path).write_text(json.dumps(figures, indent=1) + "\n")
    print(
        f"sim: {total.seeds} seeds, {total.n_faults} faults, {total.events} events, "
        f"{total.tasks} tasks, {total.virtual_ms / 3_600_000:.0f} virtual hours "
        f"in {seconds:.0f} s: {len(total.broken)} broken"
        + (f", first seeds {sorted(total.broken)[:10]}" if total.broken else "")
    )
    return 1 if total.broken or (never and is_enough) else 0


if __name__ == "__main__":
    sys.exit(main())
