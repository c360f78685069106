"""Is it alive, may it get traffic, and how is everything it depends on. Reads what the background checks found."""

from collections.abc import Sequence

import msgspec
from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec

from app.infra.observability.health import Dependency, HealthRegistry, Wellness
from app.kernel.identity import Principal


class DependencyView(msgspec.Struct, frozen=True):
    """`details` is empty for whoever is not STAFF."""

    type: str
    name: str
    status: str
    details: str | None = None


class HealthView(msgspec.Struct, frozen=True):
    status: str
    deps: Sequence[DependencyView]


class ReadyView(msgspec.Struct, frozen=True):
    status: str


NOT_READY = "Something required is down"


class HealthController(Controller):
    path = "/api/health"
    tags = ("health",)
    opt = {"access": "PUBLIC"}  # noqa: RUF012 - Litestar reads it as a mapping

    @get("/ping", status_code=204)
    async def ping(self) -> None:
        """Answer that the process is alive."""

    @get("/ready", responses={503: ResponseSpec(ReadyView, description=NOT_READY)})
    @inject
    async def ready(self, health: FromDishka[HealthRegistry]) -> Response[ReadyView]:
        """Answer 200 while everything required is there, else 503."""
        is_ready = health.is_ready
        return Response(ReadyView("ok" if is_ready else "error"), status_code=200 if is_ready else 503)

    @get("/service_health", responses={503: ResponseSpec(HealthView, description=NOT_READY)})
    @inject
    async def service_health(
        self, request: Request[None, None, State], health: FromDishka[HealthRegistry]
    ) -> Response[HealthView]:
        """List everything we depend on; details only for STAFF."""
        caller = request.scope["state"].get("principal")
        shows_details = isinstance(caller, Principal) and caller.is_staff
        views = [_view(one, shows_details=shows_details) for one in health.all]
        is_ready = health.is_ready
        return Response(HealthView("ok" if is_ready else "error", views), status_code=200 if is_ready else 503)


def _view(dependency: Dependency, *, shows_details: bool) -> DependencyView:
    status = "ok" if dependency.status is Wellness.OK else "error"
    return DependencyView(dependency.type, dependency.name, status, dependency.details if shows_details else None)
