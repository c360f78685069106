"""Where the gateway listens: sockets bound here or handed over by systemd, before any worker is started.

Bound by us, so that a busy port is one line, that the address agents call back is known, and that connections wait in
the queue while a worker is started again. Standard library only: the supervisor imports this module.
"""

import errno
import os
import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

from app.surfaces.cli.command_failed import CommandFailed

BACKLOG = 2048
_FIRST_HANDED_OVER = 3


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen; `uds` wins over host and port; a certificate needs its key."""

    host: str = "127.0.0.1"
    port: int = 8000
    uds: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    shares_port: bool = False

    @property
    def is_tls(self) -> bool:
        return self.tls_cert is not None


@dataclass(frozen=True, slots=True)
class Bound:
    """Sockets that listen; those that are not ours belong to systemd, and outlive us with all who wait in them.

    Those that are spread are one for each worker, and the kernel chooses between them; others are for all workers.
    """

    sockets: tuple[socket.socket, ...]
    are_ours: bool = True
    are_spread: bool = False
    unlinked: Path | None = None

    def close(self) -> None:
        for one in self.sockets:
            one.close()
        if self.unlinked is not None:
            self.unlinked.unlink(missing_ok=True)


def open_listener(listener: Listener, *, workers: int = 1) -> Bound:
    """Take what systemd hands over, or bind. Errors: CommandFailed, naming the mend."""
    _check_tls(listener)
    handed_over = _handed_over()
    if handed_over:
        return Bound(handed_over, are_ours=False)
    try:
        if listener.uds is not None:
            return Bound((_bind_unix(listener.uds),), unlinked=listener.uds)
        if workers > 1 and sys.platform == "linux":  # elsewhere the kernel gives all connections to one of them
            return Bound(_bind_for_each(listener, workers), are_spread=True)
        return Bound((bind_tcp(listener.host, listener.port, shares_port=listener.shares_port),))
    except OSError as error:
        raise CommandFailed(_why_unbound(listener, error)) from error


def bind_tcp(host: str, port: int, *, shares_port: bool = False) -> socket.socket:
    """Listen on a socket that says it is TCP: on others asyncio leaves Nagle's algorithm on, at 40 ms an answer."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _bind_for_each(listener: Listener, workers: int) -> tuple[socket.socket, ...]:
    """Bind once for each worker: from one socket for all, whichever worker wakes first takes nearly everything."""
    port = listener.port
    if not listener.shares_port:  # nobody else may have it, another instance of ours included
        with bind_tcp(listener.host, port) as alone:
            port = alone.getsockname()[1]
    sockets: list[socket.socket] = []
    try:
        for _ in range(workers):
            sockets.append(bind_tcp(listener.host, port, shares_port=True))
            port = sockets[0].getsockname()[1]
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return tuple(sockets)


def inherit(fd: int) -> socket.socket:
    """Take over a socket from the process that started this one; see `bind_tcp` why its protocol is named."""
    found = socket.socket(fileno=fd)
    if found.family == socket.AF_UNIX:
        return found
    return socket.socket(found.family, found.type, socket.IPPROTO_TCP, fileno=found.detach())


def url_of(bound: socket.socket, *, is_tls: bool) -> str:
    """Tell how this machine reaches the socket; an any-address is reached by loopback."""
    if bound.family == socket.AF_UNIX:
        return f"unix:{bound.getsockname()}"
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - translated, not bound
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


def _handed_over() -> tuple[socket.socket, ...]:
    """Take what systemd opened for this very process. Source: sd_listen_fds(3). Errors: CommandFailed."""
    is_for_us = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not is_for_us or not count.isdigit():
        return ()
    try:
        sockets = tuple(inherit(_FIRST_HANDED_OVER + index) for index in range(int(count)))
        are_listening = all(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in sockets)
    except OSError as error:
        raise CommandFailed(f"LISTEN_FDS: what was handed over is no socket ({error.strerror})", code=2) from error
    if not are_listening:
        raise CommandFailed("LISTEN_FDS: a socket does not listen; set Accept=no in its unit", code=2)
    for one in sockets:
        one.set_inheritable(False)
    return sockets


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
