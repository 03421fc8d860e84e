"""Host memory by what earlier runs took: counted when placing, never a limit."""

from __future__ import annotations

from fluxhive.core.values import NodeId
from tests.helpers.hive import Hive

GIB = 1024


def hive_of_16_gib(*, took: str) -> Hive:
    """One node, and a first run of a program that ended well and took so much."""
    hive = Hive()
    hive.node("n1", memory="16G")
    hive.submit("first")
    hive.starts("first.1")
    hive.ends("first.1", memory=took)
    return hive


def test_who_took_much_waits_for_room() -> None:
    hive = hive_of_16_gib(took="8G")
    hive.submit("second")
    hive.submit("third")
    held = hive.attempt("second.1").reservation
    assert (held.memory_mib, held.learned_memory_mib) == (0, 10 * GIB)
    assert hive.why("third") == ["HOST_MEMORY"]
    hive.starts("second.1")
    hive.ends("second.1", memory="8G")
    assert hive.word("third") == "starting"


def test_tasks_of_another_signature_do_not_wait() -> None:
    hive = hive_of_16_gib(took="8G")
    hive.submit("second")
    hive.submit("other", owner="bob")
    assert hive.word("other") == "starting"


def test_what_is_declared_counts_as_it_stands() -> None:
    hive = hive_of_16_gib(took="12G")
    for name in ("second", "third"):
        hive.submit(name, memory="6G")
        held = hive.attempt(f"{name}.1").reservation
        assert (held.memory_mib, held.learned_memory_mib) == (6 * GIB, 0)


def test_what_was_learned_keeps_nobody_off_an_empty_node() -> None:
    hive = hive_of_16_gib(took="15G")
    hive.submit("second")
    assert hive.attempt("second.1").reservation.learned_memory_mib == 16 * GIB
    hive.submit("small", owner="bob")
    assert hive.word("small") == "starting"


def test_little_is_not_counted() -> None:
    hive = hive_of_16_gib(took="300M")
    hive.submit("second")
    assert hive.attempt("second.1").reservation.learned_memory_mib == 0


def test_the_next_try_counts_what_the_host_could_not_give() -> None:
    hive = Hive()
    hive.node("n1", memory="16G")
    hive.submit("first", retry=1)
    hive.starts("first.1")
    hive.ends("first.1", "host-oom", memory="9G")
    hive.waits("5m")
    assert hive.attempt("first.2").reservation.learned_memory_mib == 12 * GIB


def test_a_share_of_a_gpu_counts_host_memory_too() -> None:
    hive = Hive()
    hive.node("n1", gpus=["80G", "80G"], memory="16G")
    hive.submit("first", gpu_memory="5G")
    hive.starts("first.1")
    hive.ends("first.1", peak="4G", memory="8G")
    hive.submit("second", gpu_memory="5G")
    hive.submit("third", gpu_memory="5G")
    assert hive.word("second") == "starting"
    assert hive.why("third") == ["HOST_MEMORY"]


def test_a_restored_hive_knows_what_is_counted() -> None:
    hive = hive_of_16_gib(took="8G")
    hive.submit("second")
    hive.restarts()
    assert hive.manager.reserved_on(NodeId("n1")).memory_mib == 10 * GIB
