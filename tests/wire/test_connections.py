"""What one client connection may carry: many requests, old ones, pipelined ones, no WebSocket that nobody offers."""

import asyncio
from pathlib import Path

import pytest

from app.main import create_app
from tests.builders import a_token, some_settings
from tests.wire.caller import calling, get, post, post_chunks
from tests.wire.front import SERVERS, Front, both_mounts, serving
from tests.wire.hostile import HI, OK, Visit, answering, answering_then_closing

HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


REFUSALS = {
    "404": (get(b"/nowhere"), 404),
    "401": (get(b"/mine/x"), 401),
    "405": (get(b"/local", method=b"DELETE"), 405),
    "400": (get(b"/main/%00"), 400),
    "413": (post(b"/small/x", b"x" * 1001), 413),
    "413 chunked": (post_chunks(b"/small/x", b"x" * 1001, b""), 413),
    "502": (get(b"/unretried/broken"), 502),
    "504": (get(b"/impatient/silent"), 504),
}


@both_mounts
@pytest.mark.parametrize(("refused", "status"), REFUSALS.values(), ids=REFUSALS)
async def test_a_connection_outlives_a_refusal(front: Front, refused: bytes, status: int) -> None:
    async def script(visit: Visit) -> None:
        while b"/main/after" not in (head := await visit.request()):
            if b"broken" in head:
                return
        await visit.send(HI)
        await visit.until_left()

    async with front.upstream(script), front.calling() as caller:
        await caller.send(refused)
        first = await caller.answer()
        await caller.send(get(b"/main/after"))
        second = await caller.answer()

        assert (first.status, first.is_whole) == (status, True)
        assert first.first(b"x-request-id") == first.problem["request_id"].encode()
        assert (second.status, second.body) == (200, b"hi")


@both_mounts
async def test_pipelined_requests_are_answered_in_order(front: Front) -> None:
    async def script(visit: Visit) -> None:
        while True:
            head = await visit.request()
            path = head.split()[1]
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            body = await visit.reader.readexactly(length)
            await visit.send(OK + b"Content-Length: %d\r\n\r\n" % (len(path) + len(body)) + path + body)

    requests = [
        get(b"/main/1"),
        post(b"/main/2", b"body"),
        get(b"/nowhere"),
        get(b"/main/4"),
        get(b"/mine/5"),
        get(b"/main/6"),
    ]
    async with front.upstream(script), front.calling() as caller:
        await caller.send(b"".join(requests))
        answers = [await caller.answer() for _ in requests]

        assert [answered.status for answered in answers] == [200, 200, 404, 200, 401, 200]
        bodies = [answered.body for answered in answers if answered.status == 200]
        assert bodies == [b"/main/1", b"/main/2body", b"/main/4", b"/main/6"]
        await front.is_at_rest()
        assert len(front.answered) == 6


@both_mounts
async def test_an_http_1_0_client_gets_a_length_and_an_end(front: Front) -> None:
    async with front.upstream(answering(HI)) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/x").replace(b"HTTP/1.1", b"HTTP/1.0"))
        answered = await caller.answer()

        assert (answered.status, answered.body) == (200, b"hi")
        assert answered.all(b"connection") == [b"close"]
        assert await caller.is_cut()
        assert upstream.visits[0].received.startswith(b"GET /main/x HTTP/1.1\r\n")


@both_mounts
async def test_a_client_that_closes_after_its_request_is_obeyed(front: Front) -> None:
    async with front.upstream(answering(HI)) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/x", b"Connection: close"))
        answered = await caller.answer()

        assert answered.body == b"hi"
        assert await caller.is_cut()
        assert b"connection" not in upstream.visits[0].received.lower()
        await front.is_at_rest()
        assert front.counts().idle == 1


async def test_an_upstream_that_closes_leaves_the_client_connected(front: Front) -> None:
    closing = OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi"
    async with front.upstream(answering_then_closing(closing)) as upstream, front.calling() as caller:
        for _ in range(3):
            await caller.send(get(b"/main/x"))
            answered = await caller.answer()

            assert answered.body == b"hi"
            assert answered.all(b"connection") == []
        assert len(upstream.visits) == 3


TOKEN = b"Authorization: Bearer " + a_token().encode()
WEBSOCKETS = {
    "proxied row": (b"/main/ws", (), 400, "upgrade-not-offered", "upgrade_not_offered"),
    "proxied row, known caller": (b"/mine/ws", (TOKEN,), 400, "upgrade-not-offered", "upgrade_not_offered"),
    "proxied row, nobody": (b"/mine/ws", (), 401, "token-missing", "token_missing"),
    "no row": (b"/nowhere", (), 404, "route-not-found", "route_not_found"),
    "bad path": (b"/main/%2e%2e/x", (), 400, "path-not-allowed", "path_not_allowed"),
}


@both_mounts
@pytest.mark.parametrize(("path", "fields", "status", "kind", "reason"), WEBSOCKETS.values(), ids=WEBSOCKETS)
async def test_a_handshake_is_refused_like_any_request(
    front: Front, path: bytes, fields: tuple[bytes, ...], status: int, kind: str, reason: str
) -> None:
    async with front.upstream(answering(HI)) as upstream:
        answered = await front.ask(get(path, *HANDSHAKE, *fields))

        assert (answered.status, answered.is_whole) == (status, True)
        assert answered.problem["type"] == kind
        assert answered.first(b"x-request-id") == answered.problem["request_id"].encode()
        assert upstream.visits == []
        line = await front.line()
        assert (line["status"], line["reason"]) == (status, reason)


@both_mounts
async def test_a_handshake_nobody_takes_behind_a_local_row_is_refused(front: Front) -> None:
    answered = await front.ask(get(b"/local", *HANDSHAKE))

    assert 400 <= answered.status < 500
    line = await front.line()
    assert (line["status"], line["reason"]) == (answered.status, "local")


async def test_a_server_that_runs_no_lifespan_reaches_nothing(database_dsn: str, tmp_path: Path) -> None:
    app = create_app(some_settings(tmp_path, dsn=database_dsn, log_level=50))
    with serving(app, SERVERS["asyncio-httptools"], lifespan="off") as port:
        async with calling(port) as caller:
            await caller.send(get(b"/api/health/ping"))
            answered = await caller.answer()

            assert answered.status == 500
            assert answered.body == b"Internal Server Error"


async def test_many_connections_at_once_each_get_their_own_answer(front: Front) -> None:
    async def script(visit: Visit) -> None:
        while True:
            path = (await visit.request()).split()[1]
            await visit.send(OK + b"Content-Length: %d\r\n\r\n" % len(path) + path)

    async with front.upstream(script):
        paths = [b"/main/%d" % number for number in range(200)]
        answers = await asyncio.gather(*(front.ask(get(path)) for path in paths))

        assert [answered.body for answered in answers] == paths
