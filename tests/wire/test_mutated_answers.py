"""Answers that are bent at random, the same way each time: a client is given its own, framed by us, or none."""

import asyncio
import itertools
import random
import re
import zlib
from asyncio import IncompleteReadError
from collections import Counter

import pytest

from tests.wire.caller import Answered, get
from tests.wire.front import Front
from tests.wire.hostile import OK, Visit

AT_ONCE = 25
STAYS_S = 0.3
OURS = {502, 503}
"""an answer that is none; and that of a gateway whose machine is too busy"""
MARK = re.compile(rb"<([0-9]+):([0-9a-f]{8})>")

BENDS = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b" ", b"\t", b"\x0b", b"\xff", b":", b",", b";", b"+", b"-",
    b"0", b"3", b"0\r\n\r\n", b"3\r\nabc\r\n", b"HTTP/1.0", b"chunked", b"100", b"101", b"204", b"304",
    b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Content-Length: 99\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Connection: close\r\n", b"Connection: Content-Length, X-A\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"HTTP/1.1 103 Early\r\nX-A: 1\r\n\r\n", b"HTTP/1.1 100 C\r\n\r\n",
    OK + b"Content-Length: 9\r\n\r\nsmuggled!",
)  # fmt: skip


def mark(number: int) -> bytes:
    """Make what only the answer of this number holds: no bend makes one number's mark another one's."""
    return b"<%d:%08x>" % (number, zlib.crc32(b"%d" % number))


def marks(text: bytes) -> set[int]:
    return {int(number) for number, _ in MARK.findall(text) if mark(int(number)) in text}


def bent(number: int) -> bytes:
    """Make an answer with its number in the body, and bend it in up to three places; in one of four it stays whole."""
    chance = random.Random(number)
    own = mark(number)
    body = own * chance.choice((1, 3, 400))
    whole = chance.choice((
        OK + b"Content-Length: %d\r\nX-A: %b\r\n\r\n%b" % (len(body), own, body),
        OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nX-T: %b\r\n\r\n" % (len(body), body, own),
        b"HTTP/1.0 200 OK\r\n\r\n" + body,
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(body),
        b"HTTP/1.1 103 Early\r\nX-A: %b\r\n\r\n" % own + OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
    ))  # fmt: skip
    for _ in range(chance.randint(0, 3)):
        at, end = chance.randrange(len(whole)), 0
        if chance.random() < 0.5:
            end = chance.choice((1, 1, 2, 4))
        whole = whole[:at] + chance.choice((b"", *BENDS)) + whole[at + end :]
    return whole


async def hostile_answers(visit: Visit) -> None:
    """Answer `/main/N` with what is bent by N, and go or stay for a while; what comes behind, as it should."""
    while True:
        try:
            async with asyncio.timeout(STAYS_S):
                path = (await visit.request()).split()[1]
        except TimeoutError:
            return
        number = int(path.rpartition(b"/")[2])
        if path.startswith(b"/main/after/"):
            after = b"after " + mark(number)
            await visit.send(OK + b"Content-Length: %d\r\n\r\n%b" % (len(after), after))
            continue
        # in one piece: what comes later, nobody could tell from an answer to what was asked meanwhile
        await visit.send(bent(number))
        leave = random.Random(-number).choice((visit.close, visit.reset, None, None))
        if leave is not None:
            leave()
            return


async def told(front: Front, number: int) -> list[Answered]:
    """Ask for the bent answer and for another one behind it."""
    answers: list[Answered] = []
    async with front.calling() as caller:
        await caller.send(get(b"/main/%d" % number) + get(b"/main/after/%d" % number))
        try:
            for _ in range(2):
                answers.append(await caller.answer())
                if not answers[-1].is_whole:
                    assert await caller.is_cut()
                    break
        except (IncompleteReadError, ConnectionError):
            pass
    return answers


@pytest.mark.parametrize("connections", [300, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.timeout(900)
async def test_a_client_is_given_its_own_answer_whole_or_recognisably_none(front: Front, connections: int) -> None:
    outcomes: Counter[str] = Counter()
    lost = 0  # sent twice on connections that our upstream closed meanwhile
    async with front.upstream(hostile_answers):
        for batch in itertools.batched(range(connections), AT_ONCE):
            for number, answers in zip(batch, await asyncio.gather(*(told(front, n) for n in batch)), strict=True):
                seen = b"".join(one.body + b"".join(value for _, value in one.fields) for one in answers)
                assert marks(seen) <= {number}
                for answer in answers:
                    assert answer.status < 500 or (answer.status in OURS and answer.is_whole), answer
                if len(answers) == 2 and answers[1].status not in OURS:
                    assert (answers[1].status, answers[1].body) == (200, b"after " + mark(number))
                lost += len(answers) == 2 and answers[1].status == 502
                outcomes[_outcome(answers)] += 1
            await front.is_at_rest()

    print(f"{connections} answers: {dict(outcomes)}")  # noqa: T201 - read with -s
    assert lost < connections / 100
    assert min(outcomes.values()) > connections / 100
    assert set(outcomes) == {"whole", "cut", "refused"}


def _outcome(answers: list[Answered]) -> str:
    if not answers or not answers[0].is_whole:
        return "cut"
    return "refused" if answers[0].status in OURS else "whole"
