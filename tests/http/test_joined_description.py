"""`/openapi.json` of a gateway with upstreams: theirs beside ours, at the front door's paths, and true there."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from app.infra.openapi import fleet as fleet_module
from tests.builders import bearer, some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json

PATIENCE_S = 30
EVENT = {"type": "object", "properties": {"id": {"type": "integer"}, "next": {"$ref": "#/components/schemas/Event"}}}
ANSWER = {
    "200": {"description": "ok", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Event"}}}}
}
DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {"title": "Calendars", "version": "7", "description": "</script><script>alert(1)</script>"},
    "paths": {
        "/api/v1/events/{event_id}": {"get": {"operationId": "read_event", "responses": ANSWER}},
        "/internal": {"get": {"operationId": "internal"}},
    },
    "components": {"schemas": {"Event": EVENT}},
}


@dataclass(slots=True)
class Publishing:
    """An upstream that publishes `description`, and answers every other path with that path."""

    description: bytes
    port: int = 0
    asked: list[str] = field(default_factory=list)


def publishing(published: Publishing) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked.append(self.path)
            body = published.description if self.path == "/openapi.json" else json.dumps({"path": self.path}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", published.port), Handler)
    published.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def stop(server: ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()


@dataclass(slots=True)
class Fleet:
    client: httpx.Client
    agenda: ThreadingHTTPServer
    billing: Publishing

    def document(self) -> Json:
        found: Json = self.client.get("/openapi.json").json()
        return found

    def eventually(self, is_true: Callable[[Json], bool]) -> Json:
        end_s = time.monotonic() + PATIENCE_S
        while not is_true(document := self.document()):
            assert time.monotonic() < end_s, document["paths"].keys()
            time.sleep(0.05)
        return document


@pytest.fixture(scope="module")
def fleet(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    whole = json.dumps(DESCRIPTION).encode()
    agenda, billing = Publishing(whole), Publishing(whole)
    servers = [publishing(one) for one in (agenda, billing)]
    upstreams = {
        name: {"url": f"http://127.0.0.1:{one.port}", "openapi": "/openapi.json"}
        for name, one in (("agenda", agenda), ("billing", billing))
    }
    routes: tuple[dict[str, object], ...] = (
        {"prefix": "/api/v1/agenda", "upstream": "agenda", "strip": "/agenda"},
        {
            "prefix": "/api/v1/billing",
            "upstream": "billing",
            "strip": "/billing",
            "access": "STAFF",
            "methods": ["GET"],
        },
    )
    folder: Path = tmp_path_factory.mktemp("gateway")
    settings = some_settings(folder, dsn=migrated_dsn, upstreams=dict(upstreams), routes=routes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet_module, "REFRESH_S", 0.2)
        with running_gateway(settings) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield Fleet(client, servers[0], billing)
    for server in servers:
        stop(server)


AGENDA, BILLING = "/api/v1/agenda/events/{event_id}", "/api/v1/billing/events/{event_id}"


def has_both(document: Json) -> bool:
    return {AGENDA, BILLING} <= set(document["paths"])


def test_upstreams_stand_beside_our_own_at_the_paths_where_they_answer(fleet: Fleet) -> None:
    document = fleet.eventually(has_both)

    answer = fleet.client.get(AGENDA.format(event_id=5), headers=bearer())
    assert answer.json() == {"path": "/api/v1/events/5"}
    assert {"/api/v1/chats", "/api/health/ping"} < set(document["paths"])
    assert not any("internal" in path for path in document["paths"])
    assert document["paths"]["/api/v1/chats"]["get"]["operationId"] == "ListChats"


def test_each_operation_says_who_may_enter(fleet: Fleet) -> None:
    paths = fleet.eventually(has_both)["paths"]

    access = {path: paths[path]["get"]["x-portico-access"] for path in (AGENDA, BILLING, "/api/health/ping")}
    assert access == {AGENDA: "COMMON", BILLING: "STAFF", "/api/health/ping": "PUBLIC"}
    assert fleet.client.get(BILLING.format(event_id=5), headers=bearer(role="user")).status_code == 403
    assert paths["/api/v1/messages"]["get"]["x-portico-access"] == "STAFF"
    assert paths["/api/health/ping"]["get"]["security"] == []
    assert paths[AGENDA]["get"]["security"] == [{"bearer": []}, {"session": []}]


def test_names_are_told_apart_and_every_reference_leads_somewhere(fleet: Fleet) -> None:
    document = fleet.eventually(has_both)

    names = {path: document["paths"][path]["get"]["operationId"] for path in (AGENDA, BILLING)}
    assert names == {AGENDA: "agenda_read_event", BILLING: "billing_read_event"}
    assert {"agenda_Event", "billing_Event", "Problem"} <= set(document["components"]["schemas"])
    assert {"401", "403", "502", "503", "504"} <= set(document["paths"][AGENDA]["get"]["responses"])


def test_who_has_the_description_already_is_not_sent_it_again(fleet: Fleet) -> None:
    fleet.eventually(has_both)
    first = fleet.client.get("/openapi.json")

    again = [
        fleet.client.get("/openapi.json", headers={"if-none-match": tag})
        for tag in (first.headers["etag"], f'W/{first.headers["etag"]}, "other"', "*", '"other"')
    ]

    assert [answer.status_code for answer in again] == [304, 304, 304, 200]
    assert again[0].headers["etag"] == first.headers["etag"]
    assert (again[0].content, again[3].content) == (b"", first.content)


@pytest.mark.parametrize("page", ["/docs", "/docs/swagger"])
def test_the_pages_ask_for_the_description_and_hold_no_word_of_an_upstream(fleet: Fleet, page: str) -> None:
    fleet.eventually(has_both)

    answer = fleet.client.get(page)

    assert answer.headers["content-type"].startswith("text/html")
    assert '"/openapi.json"' in answer.text
    assert "alert(1)" not in answer.text


def test_the_pages_own_copy_is_the_same(fleet: Fleet) -> None:
    fleet.eventually(has_both)

    assert fleet.client.get("/docs/openapi.json").json() == fleet.document()


def test_a_dead_upstreams_operations_stay_and_staff_is_told(fleet: Fleet) -> None:
    fleet.eventually(has_both)

    stop(fleet.agenda)
    document = fleet.eventually(lambda found: "x-portico-stale" in found["paths"][AGENDA]["get"])

    assert document["paths"][AGENDA]["get"]["x-portico-stale-since"].endswith("Z")
    assert "x-portico-stale" not in document["paths"][BILLING]["get"]
    assert eventually_told(fleet.client, "agenda: stale since")


def eventually_told(client: httpx.Client, words: str) -> bool:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        deps = client.get("/api/health/service_health", headers=bearer(role="admin")).json()["deps"]
        (about,) = [one for one in deps if one["type"] == "openapi"]
        if words in about["details"]:
            return bool(about["status"] == "error")
        time.sleep(0.1)
    return False
