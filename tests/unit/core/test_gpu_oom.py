"""A GPU that is full, told to a node: who filled it is found out from the readings around the end.

Each test runs two attempts on one GPU of 80 GiB, 20 GiB reserved for each; ``t1.1`` runs out.
"""

from __future__ import annotations

from msgspec.structs import replace

from fluxhive.core.gpu_trend import WINDOW_MS
from fluxhive.core.node import AttemptUsage, GpuReport, GpuState
from fluxhive.core.outcome import Blame, ExitFacts, GpuOom, OutcomeKind, Sign
from fluxhive.core.reports import AttemptEnded
from fluxhive.core.values import AttemptId
from tests.helpers.factories import gpu
from tests.helpers.node_story import NodeStory

CARD = gpu("A")
RAN_OUT = ExitFacts(
    exit_code=1,
    signs=(Sign(stream="stderr", text="CUDA out of memory. Tried to allocate 2.00 GiB."),),
)


def reading(
    *, foreign_mib: int = 0, state: GpuState = GpuState.HEALTHY, **used_mib: int
) -> GpuReport:
    """``t1=6144`` is what attempt ``t1.1`` uses."""
    uses = tuple(
        AttemptUsage(attempt_id=AttemptId(f"{name}.1"), used_mib=mib)
        for name, mib in used_mib.items()
    )
    return replace(
        CARD,
        used_mib=foreign_mib + sum(used_mib.values()),
        foreign_mib=foreign_mib,
        attempts=uses,
        state=state,
    )


def two_run() -> NodeStory:
    node = NodeStory(gpus=(CARD,))
    for attempt, pid in (("t1.1", 11), ("t2.1", 22)):
        node.dispatch(attempt, gpus={"A": "20G"})
        node.ready(attempt)
        node.starts(attempt, pid)
    return node


def end_of(node: NodeStory, attempt: str = "t1.1") -> AttemptEnded:
    final = node.final(attempt)
    assert isinstance(final, AttemptEnded)
    return final


def oom_of(node: NodeStory) -> GpuOom:
    ended = end_of(node)
    assert ended.outcome.kind is OutcomeKind.GPU_OOM
    assert ended.outcome.oom is not None
    return ended.outcome.oom


def test_a_neighbour_beyond_its_reservation_is_the_culprit() -> None:
    node = two_run()
    node.reads(reading(t1=6_144, t2=70_000))
    node.exits(facts=RAN_OUT)
    node.reads(reading(t2=70_000))
    oom = oom_of(node)
    assert (oom.blame, oom.culprit) == (Blame.NEIGHBOUR, "t2.1")
    assert (oom.requested_mib, oom.used_mib, oom.reserved_mib) == (2_048, 6_144, 20_480)


def test_a_culprit_that_was_not_seen_before_the_end_is_seen_after_it() -> None:
    node = two_run()
    node.reads(reading(t1=6_144, t2=9_000))
    node.exits(facts=RAN_OUT)
    node.reads(reading(t2=75_000))
    assert oom_of(node).culprit == "t2.1"


def test_who_goes_beyond_its_own_reservation_is_no_victim() -> None:
    node = two_run()
    node.reads(reading(t1=40_000, t2=41_000))
    node.exits(facts=RAN_OUT)
    node.reads(reading(t2=41_000))
    oom = oom_of(node)
    assert (oom.blame, oom.culprit) == (Blame.OWN, None)


def test_a_neighbour_within_its_reservation_is_not_blamed() -> None:
    node = two_run()
    node.reads(reading(t1=19_000, t2=20_000))
    node.exits(facts=RAN_OUT)
    node.reads(reading(t2=20_000))
    assert oom_of(node).blame is Blame.OWN


def test_foreign_use_that_leaves_no_room_is_to_blame() -> None:
    node = two_run()
    node.reads(reading(t1=6_144, t2=9_000, foreign_mib=64_000))
    node.exits(facts=RAN_OUT)
    node.reads(reading(t2=9_000, foreign_mib=64_000))
    oom = oom_of(node)
    assert (oom.blame, oom.culprit) == (Blame.NEIGHBOUR, None)


def test_what_a_neighbour_used_long_ago_is_nobodys_concern() -> None:
    node = two_run()
    node.reads(reading(t1=6_144, t2=70_000))
    node.waits(WINDOW_MS + 1)
    node.reads(reading(t1=6_144, t2=9_000))
    node.exits(facts=RAN_OUT)
    node.reads(reading(t2=9_000))
    assert oom_of(node).blame is Blame.OWN


def test_a_neighbour_that_is_forgotten_is_not_held_to_a_reservation_of_nothing() -> None:
    node = two_run()
    node.reads(reading(t1=6_144, t2=9_000))
    node.exits("t2.1")
    node.reads(reading(t1=6_144))
    node.forget("t2.1")
    node.exits(facts=RAN_OUT)
    node.reads(reading())
    assert oom_of(node).blame is Blame.OWN


def test_the_facts_say_how_the_gpu_was_used() -> None:
    node = two_run()
    node.reads(reading(t1=6_144, t2=70_000))
    node.exits(facts=RAN_OUT)
    node.reads(reading(t2=70_000))
    ended = end_of(node)
    (scene,) = ended.facts.gpus
    assert (scene.used_mib, scene.free_mib) == (6_144, CARD.total_mib - 76_144)
    assert [(each.attempt_id, each.used_mib, each.reserved_mib) for each in scene.neighbours] == [
        ("t2.1", 70_000, 20_480)
    ]
    assert ended.facts.judged == 1


def test_a_reading_that_is_too_old_accuses_nobody() -> None:
    node = two_run()
    node.reads(replace(reading(t1=6_144, t2=70_000), stale=True))
    node.exits(facts=RAN_OUT)
    node.waits("6s")
    assert oom_of(node).blame is Blame.OWN
