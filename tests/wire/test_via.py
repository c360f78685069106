"""Who passed a request on (RFC 9110 §7.6.3): what an upstream is told, and where a loop ends."""

import asyncio
from contextlib import suppress

import pytest

from app.edge.proxy import PASSES_LIMIT
from tests.wire.caller import get
from tests.wire.front import Front, both_mounts
from tests.wire.hostile import HI, Visit, answering, eventually

pytestmark = both_mounts

VIAS = {
    "none": ((), b"1.1 portico"),
    "one": ((b"Via: 1.0 fred",), b"1.0 fred, 1.1 portico"),
    "two fields": (
        (b"Via: 1.0 fred", b"via: HTTP/2 edge (squid), 1.1 b"),
        b"1.0 fred, HTTP/2 edge (squid), 1.1 b, 1.1 portico",
    ),
    "empty members": ((b"Via: , 1.1 a ,,", b"Via:"), b"1.1 a, 1.1 portico"),
    "ourselves": ((b"Via: 1.1 portico",), b"1.1 portico, 1.1 portico"),
    "named in Connection": ((b"Connection: via", b"Via: 1.0 fred"), b"1.0 fred, 1.1 portico"),
    "as often as may be": (
        (b"Via: " + b", ".join([b"1.1 portico"] * (PASSES_LIMIT - 1)),),
        b", ".join([b"1.1 portico"] * PASSES_LIMIT),
    ),
    "others as often as they like": (
        (b"Via: " + b", ".join([b"1.1 a"] * 20),),
        b", ".join([*[b"1.1 a"] * 20, b"1.1 portico"]),
    ),
    "another spelling": ((b"V_ia: 1", b"Via: 1.1 porticos"), b"1.1 porticos, 1.1 portico"),
}


@pytest.mark.parametrize(("fields", "sent"), VIAS.values(), ids=VIAS)
async def test_an_upstream_is_told_who_passed_a_request_on(
    front: Front, fields: tuple[bytes, ...], sent: bytes
) -> None:
    async with front.upstream(answering(HI, HI)) as upstream, front.calling() as caller:
        for _ in range(2):
            await caller.send(get(b"/main/x", *fields))
            await caller.answer()

        lines = [line for line in upstream.visits[0].received.split(b"\r\n") if line.startswith(b"via:")]
        assert lines == [b"via: " + sent] * 2


async def test_the_clients_version_is_told(front: Front) -> None:
    async with front.upstream(answering(HI)) as upstream:
        await front.ask(b"GET /main/x HTTP/1.0\r\nHost: front\r\n\r\n")

        assert b"\r\nvia: 1.0 portico\r\n" in upstream.visits[0].received


async def test_an_answer_carries_only_the_upstreams_own(front: Front) -> None:
    async with (
        front.upstream(answering(HI, HI.replace(b"\r\n", b"\r\nVia: 1.1 inner\r\n", 1))),
        front.calling() as caller,
    ):
        await caller.send(get(b"/main/x") + get(b"/main/x"))
        first, second = await caller.answer(), await caller.answer()

        assert (first.all(b"via"), second.all(b"via")) == ([], [b"1.1 inner"])


@pytest.mark.parametrize(
    "fields",
    [
        [b"Via: " + b", ".join([b"1.1 portico"] * PASSES_LIMIT)],
        [b"Via: 1.1 a, HTTP/1.1 portico (x), 1.0\tportico,1.1 portico"] * (PASSES_LIMIT // 2),
    ],
)
async def test_a_request_that_passed_too_often_reaches_no_upstream(front: Front, fields: list[bytes]) -> None:
    async with front.upstream(answering(HI)) as upstream, front.calling() as caller:
        await caller.send(get(b"/main/x", *fields) + get(b"/main/y"))
        refused, answered = await caller.answer(), await caller.answer()

        assert (refused.status, refused.problem["type"]) == (502, "forwarding-loop")
        assert answered.status == 200
        assert len(upstream.visits) == 1
        assert front.answered[0]["reason"] == "forwarding_loop"


async def test_a_request_that_comes_back_again_and_again_is_refused(front: Front) -> None:
    async def relay(visit: Visit) -> None:
        """Pass everything on to the gateway it came from."""
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(visit.reader, writer))
                group.create_task(pump(reader, visit.writer))
        finally:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async with front.upstream(relay) as upstream:
        answered = await front.ask(get(b"/main/x", b"Connection: close"))
        await eventually(lambda: len(front.answered) == PASSES_LIMIT + 1)

        assert (answered.status, answered.problem["type"]) == (502, "forwarding-loop")
        assert len(upstream.visits) == PASSES_LIMIT
        assert [line["reason"] for line in front.answered] == ["forwarding_loop"] + ["proxied"] * PASSES_LIMIT


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
        sink.write_eof()
