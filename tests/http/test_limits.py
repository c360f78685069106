"""What callers see of the limits: of a row's, counted for each of them, and of the worker's own."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from socketserver import BaseRequestHandler, ThreadingTCPServer

import httpx
import pytest
from dishka import Provider, Scope, provide

from app.edge.load import Load
from app.infra.observability.background import Background
from tests.builders import bearer, some_settings
from tests.gateway import running_gateway

PATIENCE_S = 15
OPEN_AT_ONCE = 2


class Silent(BaseRequestHandler):
    """Takes a request and says nothing, until it is told to."""

    answers = threading.Event()

    def handle(self) -> None:
        self.request.recv(65536)
        self.answers.wait(PATIENCE_S)
        self.request.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


class SmallWorker(Provider):
    """A worker that takes few requests at once."""

    scope = Scope.APP

    @provide
    def load(self, background: Background) -> Load:
        load = Load(max_requests=OPEN_AT_ONCE)
        background.add("loop lag", load.watch)
        return load


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    with ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_address[1]
        Silent.answers.set()
        server.shutdown()
        serving.join(PATIENCE_S)


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, silent_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    local: dict[str, object] = {"methods": ["GET"], "local": True}
    routes: tuple[dict[str, object], ...] = (
        {"path": "/api/v1/agents/", "rate_limit": "2/hour", **local},
        {"path": "/api/health/service_health", "rate_limit": "3/hour", "access": "PUBLIC", **local},
        {"path": "/api/v1/chats/", "rate_limit": "1/day", "burst": 3, **local},
        {"prefix": "/silent", "upstream": "silent", "access": "PUBLIC"},
    )
    upstreams: dict[str, object] = {"silent": {"url": f"http://127.0.0.1:{silent_port}", "retries": 0}}
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn, upstreams=upstreams, routes=routes)
    with running_gateway(settings, SmallWorker()) as url:
        yield url


def test_a_caller_over_the_limit_is_told_when_to_come_back(client: httpx.Client) -> None:
    ann = bearer(sub="ann")

    answers = [client.get("/api/v1/agents/", headers=ann) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[2]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "rate-limited"
    assert 1790 <= int(refused.headers["retry-after"]) <= 1800
    assert refused.headers["ratelimit"] == f'"default";r=0;t={refused.headers["retry-after"]}'


def test_what_is_left_is_told_with_every_answer_of_a_limited_row(client: httpx.Client) -> None:
    answers = [client.get("/api/v1/chats/", headers=bearer(sub="ben")) for _ in range(2)]

    assert [answer.headers["ratelimit-policy"] for answer in answers] == ['"default";q=1;w=86400'] * 2
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1"]
    assert "ratelimit" not in client.get("/api/health/ping").headers


def test_callers_have_a_limit_each(client: httpx.Client) -> None:
    statuses = [
        client.get("/api/v1/agents/", headers=bearer(sub=name)).status_code for name in ("cid", "cid", "cid", "dan")
    ]

    assert statuses == [200, 200, 429, 200]


def test_a_public_row_counts_by_address_whoever_asks(client: httpx.Client) -> None:
    callers = [{}, bearer(sub="eve"), bearer(sub="fay"), bearer(sub="gil"), {"x-forwarded-for": "203.0.113.9"}]

    statuses = [client.get("/api/health/service_health", headers=caller).status_code for caller in callers]

    assert [status == 429 for status in statuses] == [False, False, False, True, False]


def test_who_is_refused_anyway_spends_nothing(client: httpx.Client) -> None:
    anonymous = [client.get("/api/v1/agents/").status_code for _ in range(4)]
    wrong_role = [client.get("/api/v1/agents/", headers=bearer(sub="hal", role="guest")).status_code for _ in range(4)]
    wrong_method = [client.delete("/api/v1/agents/", headers=bearer(sub="hal")).status_code for _ in range(4)]

    allowed = client.get("/api/v1/agents/", headers=bearer(sub="hal"))

    assert {*anonymous, *wrong_role, *wrong_method} == {401, 403, 405}
    assert allowed.status_code == 200


def test_a_request_too_many_is_turned_away(client: httpx.Client) -> None:
    """Those that were taken are served, health is told all the while, and when there is room all is as before."""
    with ThreadPoolExecutor(OPEN_AT_ONCE) as crowd:
        taken = [crowd.submit(client.get, "/silent") for _ in range(OPEN_AT_ONCE)]
        refused = _until(client, 503)
        ping = client.get("/api/health/ping")
        Silent.answers.set()
        served = [one.result().status_code for one in taken]

    assert (refused.json()["type"], refused.headers["retry-after"]) == ("overloaded", "1")
    assert ping.status_code == 204
    assert served == [204] * OPEN_AT_ONCE
    assert _until(client, 404).json()["type"] == "route-not-found"


def _until(client: httpx.Client, status: int) -> httpx.Response:
    end = time.monotonic() + PATIENCE_S
    while (answer := client.get("/nowhere")).status_code != status:
        assert time.monotonic() < end, answer.text
        time.sleep(0.01)
    return answer
