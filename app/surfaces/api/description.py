"""`GET /openapi.json`: what the endpoints are, for machines, refusals included. `/docs` shows the same to people.

A handler names the facts of its own use cases by `opt={"faults": (ChatNotFound, ...)}`; what the edge and the assembly
may answer in front of any handler is added here, so that no endpoint has a status that is not described.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.routes import HTTPRoute
from litestar.serialization import encode_json

from app.edge.faults import (
    BodyTooLarge,
    HeadMalformed,
    HeadTooLarge,
    InternalFault,
    KeysUnavailable,
    OriginNotAllowed,
    PathNotAllowed,
    RoleNotAllowed,
    TargetTooLong,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)
from app.infra.wire.problems import CONTENT_TYPE, Problem, status_of
from app.kernel.errors import Fault, Malformed, ValidationFailed
from app.kernel.identity import Access

type Facts = Iterable[type[Fault]]

ANYWHERE: Facts = (
    ValidationFailed,
    Malformed,
    HeadMalformed,
    PathNotAllowed,
    BodyTooLarge,
    TargetTooLong,
    HeadTooLarge,
    InternalFault,
)
BEHIND_A_TOKEN: Facts = (
    TokenMissing,
    TokenExpired,
    TokenInvalid,
    RoleNotAllowed,
    OriginNotAllowed,
    KeysUnavailable,
)


@get("/openapi.json", include_in_schema=False, opt={"access": "PUBLIC"}, sync_to_thread=False)
def describe(request: Request[None, None, State]) -> Response[bytes]:
    document = request.app.openapi_schema.to_schema()
    return Response(encode_json(document), media_type="application/json")


def add_refusals(app: Litestar) -> None:
    """Describe, for each handler, the problems it may answer with; what a handler describes itself stays."""
    for route in app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            handler.responses = {**_problems(faults_of(handler)), **(handler.responses or {})}


def faults_of(handler: HTTPRouteHandler) -> Iterator[type[Fault]]:
    yield from ANYWHERE
    if handler.opt.get("access") != Access.PUBLIC:
        yield from BEHIND_A_TOKEN
    yield from handler.opt.get("faults", ())


def _problems(faults: Facts) -> Mapping[int, ResponseSpec]:
    by_status: dict[int, list[str]] = defaultdict(list)
    for fault in faults:
        by_status[status_of(fault)].append(f"`{fault.type}`: {fault.title}.")
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=" ".join(words), media_type=CONTENT_TYPE)
        for status, words in sorted(by_status.items())
    }
