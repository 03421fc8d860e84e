"""What a chaos run came to, for people and for programs; several runs add up."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from msgspec import Struct, convert, field, to_builtins

from .faults import MIX
from .tally import Tally

PROBLEMS_SHOWN = 50
KILLS = ("kill agent", "lose journal", "reboot", "kill server")


class Figures(Struct):
    """One run, or several hives that ran side by side."""

    seeds: list[int] = field(default_factory=list)
    hives: int = 0
    agents: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    #: Agents that ended by themselves and were started again.
    agents_started_again: int = 0
    tally: Tally = field(default_factory=Tally)

    def add(self, other: Figures) -> None:
        """Both together; they ran at the same time."""
        self.seeds += other.seeds
        self.hives += other.hives
        self.agents += other.agents
        self.seconds = max(self.seconds, other.seconds)
        self.faults += other.faults
        self.agents_started_again += other.agents_started_again
        self.tally.add(other.tally)

    @property
    def n_faults(self) -> int:
        """How many faults there were in all."""
        return sum(self.faults.values())

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(to_builtins(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Figures:
        """What ``write`` wrote."""
        return convert(json.loads(path.read_text()), cls, dec_hook=lambda kind, found: kind(found))

    def say(self) -> int:
        """Prints it; the last line is the tally. 1 unless nothing was lost."""
        for problem in self.tally.problems[:PROBLEMS_SHOWN]:
            print(f"  {problem}")
        made = ", ".join(f"{self.faults[kind]} {kind}" for kind in MIX)
        killed = sum(self.faults[kind] for kind in KILLS)
        print(
            f"faults: {made} ({100 * killed / max(1, self.n_faults):.1f} % kill agent or server; "
            f"{self.agents_started_again} times an agent ended by itself and was started again; "
            f"{self.tally.waited_for_a_person} tasks of a lost journal waited for a person)"
        )
        ends = self.tally.ends.most_common()
        print("ends: " + ", ".join(f"{n} {kind}" for kind, n in ends))
        hives = f" in {self.hives} hives" if self.hives > 1 else ""
        print(
            f"chaos: {self.n_faults} faults over {self.agents} agents{hives} "
            f"in {self.seconds / 60:.1f} min, {self.tally.sentence()}"
        )
        return 0 if self.tally.is_clean else 1
