"""What our own endpoints are, for machines, refusals included; and what the front door may answer for an upstream.

A handler names the facts of its own use cases by `opt={"faults": (ChatNotFound, ...)}`, and by `"streams"` the status
with which it may give server-sent events in place of JSON, by `"takes"` a body that it reads by itself; what the edge
and the assembly may answer in front of any handler is added here, so that no endpoint has a status that is not
described.
`docs.py` serves the whole: these operations joined with those of every upstream.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.routes import HTTPRoute
from litestar.serialization import encode_json

from app.edge.faults import (
    BodyTooLarge,
    ForwardingLoop,
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
    UpstreamAnswerBroken,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.infra.openapi.ports import Node, Own
from app.infra.wire import sse
from app.infra.wire.problems import CONTENT_TYPE, Problem, status_of
from app.kernel.errors import Fault, Malformed, ValidationFailed
from app.kernel.identity import Access
from app.kernel.ids import MAX_ID
from app.kernel.keyed_requests import IdempotencyMismatch, RequestSuperseded, RequestUnderWay
from app.surfaces.api.idempotency import HEADER, MAX_KEY_LENGTH
from app.surfaces.api.large_bodies import UploadsBusy

type Facts = Iterable[type[Fault]]

BY_THE_EDGE = (HeadMalformed, PathNotAllowed, BodyTooLarge, TargetTooLong, HeadTooLarge, InternalFault)
ANYWHERE: Facts = (ValidationFailed, Malformed, *BY_THE_EDGE)
BEHIND_A_TOKEN = (
    TokenMissing,
    TokenExpired,
    TokenInvalid,
    RoleNotAllowed,
    OriginNotAllowed,
    KeysUnavailable,
)
KEYED = (IdempotencyMismatch, RequestUnderWay, RequestSuperseded)
KEY_PARAMETER: Node = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The same for each try of one request: it is done once, and answered alike for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[!-~]*$"},
}
PROXIED = (*BY_THE_EDGE, UpstreamRefused, UpstreamAnswerBroken, ForwardingLoop, UpstreamUnavailable, UpstreamTimeout)


def add_refusals(app: Litestar) -> None:
    """Describe, for each handler, the problems it may answer with; what a handler describes itself stays."""
    for handler in _handlers(app):
        handler.responses = {**_problems(faults_of(handler)), **(handler.responses or {})}


def faults_of(handler: HTTPRouteHandler) -> Iterator[type[Fault]]:
    yield from ANYWHERE
    if handler.opt.get("access") != Access.PUBLIC:
        yield from BEHIND_A_TOKEN
    if _takes_keys(handler):
        yield from KEYED
    if "body_limit" in handler.opt:
        yield UploadsBusy
    yield from handler.opt.get("faults", ())


def describe_own(app: Litestar, access_cookie: str) -> Own:
    """Describe the endpoints of `app`, and what may come in place of an upstream's answer.

    Cost: a tenth of a second the first time; call it in a thread.
    """
    schema = app.openapi_schema.to_schema()
    for path, method, access in _declared(app, "access"):
        schema["paths"].get(path, {}).get(method, {})["x-portico-access"] = access
    for path, method, status in _declared(app, "streams"):
        schema["paths"][path][method]["responses"][status]["content"][sse.CONTENT_TYPE] = {}
    for path, method, taken in _declared(app, "takes"):
        schema["paths"][path][method]["requestBody"] = taken
    _bound_ids(schema)
    _close_bodies(app, schema["components"]["schemas"])
    _free_bodies(app, schema["paths"])
    for path in _keyed(app):
        schema["paths"].get(path, {}).get("post", {}).setdefault("parameters", []).append(KEY_PARAMETER)
    return Own(
        document=encode_json(schema),
        access_cookie=access_cookie,
        refusals=_responses(PROXIED),
        token_refusals=_responses((*PROXIED, *BEHIND_A_TOKEN)),
    )


def _bound_ids(schema: dict[str, Any]) -> None:
    """Say of every id in a path what `guard_ids` takes; as a number of Litestar's it would be rounded."""
    for item in schema["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["schema"].get("type") == "integer":
                    parameter["schema"] |= {"minimum": 0, "maximum": MAX_ID}


def _close_bodies(app: Litestar, components: dict[str, Any]) -> None:
    """Say of every body that fields it does not name are refused, where that is so."""
    for handler in _handlers(app):
        body = handler.parsed_fn_signature.parameters.get("data")
        if body is not None and body.annotation.__struct_config__.forbid_unknown_fields:
            components[body.annotation.__name__]["additionalProperties"] = False


def _free_bodies(app: Litestar, paths: dict[str, Any]) -> None:
    """Say of a body that it may be left out, where that is so."""
    for route in app.routes:
        for method, (handler, _) in route.route_handler_map.items() if isinstance(route, HTTPRoute) else ():
            body = handler.parsed_fn_signature.parameters.get("data")
            if body is not None and body.has_default:
                paths[route.path_format][method.lower()]["requestBody"]["required"] = False


def _handlers(app: Litestar) -> Iterator[HTTPRouteHandler]:
    for route in app.routes:
        yield from route.route_handlers if isinstance(route, HTTPRoute) else ()


# Any: whatever is declared under that name
def _declared(app: Litestar, name: str) -> Iterator[tuple[str, str, Any]]:
    """Yield the path and method of every handler that declares something under this name, and what it declares."""
    for route in app.routes:
        for method, (handler, _) in route.route_handler_map.items() if isinstance(route, HTTPRoute) else ():
            if name in handler.opt:
                yield route.path_format, method.lower(), handler.opt[name]


def _keyed(app: Litestar) -> Iterator[str]:
    for route in app.routes:
        if isinstance(route, HTTPRoute) and any(_takes_keys(handler) for handler in route.route_handlers):
            yield route.path_format


def _takes_keys(handler: HTTPRouteHandler) -> bool:
    """Whether its callers are known; an anonymous one has no keys."""
    return "POST" in handler.http_methods and handler.opt.get("access") != Access.PUBLIC


def _problems(faults: Facts) -> Mapping[int, ResponseSpec]:
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=words, media_type=CONTENT_TYPE)
        for status, words in _words(faults)
    }


def _responses(faults: Facts) -> Mapping[str, Node]:
    content = {CONTENT_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {str(status): {"description": words, "content": content} for status, words in _words(faults)}


def _words(faults: Facts) -> Iterator[tuple[int, str]]:
    """Tell, status by status, which problems it stands for."""
    by_status: dict[int, list[str]] = defaultdict(list)
    for fault in faults:
        by_status[status_of(fault)].append(f"`{fault.type}`: {fault.title}.")
    for status, words in sorted(by_status.items()):
        yield status, " ".join(words)
