"""`GET /openapi.json`: everything behind the front door in one description. `/docs` shows the same to people.

The pages ask for the description themselves: written into a page, an upstream's words could end its script.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from dishka import AsyncContainer
from dishka.integrations.litestar import FromDishka, inject
from litestar import Litestar, Request, Response, Router, get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin, ScalarRenderPlugin
from litestar.types import Method
from litestar.types.internal_types import PathParameterDefinition

from app.edge.edge import Edge
from app.edge.faults import RouteNotFound
from app.infra.openapi.fleet import FleetDescription
from app.infra.openapi.operations import Joined
from app.surfaces.api.dependencies import AnyRequest, mounted_at
from app.surfaces.api.description import describe_own

DESCRIPTION_PATH = "/openapi.json"
SWAGGER = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.18.2"


@get(DESCRIPTION_PATH, include_in_schema=False, opt={"access": "PUBLIC"})
@inject
async def describe(request: AnyRequest, description: FromDishka[FleetDescription]) -> Response[bytes]:
    """Answer what is in memory; nothing at all to who has it already (RFC 9110 §13.1.2)."""
    joined = await description.current()
    headers = {"etag": joined.etag, "cache-control": "no-cache"}
    if _has_it(request, joined):
        return Response(b"", status_code=304, headers=headers)
    body = _at(mounted_at(request), joined.body)
    return Response(body, media_type="application/json", headers=headers)


def _at(root_path: str, description: bytes) -> bytes:
    """Say where the paths begin, if another program has mounted us."""
    if not root_path:
        return description
    document: dict[str, object] = msgspec.json.decode(description)
    return msgspec.json.encode({**document, "servers": [{"url": root_path}]})


def _has_it(request: AnyRequest, joined: Joined) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return joined.etag in tags or "*" in tags


async def introduce_own(app: Litestar) -> None:
    """Tell the fleet's description how our own operations are described, once the app is up."""
    container: AsyncContainer = app.state.dishka_container
    description = await container.get(FleetDescription)
    cookie = (await container.get(Edge)).options.access_cookie.decode()
    description.introduce(partial(describe_own, app, cookie))
    app.state.description = description


def docs_config(*, version: str, are_served: bool) -> OpenAPIConfig:
    """Describe the endpoints in any case, as agents read that, too; hide the pages where they are not wanted."""
    pages = Router("/docs", route_handlers=[], include_in_schema=False, guards=[] if are_served else [_hide])
    return OpenAPIConfig(
        title="Portico",
        version=version,
        description="What is behind the front door. Everything is reached with a bearer token or the session cookie.",
        openapi_router=pages,
        operation_id_creator=_operation_id,
        render_plugins=[_ScalarPage(), _SwaggerPage(path="/swagger"), _JoinedJson()],
    )


async def _hide(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg] # any connection
    del connection, handler
    raise RouteNotFound("There is no such endpoint.")


def _operation_id(handler: HTTPRouteHandler, method: Method, path: Sequence[str | PathParameterDefinition]) -> str:
    """Name an operation after its handler: `list_chats` is `ListChats`, wherever it stands."""
    del method, path
    return handler.fn.__name__.title().replace("_", "")


class _ScalarPage(ScalarRenderPlugin):
    @staticmethod
    def get_openapi_json_route(request: Request[Any, Any, Any]) -> str:  # Any: as in what it overrides
        return mounted_at(request) + DESCRIPTION_PATH


class _SwaggerPage(OpenAPIRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # Any: as above
        url = mounted_at(request) + DESCRIPTION_PATH
        return f"""<!DOCTYPE html>
<html>
  <head>
    <title>{openapi_schema["info"]["title"]}</title>
    <meta charset="utf-8"/>
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <link rel="stylesheet" href="{SWAGGER}/swagger-ui.css">
    {self.style}
  </head>
  <body>
    <div id="docs"></div>
    <script src="{SWAGGER}/swagger-ui-bundle.js" crossorigin></script>
    <script>SwaggerUIBundle({{url: "{url}", dom_id: "#docs", deepLinking: true}})</script>
  </body>
</html>
""".encode()


class _JoinedJson(JsonRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # Any: as above
        del openapi_schema
        description: FleetDescription = request.app.state.description
        return description.joined.body
