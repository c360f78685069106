"""A worker's end of the channel to its supervisor: orders come in, reports go out, and its end is ours."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence

from app.infra.provider import embedded_postgres
from app.settings import Settings
from app.surfaces.cli.processes import EXIT_ORPHANED
from app.surfaces.cli.worker_plan import Found, Order, Report

_READ_BYTES = 4096

type Obey = Callable[[Order, Sequence[str]], None]


class Tether:
    """Concurrency: of the event loop's thread, once `begin` was called on it."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._heard = b""

    def tell(self, report: Report, text: str = "") -> None:
        try:
            self._channel.sendall(f"{report} {text}\n".encode())
        except OSError:
            os._exit(EXIT_ORPHANED)

    def tell_found(self, settings: Settings) -> None:
        """Report that configuration and database are in order."""
        home = None if settings.postgres_dsn else str(embedded_postgres(settings).home)
        self.tell(Report.CHECKED, Found(settings.log_level, settings.logs_are_json, home).to_text())

    def begin(self, obey: Obey) -> None:
        """Report that this worker does its work, and have orders obeyed from now on."""
        self._channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self._channel, self._hear, obey)
        self.tell(Report.SERVING)

    def _hear(self, obey: Obey) -> None:
        piece = self._channel.recv(_READ_BYTES)
        if not piece:
            os._exit(EXIT_ORPHANED)  # what nobody could stop any more must not go on
        *lines, self._heard = (self._heard + piece).split(b"\n")
        for line in lines:
            word, *rest = line.decode().split()
            obey(Order(word), rest)
