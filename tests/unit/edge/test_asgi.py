"""The ASGI mount by hand: what no real server can be made to do."""

from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from app.edge.asgi import Door, EdgeMiddleware, record_of
from app.edge.asgi_body import RequestBody
from app.edge.asgi_client import Client, ClientGone, Message, Receive, Scope, Send
from app.edge.edge import Edge
from app.edge.faults import BodyTooLarge, HeadMalformed
from app.edge.keys import PemKeys
from app.edge.pipeline import EdgeOptions
from app.edge.tokens import TokenVerifier
from tests.builders import public_pem
from tests.unit.edge.parts import Checked, StillClock, a_live_table, a_record


def a_scope(target: str = "/local", *, kind: str = "http", **values: object) -> Scope:
    path, _, query = target.partition("?")
    return {
        "type": kind,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"front")],
        "client": ("203.0.113.7", 1),
        "server": ("127.0.0.1", 8000),
        "scheme": "http",
        **values,
    }


def an_edge(*rows: dict[str, object]) -> Edge:
    keys = PemKeys.read(public_pem())
    clock = StillClock()
    return Edge(a_live_table(*rows), keys, TokenVerifier(Checked().rules, keys.current, clock), clock, EdgeOptions())


@dataclass(slots=True)
class Server:
    """Hands over the messages it was given, then the client's end, and keeps what it is sent."""

    messages: list[Message] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    is_gone: bool = False

    async def receive(self) -> Message:
        return self.messages.pop(0) if self.messages else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.is_gone:
            raise BrokenPipeError
        self.sent.append(message)


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nobody may come here")


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError("no word of this")


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


LOCAL: dict[str, object] = {"path": "/local", "local": True, "access": "PUBLIC", "max_body_bytes": 10}


async def test_the_door_is_shut_before_the_lifespan_has_begun() -> None:
    server = Server()

    with pytest.raises(RuntimeError, match="lifespan"):
        await Door(inner=never)(a_scope(), server.receive, server.send)

    assert server.sent == []


async def test_the_door_tells_the_edge_where_it_stands() -> None:
    told: list[object] = []
    edge = an_edge(LOCAL)
    edge.on_request = lambda server, scheme: told.append((server, scheme))
    server = Server()

    await Door(inner=reading, edge=edge)(a_scope(), server.receive, server.send)

    assert told == [(("127.0.0.1", 8000), "http")]


async def test_whatever_breaks_behind_the_edge_is_a_500_without_a_word_of_it() -> None:
    server = Server()

    with capture_logs() as lines:
        await EdgeMiddleware(broken, an_edge(LOCAL))(a_scope(), server.receive, server.send)

    start, body = server.sent
    assert start["status"] == 500
    assert b"no word of this" not in body["body"]
    assert [line["event"] for line in lines] == ["request.failed", "request.answered"]
    assert lines[1]["reason"] == "internal"


async def test_a_client_that_is_gone_when_it_is_refused_is_said_to_be() -> None:
    server = Server(is_gone=True)

    with capture_logs() as lines:
        await EdgeMiddleware(never, an_edge(LOCAL))(a_scope("/nowhere"), server.receive, server.send)

    assert [line["reason"] for line in lines] == ["client_gone"]


async def test_a_local_body_is_counted_while_it_is_read() -> None:
    piece: Message = {"type": "http.request", "body": b"x" * 6, "more_body": True}
    server = Server([piece, piece, piece])

    await EdgeMiddleware(reading, an_edge(LOCAL))(a_scope(), server.receive, server.send)

    assert server.sent[0]["status"] == 413
    assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("media_type", "is_counted"),
    [(b"application/json", True), (b"text/event-stream", False), (b"Text/Event-Stream; charset=utf-8", False)],
)
async def test_an_answer_that_may_be_silent_for_hours_is_no_work_to_be_done(
    media_type: bytes, *, is_counted: bool
) -> None:
    edge, open_meanwhile = an_edge(LOCAL), []

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", media_type)]})
        open_meanwhile.append(edge.load.requests_open)
        await send({"type": "http.response.body", "body": b""})

    server = Server()
    await EdgeMiddleware(answering, edge)(a_scope(), server.receive, server.send)

    assert open_meanwhile == [int(is_counted)]
    assert edge.load.requests_open == 0


def test_a_record_keeps_the_bytes_of_the_target() -> None:
    scope = a_scope("/a%20b?x=%2F", headers=[(b"Host", b"front"), (b"X-A", b"\xe9")])

    record = record_of(scope, 0)

    assert (record.path, record.query) == (b"/a%20b", b"x=%2F")
    assert record.headers == [(b"host", b"front"), (b"x-a", b"\xe9")]


def test_a_server_without_the_raw_path_is_not_served() -> None:
    scope = a_scope()
    del scope["raw_path"]

    with pytest.raises(KeyError):
        record_of(scope, 0)


async def test_a_handshake_is_closed_where_the_server_cannot_answer_it() -> None:
    server = Server()

    await EdgeMiddleware(never, an_edge(LOCAL))(a_scope("/nowhere", kind="websocket"), server.receive, server.send)

    assert server.sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_handshake_is_answered_where_the_server_can() -> None:
    server = Server()
    scope = a_scope("/nowhere", kind="websocket", extensions={"websocket.http.response": {}})

    await EdgeMiddleware(never, an_edge(LOCAL))(scope, server.receive, server.send)

    assert [message["type"] for message in server.sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert server.sent[0]["status"] == 404


# --- the body ---------------------------------------------------------------------------------------------------------


def a_body(server: Server, *fields: tuple[str, str], limit_bytes: int = 100) -> RequestBody:
    return RequestBody(Client(a_record("POST", "/x", *fields), server.send), limit_bytes, EdgeOptions(), server.receive)


def a_piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


BODIES = {
    "no framing, a body": ((), [a_piece(b"x")], HeadMalformed),
    "no framing, more to come": ((), [a_piece(b"", more=True), a_piece(b"x")], HeadMalformed),
    "shorter than declared": ((("content-length", "3"),), [a_piece(b"x")], HeadMalformed),
    "longer than declared": ((("content-length", "3"),), [a_piece(b"xxxx")], HeadMalformed),
    "declared empty": ((("content-length", "0"),), [a_piece(b"x")], HeadMalformed),
    "over the limit": ((("transfer-encoding", "chunked"),), [a_piece(b"x" * 101)], BodyTooLarge),
    "over the limit bit by bit": (
        (("transfer-encoding", "chunked"),),
        [a_piece(b"x" * 60, more=True), a_piece(b"x" * 60)],
        BodyTooLarge,
    ),
    "as declared": ((("content-length", "3"),), [a_piece(b"xx", more=True), a_piece(b"x")], ClientGone),
    "none": ((), [a_piece(b"")], ClientGone),
    "cut": ((("content-length", "3"),), [a_piece(b"xx", more=True)], ClientGone),
}


@pytest.mark.parametrize(("fields", "messages", "ends_with"), BODIES.values(), ids=BODIES)
async def test_a_body_is_read_to_its_end_or_refused(
    fields: tuple[tuple[str, str], ...], messages: list[Message], ends_with: type[Exception]
) -> None:
    body = a_body(Server(list(messages)), *fields)

    with pytest.raises(ends_with):
        await body.pump()
