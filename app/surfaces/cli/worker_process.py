"""A worker of `portico serve`: serves on inherited sockets, as its supervisor tells it, and never without it."""

import asyncio
import os
import socket
from collections.abc import Sequence
from functools import partial

from app.infra.provider import embedded_postgres
from app.settings import Settings
from app.surfaces.cli.cover import Cover
from app.surfaces.cli.gateway_server import GatewayServer
from app.surfaces.cli.listener import Bound, inherit
from app.surfaces.cli.processes import EXIT_ORPHANED, end_with_parent
from app.surfaces.cli.root import Root
from app.surfaces.cli.serve import Part, serve
from app.surfaces.cli.worker_plan import Found, Order, Report, WorkerPlan

_READ_BYTES = 4096


def run(root: Root, plan: WorkerPlan) -> int:
    """Errors: CommandFailed, ConfigurationInvalid and what else `load_settings` and `serve` name."""
    end_with_parent(plan.supervisor_pid)
    sockets = dict(enumerate(inherit(fd) for fd in plan.socket_fds))
    bound = Bound((sockets.pop(plan.place.index),) if plan.are_sockets_spread else tuple(sockets.values()))
    cover = Cover(sockets if plan.are_sockets_spread else {})
    with socket.socket(fileno=plan.channel_fd) as channel:
        tether = Tether(channel, cover, are_sockets_ours=plan.are_sockets_ours)
        settings = root.load_settings(plan.config)
        part = Part(
            place=plan.place,
            drain_delay_s=plan.drain_delay_s,
            reloads_on_hangup=True,
            on_checked=partial(tether.tell, Report.CHECKED, _found(settings).to_text()),
            on_built=tether.hold,
            on_serving=tether.begin,
            on_leaving=partial(tether.tell, Report.LEAVING),
        )
        try:
            serve(root, settings, plan.listener, bound, part)
        finally:
            cover.close()
            bound.close()
    return 0


class Tether:
    """The worker's end of the channel to its supervisor: orders come in, reports go out, and its end is ours."""

    def __init__(self, channel: socket.socket, cover: Cover, *, are_sockets_ours: bool) -> None:
        self._channel = channel
        self._cover = cover
        self._are_sockets_ours = are_sockets_ours
        self._server: GatewayServer | None = None
        self._heard = b""

    def tell(self, report: Report, text: str = "") -> None:
        try:
            self._channel.sendall(f"{report} {text}\n".encode())
        except OSError:
            os._exit(EXIT_ORPHANED)

    def hold(self, server: GatewayServer) -> None:
        self._server = server
        server.cover = self._cover

    def begin(self) -> None:
        self._channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self._channel, self._hear)
        self.tell(Report.SERVING)

    def _hear(self) -> None:
        piece = self._channel.recv(_READ_BYTES)
        if not piece:
            os._exit(EXIT_ORPHANED)  # a front door that nobody could stop any more must not stay open
        *lines, self._heard = (self._heard + piece).split(b"\n")
        for line in lines:
            word, *rest = line.decode().split()
            self._obey(Order(word), rest)

    def _obey(self, order: Order, rest: Sequence[str]) -> None:
        server = self._server
        if server is None:
            return
        match order:
            case Order.RELOAD:
                server.reload()
                self.tell(Report.RELOADED)
            case Order.DRAIN:
                server.drain()
            case Order.STOP:
                server.is_last = self._are_sockets_ours
                server.stop()
            case Order.END:
                server.end()
            case Order.COVER:
                self._cover.want(map(int, rest))


def _found(settings: Settings) -> Found:
    home = None if settings.postgres_dsn else str(embedded_postgres(settings).home)
    return Found(settings.log_level, settings.logs_are_json, home)
