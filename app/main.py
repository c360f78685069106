"""The composition root: the only place that knows every slice. Tests replace parts by passing a provider after ours."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from dishka import AsyncContainer, Provider, Scope, make_async_container, provide
from dishka.integrations.litestar import setup_dishka
from litestar import Litestar

from app.agents.contract import FrontDoor
from app.agents.provider import AgentsProvider, agent_flaws
from app.agents.runner import AgentRunner
from app.agents.tools.front_door import FrontDoorAddress, HttpFrontDoor
from app.edge.asgi import Door
from app.edge.edge import Edge, OnRequest
from app.edge.keys import Fetch
from app.edge.provider import EdgeProvider, key_flaws, table_flaws
from app.edge.rate_limit_ledger import QuotaLedger
from app.edge.reload import ReloadAsked
from app.edge.revocations import RevocationFeed, RevocationStore
from app.features.chats.clients import PostJson
from app.features.chats.ports import MessageHook
from app.features.chats.provider import ChatsProvider
from app.infra.db.engine import Database
from app.infra.db.quotas import PostgresQuotaLedger
from app.infra.db.revocation_feed import PostgresRevocationFeed
from app.infra.db.revocations import PostgresRevocationStore
from app.infra.http_client.client import HttpClient
from app.infra.observability.background import Background
from app.infra.observability.logs import configure_logs
from app.infra.openapi.fleet import FleetDescription
from app.infra.provider import InfraProvider
from app.settings import ConfigProblem, ConfigurationInvalid, Settings, find_config, load_dotenv, read_settings
from app.surfaces.api.assembly import assemble
from app.surfaces.api.keyed_requests import KeyedRequests
from app.surfaces.api.provider import ApiProvider

log = structlog.get_logger()


class Wiring(Provider):
    """What one slice needs from another, tied together here so that neither knows the other."""

    scope = Scope.APP

    revocation_store = provide(PostgresRevocationStore, provides=RevocationStore)
    quota_ledger = provide(PostgresQuotaLedger, provides=QuotaLedger)
    revocation_feed = provide(PostgresRevocationFeed, provides=RevocationFeed)

    @provide
    def front_door_address(self, settings: Settings) -> FrontDoorAddress:
        return FrontDoorAddress(settings.front_door_url)

    @provide
    def front_door(self, http: HttpClient, address: FrontDoorAddress) -> FrontDoor:
        return HttpFrontDoor(http, address)

    @provide
    def on_request(self, address: FrontDoorAddress) -> OnRequest:
        return address.learn

    @provide
    def fetch_keys(self, http: HttpClient) -> Fetch:
        return http.fetch

    @provide
    def post_json(self, http: HttpClient) -> PostJson:
        return http.post_json


def load_settings(config: Path | None = None) -> Settings:
    """Read `.env`, the environment and the table, and check all of it, before anything is opened or bound.

    Errors: ConfigurationInvalid with everything wrong.
    """
    load_dotenv()
    try:
        settings = read_settings(find_config(config), check_rows=table_flaws)
    except ConfigurationInvalid as invalid:
        # settings that are wrong cannot tell their values, but the environment can
        others = _value_flaws(os.environ.get("JWT_PUBLIC_KEY", ""), os.environ.get("DEFAULT_MODEL", ""), gguf=None)
        raise ConfigurationInvalid([*invalid.problems, *others]) from None
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """Errors: ConfigurationInvalid."""
    values = _value_flaws(settings.jwt_public_key, settings.default_model, gguf=settings.local_model_gguf)
    flaws = [*table_flaws(settings.gateway), *values]
    if flaws:
        raise ConfigurationInvalid(flaws)


def _value_flaws(pem: str, model: str, *, gguf: Path | None) -> list[ConfigProblem]:
    return [*key_flaws(pem.replace("\\n", "\n")), *agent_flaws(model, gguf)]


def create_app(settings: Settings, *overrides: Provider) -> Litestar:
    """Build the gateway; nothing is opened before its lifespan begins. Errors: ConfigurationInvalid."""
    check_settings(settings)
    configure_logs(level=settings.log_level, as_json=settings.logs_are_json)
    container = make_async_container(
        InfraProvider(),
        Wiring(),
        EdgeProvider(),
        AgentsProvider(),
        ChatsProvider(),
        ApiProvider(),
        *overrides,
        context={Settings: settings},
    )
    door = Door()
    app = assemble(
        partial(_running, container, door), are_docs_served=settings.docs_are_served, is_debug=settings.debug
    )
    setup_dishka(container, app)
    # Litestar's ASGI types name the shape of each message; ours pass any
    door.inner, app.asgi_handler = app.asgi_handler, door  # type: ignore[assignment]
    app.state["door"] = door
    return app


@asynccontextmanager
async def _running(container: AsyncContainer, door: Door, app: Litestar) -> AsyncIterator[None]:
    """Open everything in order, then the door, serve, and close it all in the other order."""
    try:
        for part in (Database, AgentRunner, MessageHook, FleetDescription, KeyedRequests):  # with background work
            await container.get(part)
        door.edge = await container.get(Edge)
        app.state["reload_table"] = (await container.get(ReloadAsked)).set
        background = await container.get(Background)
        async with background.running():
            log.info("gateway.started")
            yield
    finally:
        door.edge = None
        await container.close()
        log.info("gateway.stopped")
