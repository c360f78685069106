"""`POST /mcp`: one message in, one answer out, as JSON. There is no session and no stream of ours to open.

Facts
- A server may answer a request with JSON instead of a stream, a notification with 202, and GET and DELETE with 405
  where it has neither stream nor session (2025-11-25, Transports, "Streamable HTTP").
- It must look at `Origin`, against DNS rebinding (the same, "Security Warning"): browsers send it, others do not.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency

from app.edge.asgi_client import Receive
from app.infra.wire.jsonrpc import INTERNAL_ERROR, Notification, Refused, read, write_error, write_result
from app.kernel.errors import Forbidden, Unavailable
from app.kernel.identity import Principal
from app.surfaces.mcp.desk import McpDesk
from app.surfaces.mcp.eras import VERSION_FIELD, Era, check_stateless, era_of, status_of, unsupported
from app.surfaces.mcp.tool import Asking
from app.surfaces.streams.patience import Patience

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]


class OriginNotAllowed(Forbidden):
    type = "origin-not-allowed"
    title = "Pages of this origin may not use the MCP door"


@dataclass(frozen=True, slots=True)
class AllowedOrigins:
    """Pages of this machine, and those of CORS_ORIGINS."""

    listed: frozenset[str]

    def check(self, origin: str | None) -> None:
        """Errors: OriginNotAllowed."""
        if origin is not None and origin not in self.listed and not _is_of_this_machine(origin):
            raise OriginNotAllowed("List the origin in CORS_ORIGINS to let its pages in.")


def _is_of_this_machine(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class McpController(Controller):
    path = "/mcp"
    include_in_schema = False

    @post("/", status_code=200)
    @inject
    async def answer(
        self,
        request: AnyRequest,
        principal: NamedDependency[Principal],
        desk: FromDishka[McpDesk],
        origins: FromDishka[AllowedOrigins],
        patience: FromDishka[Patience],
    ) -> Response[bytes]:
        origins.check(request.headers.get("origin"))
        version = request.headers.get(VERSION_FIELD)
        era = era_of(version)
        try:
            message = read(await request.body())
            if isinstance(message, Notification):
                refused = unsupported(version or "") if era is Era.STATELESS else None
                return Response(b"", status_code=202) if refused is None else _refuse(refused, era)
            if era is Era.STATELESS:
                fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.scope["headers"]]
                check_stateless(message, fields)
            wait = partial(_wait, patience, cast("Receive", request.receive))
            result = await desk.answer(message, era, Asking(principal, wait))
            return _json(write_result(message.id, result), 200)
        except Unavailable as away:
            return _refuse(Refused(INTERNAL_ERROR, away.detail or away.title), era)
        except Refused as refused:
            return _refuse(refused, era)


async def _wait[T](patience: Patience, receive: Receive, work: Awaitable[T]) -> T:
    return await patience.wait(work, receive)


def _refuse(refused: Refused, era: Era) -> Response[bytes]:
    if era is Era.STATELESS:
        return _json(write_error(refused), status_of(refused.code))
    return _json(write_error(refused), 400 if refused.id is None else 200)


def _json(body: bytes, status: int) -> Response[bytes]:
    return Response(body, status_code=status, media_type="application/json", headers={"cache-control": "no-store"})
