"""Law 26: what holds of attempts that were sent ahead (turns.py). Called by invariants.py."""

from __future__ import annotations

from .hive_state import HiveState
from .task import AttemptState
from .values import AttemptId


def check_turns(hive: HiveState) -> None:
    """Raises ``AssertionError`` when somebody waits for nobody, or for too little."""
    waiting: dict[AttemptId, AttemptId] = {}
    for attempt_id in hive.live_of.values():
        attempt = hive.attempts[attempt_id]
        turn, mine = attempt.turn, attempt.reservation
        if turn is None:
            continue
        is_bare = mine.cpus == mine.counted_memory_mib == 0 and not mine.gpus
        assert is_bare, f"law 26: {attempt_id} holds {mine} before its turn"
        before = hive.attempts.get(turn.after)
        lives = before is not None and before.state is not AttemptState.ENDED
        assert lives, f"law 26: {attempt_id} waits for {turn.after}, which has ended"
        assert before is not None
        assert before.node_id == attempt.node_id, f"law 26: {attempt_id} waits on another node"
        held = before.reservation if before.turn is None else before.turn.reservation
        is_enough = turn.reservation.cpus <= held.cpus
        is_enough = is_enough and turn.reservation.counted_memory_mib <= held.counted_memory_mib
        assert is_enough, f"law 26: {attempt_id} waits for less than it needs: {held}"
        assert turn.after not in waiting, f"law 26: two wait for {turn.after}"
        waiting[turn.after] = attempt_id
    assert hive.turns.followers == waiting, f"law 26: {hive.turns.followers} is not {waiting}"
