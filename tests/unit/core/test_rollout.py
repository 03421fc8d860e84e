"""One way in which the next hours may go, on a few nodes: who starts when, and where.

Each test is one rule of rollout.py, with lengths that are known, so that times are exact.
"""

from __future__ import annotations

from msgspec.structs import replace

from fluxhive.core.booking import Booking
from fluxhive.core.durations import Lengths
from fluxhive.core.node import AttemptUsage, Node, NodeState
from fluxhive.core.node_record import NodeRecord
from fluxhive.core.placement import Terms
from fluxhive.core.policy import FIFO, HIVE, MINUTE_MS, Policy
from fluxhive.core.quota import QuotaScope
from fluxhive.core.request import GpuShare, Reservation
from fluxhive.core.rollout import (
    ROLLOUTS,
    Outset,
    Rollout,
    Runner,
    Started,
    Waiter,
    family_of,
    rows_of,
)
from fluxhive.core.values import AttemptId, GpuUuid, Ms, NodeId, TaskId
from tests.helpers import factories
from tests.helpers.factories import mib

NOW_MS: Ms = 600 * MINUTE_MS


class Scene:
    """Nodes, what runs on them, and who waits; times are minutes from now."""

    def __init__(self, policy: Policy = HIVE) -> None:
        self.policy = policy
        self.records: dict[str, NodeRecord] = {}
        self.runners: list[Runner] = []
        self.waiters: list[Waiter] = []
        self.promised: dict[TaskId, None] = {}

    def node(self, name: str, n_gpus: int = 1, cpus: int = 8) -> None:
        reports = [factories.gpu(f"{name}-{at}", at) for at in range(n_gpus)]
        inventory = factories.inventory(*reports, cpus=cpus)
        node = Node(id=NodeId(name), label=name, state=NodeState.READY, inventory=inventory)
        self.records[name] = NodeRecord(node)
        self.records[name].set_open(True)

    def runs(
        self,
        who: str,
        *gpus: str,
        ends: int,
        size: str = "",
        uses: str = "",
        cpus: int = 1,
        expected: int | None = None,
    ) -> None:
        """Somebody has these GPUs whole, or so much of one."""
        attempt_id = AttemptId(who)
        record = self.records[gpus[0].split("-")[0]]
        shares = [
            GpuShare(uuid=GpuUuid(gpu), index=int(gpu[-1]), gpu_memory_mib=mib(size or "80G") or 0)
            for gpu in gpus
        ]
        held = Reservation(
            node_id=record.node.id, gpus=tuple(shares), exclusive=not size, cpus=cpus
        )
        record.hold(attempt_id, held)
        record.expect_end(attempt_id, NOW_MS + (ends if expected is None else expected) * MINUTE_MS)
        if uses:
            gpu = record.gpus[GpuUuid(gpus[0])]
            use = AttemptUsage(attempt_id=attempt_id, used_mib=mib(uses) or 0)
            gpu.read(replace(gpu.report, attempts=(*gpu.report.attempts, use)))
        lengths = Lengths(((600 + ends) * MINUTE_MS,), (1,))
        self.runners.append(Runner(who, TaskId(who), 0, lengths))

    def waits(
        self,
        name: str,
        size: str = "",
        *,
        gpus: int = 1,
        lasts: int = 60,
        rank: int = 0,
        ages: float = 0.0,
        came: int = 0,
        cpus: int = 1,
        on: tuple[str, ...] = (),
    ) -> None:
        """Somebody waits for whole GPUs, or for so much of one."""
        request = replace(
            factories.request(gpus=gpus, gpu_memory=size or None, exclusive=not size, cpus=cpus),
            on_nodes=on,
        )
        terms = Terms(self.policy, 0, NOW_MS + lasts * MINUTE_MS, TaskId(name))
        self.waiters.append(
            Waiter(
                task_id=TaskId(name),
                number=len(self.waiters),
                submitted_at_ms=NOW_MS - came * MINUTE_MS,
                request=request,
                owner="ann",
                excluded=(),
                terms=terms,
                rank=rank,
                rank_per_ms=ages,
                lengths=Lengths((lasts * MINUTE_MS,), (1,)),
                family=family_of(request, terms, "", ()),
            )
        )

    def promise(self, name: str, *gpus: str, by: int) -> None:
        self.promised[TaskId(name)] = None
        for record in self.records.values():
            for uuid, gpu in record.gpus.items():
                if uuid in gpus:
                    gpu.promised = TaskId(name), NOW_MS + by * MINUTE_MS

    def book(self, gpu: str, until: int) -> None:
        until_ms = NOW_MS + until * MINUTE_MS
        booking = Booking(
            id="b-1",
            scope=QuotaScope.USER,
            name="bob",
            gpus=(GpuUuid(gpu),),
            from_ms=NOW_MS,
            until_ms=until_ms,
            by="root",
        )
        self.records[gpu.split("-")[0]].gpus[GpuUuid(gpu)].bookings = (booking,)
        self.runners.append(Runner("b-1", TaskId("b-1"), 0, Lengths((until_ms,), (1,))))

    def start(self, name: str, number: int = 0) -> Started:
        rows, kinds = rows_of(self.waiters)
        outset = Outset(
            NOW_MS,
            self.policy,
            list(self.records.values()),
            self.runners,
            rows,
            kinds,
            self.promised,
        )
        found = Rollout(outset, number).start_of(TaskId(name))
        assert found is not None, f"{name} does not start"
        return found

    def minute(self, name: str, number: int = 0) -> float:
        return (self.start(name, number).at_ms - NOW_MS) / MINUTE_MS


def test_where_there_is_room_it_starts_at_once() -> None:
    scene = Scene()
    scene.node("n1")
    scene.waits("t")
    assert scene.start("t").after is None
    assert scene.minute("t") == 0


def test_whoever_starts_holds_what_it_took_and_gives_it_back() -> None:
    scene = Scene()
    scene.node("n1")
    scene.runs("a", "n1-0", ends=5)
    scene.waits("t1", lasts=30)
    scene.waits("t2")
    assert scene.minute("t2") == 35
    assert scene.start("t2").after == "t1"


def test_nothing_is_over_before_now() -> None:
    """It has run longer than all that is known of it."""
    scene = Scene()
    scene.node("n1")
    scene.runs("a", "n1-0", ends=-90)
    scene.waits("t")
    assert scene.minute("t") == 0


def test_what_somebody_used_is_free_when_he_is_gone() -> None:
    scene = Scene()
    scene.node("n1")
    scene.runs("a", "n1-0", ends=5, size="30G", uses="30G")
    scene.waits("t", "60G")
    assert scene.minute("t") == 5


def test_rollouts_differ_and_names_are_drawn_apart() -> None:
    scene = Scene()
    lengths = Lengths(tuple((600 + at) * MINUTE_MS for at in range(10)), tuple(range(1, 11)))
    for at in range(8):
        scene.node(f"n{at}")
        scene.runs(f"a{at}", f"n{at}-0", ends=0)
        scene.runners[-1] = scene.runners[-1]._replace(lengths=lengths)
        scene.waits(f"t{at}", on=(f"n{at}",))
    of_one = {scene.minute("t3", number) for number in range(ROLLOUTS)}
    assert len(of_one) == ROLLOUTS
    assert len({scene.minute(f"t{at}") for at in range(8)}) > 3


# ── the order ─────────────────────────────────────────────────────────────────────────────────


def test_who_ages_faster_goes_first_when_the_time_has_come() -> None:
    scene = Scene()
    scene.node("n1")
    scene.runs("a", "n1-0", ends=5)
    scene.waits("ahead", rank=-100)
    scene.waits("ages", ages=-1.0)
    assert scene.minute("ages") == 5


def test_who_asks_for_less_starts_where_more_does_not_fit() -> None:
    scene = Scene()
    scene.node("n1")
    scene.runs("a", "n1-0", ends=5, size="10G")
    scene.runs("b", "n1-0", ends=90, size="20G")
    scene.waits("large", "70G", rank=-1)
    scene.waits("small", "45G")
    assert scene.minute("small") == 0
    assert scene.minute("large") == 90


def test_where_nobody_passes_the_first_nobody_does() -> None:
    scene = Scene(replace(FIFO, memory=HIVE.memory))
    scene.node("n1", 2)
    scene.runs("a", "n1-0", ends=5)
    scene.waits("pair", gpus=2, lasts=10)
    scene.waits("single")
    assert scene.minute("single") == 15


def test_all_that_was_freed_can_be_taken() -> None:
    scene = Scene()
    scene.node("n1", 2)
    scene.runs("a", "n1-0", "n1-1", ends=5)
    scene.waits("pair", gpus=2, lasts=10)
    scene.waits("much", "79G")
    assert scene.minute("pair") == 5
    assert scene.minute("much") == 15


def test_who_needs_fewer_cpus_starts_where_more_are_not_free() -> None:
    scene = Scene()
    scene.node("n1", cpus=8)
    scene.runs("a", "n1-0", ends=30, size="10G", cpus=6)
    scene.waits("eight", "20G", cpus=8, rank=-1)
    scene.waits("one", "20G", cpus=1)
    assert scene.minute("one") == 0


def test_who_may_go_elsewhere_does() -> None:
    scene = Scene()
    scene.node("n1")
    scene.node("n2")
    scene.runs("a", "n1-0", ends=30)
    scene.waits("there", on=("n1",), rank=-1)
    scene.waits("anywhere")
    assert scene.minute("anywhere") == 0


def test_it_is_put_where_others_run_as_long_as_it_does() -> None:
    """What starts in a rollout is expected to end, too."""
    scene = Scene()
    scene.node("n1")
    scene.node("n2")
    scene.runs("a", "n1-0", ends=5, size="35G")
    scene.runs("b", "n2-0", ends=60, size="38G")
    # Of both nodes, so that both have room at one moment; n2 is the tighter one then.
    scene.runs("both", "n1-0", ends=10, size="40G")
    scene.runs("both", "n2-0", ends=10, size="40G")
    del scene.runners[-1]
    scene.waits("long", "30G", lasts=600)
    scene.waits("next", "40G", lasts=500)
    assert scene.minute("long") == 5
    assert scene.minute("next") == 10
    assert scene.start("next").reservations[0].node_id == "n1"


# ── what is kept ──────────────────────────────────────────────────────────────────────────────


def two_gpus(*, gang_came: int) -> Scene:
    """One comes free after 5 minutes, one after 8; a gang of two, and a long task before it."""
    scene = Scene()
    scene.node("n1", 2)
    scene.runs("a", "n1-0", ends=5)
    scene.runs("b", "n1-1", ends=8)
    scene.waits("gang", gpus=2, came=gang_came, lasts=10)
    scene.waits("single", rank=-1, lasts=300)
    return scene


def test_a_gang_that_just_came_is_promised_nothing() -> None:
    assert two_gpus(gang_came=0).minute("single") == 5


def test_a_gang_that_has_waited_is_promised_what_comes_free() -> None:
    scene = two_gpus(gang_came=11)
    assert scene.minute("gang") == 8
    assert scene.minute("single") == 18


def test_the_promise_is_of_what_is_free_first() -> None:
    scene = Scene()
    scene.node("n1", 2)
    scene.node("n2", 2)
    scene.runs("x", "n1-0", "n1-1", ends=60)
    scene.runs("a", "n2-0", ends=5)
    scene.runs("b", "n2-1", ends=8)
    scene.waits("gang", gpus=2, came=11)
    scene.waits("single", rank=-1, lasts=300)
    assert scene.minute("gang") == 8


def test_there_is_one_promise_on_few_nodes() -> None:
    scene = Scene()
    scene.node("n1", 2)
    scene.node("n2", 2)
    scene.runs("a", "n1-0", "n1-1", ends=30)
    scene.runs("b", "n2-0", ends=5)
    scene.runs("c", "n2-1", ends=40)
    scene.waits("first", gpus=2, came=20, rank=-3)
    scene.waits("second", gpus=2, came=20, rank=-2)
    scene.waits("single", rank=-1, lasts=300)
    assert scene.minute("single") == 5


def test_who_was_promised_something_goes_first() -> None:
    scene = Scene()
    scene.node("n1", 2)
    scene.runs("a", "n1-0", "n1-1", ends=5)
    scene.waits("gang", gpus=2)
    scene.waits("short", rank=-1, lasts=60)
    scene.promise("gang", "n1-0", "n1-1", by=300)
    assert scene.minute("gang") == 5


def test_what_was_promised_is_free_for_all_once_the_gang_has_started() -> None:
    scene = Scene()
    scene.node("n1", 2)
    scene.runs("a", "n1-0", "n1-1", ends=5)
    scene.waits("gang", gpus=2, lasts=10)
    scene.waits("long", lasts=300)
    scene.promise("gang", "n1-0", "n1-1", by=5)
    assert scene.minute("long") == 15


def test_after_one_gang_the_next_is_promised_something() -> None:
    scene = Scene()
    scene.node("n1", 2)
    scene.runs("a", "n1-0", "n1-1", ends=5)
    scene.waits("gang", gpus=2, lasts=10)
    scene.waits("next", gpus=2, lasts=20, came=30)
    scene.waits("single", rank=-1, lasts=300)
    scene.promise("gang", "n1-0", "n1-1", by=5)
    assert scene.minute("next") == 15


def test_how_long_it_takes_counts_from_when_it_would_start() -> None:
    """It would be done before the promise were it to start now, but room comes later."""
    scene = Scene()
    scene.node("n1", 2)
    scene.node("n2")
    scene.runs("a", "n1-0", ends=30)
    scene.runs("b", "n1-1", ends=70)
    scene.runs("c", "n2-0", ends=100)
    scene.waits("gang", gpus=2)
    scene.waits("hour", rank=-1, lasts=60)
    scene.promise("gang", "n1-0", "n1-1", by=70)
    assert scene.minute("hour") == 100


def test_who_is_done_in_time_starts_on_what_is_promised_where_a_longer_one_does_not() -> None:
    scene = Scene()
    scene.node("n1", 2)
    scene.runs("b", "n1-1", ends=70)
    scene.waits("gang", gpus=2)
    scene.waits("long", "20G", rank=-2, lasts=300)
    scene.waits("short", "20G", rank=-1, lasts=20)
    scene.promise("gang", "n1-0", "n1-1", by=70)
    assert scene.minute("short") == 0


def test_who_asks_for_less_finds_room_beside_what_is_promised() -> None:
    """The larger one would fit on the promised GPU alone; it says nothing about a smaller one."""
    scene = Scene()
    scene.node("n1", 2)
    scene.node("n2")
    scene.runs("b", "n1-1", ends=70)
    scene.runs("c", "n2-0", ends=90, size="50G")
    scene.waits("gang", gpus=2)
    scene.waits("large", "45G", rank=-2, lasts=300)
    scene.waits("small", "20G", rank=-1, lasts=300)
    scene.promise("gang", "n1-0", "n1-1", by=70)
    assert scene.minute("small") == 0
    assert scene.minute("large") == 90


def test_what_is_booked_is_free_when_the_booking_is_over() -> None:
    scene = Scene()
    scene.node("n1")
    scene.book("n1-0", until=40)
    scene.waits("t")
    assert scene.minute("t") == 40
    assert scene.start("t").after == "b-1"
