"""What a handler reads of its connection, whichever door it belongs to."""

import re
from dataclasses import replace

from litestar.connection import ASGIConnection

from app.edge.faults import TokenMissing
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import MAX_ID

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def principal_of(connection: ASGIConnection) -> Principal:  # type: ignore[type-arg] # any connection
    """Hand over the verified caller. Errors: TokenMissing."""
    principal = connection.scope["state"].get("principal")
    if not isinstance(principal, Principal):
        raise TokenMissing("Send `Authorization: Bearer TOKEN` or the session cookie.")
    return replace(principal, request_id=str(connection.scope["state"].get("request_id", "")))


def read_id(name: str, text: str) -> int:
    """Read the number of a path. Errors: ValidationFailed."""
    if not (_NUMBER.fullmatch(text) and int(text) <= MAX_ID):
        wrong = FieldError(name, f"must be a whole number from 0 to {MAX_ID}")
        raise ValidationFailed("Some fields are not valid.", errors=[wrong])
    return int(text)
