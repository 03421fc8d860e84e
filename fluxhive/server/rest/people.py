"""``/api/v1/auth``, ``/users``, ``/tokens``: logging in, inviting, tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from fluxhive.protocol.rest import (
    Invitation,
    InvitationAnswer,
    Login,
    Me,
    NewUser,
    TokenGrant,
    TokenPage,
    TokenRequest,
    UserPage,
)
from fluxhive.protocol.sign_in import SignedOut, SignIn, SignInLink
from fluxhive.server.accounts import view
from fluxhive.server.auth import check_administrator
from fluxhive.server.bridge import answer, body_of, new_router, route
from fluxhive.server.browser import check_own_page, cookie_header, session_text
from fluxhive.server.gate import address_of
from fluxhive.server.pages import sign_in_link, welcome_link

from .tasks import OfCaller, OfServices

router = new_router()


@route(router, "POST", "/auth/login", takes=Login, gives=TokenGrant, is_open=True)
async def login(
    request: Request, asked: Annotated[Login, Depends(body_of(Login))], services: OfServices
) -> Response:
    """Log in: name and password for a token, which is shown this once and lasts 90 days."""
    return answer(await services.accounts.login(asked, address_of(request.scope)))


@route(router, "POST", "/auth/invitation", takes=InvitationAnswer, gives=TokenGrant, is_open=True)
async def answer_invitation(
    request: Request,
    given: Annotated[InvitationAnswer, Depends(body_of(InvitationAnswer))],
    services: OfServices,
) -> Response:
    """Answer an invitation, once: sets the password (8 characters or more) and logs in."""
    return answer(await services.accounts.answer_invitation(given, address_of(request.scope)))


@route(router, "POST", "/auth/session", takes=SignIn, gives=Me, is_open=True)
async def sign_in(
    request: Request, asked: Annotated[SignIn, Depends(body_of(SignIn))], services: OfServices
) -> Response:
    """Sign a browser in, for 14 days: by password, token, or the code of a link.

    The session is in a cookie that no script can read. It ends with the token that opened it, and
    stands in the list of tokens.
    """
    text, caller = await services.browsers.sign_in(asked, address_of(request.scope))
    shown = Me(username=caller.username, role=caller.role, scope=caller.scope)
    return answer(shown, headers={"Set-Cookie": cookie_header(request.scope, text)})


@route(router, "DELETE", "/auth/session", gives=SignedOut, is_open=True)
async def sign_out(request: Request, services: OfServices) -> Response:
    """Sign this browser out: its session ends, whether it was known or not."""
    text = session_text(request.scope)
    if text is not None:
        check_own_page(request.scope)
        await services.browsers.sign_out(text)
    gone = cookie_header(request.scope, "")
    return answer(SignedOut(), headers={"Set-Cookie": gone})


@route(router, "POST", "/auth/link", gives=SignInLink)
async def make_sign_in_link(request: Request, caller: OfCaller, services: OfServices) -> Response:
    """Make a link that signs a browser in as you: it works once, for half an hour."""
    code, expires_at_ms = services.browsers.make_link(caller)
    link = sign_in_link(str(request.base_url), code)
    return answer(SignInLink(link=link, expires_at_ms=expires_at_ms))


@route(router, "POST", "/auth/logout", gives=Me)
async def logout(caller: OfCaller, services: OfServices) -> Response:
    """Log out: the token of this request is revoked."""
    await services.auth.revoke(caller, caller.token_id)
    return answer(Me(username=caller.username, role=caller.role, scope=caller.scope))


@route(router, "GET", "/auth/me", gives=Me)
async def me(caller: OfCaller) -> Response:
    """Show who the token belongs to."""
    node_id = None if caller.node is None else caller.node.node_id
    return answer(
        Me(username=caller.username, role=caller.role, scope=caller.scope, node_id=node_id)
    )


@route(router, "GET", "/users", gives=UserPage)
async def list_users(caller: OfCaller, services: OfServices) -> Response:
    """List all users, as an administrator."""
    check_administrator(caller)
    return answer(UserPage(items=tuple(services.accounts.users())))


@route(router, "POST", "/users", takes=NewUser, gives=Invitation, status=201)
async def add_user(
    request: Request,
    asked: Annotated[NewUser, Depends(body_of(NewUser))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Add a user, as an administrator; the link in the answer works once, for seven days.

    For a user who never used the link, a new one is made and the old one stops working.
    """
    check_administrator(caller)
    user, code, expires_at_ms = await services.accounts.invite(asked)
    link = welcome_link(str(request.base_url), code)
    return answer(Invitation(user=view(user), link=link, expires_at_ms=expires_at_ms), status=201)


@route(router, "GET", "/tokens", gives=TokenPage)
async def list_tokens(caller: OfCaller, services: OfServices) -> Response:
    """List your tokens and those of your nodes, never the secrets."""
    return answer(TokenPage(items=tuple(services.auth.tokens_of(caller.username))))


@route(router, "POST", "/tokens", takes=TokenRequest, gives=TokenGrant, status=201)
async def create_token(
    asked: Annotated[TokenRequest, Depends(body_of(TokenRequest))],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Create a token of yours; its text is shown this once."""
    return answer(await services.auth.issue(caller.username, asked), status=201)


@route(router, "DELETE", "/tokens/{token_id}", gives=TokenPage)
async def revoke_token(
    token_id: Annotated[str, Path(description="The id in the list.")],
    caller: OfCaller,
    services: OfServices,
) -> Response:
    """Revoke a token: it stops working at once, also where it holds something open.

    Answers the tokens that are left.
    """
    await services.auth.revoke(caller, token_id)
    return answer(TokenPage(items=tuple(services.auth.tokens_of(caller.username))))
