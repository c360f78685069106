"""Litestar, put together: the controllers of every feature, one list, and what holds for all of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from litestar import Controller, Litestar, Response
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler, HTTPScope

from app.edge.routes import DEFAULT_MAX_LOCAL_BODY_BYTES
from app.features.approvals.controller import ApprovalController
from app.features.attachments.controller import AttachmentController
from app.features.audit.controller import AuditController
from app.features.chats.controller import CONTROLLERS as CHATS
from app.features.chats.tree_controller import TreeController
from app.features.keys.controller import KeysController
from app.features.memory.controller import MemoryController
from app.features.notifications.controller import NotificationController
from app.features.runs.controller import CONTROLLERS as RUNS
from app.features.tasks.controller import CONTROLLERS as TASKS
from app.features.usage.controller import UsageController
from app.surfaces.api.agents import AgentsController
from app.surfaces.api.bodies import StrictRequest
from app.surfaces.api.commands import DatabaseCommands
from app.surfaces.api.dependencies import DEPENDENCIES, guard_access, guard_ids
from app.surfaces.api.description import add_refusals
from app.surfaces.api.docs import describe, docs_config, introduce_own
from app.surfaces.api.idempotency import HonourKeys
from app.surfaces.api.jwks import JwksController
from app.surfaces.api.large_bodies import BoundLargeBodies
from app.surfaces.api.operations import OperationsController
from app.surfaces.api.refusals import refuse
from app.surfaces.api.revocations import RevocationsController
from app.surfaces.api.sessions import SessionsController
from app.surfaces.api.task_history import TaskHistoryController
from app.surfaces.jobs.controller import JobsController
from app.surfaces.mcp.controller import McpController
from app.surfaces.openai.controller import OpenAIController
from app.surfaces.ops.health import HealthController
from app.surfaces.ops.metrics import MetricsController
from app.surfaces.streams.branching import BranchingController
from app.surfaces.streams.chat_events import chat_events
from app.surfaces.streams.exchange import ExchangeController
from app.surfaces.streams.run_events import RunEventsController
from app.surfaces.streams.task_socket import task_events
from app.surfaces.widgets.controller import WidgetsController

VERSION = "0.1.0"

CONTROLLERS: Sequence[type[Controller]] = (
    HealthController,
    MetricsController,
    JwksController,
    AgentsController,
    OperationsController,
    RevocationsController,
    KeysController,
    SessionsController,
    *CHATS,
    AttachmentController,
    TreeController,
    UsageController,
    AuditController,
    ApprovalController,
    NotificationController,
    MemoryController,
    *RUNS,
    *TASKS,
    TaskHistoryController,
    ExchangeController,
    BranchingController,
    RunEventsController,
    JobsController,
    OpenAIController,
    WidgetsController,
    McpController,
)


def assemble(
    lifespan: AbstractAsyncContextManager[None] | Any,  # Litestar also takes a function of the app that makes one
    *,
    are_docs_served: bool,
    is_debug: bool,
) -> Litestar:
    handlers: list[ControllerRouterHandler] = [*CONTROLLERS, chat_events, task_events]
    if are_docs_served:
        handlers.append(describe)
    app = Litestar(
        route_handlers=handlers,
        dependencies=DEPENDENCIES,
        guards=[guard_access, guard_ids],
        middleware=[BoundLargeBodies, HonourKeys],
        exception_handlers={Exception: refuse},
        lifespan=[lifespan],
        on_startup=[introduce_own],
        openapi_config=docs_config(version=VERSION, are_served=are_docs_served),
        plugins=[DatabaseCommands()],
        request_class=StrictRequest,
        request_max_body_size=DEFAULT_MAX_LOCAL_BODY_BYTES,
        logging_config=None,
        debug=is_debug,
    )
    add_refusals(app)
    _tell_methods(app)
    return app


def _tell_methods(app: Litestar) -> None:
    """Have OPTIONS name every method of a path: Litestar's own answer leaves out those a handler added later."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            handler, _ = route.route_handler_map["OPTIONS"]
            handler(_answer_of(route))


def _answer_of(route: HTTPRoute) -> Callable[[HTTPScope], Response[None]]:
    allowed = ", ".join(sorted(route.methods))

    def tell_methods(scope: HTTPScope) -> Response[None]:
        """Take what Litestar's own takes: what a handler is handed was settled when its route was made."""
        del scope
        return Response(None, status_code=204, headers={"allow": allowed})

    return tell_methods
