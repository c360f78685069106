"""What the three applications have in common: problems, a ping, a clean OpenAPI document, no noise."""

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Litestar, get
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler, Method

from portico_fleet.problems import HANDLERS
from portico_fleet.store import Store

BODY_LIMIT_BYTES = 1024 * 1024
SIGNED_IN: list[dict[str, list[str]]] = [{"bearer": []}]


@get("/api/health/ping", tags=["health"], summary="Answer while alive", status_code=204)
async def ping() -> None: ...


def assemble(
    title: str,
    handlers: Sequence[ControllerRouterHandler],
    *,
    store: Store,
    dependencies: Mapping[str, Provide],
) -> Litestar:
    """Put an application together; it owns `store` and closes it when it stops."""
    return Litestar(
        [ping, *handlers],
        dependencies=dict(dependencies),
        exception_handlers=HANDLERS,
        logging_config=None,
        on_shutdown=[store.close],
        openapi_config=_description(title),
        request_max_body_size=BODY_LIMIT_BYTES,
    )


def given(part: Any) -> Provide:
    """Hand the same object, of whatever type (hence Any), to every request."""
    return Provide(lambda: part, sync_to_thread=False, use_cache=True)


def _description(title: str) -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")
    return OpenAPIConfig(
        title=title,
        version="1.0.0",
        path="/openapi.json",  # as a path of its own: below "/" Litestar answers every unknown path with a page
        render_plugins=[JsonRenderPlugin(path="/")],
        components=Components(security_schemes={"bearer": bearer}),
        operation_id_creator=_operation_id,
    )


def _operation_id(handler: HTTPRouteHandler, _method: Method, _path: list[Any]) -> str:
    return handler.handler_name
