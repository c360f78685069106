"""What the edge found out about a request, handed to handlers; and the guards every handler stands behind.

Rules: a handler may narrow what its row allows by `opt={"access": "STAFF"}`; it can never widen it. A numeric id is
`{chat_id:str}` in a path and `int` in the handler: as `{chat_id:int}`, Litestar would take "+1", " 1", "1_0" and other
scripts' digits for numbers, and answer anything else as if there were no such endpoint.
"""

import re

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.typing import FieldDefinition

from app.edge.faults import RoleNotAllowed, TokenMissing
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.identity import Access, Principal
from app.kernel.ids import MAX_ID
from app.kernel.keyed_requests import KeyedRequest

# Litestar does not look into aliases made with `type`
AnyRequest = Request[None, None, State]

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def provide_principal(request: AnyRequest) -> Principal:
    """Errors: TokenMissing where the row let an anonymous one in."""
    return principal_of(request)


def principal_of(connection: ASGIConnection) -> Principal:  # type: ignore[type-arg] # any connection
    """Hand over the verified caller. Errors: TokenMissing."""
    principal = connection.scope["state"].get("principal")
    if not isinstance(principal, Principal):
        raise TokenMissing("Send `Authorization: Bearer TOKEN` or the session cookie.")
    return principal


def provide_request_id(request: AnyRequest) -> str:
    return str(request.scope["state"].get("request_id", ""))


def provide_keyed_request(request: AnyRequest) -> KeyedRequest | None:
    """Hand over what a use case keys its work with; None where the client sent no key."""
    found: KeyedRequest | None = request.scope["state"].get("keyed_request")
    return found


DEPENDENCIES = {
    "principal": Provide(provide_principal, sync_to_thread=False),
    "request_id": Provide(provide_request_id, sync_to_thread=False),
    "keyed": Provide(provide_keyed_request, sync_to_thread=False),
}


def guard_access(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg] # any connection
    """Enforce what a handler declares with `opt["access"]`, by the function that opens rows. Errors: RoleNotAllowed."""
    declared = handler.opt.get("access")
    if declared is None:
        return
    access = Access(declared)
    principal = connection.scope["state"].get("principal")
    if access is Access.PUBLIC or (isinstance(principal, Principal) and principal.may_enter(access)):
        return
    raise RoleNotAllowed(f"This door is for {access.value}.")


def guard_ids(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg] # any connection
    """Refuse what is not a number where the handler takes one, before it is read. Errors: ValidationFailed."""
    taken = handler.parsed_fn_signature.parameters
    for name, text in connection.path_params.items():
        if _is_number(taken.get(name)):
            read_id(name, text)


def read_id(name: str, text: str) -> int:
    """Read the number of a path. Errors: ValidationFailed."""
    if not (_NUMBER.fullmatch(text) and int(text) <= MAX_ID):
        wrong = FieldError(name, f"must be a whole number from 0 to {MAX_ID}")
        raise ValidationFailed("Some fields are not valid.", errors=[wrong])
    return int(text)


def _is_number(taken: FieldDefinition | None) -> bool:
    """Tell whether a handler takes a number here; the one for OPTIONS takes nothing of its path."""
    return taken is not None and taken.annotation is int
