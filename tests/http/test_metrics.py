"""`GET /metrics`: who may read it, and that a real gateway's numbers are what a scraper takes."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.builders import bearer, some_settings
from tests.exposition import Read, read_exposition
from tests.gateway import running_gateway

OBSERVE = Path(__file__).parents[2] / "docs" / "how-to" / "observe.md"
ONLY_WITH_A_COLLECTOR = {"portico_spans_exported_total", "portico_spans_dropped_total", "portico_spans_waiting"}
ONLY_OUTSIDE_TESTS = {"portico_access_log_dropped_total"}  # tests hear the log without its writer
NEAR = {"x-forwarded-for": "192.0.2.7"}
FAR = {"x-forwarded-for": "198.51.100.7"}
REQUESTS = "portico_requests_total"


@pytest.fixture(scope="module")
def watched_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    settings = some_settings(folder, dsn=migrated_dsn, metrics_networks="192.0.2.0/24,2001:db8::/32")
    with running_gateway(settings) as url:
        yield url


def scraped(url: str) -> dict[str, Read]:
    answer = httpx.get(f"{url}/metrics", headers=NEAR)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read_exposition(answer.text)


@pytest.mark.parametrize(
    ("headers", "status", "type_"),
    [
        (FAR, 401, "token-missing"),
        (FAR | {"authorization": "Bearer nonsense"}, 401, "token-missing"),
        (FAR | bearer(role="user"), 403, "role-not-allowed"),
        ({"x-forwarded-for": "2001:db9::1"}, 401, "token-missing"),
        ({}, 401, "token-missing"),
    ],
    ids=["anonymous", "bad token", "user", "another network", "our own host"],
)
def test_strangers_are_refused(watched_url: str, headers: dict[str, str], status: int, type_: str) -> None:
    answer = httpx.get(f"{watched_url}/metrics", headers=headers)

    assert (answer.status_code, answer.json()["type"]) == (status, type_)


@pytest.mark.parametrize(
    "headers",
    [
        NEAR,
        {"x-forwarded-for": "2001:db8::1"},
        {"x-forwarded-for": "::ffff:192.0.2.7"},
        FAR | bearer(role="manager"),
        FAR | bearer(role="admin"),
    ],
    ids=["network", "IPv6", "IPv4 in IPv6", "manager", "admin"],
)
def test_staff_and_the_networks_may_read(watched_url: str, headers: dict[str, str]) -> None:
    assert httpx.get(f"{watched_url}/metrics", headers=headers).status_code == 200


def test_a_request_is_in_the_next_scrape(watched_url: str) -> None:
    labels = {"route": "GET /api/health/*", "method": "GET", "status": "204", "reason": "local"}
    httpx.get(f"{watched_url}/api/health/ping")
    before = scraped(watched_url)[REQUESTS].value(REQUESTS, **labels)

    httpx.get(f"{watched_url}/api/health/ping")
    httpx.get(f"{watched_url}/no/such/path?of=mine")

    after = scraped(watched_url)
    assert after[REQUESTS].value(REQUESTS, **labels) == before + 1
    assert "no/such" not in str(after)


def test_every_metric_is_explained_and_no_other(watched_url: str) -> None:
    rows = [line for line in OBSERVE.read_text("utf-8").splitlines() if line.startswith("| `p")]
    explained = {name for row in rows for name in re.findall(r"`(portico_\w+)`", row)}

    found = {name for name in scraped(watched_url) if name.startswith("portico_")}

    assert explained == found | ONLY_WITH_A_COLLECTOR | ONLY_OUTSIDE_TESTS


def test_everything_an_operator_asks_for_is_there(watched_url: str) -> None:
    found = scraped(watched_url)

    assert found["portico_workers_answering"].value("portico_workers_answering") == 1
    up = found["portico_dependency_up"]
    assert up.value("portico_dependency_up", type="postgres", name="database") == 1
    assert found["process_resident_memory_bytes"].value("process_resident_memory_bytes") > 10_000_000
    assert found["process_open_fds"].value("process_open_fds") > 3
    assert found["process_cpu_seconds_total"].value("process_cpu_seconds_total") > 0
    assert found.keys() >= {
        "portico_build_info",
        "portico_request_duration_seconds",
        "portico_connections_open",
        "portico_streams_open",
        "portico_tunnels_open",
        "portico_loop_lag_seconds",
        "python_gc_collections_total",
    }
