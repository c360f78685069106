"""How an agent's call leaves for the front door: under a token of the caller, with a key where it has one."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest

from app.agents.front_door import FrontDoorUnavailable
from app.agents.tools.front_door import KEY_LIMIT_CHARS, FrontDoorAddress, HttpFrontDoor
from app.infra.http_client.client import HttpClient
from app.infra.openapi.news import FleetNews
from app.kernel.errors import Unavailable
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from tests.builders import acting_principal
from tests.unit.agents.desk import a_caller

RUN = RunId(UUID(int=1))


LIST = b'{"items": [], "total": 0}'


class Server(HTTPServer):
    asked: Mapping[str, str]
    listings: int = 0


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.asked = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(204)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.listings += 1
        is_known = self.headers.get("if-none-match") == '"1"'
        self.send_response(304 if is_known else 200)
        self.send_header("etag", '"1"')
        self.send_header("content-length", str(0 if is_known else len(LIST)))
        self.end_headers()
        self.wfile.write(b"" if is_known else LIST)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Say nothing."""


@dataclass
class FakeCredentials:
    asked: list[Principal] = field(default_factory=list)
    is_away: bool = False

    async def token_for(self, caller: Principal) -> str:
        self.asked.append(caller)
        if self.is_away:
            raise Unavailable(evidence={"cause": "no key"})
        return f"token-{len(self.asked)}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answers) as running:
        serving = threading.Thread(target=running.serve_forever)
        serving.start()
        yield running
        running.shutdown()
        serving.join()


async def asked_with(server: Server, key: str) -> Mapping[str, str]:
    async with aclosing(HttpClient.open()) as http:
        door = HttpFrontDoor(http, FrontDoorAddress(f"http://127.0.0.1:{server.server_port}"), FakeCredentials())
        answer = await door.call(a_caller(), "POST", "/api/v1/things", idempotency_key=key)
    assert answer.status == 204
    return server.asked


async def test_a_key_goes_with_the_call_and_the_callers_token(server: Server) -> None:
    asked = await asked_with(server, "run/tool.add#1.1")

    assert asked["idempotency-key"] == "run/tool.add#1.1"
    assert asked["authorization"] == "Bearer token"


async def test_without_a_key_there_is_no_field(server: Server) -> None:
    assert "idempotency-key" not in await asked_with(server, "")


@pytest.mark.parametrize(
    "key", ["run/tool.größe#1", "a\r\nx-evil: 1", "run/" + "x" * 400], ids=["letters", "lines", "long"]
)
async def test_a_key_is_visible_ascii_of_bounded_length(server: Server, key: str) -> None:
    asked = await asked_with(server, key)

    field = asked["idempotency-key"]
    assert field.isascii()
    assert field.isprintable()
    assert len(field) <= KEY_LIMIT_CHARS
    assert "x-evil" not in asked
    assert field != (await asked_with(server, key + "2"))["idempotency-key"]


async def bearers_of(server: Server, credentials: FakeCredentials, *callers: Principal) -> list[str]:
    bearers = []
    async with aclosing(HttpClient.open()) as http:
        door = HttpFrontDoor(http, FrontDoorAddress(f"http://127.0.0.1:{server.server_port}"), credentials)
        for caller in callers:
            await door.call(caller, "POST", "/api/v1/things")
            bearers.append(server.asked["authorization"])
    return bearers


async def test_whoever_showed_a_token_is_called_for_with_it(server: Server) -> None:
    credentials = FakeCredentials()

    assert await bearers_of(server, credentials, a_caller()) == ["Bearer token"]
    assert credentials.asked == []


async def test_a_run_is_given_a_token_for_each_call(server: Server) -> None:
    credentials, caller = FakeCredentials(), acting_principal(RUN, user_id="7")

    assert await bearers_of(server, credentials, caller, caller) == ["Bearer token-1", "Bearer token-2"]
    assert credentials.asked == [caller, caller]


async def test_without_a_token_nobody_is_called(server: Server) -> None:
    server.asked = {}
    with pytest.raises(FrontDoorUnavailable) as refused:
        await bearers_of(server, FakeCredentials(is_away=True), acting_principal(RUN))

    assert refused.value.evidence == {"cause": "no key"}
    assert server.asked == {}


async def test_operations_are_asked_for_again_only_when_they_may_have_changed(server: Server) -> None:
    news, asked = FleetNews(), []
    async with aclosing(HttpClient.open()) as http:
        address = FrontDoorAddress(f"http://127.0.0.1:{server.server_port}")
        door = HttpFrontDoor(http, address, FakeCredentials(), news)
        for words in ((), (), ("a",), ("a",), ("b",), ("b",)):  # nobody says anything, a digest, another
            news.hear(words)
            await door.operations(a_caller())
            asked.append(server.listings)

    assert asked == [1, 2, 3, 3, 4, 4]


async def test_operations_that_change_while_they_are_asked_for_are_asked_for_again(server: Server) -> None:
    news = FleetNews()
    news.hear(["a"])

    class Changing(FakeCredentials):
        async def token_for(self, caller: Principal) -> str:
            news.hear(["b"])
            return await super().token_for(caller)

    async with aclosing(HttpClient.open()) as http:
        address = FrontDoorAddress(f"http://127.0.0.1:{server.server_port}")
        door = HttpFrontDoor(http, address, Changing(), news)
        for _ in range(2):
            await door.operations(acting_principal(RUN))

    assert server.listings == 2


@pytest.mark.parametrize(
    ("server", "root_path", "url"),
    [
        (("127.0.0.1", 8000), "", "http://127.0.0.1:8000"),
        (("::1", 8000), "", "http://[::1]:8000"),
        (("127.0.0.1", 8000), "/assistant", "http://127.0.0.1:8000/assistant"),
        (("/run/portico.sock", None), "", ""),
        (None, "", ""),
    ],
    ids=str,
)
def test_it_is_learned_from_the_listener_and_where_we_are_mounted(
    server: tuple[str, int | None] | None, root_path: str, url: str
) -> None:
    address = FrontDoorAddress(root_path=root_path)

    address.learn(server, "http")

    assert address.url == url


def test_the_one_that_is_configured_stays() -> None:
    address = FrontDoorAddress("https://gateway.example")

    address.learn(("127.0.0.1", 8000), "http")

    assert address.url == "https://gateway.example"
