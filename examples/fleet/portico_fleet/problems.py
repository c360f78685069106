"""Every refusal is an RFC 9457 problem document; `type` is a slug a program may switch on, `detail` is for people."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap

from portico_fleet.refused import FieldRefused, Refused

_log = logging.getLogger("portico_fleet")
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<name>[^`]*)`")
_PROBLEM_JSON = "application/problem+json"

# The parameters of Litestar's generic Request (user, auth, state) are not used by the fleet.
type AnyRequest = Request[Any, Any, State]


class FieldProblem(msgspec.Struct):
    field: str
    message: str


class Problem(msgspec.Struct, omit_defaults=True):
    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldProblem] = []


def refusals(*statuses: int) -> Mapping[int, ResponseSpec]:
    """Describe these statuses in OpenAPI as the problem documents they are."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            description=HTTPStatus(status).phrase,
            media_type=_PROBLEM_JSON,
        )
        for status in statuses
    }


def _from_refusal(request: AnyRequest, fact: Refused) -> Response[Problem]:
    errors = [FieldProblem(fact.field, fact.message)] if isinstance(fact, FieldRefused) else []
    headers = {"WWW-Authenticate": "Bearer"} if fact.status == HTTPStatus.UNAUTHORIZED else None
    return _answer(request, status=fact.status, kind=fact.kind, detail=str(fact), errors=errors, headers=headers)


def _from_litestar(request: AnyRequest, fact: HTTPException) -> Response[Problem]:
    errors = [_field(entry) for entry in fact.extra] if isinstance(fact.extra, list) else []
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors) or fact.detail
    kind = _slug(fact.status_code)
    return _answer(request, status=fact.status_code, kind=kind, detail=detail, errors=errors, headers=fact.headers)


def _from_bad_unicode(request: AnyRequest, _fact: UnicodeError) -> Response[Problem]:
    return _answer(request, status=400, kind="validation-failed", detail="the request is not valid UTF-8")


def _from_deep_nesting(request: AnyRequest, _fact: RecursionError) -> Response[Problem]:
    return _answer(request, status=400, kind="validation-failed", detail="the body is nested too deeply")


def _from_fault(request: AnyRequest, fact: Exception) -> Response[Problem]:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=fact)
    return _answer(request, status=500, kind="internal", detail="the request could not be finished")


HANDLERS: ExceptionHandlersMap = {
    Refused: _from_refusal,
    HTTPException: _from_litestar,
    UnicodeDecodeError: _from_bad_unicode,
    RecursionError: _from_deep_nesting,  # Litestar's JSON decoder; nothing here recurses
    Exception: _from_fault,
}


def _answer(
    request: AnyRequest,
    *,
    status: int,
    kind: str,
    detail: str,
    errors: list[FieldProblem] | None = None,
    headers: dict[str, str] | None = None,
) -> Response[Problem]:
    problem = Problem(
        type=kind,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.scope["path"],
        errors=errors or [],
    )
    return Response(problem, status_code=status, headers=headers, media_type=_PROBLEM_JSON)


def _field(entry: dict[str, Any]) -> FieldProblem:
    """Name the field at fault. `entry` is Litestar's {key, message}; an unknown field is only named in the message."""
    key, message = str(entry.get("key", "")), str(entry.get("message", ""))
    unknown = _UNKNOWN_FIELD.search(message)
    if unknown is not None:
        parent = "" if key == "data" else f"{key}."
        return FieldProblem(field=f"{parent}{unknown['name']}", message="unknown field")
    if key == "data" and message == "'data'":
        return FieldProblem(field="body", message="a JSON body is required")
    return FieldProblem(field="body" if key == "data" else key, message=message)


def _slug(status: int) -> str:
    if status == HTTPStatus.BAD_REQUEST:
        return "validation-failed"
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "body-too-large"
    return HTTPStatus(status).phrase.lower().replace(" ", "-")
