"""`portico serve`: bind first, look whether everything can be opened, then serve until told to stop.

The socket is bound by us, so that a busy port is one line, and so that the address agents call back is known.
"""

import asyncio
import errno
import signal
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn
from litestar import Litestar

from app.settings import Settings
from app.surfaces.cli.database import embedded_running, opened
from app.surfaces.cli.failures import CommandFailed
from app.surfaces.cli.root import Root

DRAIN_S = 30
DATABASE_TIMEOUT_S = 15
BACKLOG = 2048

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen; `uds` wins over host and port; a certificate needs its key."""

    host: str = "127.0.0.1"
    port: int = 8000
    uds: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


def run(root: Root, listener: Listener, *, config: Path | None = None) -> int:
    settings = root.load_settings(config)
    bound = bind(listener)
    try:
        return serve(root, settings, listener, bound)
    finally:
        bound.close()
        if listener.uds is not None:
            listener.uds.unlink(missing_ok=True)


def serve(root: Root, settings: Settings, listener: Listener, bound: socket.socket) -> int:
    """Serve on a bound socket until a signal ends it; in-flight requests get thirty seconds.

    Errors: CommandFailed, EmbeddedPostgresUnavailable.
    """
    where = f"unix:{listener.uds}" if listener.uds else url_of(bound, is_tls=listener.tls_cert is not None)
    if not settings.front_door_url and listener.uds is None:
        settings = settings.model_copy(update={"front_door_url": where})
    with embedded_running(settings):
        asyncio.run(preflight(settings))
        _until_told_to_stop(_Server(_config(root.create_app(settings), listener), where), bound)
    return 0


class _Server(uvicorn.Server):
    """Says where it listens once it does; uvicorn itself is silent about a socket that it was handed."""

    def __init__(self, config: uvicorn.Config, where: str) -> None:
        super().__init__(config)
        self._where = where

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log.info("gateway.listening", url=self._where)


def _config(app: Litestar, listener: Listener) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ssl_certfile=listener.tls_cert,
        ssl_keyfile=listener.tls_key,
        loop="uvloop",
        http="httptools",
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


def _until_told_to_stop(server: uvicorn.Server, bound: socket.socket) -> None:
    """Errors: CommandFailed, when the lifespan did not open; the log has the trace."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn raises the signal again when it has stopped; answered here, it lets everything be closed behind it
        signal.signal(number, server.handle_exit)
    try:
        server.run(sockets=[bound])
    except SystemExit as refused:
        raise CommandFailed("the gateway could not start; the lines above say why") from refused


def bind(listener: Listener) -> socket.socket:
    """Errors: CommandFailed, naming the mend."""
    _check_tls(listener)
    try:
        if listener.uds is not None:
            return _bind_unix(listener.uds)
        return bind_tcp(listener.host, listener.port)
    except OSError as error:
        raise CommandFailed(_why_unbound(listener, error)) from error


def bind_tcp(host: str, port: int) -> socket.socket:
    """Listen on a socket that says it is TCP: on others asyncio leaves Nagle's algorithm on, at 40 ms an answer."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket, *, is_tls: bool) -> str:
    """Tell how this machine reaches the socket; an any-address is reached by loopback."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - translated, not bound
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


async def preflight(settings: Settings) -> None:
    """Open the database once, so that what is wrong with it is one line instead of a trace.

    Errors: CommandFailed, EmbeddedPostgresUnavailable.
    """
    async with opened(settings) as database, asyncio.timeout(DATABASE_TIMEOUT_S):
        await database.health()


def _bind_unix(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        bound.bind(str(path))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(str(path)) == 0


def _check_tls(listener: Listener) -> None:
    if (listener.tls_cert is None) != (listener.tls_key is None):
        raise CommandFailed("--tls-cert and --tls-key go together", code=2)
    if listener.tls_cert is not None and listener.tls_key is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(listener.tls_cert, listener.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise CommandFailed(f"--tls-cert, --tls-key: cannot be used: {error}", code=2) from error


def _why_unbound(listener: Listener, error: OSError) -> str:
    where = str(listener.uds) if listener.uds else f"{listener.host}:{listener.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program; stop it, or choose another with --port"
    if error.errno == errno.EACCES:
        return f"{where} may not be used by this account; choose a port above 1023 with --port"
    return f"cannot listen on {where}: {error.strerror or error}; choose another with --host and --port"
