"""Real outputs of programs that failed, with how each must be named: ``tests/unit/core/outputs/``.

A file has many of them. Each begins with ``=== what it is``; lines ``key: value`` follow up to
``---``; then the output comes as it was written. ``source`` is ``run`` with the versions that
printed it, or ``shape``: written from what such programs print.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from fluxhive.core.outcome import ExitFacts, GpuScene, HostScene, Neighbour
from fluxhive.core.request import GpuShare, Reservation
from fluxhive.core.signs import find_signs
from fluxhive.core.values import AttemptId, GpuUuid, NodeId

DIRECTORY = Path(__file__).parents[1] / "unit" / "core" / "outputs"
UUID = GpuUuid("GPU-2")
RESERVED_MIB = 20_480


class Output(Struct, frozen=True, kw_only=True):
    """One of them."""

    name: str
    said: dict[str, str]
    text: str

    @property
    def facts(self) -> ExitFacts:
        """What a node would know."""
        kind, _, number = self.said.get("exit", "1").rpartition(" ")
        lines: list[str] = []
        if "repeat" in self.said:
            count, _, line = self.said["repeat"].partition(" ")
            lines = [line.format(n=n) for n in range(int(count))]
        text = "\n".join([self.text, *lines])
        is_stdout = self.said.get("stream") == "stdout"
        return ExitFacts(
            exit_code=None if kind == "signal" else int(number),
            signal=int(number) if kind == "signal" else None,
            peak_memory_mib=int(self.said.get("rss", "0")),
            signs=find_signs(
                stderr="" if is_stdout else text, stdout=text if is_stdout else "step 1 loss 0.7\n"
            ),
            gpus=self._scenes(),
            host=self._host(),
            judged=1,
        )

    @property
    def reservation(self) -> Reservation:
        """One GPU, unless it says ``gpus: 0``."""
        share = GpuShare(uuid=UUID, index=2, gpu_memory_mib=RESERVED_MIB)
        return Reservation(
            node_id=NodeId("n-1"),
            gpus=() if self.said.get("gpus") == "0" else (share,),
            memory_mib=int(self.said.get("reserved", "0")),
        )

    def _scenes(self) -> tuple[GpuScene, ...]:
        if "scene" not in self.said:
            return ()
        words = _words(self.said["scene"])
        neighbours = []
        for each in filter(None, words.get("neighbours", "").split(",")):
            name, _, figures = each.partition(":")
            used, _, reserved = figures.partition("/")
            neighbours.append(
                Neighbour(
                    attempt_id=AttemptId(name), used_mib=int(used), reserved_mib=int(reserved)
                )
            )
        return (
            GpuScene(
                uuid=UUID,
                index=2,
                total_mib=int(words["total"]),
                reserved_mib=RESERVED_MIB,
                used_mib=int(words["own"]),
                free_mib=int(words["free"]),
                foreign_mib=int(words.get("foreign", "0")),
                neighbours=tuple(neighbours),
            ),
        )

    def _host(self) -> HostScene | None:
        if "host" not in self.said:
            return None
        words = {name: int(value) for name, value in _words(self.said["host"]).items()}
        return HostScene(
            own_kills=words.get("own"),
            node_kills=words.get("node", 0),
            available_mib=words.get("available"),
        )


def outputs() -> list[Output]:
    """All of them."""
    found = [each for path in sorted(DIRECTORY.glob("*.out")) for each in _read(path)]
    assert len({each.name for each in found}) == len(found), "two have one name"
    return found


def _read(path: Path) -> Iterator[Output]:
    for part in path.read_text().split("\n=== ") if path.exists() else ():
        head, _, text = part.removeprefix("=== ").partition("\n---\n")
        if not _:
            head, text = head.removesuffix("\n---"), ""
        name, *lines = head.splitlines()
        said = dict(line.split(": ", 1) for line in lines)
        yield Output(name=name, said=said, text=text)


def _words(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split())
