"""uvicorn's server, with our ways to begin and to end: nobody who got through to us is turned away.

Facts:
- `uvicorn.Server.serve` enters `capture_signals` inside the running loop, then runs `startup`, a loop that calls
  `on_tick` and looks at `should_exit` ten times a second, and `shutdown`.
- `shutdown` closes the listeners, calls `shutdown` of every connection (ours gives one that was just accepted a moment
  for its request), and waits for them until `timeout_graceful_shutdown`, or until `force_exit`.
- The default headers stand in every answer, and a client that reads `connection: close` among them opens another one.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import override

import structlog
import uvicorn

from app.edge.asgi import Door
from app.edge.protocol import EdgeProtocol
from app.edge.protocol_lobby import Arrival, Lobby
from app.kernel.draining import Draining
from app.surfaces.cli.accept_queue import has_waiting, refuse_newcomers
from app.surfaces.cli.acceptor import Acceptor
from app.surfaces.cli.cover import Cover
from app.surfaces.cli.garbage import Garbage

HANDSHAKE_S = 0.1
"""for handshakes under way when the last newcomer was refused"""
LAST_ACCEPT_S = 1.0
QUIET_TICK_S = 0.105
"""uvicorn's tick is a tenth of a second; one that comes later met others at work"""
_POLL_S = 0.02

log = structlog.get_logger()


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Manners:
    """`drain_delay_s` is how long it still accepts after it was told to stop, not ready any more.

    SIGHUP asks a worker to reload, and who is alone to stop: its terminal was closed.
    """

    where: str
    reload: Callable[[], None]
    drain_delay_s: float = 0
    reloads_on_hangup: bool = False
    on_serving: Callable[[], None] = _nothing
    on_leaving: Callable[[], None] = _nothing


class GatewayServer(uvicorn.Server):
    """Concurrency: everything here runs on the loop's thread.

    `is_last` says that nobody will accept from these sockets when this process has closed them; `cover` has the
    sockets of siblings.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        door: Door,
        draining: Draining,
        manners: Manners,
        garbage: Garbage | None = None,
    ) -> None:
        super().__init__(config)
        self._door = door
        self._draining = draining
        self._manners = manners
        self._was_told = False
        self.is_last = False
        self.cover = Cover({})
        self._acceptors: list[Acceptor] = []
        self._lobby: Lobby | None = None
        self._garbage = garbage
        self._ticked_at_s = 0.0

    def tell_to_stop(self) -> None:
        """Drain, and stop after the delay; told a second time, end at once."""
        if self._was_told:
            self.end()
            return
        self._was_told = True
        asyncio.get_running_loop().call_later(self._manners.drain_delay_s, self.stop)
        self.drain()

    def drain(self) -> None:
        """Go on serving, but neither ready nor for more than one answer a connection."""
        if self._draining.has_begun:
            return
        self._draining.begin()
        log.info("gateway.draining")

    def stop(self) -> None:
        """Accept nobody any more, and end when everything that runs has ended."""
        self.drain()
        self.should_exit = True

    def end(self) -> None:
        """Wait for nothing that runs."""
        self.stop()
        self.force_exit = True

    def reload(self) -> None:
        self._manners.reload()

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        acts = {
            signal.SIGINT: self.tell_to_stop,
            signal.SIGTERM: self.tell_to_stop,
            signal.SIGHUP: self.reload if self._manners.reloads_on_hangup else self.tell_to_stop,
        }
        before = {number: signal.getsignal(number) for number in acts}
        for number, act in acts.items():
            if before[number] is not signal.SIG_IGN:  # as `nohup` has asked for
                loop.add_signal_handler(number, act)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        self._lobby = lobby = Lobby(self._door, self.server_state, self._protocol, self.config.ssl)
        self._acceptors = [Acceptor(one, lobby.enter) for one in sockets or ()]
        if self._garbage is not None:
            self._garbage.begin()
        log.info("gateway.listening", url=self._manners.where)
        self._manners.on_serving()

    @override
    async def on_tick(self, counter: int) -> bool:
        if self._lobby is not None:
            self.cover.bring_about(self._lobby.enter)
        if self._garbage is not None:
            now_s = asyncio.get_running_loop().time()
            self._garbage.look(is_quiet=now_s - self._ticked_at_s < QUIET_TICK_S)
            self._ticked_at_s = now_s
        return await super().on_tick(counter)

    def _protocol(self, arrival: Arrival) -> EdgeProtocol:
        return EdgeProtocol(arrival, self.config, self.server_state, self.lifespan.state)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._manners.on_leaving()
        if self.is_last:
            await _accept_the_last([*(sockets or []), *self.cover.listening])
        for one in self._acceptors:
            one.close()
        self.cover.close()
        await super().shutdown(sockets)
        if self._lobby is not None:
            self._lobby.close()
        if self._garbage is not None:
            self._garbage.end()


async def _accept_the_last(sockets: list[socket.socket]) -> None:
    for one in sockets:
        refuse_newcomers(one)
    await asyncio.sleep(HANDSHAKE_S)
    end = asyncio.get_running_loop().time() + LAST_ACCEPT_S
    while has_waiting(sockets) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - the kernel's queue
        await asyncio.sleep(_POLL_S)
