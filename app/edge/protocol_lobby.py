"""Who has connected and said nothing yet: a socket each, and no more until the first byte.

Facts:
- A connection costs little in the kernel, and several times as much in here. Who opens ten thousand and says nothing
  is not to be in the way of those who have something to say: of all who are here, these are served first.
- An epoll is a file like others: a loop that watches one hears of everybody who is in it, and asks for as many as it
  likes (epoll(7)). Where there is none, connections are made at once.
"""

import asyncio
import select
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from socket import MSG_PEEK, socket
from typing import Any, Protocol

from uvicorn.server import ServerState

from app.edge.asgi import Door
from app.edge.edge import Edge
from app.edge.protocol_line import host_of

HEARD_A_TURN = 128
"""of those who speak, or leave, before it is somebody else's turn"""
LET_GO_A_TURN = 32
_HAS_LEFT = getattr(select, "EPOLLRDHUP", 0)
_IS_BROKEN = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A client's connection that was admitted, to be counted out once; `at_s` is the loop's time."""

    edge: Edge
    peer: str
    at_s: float

    def count_out(self) -> None:
        self.edge.admission.leave(self.peer)
        self.edge.gauges.connections_open -= 1


class Made(Protocol):
    """What the protocol of an arrival does besides speaking; it counts it out from its making on."""

    def shutdown(self) -> None: ...
    def count_out(self) -> None: ...


class Lobby:
    """Concurrency: one loop. To uvicorn it is a connection as long as somebody is in it: it is told to leave.

    `make` is given whoever has sent a first byte; with TLS it is that of a handshake.
    """

    def __init__(
        self,
        door: Door,
        state: ServerState,
        make: Callable[[Arrival], Any],  # Any: an `asyncio.Protocol` that is `Made`
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._door = door
        self._connections: set[Any] = state.connections  # typed as uvicorn's own protocols
        self._make = make
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, tuple[socket, Arrival]] = {}
        """by their numbers, and in the order in which they came"""
        self._making: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._leave_at = inf
        self._is_leaving = False
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        if self._epoll is not None:
            self._loop.add_reader(self._epoll.fileno(), self._look)

    def enter(self, accepted: socket, address: object) -> None:
        """Take in a socket that does not block, and turn it away if there are too many."""
        edge, peer = self._door.edge, host_of(address)
        if edge is None:
            accepted.close()
            return
        if not edge.admission.admit(peer, is_trusted=edge.trusts(peer)):
            self._turn_away(accepted)
            return
        edge.gauges.connections_open += 1
        edge.gauges.connections_accepted += 1
        arrival = Arrival(edge, peer, self._loop.time())
        self._connections.add(self)
        if self._epoll is None:
            self._serve(accepted, arrival)
            return
        number = accepted.fileno()
        self._waiting[number] = (accepted, arrival)
        self._epoll.register(number, select.EPOLLIN | _HAS_LEFT)
        self._wake_at(min(self._leave_at, arrival.at_s + edge.options.head_s))

    def shutdown(self) -> None:
        """Give those who are here a moment to speak, and let them go."""
        self._is_leaving = True
        if self._door.edge is not None:
            self._leave_at = self._loop.time() + self._door.edge.options.last_call_s
        self._wake_at(self._leave_at)

    def close(self) -> None:
        """Let everybody go at once."""
        for accepted, arrival in self._waiting.values():
            self._let_go(accepted, arrival)
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        self._note_end()

    def _look(self) -> None:
        """Hear who speaks, and who has left; the rest is asked in the next turn."""
        if self._epoll is None:
            return
        for number, event in self._epoll.poll(0, HEARD_A_TURN):
            accepted, arrival = self._waiting.pop(number)
            self._epoll.unregister(number)
            if event & _IS_BROKEN or (event & _HAS_LEFT and not _has_spoken(accepted)):
                arrival.edge.leavers.add(partial(self._let_go, accepted, arrival))  # it would hold those who speak up
            else:
                self._serve(accepted, arrival)
        self._note_end()

    def _serve(self, accepted: socket, arrival: Arrival) -> None:
        making = self._loop.create_task(self._made(accepted, arrival))
        self._making.add(making)
        making.add_done_callback(self._note_made)

    async def _made(self, accepted: socket, arrival: Arrival) -> None:
        protocol = self._make(arrival)
        patience_s = arrival.edge.options.head_s if self._tls is not None else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._tls, ssl_handshake_timeout=patience_s
            )
        except OSError:  # it has left, or its handshake failed or took too long
            accepted.close()
            protocol.count_out()
            return
        if self._is_leaving:
            protocol.shutdown()

    def _note_made(self, making: asyncio.Task[None]) -> None:
        self._making.discard(making)
        self._note_end()

    def _turn_away(self, accepted: socket) -> None:
        if self._tls is None:
            with suppress(OSError):
                accepted.send(_TOO_MANY)
        accepted.close()

    def _let_go(self, accepted: socket, arrival: Arrival) -> None:
        accepted.close()
        arrival.count_out()

    def _note_end(self) -> None:
        if not (self._waiting or self._making):
            self._connections.discard(self)

    # --- those who never speak ----------------------------------------------------------------------------------------

    def _wake_at(self, at_s: float) -> None:
        if at_s < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at_s
            self._timer = self._loop.call_at(at_s, self._wake)

    def _wake(self) -> None:
        """Let go of those whose time is over, some in each turn."""
        self._timer, self._timer_at = None, inf
        now_s = self._loop.time()
        late: list[int] = []
        for number, (_, arrival) in self._waiting.items():
            due_s = min(self._leave_at, arrival.at_s + arrival.edge.options.head_s)
            if due_s > now_s or len(late) == LET_GO_A_TURN:
                self._wake_at(due_s)
                break
            late.append(number)
        for number in late:
            accepted, arrival = self._waiting.pop(number)
            if self._epoll is not None:
                self._epoll.unregister(number)
            self._let_go(accepted, arrival)
        self._note_end()


def _has_spoken(accepted: socket) -> bool:
    try:
        return bool(accepted.recv(1, MSG_PEEK))
    except OSError:
        return False
