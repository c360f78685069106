"""What an exception inside a local handler becomes: a problem document, whatever raised it.

Facts
- Litestar raises its own HTTP exceptions for unmatched paths, wrong methods and undecodable input.
- Invalid UTF-8 and deep nesting surface as UnicodeDecodeError and RecursionError out of its decoder, and are 400.
"""

import traceback

import structlog
from litestar import Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException

from app.edge.faults import BodyTooLarge, InternalFault, RouteMethodNotAllowed, RouteNotFound
from app.infra.wire.problems import problem_of
from app.kernel.errors import Fault, FieldError, Malformed, ValidationFailed
from app.surfaces.api.dependencies import AnyRequest

log = structlog.get_logger()

_DECODERS = ("msgspec_hooks.py", "multipart.py", "extractors.py")


def refuse(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer any exception; only what is a fault of ours is logged with its trace."""
    fault = fault_of(error)
    state = request.scope["state"]
    if isinstance(fault, InternalFault):
        log.error("request.failed", request_id=state.get("request_id"), path=request.url.path, exc_info=error)
    record = state.get("edge_record")
    if record is not None:
        record.reason = fault.reason
        record.evidence.update(fault.evidence)
    problem = problem_of(fault, instance=request.url.path, request_id=state.get("request_id", ""))
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
        allowed = (error.headers or {}).get("Allow", "")
        return RouteMethodNotAllowed(f"This path takes {allowed}.", headers={"allow": allowed})
    if isinstance(error, ValidationException):
        return ValidationFailed("Some fields are not valid.", errors=_fields(error.extra))
    return _unreadable(error) or InternalFault("The error was logged under this request id.")


def _unreadable(error: Exception) -> Fault | None:
    if isinstance(error, HTTPException) and error.status_code == 413:
        return BodyTooLarge("The body is larger than this endpoint takes.")
    if isinstance(error, HTTPException) and 400 <= error.status_code < 500:
        return Malformed("The body or a parameter cannot be read.")
    if isinstance(error, UnicodeError | RecursionError) and _was_decoding(error):
        return Malformed("The body cannot be read: it is not JSON in UTF-8, or nested too deeply.")
    return None


def _fields(extra: object) -> list[FieldError]:
    """Read Litestar's list of `{"key", "message", "source"}`; anything else names the body as a whole."""
    if not isinstance(extra, list):
        return [FieldError("", "cannot be read")]
    return [
        FieldError(str(item.get("key", "")), str(item.get("message", "is not valid")))
        for item in extra
        if isinstance(item, dict)
    ]


def _was_decoding(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.endswith(_DECODERS) for frame in frames)
