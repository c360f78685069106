"""What `infra` puts into the container: the clock, the database, our HTTP client, the health registry."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from importlib import metadata

import structlog
from dishka import Provider, Scope, from_context, provide

from app.infra.db import migrate
from app.infra.db.embedded.postgres import EmbeddedPostgres
from app.infra.db.engine import Database, DatabaseOptions
from app.infra.db.hints import PostgresHints
from app.infra.db.sealing import AesSeal, keys_of_folder
from app.infra.durable.active_runs import PostgresActiveRuns
from app.infra.durable.crew import PostgresCrew
from app.infra.durable.engine import PostgresEngine
from app.infra.durable.key_ring import KeyRing, SigningKeys
from app.infra.durable.live_tokens import PostgresRunSource
from app.infra.durable.options import WorkerOptions, code_version
from app.infra.durable.ownership import Tally
from app.infra.durable.ports import Crew, Engine, Handlers, RunQueue, Worker
from app.infra.durable.queue import PostgresRunQueue
from app.infra.durable.run_tokens import RunTokens
from app.infra.durable.signing_keys import PostgresSigningKeys
from app.infra.durable.watch import EngineWatch
from app.infra.durable.withdrawn_runs import ActiveRuns
from app.infra.durable.worker import PostgresWorker
from app.infra.events.hub import EventHub
from app.infra.events.log import PostgresEventLog
from app.infra.events.ports import EventLog
from app.infra.http_client.client import HttpClient
from app.infra.observability.background import Background, every
from app.infra.observability.health import INTERVAL_S, HealthRegistry
from app.infra.observability.process import Resources, process_families
from app.infra.observability.siblings import Siblings
from app.infra.openapi.fleet import FleetDescription
from app.infra.openapi.news import FLEET
from app.infra.openapi.ports import Fleet
from app.kernel.clock import Clock, SystemClock
from app.kernel.draining import Draining
from app.kernel.errors import Unavailable
from app.kernel.run_tokens import AUDIENCE
from app.kernel.sealing import Seal, read_keys
from app.kernel.transaction import Begin, Look
from app.kernel.worker import WorkerPlace
from app.settings import Settings

log = structlog.get_logger()


def embedded_postgres(settings: Settings) -> EmbeddedPostgres:
    """Name the embedded server of a data folder; nothing is started yet."""
    return EmbeddedPostgres(settings.data_dir / "postgres")


def database_options(settings: Settings, dsn: str) -> DatabaseOptions:
    return DatabaseOptions(
        dsn=dsn,
        schema=settings.postgres_schema,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_pool_overflow,
        pool_timeout_s=settings.database_pool_timeout,
        pool_recycle_s=settings.database_pool_recycle,
    )


class InfraProvider(Provider):
    scope = Scope.APP

    settings = from_context(Settings)
    run_queue = provide(PostgresRunQueue, provides=RunQueue)
    engine = provide(PostgresEngine, provides=Engine)
    worker = provide(PostgresWorker, provides=Worker)
    event_log = provide(PostgresEventLog, provides=EventLog)
    signing_keys = provide(PostgresSigningKeys, provides=SigningKeys)
    active_runs = provide(PostgresActiveRuns, provides=ActiveRuns)
    crew = provide(PostgresCrew, provides=Crew)

    @provide
    def background(self) -> Background:
        return Background()

    @provide
    def place(self) -> WorkerPlace:
        return WorkerPlace()

    @provide
    def draining(self) -> Draining:
        return Draining()

    @provide
    def health(self, settings: Settings, background: Background, draining: Draining) -> HealthRegistry:
        registry = HealthRegistry(draining=draining)
        registry.add("system", "resources", Resources(settings.data_dir).check)
        background.add("health", every(INTERVAL_S, registry.check_all))
        return registry

    @provide
    def siblings(self, place: WorkerPlace, health: HealthRegistry, background: Background) -> Siblings:
        siblings = Siblings(place)
        siblings.sources.add(partial(process_families, metadata.version("portico-gateway")))
        siblings.sources.add(health.families)
        background.add("metrics", siblings.serve)
        health.add("worker", "siblings", siblings.check)
        return siblings

    @provide
    def clock(self) -> Clock:
        return SystemClock()

    @provide
    async def http(self) -> AsyncIterator[HttpClient]:
        client = HttpClient.open()
        yield client
        await client.aclose()

    @provide
    async def database(self, settings: Settings, health: HealthRegistry) -> AsyncIterator[Database]:
        """Open the database, migrated; without a DSN, our own server under the data folder."""
        embedded = None if settings.postgres_dsn else embedded_postgres(settings)
        if embedded is not None:
            await asyncio.to_thread(embedded.acquire)
        database = Database(database_options(settings, embedded.dsn if embedded else settings.postgres_dsn))
        try:
            await migrate.upgrade(database.engine, settings.postgres_schema)
            health.add("postgres", "database", database.health, is_required=True)
            yield database
        finally:
            await database.aclose()
            if embedded is not None:
                await asyncio.to_thread(embedded.release)

    @provide
    def hints(self, database: Database, background: Background) -> PostgresHints:
        hints = PostgresHints(database)
        background.add("hints", hints.follow)
        return hints

    @provide
    def event_hub(self, database: Database, hints: PostgresHints, background: Background) -> EventHub:
        hub = EventHub(database, hints)
        background.add("events", hub.work)
        return hub

    @provide
    def tally(self) -> Tally:
        return Tally()

    @provide
    def engine_watch(
        self, database: Database, hub: EventHub, tally: Tally, health: HealthRegistry, siblings: Siblings
    ) -> EngineWatch:
        watch = EngineWatch(database, hub, tally)
        health.add("engine", "runs", watch.check)
        siblings.sources.add(watch.families)
        return watch

    @provide
    def handlers(self) -> Handlers:
        """Handle no kind of run; who knows some says so instead."""
        return Handlers({})

    @provide
    async def key_ring(self, published: SigningKeys, clock: Clock) -> AsyncIterator[KeyRing]:
        """Make no key yet; what was published is withdrawn at the end, if there is still somebody to tell."""
        ring = KeyRing(published, clock)
        yield ring
        with suppress(Unavailable):
            await ring.close()

    @provide
    def run_tokens(self, settings: Settings, ring: KeyRing, clock: Clock) -> RunTokens:
        return RunTokens(ring, clock, settings.jwt_audience or AUDIENCE, settings.jwt_role_claim)

    @provide
    async def run_source(self, database: Database) -> AsyncIterator[PostgresRunSource]:
        source = PostgresRunSource(database)
        yield source
        await source.aclose()

    @provide
    def seal(self, settings: Settings) -> Seal:
        """Make or read no key before something is sealed."""
        return AesSeal(lambda: read_keys(settings.secrets_key) or keys_of_folder(settings.data_dir))

    @provide
    def worker_options(self, settings: Settings, place: WorkerPlace) -> WorkerOptions:
        name = place.name or f"{socket.gethostname()}:{os.getpid()}"
        return WorkerOptions(
            name=name, version=code_version(), predecessor=place.predecessor, slots=settings.worker_slots
        )

    @provide
    def begin(self, database: Database) -> Begin:
        return database.begin

    @provide
    def look(self, database: Database) -> Look:
        return database.look


class DescriptionProvider(Provider):
    """The fleet's API description, for those who serve it. Asks the edge for the fleet."""

    scope = Scope.APP

    @provide
    def description(
        self, fleet: Fleet, clock: Clock, hints: PostgresHints, background: Background, health: HealthRegistry
    ) -> FleetDescription:
        description = FleetDescription(fleet, clock, partial(hints.send, FLEET))
        background.add("api description", description.keep)
        health.add("openapi", "description", description.check)
        return description
