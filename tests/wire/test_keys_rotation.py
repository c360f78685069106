"""Keys that are fetched: rotation, outages and lies of a real JWKS endpoint, seen by requests that carry tokens."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from app.edge.claims import TokenRules
from app.edge.edge import Edge
from app.edge.keys import JwksKeys
from app.edge.pipeline import EdgeOptions
from app.edge.record import Record
from app.edge.tokens import TokenVerifier
from app.infra.http_client.client import HttpClient
from app.kernel.errors import Fault
from tests.builders import ROLES
from tests.unit.edge.parts import NOW_S, StillClock, a_live_table, a_record

OLD, NEW, STRANGE = (generate_private_key(65537, 2048) for _ in range(3))
SMALL = generate_private_key(65537, 1024)
TABLE = a_live_table({"prefix": "/common"}, {"prefix": "/public", "access": "PUBLIC"})
PATIENCE_S = 20


def number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8)).rstrip(b"=").decode()


def jwk(kid: str | None, key: RSAPrivateKey, **fields: object) -> dict[str, object]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "n": number(numbers.n), "e": number(numbers.e), **fields}


def jwks(*entries: dict[str, object]) -> bytes:
    return json.dumps({"keys": entries}).encode()


@dataclass(slots=True)
class Endpoint:
    """A JWKS endpoint; `hangs` is set free at the end, so that no thread is left."""

    document: bytes = jwks(jwk("old", OLD))
    status: int = 200
    hangs: bool = False
    dribbles: bool = False
    asked: int = 0
    let_go: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        if self.hangs:
            self.let_go.wait(PATIENCE_S)
            return
        handler.send_response(self.status)
        handler.send_header("Content-Length", str(len(self.document)))
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()
        try:
            while self.dribbles and not self.let_go.wait(0.1):
                handler.wfile.write(b" ")
            handler.wfile.write(self.document)
        except OSError:
            return  # the one who asked gave up


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    served = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}/jwks"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield served
        served.let_go.set()
        server.shutdown()
        thread.join()


@dataclass(slots=True)
class Gate:
    edge: Edge
    clock: StillClock

    async def ask(self, token: str, path: str = "/common") -> str:
        """Tell who is let in, or the type of the refusal."""
        record = await self.decide(token, path)
        return record if isinstance(record, str) else (record.principal.user_id if record.principal else "nobody")

    async def decide(self, token: str, path: str) -> Record | str:
        record = a_record("GET", path, ("Authorization", f"Bearer {token}"))
        try:
            await self.edge.decide(record)
        except Fault as fault:
            return fault.type
        return record


@pytest.fixture
async def gate(endpoint: Endpoint) -> AsyncIterator[Gate]:
    http, clock = HttpClient.open(), StillClock()
    keys = JwksKeys(endpoint.url, http.fetch, clock)
    tokens = TokenVerifier(TokenRules(roles=ROLES), keys.current, clock)
    yield Gate(Edge(TABLE, keys, tokens, clock, EdgeOptions()), clock)
    await http.aclose()


def token(kid: str | None = "old", key: RSAPrivateKey = OLD, **claims: object) -> str:
    payload = {"sub": "7", "role": "user", "exp": NOW_S + 1000, **claims}
    return jwt.encode(payload, key, algorithm="RS256", headers={"kid": kid} if kid else None)


async def test_the_first_token_fetches_the_keys(gate: Gate, endpoint: Endpoint) -> None:
    assert await gate.ask(token()) == "7"
    assert await gate.ask(token(jti="another")) == "7"
    assert endpoint.asked == 1


async def test_an_unknown_kid_is_how_rotation_shows(gate: Gate, endpoint: Endpoint) -> None:
    await gate.ask(token())

    endpoint.document = jwks(jwk("new", NEW), jwk("old", OLD))
    gate.clock.now_s += 10

    assert await gate.ask(token("new", NEW)) == "7"
    assert await gate.ask(token()) == "7"
    assert endpoint.asked == 2


async def test_a_stranger_cannot_make_us_ask_all_the_time(gate: Gate, endpoint: Endpoint) -> None:
    answers = [await gate.ask(token(f"made-up-{n}", STRANGE)) for n in range(20)]

    assert set(answers) == {"token-invalid"}
    assert endpoint.asked == 1


async def test_many_requests_share_one_fetch(gate: Gate, endpoint: Endpoint) -> None:
    tokens = [token(jti=str(number)) for number in range(30)]

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(gate.ask(one)) for one in tokens]

    assert [task.result() for task in asked] == ["7"] * 30
    assert endpoint.asked == 1


async def test_a_removed_key_opens_nothing_after_the_refresh(gate: Gate, endpoint: Endpoint) -> None:
    remembered = token()
    await gate.ask(remembered)

    endpoint.document = jwks(jwk("new", NEW))
    gate.clock.now_s += 10
    await gate.edge.keys.refresh()

    assert await gate.ask(remembered) == "token-invalid"
    assert await gate.ask(token(jti="another")) == "token-invalid"


BROKEN = {
    "500": {"status": 500},
    "404": {"status": 404},
    "a redirect": {"status": 302},
    "HTML": {"document": b"<html>sorry</html>"},
    "half": {"document": jwks(jwk("new", NEW))[:-50]},
    "empty": {"document": b""},
    "no keys": {"document": jwks()},
    "huge": {"document": b'{"keys":[' + b" " * 400_000 + b"]}"},
    "a key for encryption": {"document": jwks(jwk("new", NEW, use="enc"))},
    "a key that may not verify": {"document": jwks(jwk("new", NEW, key_ops=["sign"]))},
    "a key for RS512": {"document": jwks(jwk("new", NEW, alg="RS512"))},
    "a small key": {"document": jwks(jwk("new", SMALL))},
    "an EC key": {"document": jwks({"kty": "EC", "kid": "new", "crv": "P-256", "x": "AA", "y": "AA"})},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
async def test_the_last_good_keys_are_kept_through_an_outage(
    gate: Gate, endpoint: Endpoint, broken: dict[str, object]
) -> None:
    await gate.ask(token())

    for name, value in broken.items():
        setattr(endpoint, name, value)
    gate.clock.now_s += 10

    assert await gate.ask(token("new", NEW)) == "token-invalid"
    assert await gate.ask(token(jti="another")) == "7"
    assert endpoint.asked == 2


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
async def test_without_any_key_nobody_is_let_in(gate: Gate, endpoint: Endpoint, broken: dict[str, object]) -> None:
    for name, value in broken.items():
        setattr(endpoint, name, value)

    answers = [await gate.ask(one) for one in (token("new", NEW), token(None), token())]

    assert set(answers) == {"keys-unavailable"}
    assert await gate.ask(token(), "/public") == "nobody"


async def test_keys_come_back_after_an_outage(gate: Gate, endpoint: Endpoint) -> None:
    endpoint.status = 503
    first = await gate.ask(token())

    endpoint.status = 200
    too_soon = await gate.ask(token())
    gate.clock.now_s += 10

    assert (first, too_soon, await gate.ask(token())) == ("keys-unavailable", "keys-unavailable", "7")


async def test_an_endpoint_that_is_gone_is_an_outage(gate: Gate) -> None:
    http = HttpClient.open()
    keys = JwksKeys("http://127.0.0.1:9/jwks", http.fetch, gate.clock)
    gate.edge.keys = keys
    gate.edge.tokens.keys = keys.current

    assert await gate.ask(token()) == "keys-unavailable"
    await http.aclose()


@pytest.mark.parametrize("how", ["hangs", "dribbles"])
async def test_an_endpoint_that_hangs_holds_up_only_those_who_need_it_and_not_for_long(
    gate: Gate, endpoint: Endpoint, how: str
) -> None:
    await gate.ask(token())
    setattr(endpoint, how, True)
    gate.clock.now_s += 10

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        held_up = [group.create_task(gate.ask(token("new", NEW, jti=str(number)))) for number in range(5)]
        while endpoint.asked < 2:  # noqa: ASYNC110 - the endpoint runs in a thread of its own
            await asyncio.sleep(0.01)
        served = [await gate.ask(token(jti=str(number))) for number in range(5)]
        were_held_up = not any(task.done() for task in held_up)

    assert served == ["7"] * 5
    assert were_held_up
    assert [task.result() for task in held_up] == ["token-invalid"] * 5
    assert endpoint.asked == 2


@pytest.mark.parametrize(
    ("document", "outcome"),
    [
        (jwks(jwk("old", OLD)), "7"),
        (jwks(jwk("old", OLD), jwk("new", NEW)), "token-invalid"),
        (jwks(jwk("old", OLD), jwk("enc", NEW, use="enc")), "7"),
        (jwks(jwk("old", NEW), jwk("old", OLD)), "7"),
        (jwks(jwk("new", NEW)), "token-invalid"),
    ],
    ids=["one key", "two keys", "one for signatures", "one name twice", "another key"],
)
async def test_a_token_without_kid_is_good_where_there_is_one_key(
    gate: Gate, endpoint: Endpoint, document: bytes, outcome: str
) -> None:
    endpoint.document = document

    assert await gate.ask(token(None)) == outcome
