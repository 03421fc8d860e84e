"""Which node and which GPUs: compared with trying everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fluxhive.core.node import Node, NodeState
from fluxhive.core.node_record import NodeRecord, headroom_mib
from fluxhive.core.placement import MisfitCode, capacity_misfit, find, misfit
from fluxhive.core.request import GpuShare, Request, Reservation
from fluxhive.core.values import AttemptId, GpuUuid, NodeId
from tests.helpers import factories


def record(
    name: str, *sizes: str, cpus: int = 8, memory: str = "64G", address: str = ""
) -> NodeRecord:
    gpus = [factories.gpu(f"{name}-gpu{at}", at, size) for at, size in enumerate(sizes)]
    made = NodeRecord(
        Node(
            id=NodeId(name),
            label=name,
            state=NodeState.READY,
            inventory=factories.inventory(*gpus, cpus=cpus, memory=memory, address=address),
        )
    )
    made.set_open(True)
    return made


def hold(node: NodeRecord, name: str, gpu: int, mib: int, *, exclusive: bool = False) -> None:
    uuid = GpuUuid(f"{node.node.id}-gpu{gpu}")
    share = GpuShare(uuid=uuid, index=gpu, gpu_memory_mib=mib)
    reservation = Reservation(node_id=node.node.id, gpus=(share,), exclusive=exclusive, cpus=0)
    node.hold(AttemptId(name), reservation)


requests = st.builds(
    lambda gpus, mib, exclusive, cpus, memory: Request(
        gpus=gpus,
        gpu_memory_mib=mib if gpus else None,
        exclusive=exclusive and bool(gpus),
        cpus=cpus,
        memory_mib=memory,
    ),
    st.integers(0, 4),
    st.none() | st.integers(1, 90_000),
    st.booleans(),
    st.integers(0, 9),
    st.none() | st.integers(1, 70_000),
)
fleets = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(["40G", "80G"]), st.integers(0, 80_000)), max_size=4),
        st.integers(0, 8),
    ),
    max_size=4,
)


@given(requests, fleets)
def test_it_is_placed_if_and_only_if_it_fits_somewhere(
    request: Request, fleet: list[tuple[list[tuple[str, int]], int]]
) -> None:
    nodes = []
    for at, (gpus, cpus) in enumerate(fleet):
        node = record(f"n{at}", *(size for size, _ in gpus), cpus=cpus)
        for index, (size, mib) in enumerate(gpus):
            if mib > 20_000 and mib < (factories.mib(size) or 0) - 1000:
                hold(node, f"t{at}.{index}", index, mib)
        nodes.append(node)
    places = find(request, "ann", (), nodes)
    reasons = {node.node.id: misfit(request, "ann", (), node) for node in nodes}
    fitting = {name for name, reason in reasons.items() if reason is None}
    assert (places is None) == (not fitting)
    if places is None:
        return
    (found,) = places
    assert found.node_id in fitting
    node = next(one for one in nodes if one.node.id == found.node_id)
    assert len({share.uuid for share in found.gpus}) == request.gpus
    assert found.exclusive == (bool(request.gpus) and not request.shares_gpu)
    for share in found.gpus:
        gpu = node.gpus[share.uuid]
        taken = gpu.reserved + share.gpu_memory_mib
        slack = 0 if found.exclusive else headroom_mib(gpu.report.total_mib)
        assert taken + slack <= gpu.report.total_mib
        assert share.gpu_memory_mib >= (request.gpu_memory_mib or 0)
        assert not (found.exclusive and gpu.shares)
    node.hold(AttemptId("new.1"), found)
    assert node.free_cpus >= 0
    assert node.free_memory_mib >= 0


@given(requests, fleets)
def test_what_could_never_be_held_is_held_by_no_empty_node(
    request: Request, fleet: list[tuple[list[tuple[str, int]], int]]
) -> None:
    for at, (gpus, cpus) in enumerate(fleet):
        node = record(f"n{at}", *(size for size, _ in gpus), cpus=cpus)
        never = capacity_misfit(request, node.node.id, node.node.inventory)
        assert (never is None) == (find(request, "ann", (), [node]) is not None)
        if never is not None:
            assert never.found < never.wanted


@given(requests, fleets, st.integers(2, 4))
def test_a_gang_is_placed_if_and_only_if_enough_nodes_could_hold_their_part_now(
    request: Request, fleet: list[tuple[list[tuple[str, int]], int]], n_nodes: int
) -> None:
    request = replace(request, nodes=n_nodes)
    nodes = []
    for at, (gpus, cpus) in enumerate(fleet):
        node = record(f"n{at}", *(size for size, _ in gpus), cpus=cpus)
        for index, (size, mib) in enumerate(gpus):
            if mib > 40_000 and mib < (factories.mib(size) or 0) - 1000:
                hold(node, f"t{at}.{index}", index, mib)
        nodes.append(node)
    places = find(request, "ann", (), nodes)
    fitting = {node.node.id for node in nodes if misfit(request, "ann", (), node) is None}
    assert (places is None) == (len(fitting) < n_nodes)
    for found in places or ():
        node = next(one for one in nodes if one.node.id == found.node_id)
        assert len({share.uuid for share in found.gpus}) == request.gpus
        assert found.exclusive == bool(request.gpus)
        assert not any(node.gpus[share.uuid].shares for share in found.gpus)
        node.hold(AttemptId("new.1"), found)
        assert node.free_cpus >= 0
        assert node.free_memory_mib >= 0
    if places is not None:
        assert len({found.node_id for found in places}) == n_nodes


def test_a_gang_takes_the_nodes_that_a_single_task_would_take_first() -> None:
    nodes = [record("n3", "80G", "80G"), record("n2", "80G"), record("n1", "80G")]
    places = find(factories.request(gpus=1, nodes=2), "ann", (), nodes)
    assert places is not None
    assert [found.node_id for found in places] == ["n1", "n2"]


def test_members_meet_on_a_node_that_the_others_can_reach() -> None:
    nodes = [record("n1", address="127.0.0.1"), record("n2", address="10.0.0.2")]
    places = find(factories.request(nodes=2), "ann", (), nodes)
    assert places is not None
    assert [found.node_id for found in places] == ["n2", "n1"]


def test_equal_nodes_are_filled_in_the_order_of_their_ids() -> None:
    nodes = [record("n2", "80G"), record("n1", "80G")]
    for request in (factories.request(), factories.request(gpus=1)):
        places = find(request, "ann", (), nodes)
        assert places is not None
        assert [found.node_id for found in places] == ["n1"]


def test_a_whole_gpu_is_taken_where_the_fewest_are_empty_and_the_smallest_will_do() -> None:
    nodes = [record("n1", "80G", "40G", "80G"), record("n2", "80G", "40G")]
    places = find(factories.request(gpus=1), "ann", (), nodes)
    assert places is not None
    assert (places[0].node_id, places[0].gpus[0].uuid) == ("n2", "n2-gpu1")
    places = find(factories.request(gpus=1, gpu_memory="60G", exclusive=True), "ann", (), nodes)
    assert places is not None
    assert places[0].gpus[0].uuid == "n2-gpu0"


def test_a_misfit_says_what_is_wanted_and_what_there_is() -> None:
    node = record("n1", "80G", "80G", cpus=4)
    hold(node, "t1.1", 0, 81_920, exclusive=True)
    hold(node, "t2.1", 1, 40_000)
    cases = [
        (factories.request(cpus=5), MisfitCode.CPUS, 5, 4, True),
        (factories.request(memory="65G"), MisfitCode.HOST_MEMORY, 66_560, 65_536, True),
        (factories.request(gpus=1), MisfitCode.GPUS, 1, 0, False),
        (factories.request(gpu_memory="60G"), MisfitCode.GPU_MEMORY, 61_440, 41_101, False),
        (factories.request(gpus=3), MisfitCode.GPUS, 3, 2, True),
        (factories.request(gpus=2, gpu_memory="81G"), MisfitCode.GPU_MEMORY, 82_944, 81_920, True),
    ]
    for request, code, wanted, found, forever in cases:
        reason = misfit(request, "ann", (), node)
        assert reason is not None
        assert (reason.code, reason.wanted, reason.found) == (code, wanted, found)
        assert reason.forever == forever


def test_where_cpus_and_gpus_lack_it_is_the_gpus_that_are_named() -> None:
    node = record("n1", "80G", "80G", cpus=2)
    hold(node, "t1", 0, 80_000, exclusive=True)
    node.free_cpus = 0
    for gpus, code in ((2, MisfitCode.GPUS), (1, MisfitCode.CPUS)):
        reason = misfit(Request(gpus=gpus, cpus=2, exclusive=True), "ann", (), node)
        assert reason is not None
        assert reason.code is code


def test_a_small_gpu_that_is_free_does_not_help_who_needs_a_large_one() -> None:
    node = record("n1", "40G", "80G")
    hold(node, "t1.1", 1, 1000)
    request = factories.request(gpus=1, gpu_memory="60G", exclusive=True)
    reason = misfit(request, "ann", (), node)
    assert reason is not None
    assert (reason.code, reason.found) == (MisfitCode.GPU_MEMORY, 40_960)


def test_a_share_on_a_node_without_gpus_misses_a_gpu() -> None:
    reason = misfit(factories.request(gpu_memory="1G"), "ann", (), record("n1"))
    assert reason is not None
    assert reason.code is MisfitCode.GPUS
