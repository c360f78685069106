"""Requests that are bent at random, the same way each time: what clients are told is what the upstream counted."""

import asyncio
import itertools
import random
from asyncio import IncompleteReadError

import pytest

from tests.wire.caller import get, post, post_chunks
from tests.wire.counting import Counting
from tests.wire.front import Front

HASTE = {"head_s": 0.2, "keep_alive_s": 0.2, "body_idle_s": 0.2, "farewell_s": 0.1}
PATIENCE_S = 5
AT_ONCE = 25
WHOLE = (
    get(b"/main/x"),
    get(b"/main/x", b"X-A: 1", b"Cookie: a=b"),
    post(b"/main/x", b"abc"),
    post(b"/main/x", get(b"/main/smuggled")),
    post(b"/main/x", b"abc", b"Expect: 100-continue"),
    post_chunks(b"/main/x", b"abc", b"de", b""),
    post_chunks(b"/main/x", get(b"/main/smuggled"), b""),
    get(b"/main/x", b"Connection: Upgrade", b"Upgrade: h2c"),
)
BENDS = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b"\x0b", b"\xff", b":", b",", b";", b"+", b"-",
    b"0", b"3", b"0\r\n\r\n", b"3\r\nabc\r\n", b"HTTP/1.0", b"chunked", b"Host: other\r\n",
    b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"Connection: Content-Length, Transfer-Encoding\r\n", b"Expect: 100-continue\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"X-User-Id: 1\r\n",
    b"GET /main/smuggled HTTP/1.1\r\nHost: front\r\n\r\n",
)  # fmt: skip


def bent(number: int) -> bytes:
    """Make the bytes of one connection: two requests, the first bent in one to three places, both cut anywhere."""
    chance = random.Random(number)
    whole = chance.choice(WHOLE)
    for _ in range(chance.randint(1, 3)):
        at, end = chance.randrange(len(whole)), 0
        if chance.random() < 0.5:
            end = chance.choice((1, 1, 2, 4))
        whole = whole[:at] + chance.choice((b"", *BENDS)) + whole[at + end :]
    return whole + get(b"/main/y", b"Connection: close")


async def ok_answers(front: Front, whole: bytes) -> int:
    """Say it in pieces and count the requests that are told to have been served, to the end of the connection."""
    chance = random.Random(whole)
    cuts = sorted(chance.randrange(len(whole)) for _ in range(chance.choice((0, 0, 1, 3))))
    served = 0
    async with front.calling() as caller:
        try:
            for start, end in itertools.pairwise([0, *cuts, len(whole)]):
                await caller.send(whole[start:end])
                await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    answered = await caller.answer()
                    assert answered.is_whole, whole
                    served += answered.status == 200
        except (IncompleteReadError, ConnectionError):
            return served


@pytest.mark.parametrize("connections", [1000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_what_clients_are_told_is_what_the_upstream_counted(front: Front, connections: int) -> None:
    counting = Counting()
    told = 0
    with front.patience(**HASTE):
        async with front.upstream(counting):
            for batch in itertools.batched(range(connections), AT_ONCE):
                told += sum(await asyncio.gather(*(ok_answers(front, bent(number)) for number in batch)))
            await front.is_at_rest()

    print(f"{connections} connections: {told} requests told, {len(counting.requests)} counted")  # noqa: T201 - read with -s
    assert told == len(counting.requests)
    assert not counting.flaws
    assert not [one for one in counting.requests for line in one.fields if line.startswith(b"x-user")]
