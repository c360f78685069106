"""The assistant as a part of another program: the same answers below its path, and nothing of the host's is touched."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from app.embedding import portico_app
from app.surfaces.embedding.mount import EmbeddedApp
from tests.builders import some_settings
from tests.http.calls import Json, somebody
from tests.http.hosts import (
    AGENTS,
    MakeHost,
    Place,
    as_person,
    inside_fastapi,
    inside_litestar,
    served,
    who,
)
from tests.http.moody import Moody
from tests.http.streams import events_in, text_of

HOSTS: dict[str, MakeHost] = {"fastapi": inside_fastapi, "litestar": inside_litestar}


@pytest.fixture(scope="module", params=HOSTS, ids=list(HOSTS))
def place(
    request: pytest.FixtureRequest, migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("embedded")
    with served(HOSTS[request.param](some_settings(folder, dsn=migrated_dsn))) as place:
        yield place


@pytest.fixture
def client(place: Place) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place.url, timeout=30) as client:
        yield client


def open_chat(client: httpx.Client, person: str) -> int:
    answer = client.post("/api/v1/chats/", json={"agent": "echo"}, headers=as_person(person))
    assert answer.status_code == 201, answer.text
    chat_id: int = answer.json()["id"]
    return chat_id


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    return answer.status_code, answer.json()["type"]


def test_who_is_kept_out_and_what_is_not_understood_is_a_problem(client: httpx.Client) -> None:
    owner = somebody()
    path = f"/api/v1/chats/{open_chat(client, owner)}"

    assert refusal(client.get(path)) == (401, "token-missing")
    assert refusal(client.get(path, headers=as_person(owner, "guest"))) == (403, "role-not-allowed")
    assert refusal(client.get(path, headers=as_person(somebody()))) == (404, "chat-not-found")
    assert refusal(client.put(path, json={"title": 1}, headers=as_person(owner))) == (400, "validation-failed")
    assert refusal(client.get("/nothing", headers=as_person(owner))) == (404, "route-not-found")
    assert refusal(client.get(path, headers={"authorization": "Bearer a.b.c"})) == (401, "token-invalid")


def test_a_turn_is_answered_followed_and_referred_to_from_outside(client: httpx.Client, place: Place) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)
    path, told = f"/api/v1/messages/{chat_id}/exchange", {"content": "hello there"}

    waited_for = client.post(path, json=told, headers=as_person(owner))
    with client.stream(
        "POST", path, json=told, headers={**as_person(owner), "accept": "text/event-stream"}
    ) as streamed:
        events = list(events_in(streamed))
    run = httpx.get(place.host + waited_for.headers["location"], headers=as_person(owner))

    assert [message["content"] for message in waited_for.json()] == ["hello there", "hello there"]
    assert text_of(events) == "hello there"
    assert run.json()["status"] == "completed"


def test_the_websocket_is_the_chats_and_not_another_sites(client: httpx.Client, place: Place) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)
    address = f"{place.url.replace('http', 'ws')}/api/v1/chats/{chat_id}/events"

    client.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": "hi"}, headers=as_person(owner))
    with connect(address, additional_headers=as_person(owner), proxy=None) as socket:
        first = socket.recv(timeout=30)
    with pytest.raises(InvalidStatus) as cross:
        connect(address, additional_headers=as_person(owner), origin=Origin("http://evil.example"), proxy=None)

    assert '"run_queued"' in str(first)
    assert cross.value.response.status_code == 403


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 201),
        ({}, 201),
    ],
    ids=str,
)
def test_a_page_of_another_site_changes_nothing(client: httpx.Client, told: dict[str, str], status: int) -> None:
    answer = client.post("/api/v1/chats/", json={}, headers={**as_person(somebody()), **told})

    assert answer.status_code == status


def test_addresses_in_answers_and_descriptions_are_those_from_outside(client: httpx.Client, place: Place) -> None:
    task = {"task_type": "triggered", "prompt": "Look.", "agent": "echo"}
    made: Json = client.post("/api/v1/tasks/", json=task, headers=as_person(somebody())).json()
    description = client.get("/openapi.json").json()
    page = client.get("/docs")

    assert f"{place.url}/api/v1/tasks/webhooks/{made['id']}" in str(made)
    assert description["servers"] == [{"url": place.root}]
    assert f"{place.root}/openapi.json" in page.text


def test_the_hosts_own_routes_dependencies_and_errors_are_its_own(place: Place) -> None:
    own, broken = httpx.get(f"{place.host}/own"), httpx.get(f"{place.host}/broken")
    beside = httpx.get(f"{place.host}{place.root}s/api/v1/chats/")

    assert (own.status_code, own.json()) == (200, {"said": "hello"})
    assert (broken.status_code, broken.json()) == (418, {"of": "host"})
    assert beside.headers["content-type"] == "application/json"
    assert "x-request-id" not in own.headers


async def test_front_ends_elsewhere_share_it(migrated_dsn: str, tmp_path: Path) -> None:
    page = "http://localhost:3000"
    settings = some_settings(tmp_path, dsn=migrated_dsn, cors_origins=(page,))
    assistant, owner = portico_app(settings, agents=AGENTS, authenticate=who), as_person(somebody())
    transport = httpx.ASGITransport(assistant)
    asked = {"origin": page, "access-control-request-method": "POST"}

    async with (
        assistant.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost/api/v1/chats") as client,
    ):
        allowed = await client.options("/", headers=asked)
        made = await client.post("/", json={"title": "Of the page"}, headers={**owner, "origin": page})
        seen = await client.get(f"/{made.json()['id']}", headers=owner)

    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, page)
    assert made.headers["access-control-allow-origin"] == page
    assert seen.json()["title"] == "Of the page"


async def test_parts_are_replaced_as_in_a_gateway(migrated_dsn: str, tmp_path: Path) -> None:
    assistant = portico_app(some_settings(tmp_path, dsn=migrated_dsn), Moody().provider(), authenticate=who)
    transport = httpx.ASGITransport(assistant)

    async with assistant.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        agents = await client.get("/api/v1/agents/", headers=as_person(somebody()))

    assert "moody" in {agent["name"] for agent in agents.json()["items"]}


@pytest.fixture
def assistant(migrated_dsn: str, tmp_path: Path) -> EmbeddedApp:
    return portico_app(some_settings(tmp_path, dsn=migrated_dsn), agents=AGENTS)


async def test_it_is_shut_without_its_lifespan_and_may_begin_again(assistant: EmbeddedApp) -> None:
    transport = httpx.ASGITransport(assistant)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        with pytest.raises(RuntimeError, match="hand its lifespan to its host"):
            await client.get("/api/health/ping")
        for _ in range(2):
            async with assistant.lifespan():
                assert (await client.get("/api/health/ping")).status_code == 204
                assert (await client.get("/api/v1/chats/")).status_code == 401  # tokens are shown: settings have a key
                with pytest.raises(RuntimeError, match="open already"):
                    async with assistant.lifespan():
                        pass
