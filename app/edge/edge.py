"""The edge as one thing: what both mounts share. Decides, knows the upstreams, writes the access log."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.edge.access_log import AccessLog, StructlogAccessLog
from app.edge.gauges import Gauges
from app.edge.keys import KeySource, KeysStale
from app.edge.line import Line
from app.edge.load import Load
from app.edge.metrics import RequestMetrics
from app.edge.middleware.client_address import ResolveClient
from app.edge.middleware.load import TurnAway
from app.edge.pipeline import Chain, EdgeOptions, Stage, build_stages, decide, letting_in, turning_away
from app.edge.plans import Plan, Plans
from app.edge.protocol_admission import Admission
from app.edge.protocol_leavers import Leavers
from app.edge.protocol_paused import PausedClients
from app.edge.rate_limit_counts import RateLimiter
from app.edge.record import Answer, Record
from app.edge.spans import RequestSpans
from app.edge.table import Table
from app.edge.tokens import TokenVerifier
from app.edge.turnstile import Turnstile
from app.edge.upstreams import Upstream
from app.infra.observability.metrics import Family, by_labels, labels_of
from app.kernel.clock import Clock
from app.kernel.draining import Draining

type OnRequest = Callable[[tuple[str, int | None] | None, str], None]


def _nothing(server: tuple[str, int | None] | None, scheme: str) -> None:
    del server, scheme


@dataclass(slots=True)
class Edge:
    """`on_request` is told the listener's own address, so that agents can find the front door."""

    table: Table
    keys: KeySource
    tokens: TokenVerifier
    clock: Clock
    options: EdgeOptions
    on_request: OnRequest = _nothing
    stages: Sequence[Stage] = ()
    gauges: Gauges = field(default_factory=Gauges)
    access_log: AccessLog = field(default_factory=StructlogAccessLog)
    metrics: RequestMetrics = field(default_factory=RequestMetrics)
    spans: RequestSpans | None = None
    draining: Draining = field(default_factory=Draining)
    load: Load = field(default_factory=Load)
    limiter: RateLimiter = field(default_factory=RateLimiter)
    letting_in: Chain = field(init=False)
    turning_away: Chain = field(init=False)
    turnstile: Turnstile = field(default_factory=Turnstile)
    plans: Plans = field(init=False)
    admission: Admission = field(init=False)
    paused_clients: PausedClients = field(default_factory=PausedClients)
    leavers: Leavers = field(default_factory=Leavers)
    _peers: ResolveClient = field(init=False)

    def __post_init__(self) -> None:
        self.admission = Admission(self.options.max_connections, self.options.max_connections_per_address)
        self._peers = ResolveClient(self.options.trusted_proxies)
        self.stages = build_stages(lambda: self.table, self.tokens, self.options, load=self.load, limiter=self.limiter)
        self.letting_in, self.turning_away = letting_in(self.stages), turning_away(self.stages, self.load)
        self.plans = Plans(self.tokens)

    def trusts(self, peer: str) -> bool:
        return self._peers.trusts(peer)

    @property
    def upstreams(self) -> Mapping[str, Upstream]:
        """The upstreams of the moment; a request's own is `record.upstream`."""
        return self.table.upstreams

    async def decide(self, record: Record) -> Answer | None:
        """Run the chain; fetch what a token is checked with where that is not known yet: each at most once."""
        while True:
            try:
                return decide(self.stages, record)
            except KeysStale as stale:
                await self.refresh(stale)
                record.are_keys_fresh = True

    async def refresh(self, stale: KeysStale) -> None:
        """Fetch what a token could not be checked without."""
        await self.tokens.fetch(stale, self.keys)

    def line_of(self, plan: Plan) -> Line | Turnstile | None:
        """Tell where a request with a known head has to wait, if it has to."""
        upstream = plan.record.upstream
        if upstream is None:
            return None if self.turnstile.has_room() else self.turnstile
        return None if upstream.has_room() else upstream.line

    def families(self) -> Iterable[Family]:
        waiting = {
            "worker": len(self.load.line),
            "upstreams": sum(len(upstream.line) for upstream in self.upstreams.values()),
            "endpoints": len(self.turnstile),
        }
        counts = {labels_of(line=name): float(count) for name, count in waiting.items()}
        yield by_labels("portico_requests_waiting", "gauge", "Requests that nobody has begun.", counts)

    def overloaded(self, record: Record) -> Answer:
        """Turn away what was let in already, and not begun."""
        return TurnAway(self.load)(record)

    def release(self, record: Record) -> None:
        """Count a request no longer as work to be done: it is over, or a connection that may be silent for hours."""
        if record.is_open:
            record.is_open = False
            self.load.leave()

    def finish(self, record: Record) -> None:
        """Count a request that is over, and say what became of it; once each, whatever that was."""
        if record.is_open:
            record.is_open = False
            self.load.leave()
        seconds = self.clock.monotonic_s() - record.started_s
        self.metrics.note(record, seconds)
        self.access_log.write(record, seconds)
        if self.spans is not None:
            self.spans.note(record, seconds)
