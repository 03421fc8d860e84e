"""The law of shares (invariants.py has its number): accounts counted anew from who is there.

Run after every event in tests and in the simulator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fairshare import CAPACITY, Of, keys_of, kind_of
from .node import NodeState
from .shares import WHOLE

if TYPE_CHECKING:
    from .hive_state import HiveState


def check_shares(hive: HiveState) -> None:
    """Law 28, by the tasks, attempts and nodes that there are."""
    rates: dict[str, int] = {}
    open_tasks: dict[str, int] = {}
    for attempt_id, charge in hive.charges.items():
        assert attempt_id in hive.live_of.values(), f"law 28: {attempt_id} ended and is charged"
        for key in charge.keys:
            rates[key] = rates.get(key, 0) + charge.rate
    for task in hive.tasks.values():
        if not task.state.is_final:
            for key in keys_of(task.owner, task.project, kind_of(task.spec.request)):
                open_tasks[key] = open_tasks.get(key, 0) + 1
    for record in hive.nodes.values():
        if record.node.state is not NodeState.LOST:
            inventory = record.node.inventory
            n_gpus = sum(gpu.total_mib > 0 for gpu in inventory.gpus)
            for of, n in ((Of.GPUS, n_gpus), (Of.CPUS, inventory.cpus)):
                rates[CAPACITY[of]] = rates.get(CAPACITY[of], 0) + n * WHOLE
    due = {key: (rates.get(key, 0), open_tasks.get(key, 0)) for key in {**rates, **open_tasks}}
    due = {key: counts for key, counts in due.items() if any(counts)}
    counted = hive.accounts.counted()
    wrong = {
        key: counted.get(key) for key in {**due, **counted} if counted.get(key) != due.get(key)
    }
    assert not wrong, f"law 28: {wrong} are counted, due are {due}"
