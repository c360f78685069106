"""Serve the gateway in this process: look whether everything can be opened, then serve until told to stop.

`portico serve` does this in each worker that answers requests (worker_process.py), `portico demo` in its only process,
which works on runs too.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import structlog
import uvicorn
from dishka import Provider, Scope
from litestar import Litestar

from app.kernel.draining import Draining
from app.kernel.worker import ProcessRole, WorkerPlace
from app.settings import Settings
from app.surfaces.cli.command_failed import CommandFailed
from app.surfaces.cli.database import embedded_running, opened
from app.surfaces.cli.garbage import Garbage
from app.surfaces.cli.gateway_server import GatewayServer, Manners
from app.surfaces.cli.listener import BACKLOG, Bound, Listener, url_of
from app.surfaces.cli.root import Root
from app.surfaces.cli.worker_plan import DRAIN_S

DATABASE_TIMEOUT_S = 15

log = structlog.get_logger()


def _nothing() -> None:
    pass


def _nobody(server: GatewayServer) -> None:
    """End the listener with this process: there is nobody else who accepts from it."""
    server.is_last = True


@dataclass(frozen=True, slots=True)
class Part:
    """What this process is among those that serve; the defaults are those of one that is alone.

    `on_checked` is called when configuration and database were found in order, `on_built` with what then serves,
    before it does, `on_serving` when it does, and `on_leaving` when it will accept nobody any more.
    """

    role: ProcessRole = ProcessRole.ALL
    place: WorkerPlace = field(default_factory=WorkerPlace)
    drain_delay_s: float = 0
    reloads_on_hangup: bool = False
    on_checked: Callable[[], None] = _nothing
    on_built: Callable[[GatewayServer], None] = _nobody
    on_serving: Callable[[], None] = _nothing
    on_leaving: Callable[[], None] = _nothing


def serve(root: Root, settings: Settings, listener: Listener, bound: Bound, part: Part | None = None) -> None:
    """Serve on bound sockets until a signal ends it; in-flight requests get thirty seconds.

    Errors: CommandFailed, EmbeddedPostgresUnavailable.
    """
    part = part or Part()
    where = url_of(bound.sockets[0], is_tls=listener.is_tls)
    if not settings.front_door_url and not where.startswith("unix:"):
        settings = settings.model_copy(update={"front_door_url": where})
    with embedded_running(settings):
        asyncio.run(preflight(settings))
        part.on_checked()
        draining = Draining()
        app = root.create_app(settings, known_to_all(part.place, draining), role=part.role)
        reload = partial(_reload, app)
        manners = Manners(where, reload, part.drain_delay_s, part.reloads_on_hangup, part.on_serving, part.on_leaving)
        server = GatewayServer(_config(app, listener), app.state["door"], draining, manners, Garbage())
        part.on_built(server)
        _until_told_to_stop(server, bound)


def known_to_all(place: WorkerPlace, draining: Draining) -> Provider:
    """Provide what every part of a process may ask about the process."""
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: place, provides=WorkerPlace)
    provider.provide(lambda: draining, provides=Draining)
    return provider


def _reload(app: Litestar) -> None:
    """Call what reads the route table again; it says itself what it found."""
    reload_table: Callable[[], None] | None = app.state.get("reload_table")
    if reload_table is None:
        log.warning("gateway.reload_unavailable")
        return
    reload_table()


def _config(app: Litestar, listener: Listener) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ssl_certfile=listener.tls_cert,
        ssl_keyfile=listener.tls_key,
        loop="uvloop",
        ws="websockets-sansio",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=DRAIN_S,
    )


def _until_told_to_stop(server: GatewayServer, bound: Bound) -> None:
    """Errors: CommandFailed, when the lifespan did not open; the log has the trace."""
    sockets: list[socket.socket] = list(bound.sockets)
    try:
        server.run(sockets=sockets)
    except SystemExit as refused:
        raise CommandFailed("the gateway could not start; the lines above say why") from refused


async def preflight(settings: Settings) -> None:
    """Open the database once, so that what is wrong with it is one line instead of a trace.

    Errors: CommandFailed, EmbeddedPostgresUnavailable.
    """
    async with opened(settings) as database, asyncio.timeout(DATABASE_TIMEOUT_S):
        await database.health()
