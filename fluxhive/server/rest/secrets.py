"""``/api/v1/secrets``: set, list and remove one's own secrets. What they hold is never answered."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path
from starlette.responses import Response

from fluxhive.protocol.rest import SecretPage, SecretValue, SecretView
from fluxhive.server.bridge import answer, body_of, new_router, route

from .tasks import OfCaller, OfServices

router = new_router()

SecretName = Annotated[str, Path(description="Its name, which is a variable's name.")]


@route(router, "GET", "/secrets", gives=SecretPage)
async def list_secrets(caller: OfCaller, services: OfServices) -> Response:
    """List your secrets, without what they hold."""
    return answer(SecretPage(items=await services.secrets.list(caller.username)))


@route(router, "PUT", "/secrets/{name}", takes=SecretValue, gives=SecretView)
async def set_secret(
    name: SecretName,
    given: Annotated[SecretValue, Depends(body_of(SecretValue))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Set a secret of yours, or change it: attempts that start from now on get the new one."""
    return answer(await services.secrets.set(caller.username, name, given.value))


@route(router, "DELETE", "/secrets/{name}", gives=SecretPage)
async def remove_secret(name: SecretName, caller: OfCaller, services: OfServices) -> Response:
    """Remove a secret of yours; the answer is what is left. Tasks that want it will not start."""
    await services.secrets.remove(caller.username, name)
    return answer(SecretPage(items=await services.secrets.list(caller.username)))
