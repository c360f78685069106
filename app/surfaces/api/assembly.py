"""Litestar, put together: the controllers of every feature, one list, and what holds for all of them."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Controller, Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import ScalarRenderPlugin, SwaggerRenderPlugin
from litestar.types import ControllerRouterHandler, Method
from litestar.types.internal_types import PathParameterDefinition

from app.edge.routes import DEFAULT_MAX_LOCAL_BODY_BYTES
from app.features.chats.controller import CONTROLLERS as CHATS
from app.surfaces.api.agents import AgentsController
from app.surfaces.api.commands import DatabaseCommands
from app.surfaces.api.dependencies import DEPENDENCIES, guard_access, guard_ids
from app.surfaces.api.description import add_refusals, describe
from app.surfaces.api.refusals import refuse
from app.surfaces.ops.health import HealthController

VERSION = "0.1.0"

CONTROLLERS: Sequence[type[Controller]] = (HealthController, AgentsController, *CHATS)


def assemble(
    lifespan: AbstractAsyncContextManager[None] | Any,  # Litestar also takes a function of the app that makes one
    *,
    are_docs_served: bool,
    is_debug: bool,
) -> Litestar:
    handlers: list[ControllerRouterHandler] = list(CONTROLLERS)
    if are_docs_served:
        handlers.append(describe)
    app = Litestar(
        route_handlers=handlers,
        dependencies=DEPENDENCIES,
        guards=[guard_access, guard_ids],
        exception_handlers={Exception: refuse},
        lifespan=[lifespan],
        openapi_config=_description() if are_docs_served else None,
        plugins=[DatabaseCommands()],
        request_max_body_size=DEFAULT_MAX_LOCAL_BODY_BYTES,
        logging_config=None,
        debug=is_debug,
    )
    add_refusals(app)
    return app


def _description() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Portico",
        version=VERSION,
        description="The front door's own operations. Everything is reached with a bearer token or the session cookie.",
        path="/docs",
        operation_id_creator=_operation_id,
        render_plugins=[ScalarRenderPlugin(), SwaggerRenderPlugin(path="/swagger")],
    )


def _operation_id(handler: HTTPRouteHandler, method: Method, path: Sequence[str | PathParameterDefinition]) -> str:
    """Name an operation after its handler: `list_chats` is `ListChats`, wherever it stands."""
    del method, path
    return handler.fn.__name__.title().replace("_", "")
