"""The auth endpoints, at the paths the gateway forwards to."""

import time
from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.background_tasks import BackgroundTask
from litestar.params import Body, Dependency

from portico_fleet.application import SIGNED_IN
from portico_fleet.auth import cookies
from portico_fleet.auth.desk import Desk, Entry, now_s
from portico_fleet.auth.front_door import FrontDoor
from portico_fleet.auth.keys import KeyRing
from portico_fleet.auth.sessions import RefreshRefused
from portico_fleet.auth.tokens import Claims, TokenInvalid
from portico_fleet.auth.wire import Credentials, Profile, Refresh, Registration, Session, User
from portico_fleet.caller import find_caller
from portico_fleet.problems import AnyRequest, refusals
from portico_fleet.refused import NotFound, Unauthenticated

_SESSIONS = "/api/v1/auth/sessions"
_ID_LIMIT_DIGITS = 18

_Desk = Annotated[Desk, Dependency(skip_validation=True)]
_Keys = Annotated[KeyRing, Dependency(skip_validation=True)]
_FrontDoor = Annotated[FrontDoor, Dependency(skip_validation=True)]
# The first clients of this API sent the user's id as a bare number; it says nothing a refresh token does not.
_MaybeRefresh = Annotated[Refresh | int | None, Body(description="The refresh token, unless its cookie is sent")]


@post("/api/v1/users/register", tags=["users"], summary="Register", responses=refusals(400, 409))
async def register(data: Registration, desk: _Desk) -> User:
    account = await desk.register(data.email, data.password)
    return User(id=account.id, email=account.email, role=account.role)


@get(
    "/api/v1/users/me",
    tags=["users"],
    summary="Read one's own profile",
    security=SIGNED_IN,
    responses=refusals(401, 404),
)
async def read_me(request: AnyRequest, desk: _Desk) -> Profile:
    account = await desk.accounts.by_id(await _asking_account(request, desk))
    if account is None:
        raise NotFound("there is no such account here")
    return Profile(
        id=account.id,
        email=account.email,
        role=account.role,
        created_at=account.created_at,
        active_sessions=await desk.sessions.count_live(account.id, now_s=now_s()),
    )


@post(_SESSIONS, status_code=200, tags=["sessions"], summary="Log in", responses=refusals(400, 401))
async def log_in(data: Credentials, request: AnyRequest, desk: _Desk) -> Response[Session]:
    entry = await desk.log_in(
        data.email,
        data.password,
        user_agent=request.headers.get("user-agent", ""),
        ip=request.client.host if request.client else "",
    )
    return _let_in(entry, desk, request)


@put(_SESSIONS, tags=["sessions"], summary="Exchange the refresh token", responses=refusals(400, 401))
async def refresh_session(request: AnyRequest, desk: _Desk, data: _MaybeRefresh = None) -> Response[Session]:
    token = _refresh_token(request, data)
    if token is None:
        raise RefreshRefused("there is no refresh token, neither as a cookie nor in the body")
    return _let_in(await desk.refresh(token), desk, request)


@delete(
    _SESSIONS,
    status_code=204,
    tags=["sessions"],
    summary="Log out of this session",
    security=SIGNED_IN,
    responses=refusals(400, 401),
)
async def log_out(request: AnyRequest, desk: _Desk, data: _MaybeRefresh = None) -> Response[None]:
    token = _refresh_token(request, data)
    if token is None or not await desk.sessions.end_by_token(token, now_s=now_s()):
        claims = _bearer(request, desk)
        if claims is None:
            raise Unauthenticated("name the session by its refresh token or by an access token")
        await desk.sessions.end(claims.session_id, now_s=now_s())
    return Response(None, status_code=204, cookies=cookies.cleared(request))


@delete(
    f"{_SESSIONS}/all",
    status_code=204,
    tags=["sessions"],
    summary="Log out everywhere",
    security=SIGNED_IN,
    responses=refusals(401),
)
async def log_out_everywhere(request: AnyRequest, desk: _Desk, front_door: _FrontDoor) -> Response[None]:
    account_id = await _asking_account(request, desk)
    await desk.sessions.end_all(account_id, now_s=now_s())
    before_s = time.time()
    is_told = await front_door.withdraw(account_id, before_s=before_s)
    again = None if is_told else BackgroundTask(front_door.withdraw_later, account_id, before_s=before_s)
    return Response(None, status_code=204, cookies=cookies.cleared(request), background=again)


@get("/.well-known/jwks.json", tags=["keys"], summary="Publish the verification keys")
async def read_jwks(keys: _Keys) -> Response[dict[str, list[dict[str, str | list[str]]]]]:
    return Response(keys.jwks(), headers={"Cache-Control": "public, max-age=300"})


def _let_in(entry: Entry, desk: Desk, request: AnyRequest) -> Response[Session]:
    account, ttl_s = entry.account, desk.tokens.ttl_s
    session = Session(
        access_token=entry.access_token,
        refresh_token=entry.session.refresh_token,
        token_type="Bearer",  # noqa: S106 -- the scheme's name, not a secret
        expires_in=ttl_s,
        user=User(id=account.id, email=account.email, role=account.role),
    )
    return Response(
        session,
        cookies=cookies.for_entry(entry, ttl_s=ttl_s, request=request),
        headers={"Cache-Control": "no-store"},
    )


def _refresh_token(request: AnyRequest, body: Refresh | int | None) -> str | None:
    if isinstance(body, Refresh):
        return body.refresh_token
    return request.cookies.get(cookies.REFRESH) or None


async def _asking_account(request: AnyRequest, desk: Desk) -> int:
    """Tell whose account this is about: the gateway says so, else the access token of an open session."""
    caller = find_caller(request)
    if caller is not None:
        if not (caller.user_id.isascii() and caller.user_id.isdecimal() and len(caller.user_id) <= _ID_LIMIT_DIGITS):
            raise NotFound("there is no such account here")
        return int(caller.user_id)
    claims = _bearer(request, desk)
    if claims is None:
        raise Unauthenticated("neither X-User-Id nor an access token was sent")
    if not await desk.sessions.is_live(claims.session_id, now_s=now_s()):
        raise TokenInvalid("the session has ended")
    return claims.user_id


def _bearer(request: AnyRequest, desk: Desk) -> Claims | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    return desk.tokens.verify(token.strip())


HANDLERS = [register, read_me, log_in, refresh_session, log_out, log_out_everywhere, read_jwks]
