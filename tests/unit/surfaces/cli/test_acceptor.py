import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from structlog.testing import capture_logs

from app.surfaces.cli.acceptor import ACCEPTED_A_TURN, Acceptor

PATIENCE_S = 5


class Listening(socket.socket):
    """Fails as often as it is told to before it accepts."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            number = self.failures.pop()
            raise OSError(number, os.strerror(number))
        return super().accept()


@contextmanager
def listening(*failures: int) -> Iterator[Listening]:
    with Listening() as bound:
        bound.failures = list(failures)
        bound.bind(("127.0.0.1", 0))
        bound.listen(1000)
        yield bound


@contextmanager
def clients(bound: socket.socket, count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(bound.getsockname()))
        yield


class Entered:
    def __init__(self) -> None:
        self.accepted: list[socket.socket] = []

    def __call__(self, accepted: socket.socket, address: object) -> None:
        assert isinstance(address, tuple)
        assert not accepted.getblocking()
        self.accepted.append(accepted)

    async def become(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.accepted) < count:  # noqa: ASYNC110 - the acceptor's own doing
                await asyncio.sleep(0)

    def close(self) -> None:
        for one in self.accepted:
            one.close()


async def test_of_a_crowd_a_few_are_accepted_in_each_turn() -> None:
    entered, seen = Entered(), list[int]()
    with listening() as bound, clients(bound, 2 * ACCEPTED_A_TURN + 1):
        acceptor = Acceptor(bound, entered)
        async with asyncio.timeout(PATIENCE_S):
            while len(entered.accepted) <= 2 * ACCEPTED_A_TURN:
                await asyncio.sleep(0)
                seen.append(len(entered.accepted))
        acceptor.close()
    entered.close()

    assert max(after - before for before, after in zip([0, *seen], seen, strict=False)) == ACCEPTED_A_TURN


@pytest.mark.parametrize("failure", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_room_it_waits_a_moment_and_tries_again(failure: int) -> None:
    entered = Entered()
    with listening(failure) as bound, clients(bound, 1), capture_logs() as logs:
        acceptor = Acceptor(bound, entered)
        await entered.become(1)
        acceptor.close()
    entered.close()

    assert [line["event"] for line in logs] == ["connections.not_accepted"]


@pytest.mark.parametrize("failure", [errno.ECONNABORTED, errno.EAGAIN, errno.EINTR])
async def test_a_client_that_is_gone_already_is_passed_over(failure: int) -> None:
    entered = Entered()
    with listening(failure) as bound, clients(bound, 1), capture_logs() as logs:
        acceptor = Acceptor(bound, entered)
        await entered.become(1)
        acceptor.close()
    entered.close()

    assert logs == []


@pytest.mark.parametrize("failures", [(), (errno.EMFILE,)], ids=["well", "in a pause"])
async def test_once_closed_it_accepts_nobody(failures: tuple[int, ...]) -> None:
    entered = Entered()
    with listening(*failures) as bound:
        acceptor = Acceptor(bound, entered)
        with clients(bound, 1):
            if failures:
                await asyncio.sleep(0.02)
            acceptor.close()
            acceptor.close()
            await asyncio.sleep(0.2)
    entered.close()

    assert entered.accepted == []
