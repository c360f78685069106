"""What an exception inside a local handler becomes: a problem document, whatever raised it.

Facts
- Litestar raises its own HTTP exceptions for unmatched paths, wrong methods and undecodable input.
- Invalid UTF-8 and deep nesting surface as UnicodeDecodeError and RecursionError out of its decoder, and are 400.
- A client that goes away inside its body surfaces as a plain InternalServerException with a fixed text.
- It overwrites the scope's path by a decoded one without a trailing slash; the edge's record has what the client sent.
"""

import re
import traceback
from collections.abc import Mapping

import structlog
from litestar import Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException

from app.edge.answers import document_of, note_refusal
from app.edge.asgi_client import ClientGone
from app.edge.faults import BodyTooLarge, InternalFault, RouteMethodNotAllowed, RouteNotFound
from app.edge.record import Record
from app.kernel.errors import Fault, FieldError, Malformed, ValidationFailed
from app.surfaces.api.dependencies import AnyRequest

log = structlog.get_logger()

_DECODERS = ("msgspec_hooks.py", "multipart.py", "extractors.py")
_CLIENT_GONE = "client disconnected prematurely"
_BODY = "data"  # what Litestar calls the body
_NAMED_FIELD = re.compile(r"Object (?P<flaw>contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)

_ABSENT = re.compile(r"Missing required \w+ parameter '(?P<name>[^']*)'")


def refuse(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer any exception; only what is a fault of ours is logged with its trace. Errors: ClientGone."""
    if isinstance(error, ClientGone) or (isinstance(error, HTTPException) and error.detail == _CLIENT_GONE):
        raise ClientGone
    fault = fault_of(error)
    record: Record = request.scope["state"]["edge_record"]
    path = record.path.decode("latin-1")
    if isinstance(fault, InternalFault):
        log.error("request.failed", request_id=record.id, path=path, exc_info=error)
    note_refusal(record, fault)
    problem = document_of(record, fault)
    headers = {name: value for name, value in problem.headers.items() if name != "content-type"}
    return Response(
        problem.body, status_code=problem.status, headers=headers, media_type=problem.headers["content-type"]
    )


def fault_of(error: Exception) -> Fault:
    if isinstance(error, Fault):
        return error
    if isinstance(error, NotFoundException):
        return RouteNotFound("There is no such endpoint.")
    if isinstance(error, MethodNotAllowedException):
        allowed = (error.headers or {}).get("allow", "")
        return RouteMethodNotAllowed(f"This path takes {allowed}.", headers={"allow": allowed})
    if isinstance(error, ValidationException):
        return ValidationFailed("Some fields are not valid.", errors=_fields(error))
    return _unreadable(error) or InternalFault("The error was logged under this request id.")


def _unreadable(error: Exception) -> Fault | None:
    if isinstance(error, HTTPException) and error.status_code == 413:
        return BodyTooLarge("The body is larger than this endpoint takes.")
    if isinstance(error, HTTPException) and 400 <= error.status_code < 500:
        return Malformed("The body or a parameter cannot be read.")
    if isinstance(error, UnicodeError | RecursionError) and _was_decoding(error):
        return Malformed("The body cannot be read: it is not JSON in UTF-8, or nested too deeply.")
    return None


def _fields(error: ValidationException) -> list[FieldError]:
    """Read Litestar's list of `{"key", "message", "source"}`, or which parameter there has to be; anything else names
    the body as a whole.
    """
    if isinstance(error.extra, list):
        return [_field(item) for item in error.extra if isinstance(item, dict)]
    absent = _ABSENT.match(error.detail)
    return [FieldError(absent["name"], "is missing") if absent else FieldError("", "cannot be read")]


def _field(item: Mapping[str, object]) -> FieldError:
    """Name the field a message is about: the decoder tells unknown and missing ones only in its message."""
    key, message = str(item.get("key", "")), str(item.get("message", "is not valid"))
    field = "" if key == _BODY else key
    if message == f"'{key}'":  # a KeyError's text
        return FieldError(field, "is missing")
    named = _NAMED_FIELD.fullmatch(message)
    if named is None:
        return FieldError(field, message)
    inner = f"{field}.{named['name']}" if field else named["name"]
    return FieldError(inner, "is missing" if named["flaw"] == "missing required" else "is not a known field")


def _was_decoding(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.endswith(_DECODERS) for frame in frames)
