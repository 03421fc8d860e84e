"""The index of free room answers as a look at every node does, whatever has happened."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from fluxhive.core.lines import ShapeKey
from fluxhive.core.node import Node, NodeState
from fluxhive.core.node_record import NodeRecord
from fluxhive.core.placement import Terms, find
from fluxhive.core.policy import FIFO, HIVE, Policy
from fluxhive.core.request import Request, Reservation
from fluxhive.core.room_index import RoomIndex
from fluxhive.core.short_way import UNSURE, ShortWay, is_plain
from fluxhive.core.values import AttemptId, GpuUuid, NodeId, TaskId
from tests.helpers import factories

NODES, GPUS = 5, 4
POLICIES = (
    HIVE,
    FIFO,
    replace(HIVE, utilization_percent_max=0, tasks_per_gpu_max=2),
    replace(HIVE, aligns_ends=False),
)

CHANGES = ("place",) * 6 + ("end",) * 5 + ("read", "promise", "open", "drain", "kind", "move")


def a_request(chance: Random) -> Request:
    """Any kind of request, so that each way to look is gone."""
    pick = chance.choice
    gpus = pick([0, 1, 1, 1, 1, 1, 1, 2, 4])
    gib = pick([None, 2, 3, 5, 8, 11, 12, 30, 79])
    return Request(
        gpus=gpus,
        gpu_memory_mib=gib * 1024 if gpus and gib else None,
        exclusive=bool(gpus) and chance.random() < 0.1,
        cpus=pick([0, 0, 1, 1, 3]),
        memory_mib=pick([None, None, None, 5_000, 70_000]),
        nodes=pick([1] * 8 + [2, 3]),
        gpu_model=pick([None, None, None, None, "large", "small"]) if gpus else None,
        tags=("fast",) if chance.random() < 0.15 else (),
        on_nodes=("n1", "n3") if chance.random() < 0.1 else (),
    )


def a_plain_request(chance: Random) -> Request:
    """A share of one GPU, as the short way knows it."""
    mib = 1024 * chance.choice([2, 3, 5, 8, 11, 12, 30, 79])
    return Request(gpus=1, gpu_memory_mib=mib, cpus=chance.choice([0, 0, 1, 1, 3]))


class Fleet:
    """Nodes that change, and the index that follows them."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.index = RoomIndex(policy)
        self.records: dict[NodeId, NodeRecord] = {}
        self.n_placed = 0
        #: What the short way said.
        self.said: list[object] = []
        for number in range(NODES):
            self.join(number)

    def join(self, number: int) -> None:
        name = f"n{number}"
        gpus = [
            replace(
                factories.gpu(f"{name}-{at}", at, ["80G", "40G"][(number + at // 2) % 2]),
                model=["large", "small"][(number + at // 2) % 2],
            )
            for at in range(GPUS if number else 0)
        ]
        inventory = factories.inventory(*gpus, cpus=8, memory="64G")
        node = Node(
            id=NodeId(name),
            label=name,
            state=NodeState.READY,
            inventory=replace(inventory, tags=("fast",) if number > 2 else ()),
            only_for="bob" if number == 4 else None,
        )
        record = NodeRecord(node, self.index.touched)
        record.set_open(True)
        self.records[node.id] = record

    def same(self, request: Request, owner: str, kept_off: tuple[NodeId, ...], by: Terms) -> None:
        """Asks both; what fits is held from now on."""
        plain = find(request, owner, kept_off, self.records.values(), by)
        assert self.index.find(request, owner, kept_off, by) == plain
        self.same_the_short_way(request, owner, kept_off, by, plain)
        self.n_placed += 1
        for held in plain or ():
            record = self.records[held.node_id]
            record.hold(AttemptId(f"a{self.n_placed}"), held)
            # Sooner than was thought, so that nodes differ in how much longer the next one takes.
            end_ms = by.done_at_ms // (1 + self.n_placed % 7)
            record.expect_end(AttemptId(f"a{self.n_placed}"), end_ms)

    def same_the_short_way(
        self,
        request: Request,
        owner: str,
        kept_off: tuple[NodeId, ...],
        by: Terms,
        plain: tuple[Reservation, ...] | None,
    ) -> None:
        """Where the short way is sure, it says what a look at every node says."""
        key = ShapeKey(
            request,
            owner,
            kept_off,
            by.utilization_percent,
            learned_memory_mib=by.learned_memory_mib,
        )
        if is_plain(key):
            said = ShortWay(self.index, key, self.policy).find(by.done_at_ms)
            self.said.append(said)
            assert said is UNSURE or said == plain

    def change(self, what: str, pick: int) -> None:
        record = self.records[NodeId(f"n{pick % NODES}")]
        gpus = list(record.gpus.values())
        if what == "end" and record.holders:
            record.let_go(list(record.holders)[pick % len(record.holders)])
        elif what == "read" and gpus:
            gpu = gpus[pick % len(gpus)]
            foreign, state = pick * 83 % 60_000, ["healthy", "healthy", "dirty"][pick % 3]
            report = factories.gpu(gpu.report.uuid, gpu.report.index, "80G", foreign=foreign)
            same = [each.report for each in gpus if each is not gpu]
            new = replace(report, model=gpu.report.model, state=type(report.state)(state))
            record.read((*same, new))
        elif what == "promise" and gpus:
            gpus[pick % len(gpus)].promised = TaskId(f"t{pick % 2}"), pick * 40_000
        elif what == "open":
            record.set_open(not record.is_open)
        elif what == "drain":
            record.set_node(replace(record.node, draining=not record.node.draining))
        elif what == "kind":
            tags = ("fast",) if pick % 2 else ()
            inventory = replace(
                record.live().inventory, tags=tags, tasks_per_gpu_max=pick % 3 or None
            )
            record.set_node(replace(record.node, label=f"n{pick % 7}", inventory=inventory))
        elif what == "move" and not record.holders:
            self.index.drop(record.node.id)
            del self.records[record.node.id]
            self.join(pick % NODES)


@pytest.mark.parametrize("seed", range(60))
def test_the_index_answers_as_a_look_at_every_node(seed: int) -> None:
    lived(seed, a_request)


def test_the_short_way_is_mostly_sure_and_never_wrong() -> None:
    said: list[object] = []
    for seed in range(60):
        said += lived(seed, a_plain_request).said
    n_unsure, n_nowhere = said.count(UNSURE), said.count(None)
    assert len(said) > 1_000
    assert 0 < n_unsure < len(said) / 2
    assert 0 < n_nowhere < len(said) / 2


def lived(seed: int, any_request: Callable[[Random], Request]) -> Fleet:
    """A fleet after a while in which each request was looked for in every way there is."""
    chance = Random(seed)
    policy = POLICIES[seed % len(POLICIES)]
    fleet = Fleet(policy)
    for _ in range(60):
        what, pick = chance.choice(CHANGES), chance.randrange(1000)
        if what != "place":
            fleet.change(what, pick)
        kept_off = (NodeId("n2"),) if pick % 5 == 0 else ()
        by = Terms(
            policy,
            chance.choice([0, 5, 40, 70, 100]),
            chance.randrange(40_000_000),
            TaskId(f"t{pick % 3}"),
            learned_memory_mib=chance.choice([0, 0, 9_000, 30_000, 90_000]),
        )
        fleet.same(any_request(chance), ["ann", "bob"][pick % 2], kept_off, by)
    return fleet


def test_a_fleet_has_room_by_number_of_nodes_that_take_attempts() -> None:
    fleet = Fleet(HIVE)
    assert fleet.index.n_taking == NODES
    fleet.change("open", 1)
    assert fleet.index.n_taking == NODES - 1


def test_who_is_gone_is_not_found() -> None:
    fleet = Fleet(HIVE)
    for number in range(NODES):
        fleet.index.drop(NodeId(f"n{number}"))
    assert fleet.index.find(Request(), "ann", (), Terms(HIVE)) is None
    assert GpuUuid("n1-0") in fleet.records[NodeId("n1")].gpus
