"""The two cookies of a session. The refresh token travels only to the endpoint that needs it."""

from litestar.datastructures import Cookie

from portico_fleet.auth.desk import Entry
from portico_fleet.problems import AnyRequest

REFRESH = "pg_refresh_token"
_ACCESS = "pg_access_token"
_REFRESH_PATH = "/api/v1/auth/sessions"


def for_entry(entry: Entry, *, ttl_s: int, request: AnyRequest) -> list[Cookie]:
    secure = _came_by_https(request)
    refresh_ttl_s = entry.session.expires_at_s - entry.issued_at_s
    return [
        _access(entry.access_token, ttl_s, secure=secure),
        _refresh(entry.session.refresh_token, refresh_ttl_s, secure=secure),
    ]


def cleared(request: AnyRequest) -> list[Cookie]:
    secure = _came_by_https(request)
    return [_access("", 0, secure=secure), _refresh("", 0, secure=secure)]


def _access(value: str, max_age_s: int, *, secure: bool) -> Cookie:
    return Cookie(key=_ACCESS, value=value, max_age=max_age_s, httponly=True, samesite="lax", path="/", secure=secure)


def _refresh(value: str, max_age_s: int, *, secure: bool) -> Cookie:
    return Cookie(
        key=REFRESH, value=value, max_age=max_age_s, httponly=True, samesite="strict", path=_REFRESH_PATH, secure=secure
    )


def _came_by_https(request: AnyRequest) -> bool:
    """Ask the front door: only it knows what the browser spoke."""
    return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
