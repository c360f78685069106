"""What the edge found out about a request, handed to handlers; and the guards every handler stands behind.

Rules: a handler may narrow what its row allows by `opt={"access": "STAFF"}`; it can never widen it. A numeric id is
`{chat_id:str}` in a path and `int` in the handler: as `{chat_id:int}`, Litestar would take "+1", " 1", "1_0" and other
scripts' digits for numbers, and answer anything else as if there were no such endpoint. A guard is `async` though it
waits for nothing: others are run in a thread, and the loop waits for its turn twice in each request.
"""

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.typing import FieldDefinition

from app.edge.faults import RoleNotAllowed
from app.edge.record import Record
from app.kernel.identity import Access, Principal
from app.kernel.keyed_requests import KeyedRequest
from app.surfaces.connection import principal_of, read_id

# Litestar does not look into aliases made with `type`
AnyRequest = Request[None, None, State]


def provide_principal(request: AnyRequest) -> Principal:
    """Errors: TokenMissing where the row let an anonymous one in."""
    return principal_of(request)


def provide_request_id(request: AnyRequest) -> str:
    return str(request.scope["state"].get("request_id", ""))


def provide_keyed_request(request: AnyRequest) -> KeyedRequest | None:
    """Hand over what a use case keys its work with; None where the client sent no key."""
    found: KeyedRequest | None = request.scope["state"].get("keyed_request")
    return found


def provide_front_url(request: AnyRequest) -> str:
    """Tell the address at which the client found us, as a trusted proxy before us saw it."""
    record: Record = request.scope["state"]["edge_record"]
    scheme, host = record.scheme.encode(), record.first(b"host") or b""
    if record.is_peer_trusted:
        scheme = record.first(b"x-forwarded-proto") or scheme
        host = record.first(b"x-forwarded-host") or host
    return f"{scheme.decode('latin-1')}://{host.decode('latin-1')}{mounted_at(request)}"


def mounted_at(request: Request[Any, Any, Any]) -> str:  # Any: of whichever request
    """Tell the path below which another program has mounted us; "" where none has."""
    return str(request.scope["state"].get("mounted_at", ""))


DEPENDENCIES = {
    "principal": Provide(provide_principal, sync_to_thread=False),
    "request_id": Provide(provide_request_id, sync_to_thread=False),
    "front_url": Provide(provide_front_url, sync_to_thread=False),
    "keyed": Provide(provide_keyed_request, sync_to_thread=False),
}


async def guard_access(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg] # any connection
    """Enforce what a handler declares with `opt["access"]`, by the function that opens rows. Errors: RoleNotAllowed."""
    declared = handler.opt.get("access")
    if declared is None:
        return
    access = Access(declared)
    principal = connection.scope["state"].get("principal")
    if access is Access.PUBLIC or (isinstance(principal, Principal) and principal.may_enter(access)):
        return
    raise RoleNotAllowed(f"This door is for {access.value}.")


async def guard_ids(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg] # any connection
    """Refuse what is not a number where the handler takes one, before it is read. Errors: ValidationFailed."""
    taken = handler.parsed_fn_signature.parameters
    for name, text in connection.path_params.items():
        if _is_number(taken.get(name)):
            read_id(name, text)


def _is_number(taken: FieldDefinition | None) -> bool:
    """Tell whether a handler takes a number here; the one for OPTIONS takes nothing of its path."""
    return taken is not None and taken.annotation is int
