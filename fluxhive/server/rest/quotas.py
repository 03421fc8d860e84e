"""``/api/v1/quotas``: what users and projects may have at once."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path
from starlette.responses import Response

from fluxhive.core.errors import InputError
from fluxhive.core.events import QuotaSet
from fluxhive.core.queueing_check import check_project
from fluxhive.core.quota import Quota, QuotaScope
from fluxhive.core.spec_check import MAX_COUNT
from fluxhive.protocol.quotas import QuotaChange, QuotaPage, QuotaView
from fluxhive.server.auth import check_administrator
from fluxhive.server.bridge import answer, body_of, new_router, route
from fluxhive.server.services import Services

from .tasks import OfCaller, OfServices

router = new_router()


@route(router, "GET", "/quotas", gives=QuotaPage)
async def list_quotas(caller: OfCaller, services: OfServices) -> Response:
    """List all quotas and what is used of them."""
    quotas = services.hive.brain.manager.quotas()
    return answer(QuotaPage(items=tuple(_view(services, quota) for quota in quotas)))


@route(router, "PUT", "/quotas/{scope}/{name}", takes=QuotaChange, gives=QuotaView)
async def set_quota(
    scope: QuotaScope,
    name: Annotated[str, Path(description="Of the user or the project.")],
    change: Annotated[QuotaChange, Depends(body_of(QuotaChange))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Set the quota of a user or a project, as an administrator; what is absent is unlimited.

    What runs runs on; what waits may start as far as the new limits allow.
    """
    check_administrator(caller)
    check_project(name, field="name")
    for field in QuotaChange.__struct_fields__:
        limit = getattr(change, field)
        if limit is not None and not 0 <= limit <= MAX_COUNT:
            raise InputError(
                f"{field}: must be between 0 and {MAX_COUNT}: {limit}",
                field=field,
                value=limit,
                hint="write a whole number, or leave it out for no limit",
            )
    quota = Quota(
        scope=scope,
        name=name,
        running_gpus=change.running_gpus,
        running_tasks=change.running_tasks,
        waiting_tasks=change.waiting_tasks,
        weekly_gpu_hours=change.weekly_gpu_hours,
    )
    await services.hive.brain.handle(QuotaSet(quota=quota, by=caller.username))
    return answer(_view(services, quota))


def _view(services: Services, quota: Quota) -> QuotaView:
    use = services.hive.brain.manager.use_of(quota.scope, quota.name)
    return QuotaView(quota=quota, use=use)
