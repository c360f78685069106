"""What is counted of a request, by which labels, and that a client cannot make up any."""

from collections.abc import Iterable

import pytest

from app.edge.gauges import Gauges
from app.edge.metrics import BOUNDS_S, MAX_CELLS, RequestMetrics, gauge_families, log_families, upstream_families
from app.edge.record import Record
from app.edge.upstreams import open_upstreams
from app.infra.observability.lines import LineWriter
from app.infra.observability.metrics import Family, exposition
from app.settings import UpstreamRow
from tests.exposition import Read, read_exposition
from tests.unit.edge.parts import a_record, a_route

REQUESTS = "portico_requests_total"
DURATION = "portico_request_duration_seconds"


def over(method: str = "GET", status: int = 200, reason: str = "proxied", *, routed: bool = True) -> Record:
    record = a_record(method, "/x")
    record.route = a_route(prefix="/x") if routed else None
    record.status, record.reason = status, reason
    return record


def read(families: Iterable[Family]) -> dict[str, Read]:
    return read_exposition(exposition(families).decode())


def test_requests_are_counted_by_route_method_status_and_reason() -> None:
    metrics = RequestMetrics()

    for record in (over(), over(), over(status=502, reason="upstream_refused"), over("POST")):
        metrics.note(record, 0.1)

    requests = read(metrics.families())[REQUESTS]
    assert requests.value(REQUESTS, route="/x/*", method="GET", status="200", reason="proxied") == 2
    assert requests.value(REQUESTS, route="/x/*", method="GET", status="502", reason="upstream_refused") == 1
    assert requests.value(REQUESTS, route="/x/*", method="POST", status="200", reason="proxied") == 1


def test_what_no_route_takes_is_counted_without_its_path_or_method() -> None:
    metrics = RequestMetrics()

    for number in range(100):
        metrics.note(over(f"BREW{number}", 404, "route_not_found", routed=False), 0.1)

    requests = read(metrics.families())[REQUESTS]
    assert requests.samples == {
        (
            REQUESTS,
            frozenset({"route": "none", "method": "OTHER", "status": "404", "reason": "route_not_found"}.items()),
        ): 100
    }


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (60, "60"), (60.1, "+Inf")]
)
def test_a_duration_is_in_the_first_bucket_that_holds_it(seconds: float, bound: str) -> None:
    metrics = RequestMetrics()
    bounds = [f"{one:g}" for one in BOUNDS_S] + ["+Inf"]

    metrics.note(over(), seconds)

    durations = read(metrics.families())[DURATION]
    counts = {one: durations.value(f"{DURATION}_bucket", route="/x/*", le=one) for one in bounds}
    assert counts == {one: float(bounds.index(one) >= bounds.index(bound)) for one in bounds}
    assert durations.value(f"{DURATION}_sum", route="/x/*") == seconds


def test_bytes_and_retries_add_up() -> None:
    metrics, record = RequestMetrics(), over()
    record.bytes_in, record.bytes_out, record.retries = 10, 20, 1

    metrics.note(record, 0.1)
    metrics.note(record, 0.1)

    found = read(metrics.families())
    assert found["portico_request_body_bytes_total"].value("portico_request_body_bytes_total", route="/x/*") == 20
    assert found["portico_response_body_bytes_total"].value("portico_response_body_bytes_total", route="/x/*") == 40
    assert found["portico_upstream_retries_total"].value("portico_upstream_retries_total", upstream="there") == 2


def test_an_upstream_that_makes_up_statuses_fills_no_memory() -> None:
    metrics = RequestMetrics()

    for status in range(MAX_CELLS + 500):
        metrics.note(over(status=status), 0.1)

    requests = read(metrics.families())[REQUESTS]
    assert len(requests.samples) == MAX_CELLS + 1
    assert requests.value(REQUESTS, route="other", method="other", status="0", reason="other") == 500


async def test_an_upstreams_endpoints_are_told_apart() -> None:
    row = UpstreamRow.model_validate({"urls": ["http://127.0.0.1:9", "http://127.0.0.1:10"]})
    upstreams = open_upstreams({"there": row})

    found = read(upstream_families(lambda: upstreams))

    at = {"upstream": "there", "endpoint": "127.0.0.1:10"}
    connections, states = found["portico_upstream_connections"], found["portico_upstream_endpoint_state"]
    assert connections.value("portico_upstream_connections", **at, state="idle") == 0
    assert states.value("portico_upstream_endpoint_state", **at, state="ready") == 1
    assert states.value("portico_upstream_endpoint_state", **at, state="ejected") == 0
    assert found["portico_upstream_ejections_total"].value("portico_upstream_ejections_total", **at) == 0


def test_lines_that_found_no_room_are_counted() -> None:
    writer = LineWriter(-1, backlog_bytes=10)
    writer.put(b"longer than ten\n", 1)

    found = read(log_families(writer))["portico_access_log_dropped_total"]

    assert found.value("portico_access_log_dropped_total") == 1


def test_gauges_are_read_as_they_stand() -> None:
    gauges = Gauges(connections_open=3, tunnels_open=1)

    found = read(gauge_families(gauges))

    assert found["portico_connections_open"].value("portico_connections_open") == 3
    assert found["portico_tunnels_open"].value("portico_tunnels_open") == 1
