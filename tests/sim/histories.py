"""Many histories at once, and what they had in common."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from msgspec import Struct, field

from fluxhive.sim.protocol_world import ProtocolWorld

SEEDS_FILE = Path(__file__).parents[1] / "seeds.txt"
CHUNK = 20
#: Kinds of worlds, by the last digit of a seed.
KINDS = {7: "hears_late", 8: "goes_back", 9: "has_mistakes"}

#: What every thousand histories must contain: else the claims about it are empty.
SOMETIMES = (
    "a commit that nobody was told of",
    "a final word was said again",
    "a late start was refused",
    "a machine slept through a deadline",
    "a new agent found what had waited for its turn",
    "a machine that was off was given up",
    "a newer connection took the place of an older one",
    "a node held what a restored server did not know",
    "a node was given up by mistake",
    "a place in a row was left",
    "a repeated message was dropped",
    "a report of an old session was dropped",
    "a server lost output that it had heard",
    "a shim did not start what was out of contact too long",
    "a shim stopped its attempt at the deadline",
    "a stale snapshot was ignored",
    "a step waited for a full disk",
    "a stop met nothing",
    "a stop met what waited for its turn",
    "a task that a restore held was released",
    "a turn came",
    "a word of an old connection was heard",
    "an agent hung up on a silent server",
    "an attempt gave up its turn",
    "an attempt lost its supervisor",
    "an attempt was found again by its run directory",
    "an attempt was handed back",
    "an attempt was taken up by a new agent",
    "an end came too late to count",
    "output came a second time",
    "the server hung up on a silent agent",
)


class Found(Struct):
    """What some histories came to."""

    seeds: int = 0
    events: int = 0
    virtual_ms: int = 0
    tasks: int = 0
    attempts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    sometimes: Counter[str] = field(default_factory=Counter)
    #: By seed: what broke, and the last events before it.
    broken: dict[int, tuple[str, list[str]]] = field(default_factory=dict)

    def add(self, other: Found) -> None:
        """Both together."""
        self.seeds += other.seeds
        self.events += other.events
        self.virtual_ms += other.virtual_ms
        self.tasks += other.tasks
        self.attempts += other.attempts
        self.faults += other.faults
        self.sometimes += other.sometimes
        self.broken |= other.broken

    @property
    def n_faults(self) -> int:
        """How many faults there were in all."""
        return sum(self.faults.values())


def play(seed: int, **world_is: bool) -> Found:
    """One history, in a world of some kind (``has_mistakes``, ``hears_late``, ``goes_back``)."""
    world = ProtocolWorld(seed, **world_is)
    found = Found(seeds=1)
    try:
        world.run()
    except Exception as error:  # whatever it is, this seed has found it
        found.broken[seed] = (f"{type(error).__name__}: {error}", list(world.story))
    found.events = world.agenda.n_done
    found.virtual_ms = world.now_ms
    found.tasks = len(world.witness.accepted)
    found.attempts = len(world.witness.processes)
    found.faults = world.faults.counts
    found.sometimes = world.counters
    return found


def world_of(seed: int) -> dict[str, bool]:
    """The kind of world that a seed is played in, where many are: seven of ten are plain."""
    return {KINDS[seed % 10]: True} if seed % 10 in KINDS else {}


def _play_all(seeds: list[int]) -> Found:
    found = Found()
    for seed in seeds:
        found.add(play(seed, **world_of(seed)))
    return found


def play_many(seeds: Iterable[int], *, n_processes: int) -> Iterator[Found]:
    """Many histories, in chunks, as they are done."""
    every = list(seeds)
    chunks = [every[start : start + CHUNK] for start in range(0, len(every), CHUNK)]
    with ProcessPoolExecutor(n_processes) as pool:
        yield from pool.map(_play_all, chunks)


def kept_seeds() -> list[int]:
    """Seeds that once broke something; each is played again for ever."""
    lines = (line.partition("#")[0].strip() for line in SEEDS_FILE.read_text().splitlines())
    return [int(line) for line in lines if line]


def now_s() -> float:
    """A clock for how long it took."""
    return time.monotonic()
