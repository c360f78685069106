"""A worker of `portico serve` that answers requests, on inherited sockets, as its supervisor tells it."""

import socket
from collections.abc import Sequence
from functools import partial

from app.surfaces.cli.cover import Cover
from app.surfaces.cli.gateway_server import GatewayServer
from app.surfaces.cli.listener import Bound, inherit
from app.surfaces.cli.processes import end_with_parent
from app.surfaces.cli.root import Root
from app.surfaces.cli.serve import Part, serve
from app.surfaces.cli.tether import Tether
from app.surfaces.cli.worker_plan import Order, Report, WorkerPlan


def run(root: Root, plan: WorkerPlan) -> int:
    """Errors: CommandFailed, ConfigurationInvalid and what else `load_settings` and `serve` name."""
    end_with_parent(plan.supervisor_pid)
    sockets = dict(enumerate(inherit(fd) for fd in plan.socket_fds))
    bound = Bound((sockets.pop(plan.place.index),) if plan.are_sockets_spread else tuple(sockets.values()))
    cover = Cover(sockets if plan.are_sockets_spread else {})
    with socket.socket(fileno=plan.channel_fd) as channel:
        tether = Tether(channel)
        orders = _Orders(tether, cover, are_sockets_ours=plan.are_sockets_ours)
        settings = root.load_settings(plan.config)
        part = Part(
            role=plan.role,
            place=plan.place,
            drain_delay_s=plan.drain_delay_s,
            reloads_on_hangup=True,
            on_checked=partial(tether.tell_found, settings),
            on_built=orders.hold,
            on_serving=partial(tether.begin, orders.obey),
            on_leaving=partial(tether.tell, Report.LEAVING),
        )
        try:
            serve(root, settings, plan.listener, bound, part)
        finally:
            cover.close()
            bound.close()
    return 0


class _Orders:
    """What the supervisor's orders do to our server."""

    def __init__(self, tether: Tether, cover: Cover, *, are_sockets_ours: bool) -> None:
        self._tether = tether
        self._cover = cover
        self._are_sockets_ours = are_sockets_ours
        self._server: GatewayServer | None = None

    def hold(self, server: GatewayServer) -> None:
        self._server = server
        server.cover = self._cover

    def obey(self, order: Order, rest: Sequence[str]) -> None:
        server = self._server
        if server is None:
            return
        match order:
            case Order.RELOAD:
                server.reload()
                self._tether.tell(Report.RELOADED)
            case Order.DRAIN:
                server.drain()
            case Order.STOP:
                server.is_last = self._are_sockets_ours
                server.stop()
            case Order.END:
                server.end()
            case Order.COVER:
                self._cover.want(map(int, rest))
