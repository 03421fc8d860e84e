"""``/api/v1/nodes/{node}/health``: what people look at when a node is not well."""

from __future__ import annotations

from starlette.responses import Response

from fluxhive.core.xid import XIDS_OF_THE_GPU, words_of
from fluxhive.protocol.health import NodeHealthView, XidView
from fluxhive.server.bridge import answer, new_router, route
from fluxhive.server.lookup import find_node

from .nodes import NodeName
from .tasks import OfCaller, OfServices

router = new_router()


@route(router, "GET", "/nodes/{node}/health", gives=NodeHealthView)
async def show_node_health(node: NodeName, caller: OfCaller, services: OfServices) -> Response:
    """Show how a node is: disk, clock, errors of its GPUs' driver, and who is on its GPUs.

    Looked at some times a minute. Processes that are no task's are there too, with user and command
    as far as the node's agent can see them.
    """
    found = find_node(services.hive, node)
    latest = services.hive.sessions.latest(found.id)
    if latest is None or latest.health is None:
        return answer(NodeHealthView(node=found.id))
    health = latest.health
    now_ms = services.hive.clock.now_ms()
    return answer(
        NodeHealthView(
            node=found.id,
            at_ms=latest.health_at_ms,
            clock_offset_ms=latest.clock_offset_ms,
            disk_free_mib=health.disk_free_mib,
            disk_total_mib=health.disk_total_mib,
            gpus=health.gpus,
            xids=tuple(
                XidView(
                    # By the node's boot clock, which nobody else has: by how long ago it was.
                    at_ms=now_ms - max(0, latest.sent_at_ms - xid.at_ms),
                    uuid=xid.uuid,
                    number=xid.number,
                    text=words_of(xid.number),
                    is_fault=xid.number in XIDS_OF_THE_GPU,
                )
                for xid in health.xids
            ),
        )
    )
