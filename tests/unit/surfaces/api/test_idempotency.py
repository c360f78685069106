"""The middleware around handlers that no endpoint of ours is like yet."""

import itertools
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

import pytest
from dishka import Provider, Scope, make_async_container
from dishka.integrations.litestar import setup_dishka
from litestar import Litestar, Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.response import Stream
from litestar.testing import TestClient
from litestar.types import ASGIApp, Receive, Send
from litestar.types import Scope as AsgiScope

from app.edge.record import Record
from app.kernel.identity import Principal
from app.kernel.keyed_requests import KeyedRequest
from app.surfaces.api.dependencies import DEPENDENCIES
from app.surfaces.api.idempotency import MAX_KEPT_BYTES, HonourKeys
from app.surfaces.api.keyed_requests import KeyedRequests
from app.surfaces.api.refusals import refuse
from tests.fakes.chat_slice import ANN
from tests.fakes.keyed_requests import FakeKeyedRequests

EVENTS = {"accept": "text/event-stream"}


@dataclass
class Calls:
    """What the handlers below were called with."""

    keyed: list[KeyedRequest | None] = field(default_factory=list)


def endpoints(calls: Calls) -> list[object]:
    numbers = itertools.count(1)

    @post("/plain")
    async def plain(
        request: Request[None, None, State], keyed: NamedDependency[KeyedRequest | None]
    ) -> Response[bytes]:
        calls.keyed.append(keyed)
        headers = {"location": "/runs/1", "set-cookie": "a=b", "x-other": "1"}
        return Response(f"{next(numbers)} {await request.body()!r}".encode(), status_code=202, headers=headers)

    @post("/large")
    async def large(keyed: NamedDependency[KeyedRequest | None]) -> bytes:
        calls.keyed.append(keyed)
        return b"x" * (MAX_KEPT_BYTES + 1)

    @post("/pieces")
    async def pieces(keyed: NamedDependency[KeyedRequest | None]) -> Stream:
        calls.keyed.append(keyed)
        return Stream(said(), media_type="text/plain")

    @post("/events")
    async def events(keyed: NamedDependency[KeyedRequest | None]) -> Stream:
        calls.keyed.append(keyed)
        return Stream(said(), media_type="text/event-stream")

    @post("/run", opt={"joins": True})
    async def run(
        request: Request[None, None, State], keyed: NamedDependency[KeyedRequest | None]
    ) -> Response[bytes] | Stream:
        calls.keyed.append(keyed)
        if "text/event-stream" in request.headers.get("accept", ""):
            return Stream(said(), media_type="text/event-stream")
        return Response(b"whole", status_code=201)

    @post("/bug")
    async def bug(keyed: NamedDependency[KeyedRequest | None]) -> None:
        calls.keyed.append(keyed)
        raise RuntimeError("on purpose")

    async def said() -> AsyncGenerator[bytes]:
        yield b"data: 1\n\n"
        yield b"data: 2\n\n"

    return [plain, large, pieces, events, run, bug]


class Introduced:
    """What the edge says of each request; `x-user` is who sent it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        users: dict[bytes, Principal] = {b"ann": ANN}
        named = dict(scope["headers"]).get(b"x-user", b"ann")
        record = Record(b"POST", scope["path"].encode(), b"", [], "", "http", 0.0)
        scope.setdefault("state", {}).update(principal=users.get(named), edge_record=record, request_id="r1")
        await self._app(scope, receive, send)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def client(calls: Calls) -> Iterator[TestClient[Litestar]]:
    app = Litestar(
        endpoints(calls),  # type: ignore[arg-type] # handlers of six kinds
        dependencies=DEPENDENCIES,
        middleware=[Introduced, HonourKeys],
        exception_handlers={Exception: refuse},
        openapi_config=None,
        logging_config=None,
    )
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: KeyedRequests(FakeKeyedRequests()), provides=KeyedRequests)
    setup_dishka(make_async_container(provider), app)
    with TestClient(app, raise_server_exceptions=False) as test_client:
        yield test_client


def keyed(**fields: str) -> dict[str, str]:
    return {"Idempotency-Key": "k", **{name.replace("_", "-"): value for name, value in fields.items()}}


def test_an_answer_is_kept_with_the_fields_that_belong_to_it(client: TestClient[Litestar]) -> None:
    first, second = (client.post("/plain", content=b"a", headers=keyed()) for _ in range(2))

    assert first.content == second.content == b"1 b'a'"
    assert second.status_code == 202
    assert {"location": "/runs/1", "idempotent-replayed": "true"}.items() <= dict(second.headers).items()
    assert {"set-cookie", "x-other"} <= first.headers.keys()
    assert not {"set-cookie", "x-other"} & second.headers.keys()


def test_without_a_key_each_is_a_request_of_its_own(client: TestClient[Litestar], calls: Calls) -> None:
    answers = [client.post("/plain").content for _ in range(2)]

    assert answers == [b"1 b''", b"2 b''"]
    assert calls.keyed == [None, None]


def test_who_is_nobody_has_no_keys(client: TestClient[Litestar], calls: Calls) -> None:
    answers = [client.post("/plain", headers=keyed(x_user="nobody")).content for _ in range(2)]

    assert answers == [b"1 b''", b"2 b''"]
    assert calls.keyed == [None, None]


def test_what_comes_in_pieces_is_kept_whole(client: TestClient[Litestar], calls: Calls) -> None:
    first, second = (client.post("/pieces", headers=keyed()) for _ in range(2))

    assert first.content == second.content == b"data: 1\n\ndata: 2\n\n"
    assert len(calls.keyed) == 1


@pytest.mark.parametrize("path", ["/large", "/events", "/bug"])
def test_what_is_not_kept_is_asked_for_again_as_the_same_request(
    client: TestClient[Litestar], calls: Calls, path: str
) -> None:
    first, second = (client.post(path, headers=keyed()) for _ in range(2))

    one, other = calls.keyed
    assert one is not None
    assert one == other
    assert (second.status_code, second.content) == (first.status_code, first.content) or path == "/bug"
    assert "idempotent-replayed" not in second.headers


def test_a_stream_of_a_request_that_was_answered_is_made_anew(client: TestClient[Litestar], calls: Calls) -> None:
    whole = client.post("/run", headers=keyed())
    streamed = client.post("/run", headers=keyed() | EVENTS)
    again = client.post("/run", headers=keyed())

    assert (whole.content, again.content) == (b"whole", b"whole")
    assert streamed.content == b"data: 1\n\ndata: 2\n\n"
    assert "idempotent-replayed" in again.headers
    first, second = calls.keyed
    assert first == second


def test_a_body_that_is_too_large_is_refused_before_anything_is_written_down(
    client: TestClient[Litestar], calls: Calls
) -> None:
    answer = client.post("/plain", content=b"x" * (4 * 1024**2 + 1), headers=keyed())

    assert answer.status_code == 413
    assert calls.keyed == []
