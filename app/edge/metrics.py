"""What the edge counts: every request that is over, and what is read off the upstreams when somebody asks.

Rule: a route's label comes from the table, a reason is a word of ours, a method is one of the allow-list. No path, no
user and no address becomes a label.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from app.edge.endpoint import EndpointState, Member
from app.edge.gauges import Gauges
from app.edge.record import Record
from app.edge.routing import METHODS
from app.edge.upstreams import Upstream
from app.infra.observability.lines import LineWriter
from app.infra.observability.metrics import Family, Labels, Sample, by_labels, counter, gauge, labels_of

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MAX_CELLS = 10_000
NO_ROUTE = "none"
OVERFLOW = "other"


class _Cell:
    """The requests of one route, method, status and reason."""

    __slots__ = ("buckets", "bytes_in", "bytes_out", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0
        self.bytes_in = 0
        self.bytes_out = 0


type Key = tuple[str, bytes, int, str]


@dataclass(slots=True)
class RequestMetrics:
    """Concurrency: one per worker, of the event loop's thread. Cost: `note` is one look-up and four additions."""

    _cells: dict[Key, _Cell] = field(default_factory=dict)
    _retries: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def note(self, record: Record, seconds: float) -> None:
        """Count a request that is over."""
        route = record.route
        key = (NO_ROUTE if route is None else route.label, record.method, record.status, record.reason)
        cell = self._cells.get(key) or self._new_cell(key)
        cell.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        cell.seconds += seconds
        cell.bytes_in += record.bytes_in
        cell.bytes_out += record.bytes_out
        if record.retries and route is not None and route.upstream is not None:
            self._retries[route.upstream] += record.retries

    def families(self) -> Iterable[Family]:
        requests: dict[Labels, float] = {}
        routes: defaultdict[str, _Cell] = defaultdict(_Cell)
        for (route, method, status, reason), cell in self._cells.items():
            labels = labels_of(route=route, method=method.decode(), status=str(status), reason=reason)
            requests[labels] = sum(cell.buckets)
            total = routes[route]
            total.buckets = [one + other for one, other in zip(total.buckets, cell.buckets, strict=True)]
            total.seconds += cell.seconds
            total.bytes_in += cell.bytes_in
            total.bytes_out += cell.bytes_out
        yield by_labels("portico_requests_total", "counter", "Requests that are over.", requests)
        yield Family(
            "portico_request_duration_seconds",
            "histogram",
            "From the first byte of a request to the last of its answer.",
            [Sample(labels_of(route=name), one.seconds, tuple(one.buckets)) for name, one in routes.items()],
            bounds=BOUNDS_S,
        )
        received = {labels_of(route=name): one.bytes_in for name, one in routes.items()}
        yield by_labels("portico_request_body_bytes_total", "counter", "Bytes of requests' bodies.", received)
        sent = {labels_of(route=name): one.bytes_out for name, one in routes.items()}
        yield by_labels("portico_response_body_bytes_total", "counter", "Bytes of answers' bodies.", sent)
        retries = {labels_of(upstream=name): count for name, count in self._retries.items()}
        yield by_labels("portico_upstream_retries_total", "counter", "Requests sent once more.", retries)

    def _new_cell(self, key: Key) -> _Cell:
        if len(self._cells) >= MAX_CELLS:  # tables that change their labels for ever, or statuses nobody has heard of
            key = (OVERFLOW, OVERFLOW.encode(), 0, OVERFLOW)
        elif key[1] not in METHODS:
            key = (key[0], b"OTHER", *key[2:])
        return self._cells.setdefault(key, _Cell())


def gauge_families(gauges: Gauges) -> Iterable[Family]:
    yield gauge("portico_connections_open", "Clients' connections.", gauges.connections_open)
    yield counter("portico_connections_accepted_total", "Clients' connections so far.", gauges.connections_accepted)
    yield gauge("portico_streams_open", "Streams of events under way.", gauges.streams_open)
    yield gauge("portico_tunnels_open", "WebSockets that are open.", gauges.tunnels_open)


def log_families(writer: LineWriter) -> Iterable[Family]:
    yield counter("portico_access_log_dropped_total", "Lines that found no room or no disk.", writer.lines_dropped)


def upstream_families(upstreams: Callable[[], Mapping[str, Upstream]]) -> Iterator[Family]:
    """Read the endpoints: a moment of each. States are this worker's own view; summed, how many workers share it."""
    endpoints = {
        labels_of(upstream=upstream.name, endpoint=endpoint.name): endpoint
        for upstream in upstreams().values()
        for endpoint in upstream.endpoints
    }
    yield _connections(endpoints)
    waiting = {labels: one.pool.counts.waiting for labels, one in endpoints.items()}
    yield by_labels("portico_upstream_waiting", "gauge", "Requests in line for a connection.", waiting)
    connects = {labels: one.pool.counts.connects for labels, one in endpoints.items()}
    yield by_labels("portico_upstream_connects_total", "counter", "Connections that were dialled.", connects)
    ejections = {labels: one.breaker.opened for labels, one in endpoints.items()}
    yield by_labels("portico_upstream_ejections_total", "counter", "Times a breaker opened.", ejections)
    states = {
        (*labels, ("state", state.value)): float(one.state is state)
        for labels, one in endpoints.items()
        for state in EndpointState
    }
    yield by_labels("portico_upstream_endpoint_state", "gauge", "Workers that see an endpoint so.", states)


def _connections(endpoints: Mapping[Labels, Member]) -> Family:
    values: dict[Labels, float] = {}
    for labels, endpoint in endpoints.items():
        counts = endpoint.pool.counts
        values[*labels, ("state", "idle")] = counts.idle
        values[*labels, ("state", "in_use")] = counts.in_use
    return by_labels("portico_upstream_connections", "gauge", "Connections to an upstream's endpoint.", values)
