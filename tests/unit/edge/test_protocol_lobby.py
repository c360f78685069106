"""Sockets in the lobby, with a protocol that only notes what it is told."""

import asyncio
import dataclasses
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from uvicorn.server import ServerState

from app.edge.asgi import Door
from app.edge.edge import Edge
from app.edge.keys import KeySet
from app.edge.pipeline import EdgeOptions
from app.edge.protocol_leavers import CLOSED_A_TURN
from app.edge.protocol_lobby import Arrival, Lobby
from tests.unit.edge.parts import Checked, StillClock, a_live_table

PATIENCE_S = 5
SOON_S = 0.1
RESET = struct.pack("ii", 1, 0)


class Speaker(asyncio.Protocol):
    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.heard = b""
        self.told: list[str] = []
        self.others = arrival.edge.gauges.connections_open - 1
        """who were here when this one was made"""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.count_out()

    def shutdown(self) -> None:
        self.told.append("shut down")

    def count_out(self) -> None:
        self.told.append("counted out")
        self.arrival.count_out()


@dataclass(slots=True)
class House:
    """A lobby, those who came out of it, and the other ends of those who went in."""

    options: EdgeOptions = field(default_factory=lambda: EdgeOptions(head_s=PATIENCE_S))
    state: ServerState = field(default_factory=ServerState)
    speakers: list[Speaker] = field(default_factory=list)
    clients: list[socket.socket] = field(default_factory=list)
    edge: Edge = field(init=False)
    lobby: Lobby = field(init=False)

    def __post_init__(self) -> None:
        checked = Checked()
        self.edge = Edge(a_live_table({"prefix": "/"}), _NoKeys(), checked.verifier, StillClock(), self.options)
        self.lobby = Lobby(Door(edge=self.edge), self.state, self._make)

    def _make(self, arrival: Arrival) -> Speaker:
        self.speakers.append(Speaker(arrival))
        return self.speakers[-1]

    def enter(self, address: object = ("192.0.2.1", 1)) -> socket.socket:
        ours, theirs = _pair()
        self.clients.append(theirs)
        self.lobby.enter(ours, address)
        return theirs

    @property
    def connections(self) -> set[Any]:
        return self.state.connections  # typed as uvicorn's own protocols

    @property
    def is_empty(self) -> bool:
        return not self.edge.admission.opened and not self.edge.gauges.connections_open and not self.connections


class _NoKeys:
    def current(self) -> KeySet:
        raise AssertionError

    async def refresh(self, *, at_most_every_s: float = 0) -> None:
        raise AssertionError


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    return ours, theirs


@pytest.fixture
async def house() -> "House":
    return House()


@contextmanager
def left(house: House) -> Iterator[House]:
    try:
        yield house
    finally:
        house.lobby.close()
        for client in house.clients:
            client.close()


async def becomes(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():  # noqa: ASYNC110 - the lobby tells nobody
            await asyncio.sleep(0.005)


async def test_nothing_is_made_for_whoever_says_nothing_and_a_protocol_for_whoever_speaks(house: House) -> None:
    with left(house):
        speaker, _ = house.enter(), house.enter()

        speaker.send(b"GET")

        await becomes(lambda: [one.heard for one in house.speakers] == [b"GET"])
        assert (house.edge.admission.opened, house.edge.gauges.connections_open) == (2, 2)
        assert house.connections == {house.lobby}


@pytest.mark.parametrize("leave", ["end", "reset"])
async def test_who_leaves_without_a_word_is_counted_out_and_nothing_was_made(house: House, leave: str) -> None:
    with left(house):
        for _ in range(2 * CLOSED_A_TURN + 1):
            client = house.enter()
            if leave == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()

        await becomes(lambda: house.is_empty)
        assert house.speakers == []


async def test_what_was_said_before_leaving_is_heard(house: House) -> None:
    with left(house):
        client = house.enter()
        client.send(b"GET")
        client.close()

        await becomes(lambda: [one.heard for one in house.speakers] == [b"GET"])
        await becomes(lambda: house.is_empty)


async def test_a_crowd_that_leaves_is_not_before_whoever_speaks(house: House) -> None:
    with left(house):
        crowd = [house.enter() for _ in range(10 * CLOSED_A_TURN)]
        speaker = house.enter()
        for client in crowd:
            client.close()
        speaker.send(b"GET")

        await becomes(lambda: bool(house.speakers))
        assert house.speakers[0].others > len(crowd) / 2
        speaker.close()
        await becomes(lambda: house.is_empty)


async def test_who_says_nothing_is_let_go_in_time(house: House) -> None:
    with left(house):
        house.edge.options = dataclasses.replace(house.options, head_s=SOON_S)
        client = house.enter()

        await becomes(lambda: house.is_empty)
        assert client.recv(1) == b""


async def test_what_was_waited_for_the_first_byte_is_told() -> None:
    with left(House()) as house:
        client = house.enter()
        await asyncio.sleep(SOON_S)
        client.send(b"GET")

        await becomes(lambda: bool(house.speakers))
        arrival = house.speakers[0].arrival
        assert asyncio.get_running_loop().time() - arrival.at_s >= SOON_S
        assert arrival.peer == "192.0.2.1"


async def test_one_too_many_of_an_address_is_told_so(house: House) -> None:
    house.edge.admission.limit_per_address = 1
    with left(house):
        house.enter()
        refused, other = house.enter(), house.enter(("192.0.2.2", 1))

        assert refused.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert refused.recv(1000) == b""
        other.send(b"GET")
        await becomes(lambda: len(house.speakers) == 1)
        assert house.edge.admission.opened == 2


async def test_told_to_leave_who_speaks_up_is_served_and_told_too_and_the_others_go() -> None:
    with left(House(EdgeOptions(head_s=PATIENCE_S, last_call_s=2 * SOON_S))) as house:
        early, silent = house.enter(), house.enter()

        house.lobby.shutdown()
        early.send(b"GET")

        await becomes(lambda: [one.told for one in house.speakers] == [["made", "shut down"]])
        await becomes(lambda: not house.connections)
        assert silent.recv(1) == b""
        assert house.edge.gauges.connections_open == 1


async def test_what_comes_to_nothing_is_counted_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*given: object, **named: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(asyncio.get_running_loop(), "connect_accepted_socket", fail)
    with left(house):
        house.enter().send(b"no handshake")

        await becomes(lambda: [one.told for one in house.speakers] == [["counted out"]])
        await becomes(lambda: house.is_empty)


async def test_behind_a_shut_door_nobody_is_taken_in(house: House) -> None:
    lobby = Lobby(Door(), house.state, house._make)
    ours, theirs = _pair()
    with theirs:
        lobby.enter(ours, ("192.0.2.1", 1))

        assert theirs.recv(1) == b""
        assert not house.connections
    lobby.close()
    house.lobby.close()


async def test_where_there_is_no_epoll_a_protocol_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("select.epoll", raising=False)
    with left(House()) as house:
        client = house.enter()

        await becomes(lambda: [one.told for one in house.speakers] == [["made"]])
        client.close()
        await becomes(lambda: house.is_empty)
