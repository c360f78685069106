"""A tunnel holds what its sockets hold: who reads slowly makes the other side wait, and misses nothing."""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.edge.answer_head import AnswerHead
from app.edge.pipeline import EdgeOptions
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstream_pool import UpstreamPool
from app.edge.upstream_sink import Deadlines
from tests.wire.doorway import SWITCHING, handshake, running_doorway
from tests.wire.front import Front
from tests.wire.hostile import GET, Visit, deaf, eventually, hostile, on_both_loops, pool_to

MEGABYTE = 1024**2
PATIENCE_S = 30
PIECE = b"\x82\x7f" + (65536 - 10).to_bytes(8) + os.urandom(65536 - 10)
PIECES = 64 * MEGABYTE // len(PIECE)
STUCK_S = 0.12
MOST_UNDER_WAY_BYTES = 32 * MEGABYTE
"""what four socket buffers of the kernel hold at most"""
MOST_HELD_BYTES = 8 * MEGABYTE


@pytest.fixture(scope="module")
def front_gateway() -> Iterator[Front]:
    with running_doorway(options=EdgeOptions()) as front:
        yield front


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Talk:
    """One side sends 64 MB while the other does not read; then it does."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0
        self.sent = hashlib.sha256()
        self.received = hashlib.sha256()

    async def send(self, writer: asyncio.StreamWriter) -> None:
        for _ in range(PIECES):
            writer.write(PIECE)
            await writer.drain()
            self.sent.update(PIECE)
            self.sent_bytes += len(PIECE)

    async def until_stuck(self) -> None:
        """Wait until nothing more has been taken for a while."""
        async with asyncio.timeout(PATIENCE_S):
            before = -1
            while before != self.sent_bytes:
                before = self.sent_bytes
                await asyncio.sleep(STUCK_S)

    async def read(self, reader: asyncio.StreamReader) -> None:
        while self.received_bytes < PIECES * len(PIECE):
            piece = await reader.read(262144)
            assert piece, "the tunnel ended too soon"
            self.received.update(piece)
            self.received_bytes += len(piece)

    def assert_held_little(self, before_bytes: int) -> None:
        grown_bytes = resident_bytes() - before_bytes
        print(f"stuck after {self.sent_bytes / MEGABYTE:.1f} MB, held {grown_bytes / MEGABYTE:.1f} MB")  # noqa: T201
        assert 0 < self.sent_bytes < MOST_UNDER_WAY_BYTES
        assert grown_bytes < MOST_HELD_BYTES


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
async def test_a_client_that_reads_slowly_makes_the_upstream_wait(front: Front) -> None:
    talk = Talk()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHING)
        await talk.send(visit.writer)
        await visit.until_left()

    async with asyncio.timeout(PATIENCE_S), front.upstream(script), front.calling() as caller:
        await caller.send(handshake(b"/ws"))
        before_bytes = resident_bytes()
        await talk.until_stuck()
        talk.assert_held_little(before_bytes)
        assert (await caller.head()).status == 101
        await talk.read(caller.reader)

    assert talk.received.digest() == talk.sent.digest()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
async def test_an_upstream_that_reads_slowly_makes_the_client_wait(front: Front) -> None:
    talk = Talk()
    may_read, has_read = asyncio.Event(), asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(SWITCHING)
        await may_read.wait()
        await talk.read(visit.reader)
        has_read.set()

    async with asyncio.timeout(PATIENCE_S), front.upstream(script), front.calling() as caller:
        await caller.send(handshake(b"/ws"))
        assert (await caller.head()).status == 101
        before_bytes = resident_bytes()
        async with asyncio.TaskGroup() as sending:
            sending.create_task(talk.send(caller.writer))
            await talk.until_stuck()
            talk.assert_held_little(before_bytes)
            may_read.set()
        await has_read.wait()

    assert talk.received.digest() == talk.sent.digest()


class Indifferent:
    """Takes an answer and does nothing about it."""

    def on_interim(self, head: AnswerHead) -> None: ...
    def on_head(self, head: AnswerHead, piece: bytes) -> None: ...
    def on_body(self, piece: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_broken(self, failure: UpstreamFailure) -> None: ...
    def pause_sending(self) -> None: ...
    def resume_sending(self) -> None: ...


async def closing(pool: UpstreamPool, unsent: bytes) -> None:
    """Close an exchange that has so much to say."""
    connection = await pool.acquire()
    connection.begin(Indifferent(), b"GET", GET, deadlines=Deadlines(write_timeout_s=0.2))
    connection.send(unsent)
    connection.close(b"last words")


@on_both_loops
async def test_what_waits_when_a_tunnel_is_closed_is_sent_first() -> None:
    unsent = os.urandom(8 * MEGABYTE)
    async with hostile(Visit.until_left) as upstream:
        pool = pool_to(upstream.port)
        await closing(pool, unsent)
        await eventually(lambda: pool.counts.open == 0)

        await eventually(lambda: upstream.visits[0].received == GET + unsent + b"last words")


@on_both_loops
async def test_an_upstream_that_reads_nothing_of_it_is_given_up() -> None:
    async with hostile(deaf) as upstream:
        pool = pool_to(upstream.port)
        await closing(pool, bytes(20 * MEGABYTE))

        await eventually(lambda: pool.counts.open == 0)
