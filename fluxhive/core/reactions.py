"""What to do when a message meets an attempt in some state, as data.

``ON_REPORT`` for what a running node says, ``ON_ABSENT`` for what its silence about an attempt
means. Late and repeated messages are the normal case: every cell is filled, and walked by a story.
"""

from __future__ import annotations

from enum import Enum

from .task import AttemptState

A = AttemptState


class Reaction(Enum):
    """What a report does to an attempt in some state."""

    MOVE_STARTING = "move to starting"
    MOVE_RUNNING = "move to running"
    END = "end it"
    #: Stays as it is; what is new in the report (pid, times) is kept.
    KEEP = "keep"
    #: A repeat or a late word: nothing to do.
    NOTHING = "nothing"
    ANSWER_STOP = "answer stop"
    ANSWER_FORGET = "answer forget"
    #: The node broke the protocol: logged, nothing changes.
    PROTOCOL_ERROR = "protocol error"
    #: Dispatch again: same attempt, same epoch, the new session.
    DISPATCH_AGAIN = "dispatch again"
    END_NODE_LOST = "end as node-lost"
    #: It may be running although its node does not know: wait for the fence.
    KEEP_UNTIL_FENCE = "keep until the fence"


#: What a node's report does, by kind of report and state of the attempt.
ON_REPORT: dict[str, dict[AttemptState, Reaction]] = {
    "attempt-accepted": {
        A.RESERVED: Reaction.MOVE_STARTING,
        A.STARTING: Reaction.NOTHING,
        A.RUNNING: Reaction.NOTHING,
        A.STOPPING: Reaction.NOTHING,
        A.ENDED: Reaction.ANSWER_FORGET,
    },
    "attempt-refused": {
        A.RESERVED: Reaction.END,
        A.STARTING: Reaction.END,
        A.RUNNING: Reaction.PROTOCOL_ERROR,
        A.STOPPING: Reaction.END,
        A.ENDED: Reaction.ANSWER_FORGET,
    },
    "attempt-started": {
        A.RESERVED: Reaction.MOVE_RUNNING,
        A.STARTING: Reaction.MOVE_RUNNING,
        # Known to run from its node's hello, which does not name the process.
        A.RUNNING: Reaction.KEEP,
        A.STOPPING: Reaction.KEEP,
        A.ENDED: Reaction.ANSWER_STOP,
    },
    "attempt-ended": {
        A.RESERVED: Reaction.END,
        A.STARTING: Reaction.END,
        A.RUNNING: Reaction.END,
        A.STOPPING: Reaction.END,
        A.ENDED: Reaction.ANSWER_FORGET,
    },
}

#: What it means that a node joins and does not hold an attempt, by whether its journal is whole.
ON_ABSENT: dict[bool, dict[AttemptState, Reaction]] = {
    True: {
        A.RESERVED: Reaction.DISPATCH_AGAIN,
        A.STARTING: Reaction.END_NODE_LOST,
        A.RUNNING: Reaction.END_NODE_LOST,
        A.STOPPING: Reaction.END_NODE_LOST,
        A.ENDED: Reaction.NOTHING,
    },
    False: {
        A.RESERVED: Reaction.KEEP_UNTIL_FENCE,
        A.STARTING: Reaction.KEEP_UNTIL_FENCE,
        A.RUNNING: Reaction.KEEP_UNTIL_FENCE,
        A.STOPPING: Reaction.KEEP_UNTIL_FENCE,
        A.ENDED: Reaction.NOTHING,
    },
}
