"""What the edge puts into the container, compiled from the settings' rows."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from dishka import Provider, Scope, provide, provide_all

from app.edge.access_log import BATCH_S, READABLE_BATCH_S, AccessLog, BatchedAccessLog, as_json, as_readable
from app.edge.api_keys import ApiKeys, ApiKeySource
from app.edge.claims import TokenRules
from app.edge.described_fleet import DescribedFleet
from app.edge.edge import Edge, OnRequest
from app.edge.endpoint_names import LOOKUP_INTERVAL_S, Names
from app.edge.file_watch import SIZE_LIMIT_BYTES, FileWatch
from app.edge.health import CHECK_INTERVAL_S, ActiveChecks, watch_upstreams
from app.edge.keys import REFRESH_S, Fetch, JwksKeys, KeySource, KeyUnusable, PemKeys, read_pem
from app.edge.live_runs import LiveRuns, RunSource
from app.edge.load import Load
from app.edge.metrics import gauge_families, log_families, upstream_families
from app.edge.metrics_readers import MetricsReaders
from app.edge.pipeline import EdgeOptions
from app.edge.rate_limit_booking import Bookkeeper
from app.edge.rate_limit_counts import RateLimiter
from app.edge.rate_limit_ledger import QuotaLedger
from app.edge.reload import HEALTH_TYPE, Draft, OnReload, ReloadAsked, TableRefused, TableReload
from app.edge.revocations import RevocationFeed, Revocations, RevocationStore
from app.edge.routes import CompiledRows, RouteProblem, RouteRegistry, RouteTableInvalid
from app.edge.run_tokens import RunTokenVerifier
from app.edge.session_tokens import Sessions, SessionSigner
from app.edge.spans import RequestSpans
from app.edge.table import Table
from app.edge.tokens import TokenVerifier
from app.edge.upstream_rows import upstream_flaws
from app.edge.upstreams import open_upstreams
from app.edge.withdrawals import LiftRevocation, ListRevocations, OnWithdrawing, WithdrawMark, WithdrawTokens
from app.infra.http_client.client import HttpClient
from app.infra.observability.background import Background, every
from app.infra.observability.health import HealthRegistry
from app.infra.observability.lines import STDERR, LineWriter
from app.infra.observability.otlp import SpanExporter, headers_of, traces_url
from app.infra.observability.siblings import Siblings
from app.infra.openapi.ports import Fleet
from app.kernel.audit import AuditTrail
from app.kernel.clock import Clock
from app.kernel.draining import Draining
from app.kernel.errors import Fault
from app.kernel.identity import Access, RoleTable
from app.kernel.run_tokens import AUDIENCE
from app.kernel.session_tokens import LIFE_S as SESSION_LIFE_S
from app.kernel.toml_elements import KnownElements
from app.kernel.transaction import Begin
from app.kernel.worker import WorkerPlace
from app.settings import (
    FROM_THE_FILE,
    ConfigProblem,
    ConfigurationInvalid,
    GatewayFile,
    Settings,
    TableSource,
    read_settings,
)


def table_flaws(rows: GatewayFile) -> Iterable[ConfigProblem]:
    """Tell everything wrong with the table as a whole, before anything is opened."""
    return compile_table(rows, [])


def compile_table(
    rows: GatewayFile, made: list[RouteRegistry], known: CompiledRows | None = None
) -> Iterable[ConfigProblem]:
    """Tell what is wrong with the table; put what was compiled into `made`."""
    found = list(upstream_flaws(rows.upstreams))
    try:
        made.append(RouteRegistry.compile(rows.routes, rows.upstreams, known))
    except RouteTableInvalid as invalid:
        found += invalid.problems
    else:
        found += _widget_row_flaws(rows, made[-1])
    return [ConfigProblem("gateway.toml", problem.row, problem.message, problem.mend) for problem in found]


def _widget_row_flaws(rows: GatewayFile, registry: RouteRegistry) -> Iterable[RouteProblem]:
    """Tell whether visitors would come through: by a row for everybody, and one that counts what an address asks."""
    if not rows.widgets:
        return
    try:
        route = registry.match(b"POST", b"/api/v1/public/chat/any")
    except Fault:
        route = None
    if route is None or not route.is_public or route.upstream is not None or route.limit is None:
        words = "there is no PUBLIC row with a rate_limit for POST /api/v1/public/chat"
        mend = 'write prefix = "/api/v1/public/chat", methods = ["POST"], local = true, access = "PUBLIC", '
        yield RouteProblem("widgets", words, f'{mend}rate_limit = "20/minute" under [[routes]]')


@dataclass(slots=True)
class DraftReader:
    """Read the file as at start, with the environment of the start.

    Settings in it that would now be others stay as they are until a restart. Rows that the file read before had, too,
    are not read, checked and compiled again: of 5,000 rows that would take a third of a second.
    """

    source: TableSource
    _at_start: Settings | None = None
    _rows: KnownElements = field(default_factory=KnownElements)
    _compiled: CompiledRows = field(default_factory=CompiledRows)

    def __call__(self, content: bytes | None) -> Draft:
        """Errors: TableRefused."""
        if content is None:
            words = f"file: cannot be read, or is larger than {SIZE_LIMIT_BYTES} bytes"
            raise TableRefused([f"{self.source.file}: {words}"])
        try:
            if self._at_start is None:
                self._at_start = self._read(self.source.content, [])
            made: list[RouteRegistry] = []
            settings = self._read(content, made)
        except ConfigurationInvalid as invalid:
            raise TableRefused([str(problem) for problem in invalid.problems]) from None
        kept = _differences(self._at_start, settings)
        return Draft(made[0], settings.gateway.upstreams, role_table(settings), kept)

    def begin(self) -> None:
        """Read what is served, so that of the first change only the change is left to read."""
        with suppress(TableRefused):  # of settings that were handed in otherwise than by this file
            self(self.source.content)

    def _read(self, content: bytes, made: list[RouteRegistry]) -> Settings:
        check = partial(compile_table, made=made, known=self._compiled)
        return read_settings(self.source.file, content=content, check_rows=check, known=self._rows)


def _differences(one: Settings, other: Settings) -> list[str]:
    names = sorted(set(Settings.model_fields) - FROM_THE_FILE)
    settings = [name for name in names if getattr(one, name) != getattr(other, name)]
    at_start = ("mcp_servers", "widgets")
    return settings + [name for name in at_start if getattr(one.gateway, name) != getattr(other.gateway, name)]


def key_flaws(pem: str) -> Iterable[ConfigProblem]:
    try:
        if pem:
            read_pem(pem)
    except KeyUnusable as error:
        yield ConfigProblem("environment", "JWT_PUBLIC_KEY", str(error), "paste the auth service's public key")


class EdgeProvider(Provider):
    scope = Scope.APP

    use_cases = provide_all(LiftRevocation, ListRevocations)

    @provide
    async def revocations(
        self, feed: RevocationFeed, clock: Clock, health: HealthRegistry, background: Background
    ) -> Revocations:
        """Know everything that is withdrawn before anybody is let in (promise P12)."""
        known = Revocations(clock)
        await feed.load(known)
        background.add("revocations", partial(feed.follow, known))
        health.add("edge", "revocations", known.health, is_required=True)
        return known

    @provide
    def withdraw(
        self,
        settings: Settings,
        begin: Begin,
        store: RevocationStore,
        known: Revocations,
        clock: Clock,
        audit: AuditTrail,
        on_withdrawing: OnWithdrawing,
    ) -> WithdrawTokens:
        life, leeway = timedelta(seconds=settings.jwt_max_life_s), timedelta(seconds=settings.jwt_leeway_s)
        return WithdrawTokens(begin, store, known, clock, audit, life, leeway, on_withdrawing)

    @provide
    def withdraw_mark(self, store: RevocationStore, known: Revocations, clock: Clock) -> WithdrawMark:
        return WithdrawMark(store, known, clock, timedelta(seconds=2 * SESSION_LIFE_S))

    @provide
    def api_keys(
        self,
        source: ApiKeySource,
        clock: Clock,
        revocations: Revocations,
        health: HealthRegistry,
        background: Background,
    ) -> ApiKeys:
        keys = ApiKeys(source, clock, revocations)
        background.add("uses of keys", keys.keep_uses)
        health.add("edge", "api keys", keys.health)
        return keys

    @provide
    def sessions(
        self, settings: Settings, signer: SessionSigner, keys: ApiKeys, live: LiveRuns, clock: Clock
    ) -> Sessions:
        return Sessions(signer, keys, live, clock, settings.jwt_audience or AUDIENCE)

    @provide
    def keys(self, settings: Settings, fetch: Fetch, clock: Clock, background: Background) -> KeySource:
        if settings.jwt_public_key:
            return PemKeys.read(settings.jwt_public_key)
        keys = JwksKeys(settings.jwt_jwks_url, fetch, clock)
        background.add("keys", every(REFRESH_S, keys.refresh))
        return keys

    @provide
    def live_runs(self, source: RunSource, clock: Clock, health: HealthRegistry, background: Background) -> LiveRuns:
        live = LiveRuns(source, clock)
        background.add("live runs", live.attend)
        health.add("edge", "runs", live.health)
        return live

    @provide
    def tokens(
        self,
        settings: Settings,
        keys: KeySource,
        clock: Clock,
        revocations: Revocations,
        live: LiveRuns,
        sessions: Sessions,
    ) -> TokenVerifier:
        rules = TokenRules(
            roles=role_table(settings),
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            role_claim=settings.jwt_role_claim,
            leeway_s=settings.jwt_leeway_s,
        )
        runs = RunTokenVerifier(live, settings.jwt_audience or AUDIENCE)
        return TokenVerifier(rules, keys.current, clock, revocations, runs, sessions)

    @provide
    async def access_log(self, settings: Settings, siblings: Siblings) -> AsyncIterator[AccessLog]:
        writer = LineWriter(STDERR)
        log = BatchedAccessLog(
            writer,
            as_json if settings.logs_are_json else as_readable(),
            level=settings.log_level,
            sample=settings.access_log_sample,
            batch_s=BATCH_S if settings.logs_are_json else READABLE_BATCH_S,
        )
        siblings.sources.add(partial(log_families, writer))
        yield log
        await asyncio.to_thread(log.close)

    @provide
    async def spans(
        self, settings: Settings, http: HttpClient, siblings: Siblings, background: Background
    ) -> AsyncIterator[SpanExporter]:
        exporter = SpanExporter(
            http.post_json,
            traces_url(settings.otel_exporter_otlp_endpoint),
            headers_of(settings.otel_exporter_otlp_headers),
            {"service.name": settings.otel_service_name},
        )
        if exporter.is_on:
            background.add("spans", exporter.run)
            siblings.sources.add(exporter.families)
        yield exporter
        await exporter.aclose()

    @provide
    def limiter(
        self, place: WorkerPlace, ledger: QuotaLedger, clock: Clock, background: Background, siblings: Siblings
    ) -> RateLimiter:
        limiter = RateLimiter()
        keeper = Bookkeeper(limiter, ledger, clock, siblings=place.count)
        background.add("quota bookings", keeper.book)
        background.add("quota presence", keeper.attend)
        siblings.sources.add(limiter.families)
        return limiter

    @provide
    def load(self, background: Background, siblings: Siblings) -> Load:
        load = Load()
        background.add("loop lag", load.watch)
        siblings.sources.add(load.families)
        return load

    @provide
    def metrics_readers(self, settings: Settings) -> MetricsReaders:
        return MetricsReaders(settings.metrics_networks)

    @provide
    async def edge(
        self,
        settings: Settings,
        keys: KeySource,
        tokens: TokenVerifier,
        clock: Clock,
        health: HealthRegistry,
        background: Background,
        on_request: OnRequest,
        access_log: AccessLog,
        spans: SpanExporter,
        siblings: Siblings,
        limiter: RateLimiter,
        load: Load,
        draining: Draining,
    ) -> AsyncIterator[Edge]:
        options = EdgeOptions(
            trusted_proxies=settings.trusted_proxies,
            cors_origins=frozenset(origin.encode() for origin in settings.cors_origins),
            access_cookie=settings.jwt_cookie_name.encode(),
            refresh_cookie=settings.jwt_refresh_cookie_name.encode(),
        )
        upstreams = open_upstreams(settings.gateway.upstreams)
        table = Table(RouteRegistry.compile(settings.gateway.routes, settings.gateway.upstreams), upstreams)
        edge = Edge(table, keys, tokens, clock, options, on_request, access_log=access_log, limiter=limiter, load=load)
        edge.spans = RequestSpans(spans) if spans.is_on else None
        edge.draining = draining
        siblings.sources.add(edge.families)
        siblings.sources.add(edge.metrics.families)
        siblings.sources.add(partial(gauge_families, edge.gauges))
        siblings.sources.add(partial(upstream_families, lambda: edge.upstreams))
        watch_upstreams(health, lambda: edge.upstreams)
        background.add("upstream checks", every(CHECK_INTERVAL_S, ActiveChecks(lambda: edge.upstreams).check_all))
        background.add("upstream names", every(LOOKUP_INTERVAL_S, Names(lambda: edge.upstreams).refresh_all))
        yield edge
        for upstream in edge.upstreams.values():
            await upstream.aclose()

    @provide
    def described_fleet(self, edge: Edge) -> Fleet:
        return DescribedFleet(lambda: edge.table)

    @provide
    async def reload_asked(
        self, settings: Settings, edge: Edge, health: HealthRegistry, background: Background, on_reload: OnReload
    ) -> ReloadAsked:
        """Watch the file the table was read from, if it was; what is returned asks for it to be read again."""
        asked, source = ReloadAsked(), settings.table_source
        if source is not None:
            watch, reader = FileWatch(source.file, source.content), DraftReader(source)
            await asyncio.to_thread(reader.begin)
            reload = TableReload(edge, watch, reader, health, asked, on_reload)
            health.add(HEALTH_TYPE, source.file.name, reload.describe)
            background.add("route table", reload.run)
        return asked


def role_table(settings: Settings) -> RoleTable:
    groups = settings.gateway.groups.model_dump(exclude_none=True)
    overrides = {Access(name): values for name, values in groups.items()}
    return RoleTable.build(overrides, developer_everywhere=not settings.is_prod)
