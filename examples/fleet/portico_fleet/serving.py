"""Run one application until SIGTERM, SIGINT or the end of its parent."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from litestar import Litestar

from portico_fleet.options import Options

_TICKS_PER_SECOND = 10  # uvicorn calls `on_tick` every 100 ms
_log = logging.getLogger("portico_fleet")


def serve(options: Options, build: Callable[[], Litestar]) -> None:
    """Serve what `build` makes; return after a graceful stop, with everything the requests began finished or cut.

    Errors: exits with 1 when the socket cannot be had.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    _log.setLevel(logging.INFO)
    os.umask(0o077)  # password hashes, private keys and uploads are nobody else's to read
    listener = _listen(options)
    with listener:
        server = _Server(_config(build()), parent=options.parent)
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn raises the signal again when it has stopped; answering it makes a graceful stop exit with 0.
            signal.signal(number, server.stop)
        if options.fd is None:
            host, port = listener.getsockname()[:2]
            _log.info("%s listens on %s port %d", options.name, host, port)
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, parent: int | None) -> None:
        super().__init__(config)
        self._parent = parent

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self._parent is not None and counter % _TICKS_PER_SECOND == 0 and os.getppid() != self._parent:
            return True
        return await super().on_tick(counter)


def _config(app: Litestar) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        limit_concurrency=1000,
        timeout_keep_alive=75,  # longer than the gateway keeps an idle connection, so that the gateway closes first
        timeout_graceful_shutdown=3,
    )


def _listen(options: Options) -> socket.socket:
    try:
        if options.fd is not None:
            return socket.socket(fileno=options.fd)
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    except (OSError, OverflowError) as fact:
        wanted = f"descriptor {options.fd}" if options.fd is not None else f"{options.host} port {options.port}"
        sys.exit(f"{options.name}: cannot listen on {wanted}: {fact}")
