"""What a hive says to its nodes, as effects: a part of ``HiveState``, which has what it reads."""

from __future__ import annotations

from .effects import Dispatch, Forget, HiveEffect, Stop
from .node_record import NodeRecord
from .outcome import StopCause
from .request import Rendezvous
from .task import Attempt, Member, Task
from .values import AttemptId, NodeId, TaskId

#: Where processes of one node meet.
LOOPBACK = "127.0.0.1"


class NodeWords:
    """See the module's docstring."""

    tasks: dict[TaskId, Task]
    nodes: dict[NodeId, NodeRecord]
    effects: list[HiveEffect]

    def say_dispatch(self, attempt: Attempt, member: Member) -> None:
        """Send an attempt to a member's node under the node's session."""
        node = self.nodes[member.node_id].node
        meet: Rendezvous | None = None
        if attempt.rendezvous_port:
            host = self.nodes[attempt.node_id].node.inventory
            address = (host.address or host.hostname) if attempt.gang else LOOPBACK
            meet = Rendezvous(address=address, port=attempt.rendezvous_port)
        self.effects.append(
            Dispatch(
                node_id=node.id,
                session=node.session,
                task=self.tasks[attempt.task_id],
                attempt=attempt,
                rank=member.rank,
                rendezvous=meet,
            )
        )

    def say_stop(
        self, node_id: NodeId, attempt_id: AttemptId, epoch: int, cause: StopCause
    ) -> None:
        """Tell a node to end an attempt, if it can be told; else its next hello is answered."""
        record = self.nodes[node_id]
        if record.is_open:
            session = record.node.session
            self.effects.append(
                Stop(
                    node_id=node_id,
                    session=session,
                    attempt_id=attempt_id,
                    epoch=epoch,
                    cause=cause,
                )
            )

    def say_forget(self, node_id: NodeId, attempt_id: AttemptId) -> None:
        """Tell a node that an end is stored, if it can be told; else its next hello is answered."""
        record = self.nodes[node_id]
        if record.is_open:
            session = record.node.session
            self.effects.append(Forget(node_id=node_id, session=session, attempt_id=attempt_id))
