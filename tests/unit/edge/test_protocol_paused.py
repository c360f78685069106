import asyncio
import os
import socket
from collections.abc import Callable

import pytest

from app.edge.protocol_paused import PausedClients

PATIENCE_S = 5


async def becomes(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():  # noqa: ASYNC110 - the watch tells by a call
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("unread", [b"", b"bytes nobody has read"])
async def test_who_leaves_is_missed_with_and_without_bytes_unread(unread: bytes) -> None:
    ours, theirs = socket.socketpair()
    gone: list[str] = []
    with ours, theirs:
        theirs.send(unread)
        PausedClients().watch(ours, lambda: gone.append("gone"))

        theirs.close()

        await becomes(lambda: gone == ["gone"])


async def test_who_stays_is_not_missed_and_who_is_forgotten_neither() -> None:
    clients, gone = PausedClients(), []
    ours, theirs = socket.socketpair()
    other, others = socket.socketpair()
    with ours, theirs, other, others:
        clients.watch(ours, lambda: gone.append("stays"))
        number = clients.watch(other, lambda: gone.append("forgotten"))
        clients.forget(number)
        clients.forget(number)
        others.close()
        theirs.send(b"x")
        last, lasts = socket.socketpair()
        with last:
            clients.watch(last, lambda: gone.append("left"))
            lasts.close()

            await becomes(lambda: bool(gone))
        assert gone == ["left"]


async def test_a_number_that_is_used_again_is_somebody_elses() -> None:
    clients, gone = PausedClients(), []
    ours, theirs = socket.socketpair()
    number = clients.watch(ours, lambda: gone.append("first"))
    clients.forget(number)
    ours.close()
    theirs.close()
    again, agains = socket.socketpair()
    with again, agains:
        os.dup2(again.fileno(), number) if again.fileno() != number else None
        clients.watch(again, lambda: gone.append("second"))
        agains.close()

        await becomes(lambda: bool(gone))
        assert gone == ["second"]
        if again.fileno() != number:
            os.close(number)


async def test_nobody_to_watch_is_no_timer() -> None:
    clients = PausedClients()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        number = clients.watch(ours, lambda: None)
        clients.forget(number)

        await becomes(lambda: clients._timer is None)
